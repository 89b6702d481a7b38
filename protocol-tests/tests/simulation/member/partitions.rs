//! An application that leaves the loop to `run`, and reads each partition in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ottla::consumer::Error;
use ottla::consumer::HandlerResult;
use ottla::{Consumer, ConsumerHandle, PartitionStream};
use protocol_tests::simulation::dropping::drop_after;
use tokio::sync::{mpsc, oneshot};

use super::{Command, Member, SLACK};

/// Runs until it is told to close; how it ended.
pub(super) async fn run(
    member: &Arc<Member>,
    consumer: Consumer,
    mut orders: mpsc::UnboundedReceiver<Command>,
    automatic: bool,
) -> &'static str {
    let (handle, mut random) = (consumer.handle(), member.fork_random());
    let (cancel, cancelled) = oneshot::channel::<()>();
    let cancelled = async {
        // An error is as good.
        let _ = cancelled.await;
    };
    let reader = Arc::clone(member);
    let running = consumer.run(cancelled, move |partition| {
        let random = reader.fork_random();
        read(Arc::clone(&reader), partition, random, automatic)
    });
    tokio::pin!(running);
    loop {
        tokio::select! {
            biased; // orders first
            order = orders.recv() => match order {
                Some(Command::Close { calm }) => {
                    drop(cancel);
                    let limit = member.timing.partition_drain_timeout + RUN_CLOSE + SLACK;
                    let closed = member.within(limit, "run", running).await;
                    return member.note_closed(closed, calm);
                }
                Some(order) => obey(member, &handle, order),
                None => return "forgotten",
            },
            ended = &mut running => return give_up(member, ended),
        }
        // Whoever drops `next_error` has dropped nothing.
        let _ = drop_after(random.u32(0..2), handle.next_error()).await;
    }
}

fn obey(member: &Member, handle: &ConsumerHandle, order: Command) {
    match order {
        // Done when a reader has been slow.
        Command::Slow { lasting } => return member.orders.replace_slow(Some(lasting)),
        Command::Quick => member.orders.replace_slow(None),
        Command::Subscribe { topics } => member.subscribe(handle, &topics),
        Command::EnforceRebalance => {
            if let Err(error) = handle.enforce_rebalance("for a change") {
                member.failed("enforce_rebalance", &error);
            }
        }
        // A consumer that `run` has cannot unsubscribe; a seek would leave what is queued; closing is the loop's.
        Command::Resubscribe { .. } | Command::SeekBack | Command::Close { .. } => {}
    }
    member.orders.done();
}

/// `run` ends by itself only for good reason.
fn give_up(member: &Member, ended: Result<(), Error>) -> &'static str {
    match ended {
        Ok(()) => "ended by itself",
        Err(error) => member.given_up("run", &error),
    }
}

async fn read(member: Arc<Member>, mut partition: PartitionStream, mut random: Rng, automatic: bool) -> HandlerResult {
    loop {
        let drops = random.u32(0..100) < member.plan.drops_percent;
        let polls = if drops { random.u32(0..3) } else { u32::MAX };
        let batch = match drop_after(polls, partition.next()).await {
            Some(Some(Ok(batch))) => batch,
            Some(Some(Err(error))) => {
                member.failed("a partition", &error);
                continue;
            }
            Some(None) => return Ok(()),
            None => {
                tokio::time::sleep(Duration::from_millis(random.u64(1..20))).await;
                continue;
            }
        };
        member.handed(&batch);
        member.orders.be_slow().await;
        member.process(&batch, &mut random).await;
        if !automatic {
            partition.come_back();
            commit(&member, &partition).await;
        }
    }
}

/// By the stream, which refuses once its partition has been given up.
async fn commit(member: &Member, partition: &PartitionStream) {
    let committing = partition.commit_sync();
    if let Some(Err(error)) = member.within(member.commit_limit(), "a stream's commit_sync", committing).await {
        member.failed("a stream's commit_sync", &error);
    }
}

/// How long `run` takes to close at the most, beside what it gives its readers.
const RUN_CLOSE: Duration = Duration::from_secs(30);
