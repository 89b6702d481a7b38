//! Asking one after the other until one answers, without waiting long for any.
//!
//! A broker that hangs keeps its connections and answers nothing: it would be waited for until the request's time is up. So
//! the next is asked as soon as one has failed or is late, and the first answer counts.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// An answer that takes longer is late: whoever waits looks whether somebody else has it, or is to be asked by now.
///
/// Far above what a broker takes that is well, and below what a cluster takes to notice that one is not.
pub const LATE: Duration = Duration::from_secs(1);

/// Asks `candidates` in turn; `is_late` is told of each that has not answered when the next is asked. `ends` says of a failure
/// that nobody else would do better.
///
/// # Errors
///
/// The last failure, once everybody has failed; `None` where there was nobody to ask.
pub(crate) async fn first_answer<C: Copy, T, E, F: Future<Output = Result<T, E>>>(
    candidates: impl IntoIterator<Item = C>,
    ask: impl Fn(C) -> F,
    is_late: impl Fn(C),
    ends: impl Fn(&E) -> bool,
) -> Result<T, Option<E>> {
    let mut candidates = candidates.into_iter().peekable();
    let mut asked: Vec<Pin<Box<F>>> = Vec::new();
    let mut failure = None;
    loop {
        let candidate = candidates.next();
        match candidate {
            Some(candidate) => asked.push(Box::pin(ask(candidate))),
            None if asked.is_empty() => return Err(failure),
            None => {}
        }
        tokio::select! {
            biased; // an answer first
            outcome = first_of(&mut asked) => match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) if ends(&error) => return Err(Some(error)),
                Err(error) => failure = Some(error),
            },
            () = tokio::time::sleep(LATE), if candidates.peek().is_some() => candidate.into_iter().for_each(&is_late),
        }
    }
}

/// The first that is ready, which is taken out; of several, the one that was asked first.
async fn first_of<F: Future>(asked: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|context| {
        for place in 0..asked.len() {
            if let Poll::Ready(outcome) = asked[place].as_mut().poll(context) {
                drop(asked.remove(place));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// Asks candidates that each take so many milliseconds, and fail if they say so. Gives what came of it, after how long, and
    /// how many were late.
    async fn ask(candidates: &[(u64, Result<i32, i32>)]) -> (Result<i32, Option<i32>>, u128, usize) {
        let (start, late) = (Instant::now(), Cell::new(0));
        let answer = first_answer(
            candidates.iter().copied(),
            |(milliseconds, outcome)| async move {
                sleep(Duration::from_millis(milliseconds)).await;
                outcome
            },
            |_| late.set(late.get() + 1),
            |error| *error < 0,
        );
        (answer.await, start.elapsed().as_millis(), late.get())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_is_asked_when_one_fails() {
        assert_eq!(ask(&[(10, Err(1)), (10, Ok(2)), (0, Ok(3))]).await, (Ok(2), 20, 0));
        assert_eq!(ask(&[(10, Err(1)), (10, Err(2))]).await, (Err(Some(2)), 20, 0));
        assert_eq!(ask(&[]).await, (Err(None), 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_is_asked_when_one_is_late_and_the_first_answer_counts() {
        assert_eq!(ask(&[(30_000, Ok(1)), (30_000, Ok(2)), (10, Ok(3))]).await, (Ok(3), 2_010, 2));
        assert_eq!(ask(&[(1_500, Ok(1)), (30_000, Ok(2))]).await, (Ok(1), 1_500, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_has_its_time_and_the_late_ones_theirs() {
        assert_eq!(ask(&[(30_000, Ok(1)), (10, Err(2))]).await, (Ok(1), 30_000, 1));
        assert_eq!(ask(&[(30_000, Err(1)), (10, Err(2))]).await, (Err(Some(1)), 30_000, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_others_would_share_ends_it() {
        assert_eq!(ask(&[(10, Err(-1)), (10, Ok(2))]).await, (Err(Some(-1)), 10, 0));
    }
}
