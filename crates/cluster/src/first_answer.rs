//! Asking one after the other until one answers, without waiting long for any.
//!
//! A broker that hangs keeps its connections and answers nothing: it would be waited for until the request's time is up. So
//! the next is asked as soon as one has failed or is late, and the first answer counts.
//!
//! It may as well be the connection that leads nowhere: load balancers drop idle ones without a word, and then all at once. So
//! from the first that is late on, the others are asked over [new ones](Way::Anew), and so is that one, last.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// An answer that takes longer is late: whoever waits looks whether somebody else has it, or is to be asked by now.
///
/// Far above what a broker takes that is well, and below what a cluster takes to notice that one is not.
pub const LATE: Duration = Duration::from_secs(1);

/// Which connection somebody is asked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The one that there is, made if there is none.
    Kept,
    /// One that is made for it, and takes the place of that one.
    Anew,
}

/// Asks `candidates` in turn, at first over the connections that `way` says; `is_late` is told of each that has not answered when the next is asked. `ends` says of a failure
/// that nobody else would do better. What is asked is a question: it may be asked of several, and twice.
///
/// # Errors
///
/// The last failure, once everybody has failed; `None` where there was nobody to ask.
pub(crate) async fn first_answer<C: Copy, T, E, F: Future<Output = Result<T, E>>>(
    candidates: impl IntoIterator<Item = C>,
    mut way: Way,
    ask: impl Fn(C, Way) -> F,
    is_late: impl Fn(C),
    ends: impl Fn(&E) -> bool,
) -> Result<T, Option<E>> {
    let mut candidates: VecDeque<C> = candidates.into_iter().collect();
    let mut asked: Vec<Pin<Box<F>>> = Vec::new();
    let mut failure = None;
    loop {
        let candidate = candidates.pop_front();
        match candidate {
            Some(candidate) => asked.push(Box::pin(ask(candidate, way))),
            None if asked.is_empty() => return Err(failure),
            None => {}
        }
        let may_be_late = !candidates.is_empty() || (way == Way::Kept && candidate.is_some());
        tokio::select! {
            biased; // an answer first
            outcome = first_of(&mut asked) => match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) if ends(&error) => return Err(Some(error)),
                Err(error) => failure = Some(error),
            },
            () = tokio::time::sleep(LATE), if may_be_late => {
                candidate.into_iter().for_each(&is_late);
                if way == Way::Kept {
                    way = Way::Anew;
                    candidates.extend(candidate);
                }
            }
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

    /// Asks candidates that each take so many milliseconds over the connection that there is, none over a new one, and fail
    /// if they say so. Gives what came of it, after how long, and how many were late.
    async fn ask(candidates: &[(u64, Result<i32, i32>)]) -> (Result<i32, Option<i32>>, u128, usize) {
        let (start, late) = (Instant::now(), Cell::new(0));
        let answer = first_answer(
            candidates.iter().copied(),
            Way::Kept,
            |(milliseconds, outcome), way| async move {
                if way == Way::Kept {
                    sleep(Duration::from_millis(milliseconds)).await;
                }
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
    async fn the_next_is_asked_over_a_new_connection_when_one_is_late() {
        assert_eq!(ask(&[(30_000, Ok(1)), (30_000, Ok(2)), (10, Ok(3))]).await, (Ok(2), 1_000, 1));
        assert_eq!(ask(&[(10, Err(1)), (30_000, Ok(2)), (10, Err(3))]).await, (Ok(2), 1_010, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_is_late_is_asked_again_over_a_new_connection() {
        assert_eq!(ask(&[(30_000, Ok(1))]).await, (Ok(1), 1_000, 1));
        assert_eq!(ask(&[(30_000, Ok(1)), (10, Err(2))]).await, (Ok(1), 1_000, 1));
        assert_eq!(ask(&[(10, Err(1)), (30_000, Ok(2))]).await, (Ok(2), 1_010, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_again_over_a_new_connection_who_was_asked_over_one() {
        let ask = |milliseconds, _| async move {
            sleep(Duration::from_millis(milliseconds)).await;
            Err::<(), _>(milliseconds)
        };
        let start = Instant::now();
        assert_eq!(first_answer([30_000, 10], Way::Anew, ask, |_| (), |_| false).await, Err(Some(30_000)));
        assert_eq!(start.elapsed().as_millis(), 30_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_counts_whoever_gives_it() {
        // Nobody answers over a new connection.
        let ask = |milliseconds, way| async move {
            sleep(Duration::from_millis(if way == Way::Kept { milliseconds } else { 40_000 })).await;
            Ok::<_, ()>(milliseconds)
        };
        let start = Instant::now();
        assert_eq!(first_answer([1_500, 30_000], Way::Kept, ask, |_| (), |()| false).await, Ok(1_500));
        assert_eq!(start.elapsed().as_millis(), 1_500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_others_would_share_ends_it() {
        assert_eq!(ask(&[(10, Err(-1)), (10, Ok(2))]).await, (Err(Some(-1)), 10, 0));
    }
}
