//! A poll that is dropped loses nothing, wherever it was.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::setup::{LONG, Seen, Setup};

#[tokio::test(start_paused = true)]
async fn dropping_a_poll_at_any_of_its_awaits_loses_nothing() {
    let setup = Setup::start(2, 4).await;
    for index in 0..4 {
        for _ in 0..25 {
            setup.append(index, 4).await;
        }
    }
    for polls in 0..6 {
        let mut consumer = setup.consumer().max_poll_bytes(1).build().unwrap();
        consumer.assign_topic("topic").await.unwrap();
        let mut seen = Seen::default();
        while seen.count() < 400 {
            {
                let mut poll = pin!(consumer.poll(LONG));
                let mut finished = None;
                for _ in 0..polls {
                    if let Poll::Ready(batches) = poll.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        finished = Some(batches.unwrap());
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                if let Some(batches) = finished {
                    seen.take(&batches);
                }
            }
            seen.take(&consumer.poll(LONG).await.unwrap());
        }
        seen.assert_complete(4, 100);
    }
}
