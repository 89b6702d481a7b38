//! Futures that are dropped half-way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls a future so many times, and drops it if it has not ended by then. With 0 polls it never begins.
pub async fn drop_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    DropAfter { future: Some(Box::pin(future)), polls_left: polls }.await
}

struct DropAfter<F> {
    future: Option<Pin<Box<F>>>,
    polls_left: u32,
}

impl<F: Future> Future for DropAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left > 0
            && let Some(future) = &mut self.future
        {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                self.future = None;
                return Poll::Ready(Some(output));
            }
            self.polls_left -= 1;
            if self.polls_left > 0 {
                return Poll::Pending;
            }
        }
        // Here, not whenever the caller drops us: what the future held is to be free now.
        self.future = None;
        Poll::Ready(None)
    }
}
