//! An application that leaves the loop to `run`, and reads each partition in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use ottla::consumer::HandlerResult;
use ottla::{Consumer, PartitionStream};
use protocol_tests::simulation::dropping::drop_after;
use tokio::sync::oneshot;

use super::Reader;

/// Runs until it is told to close.
pub(super) async fn run(reader: &Arc<Reader>, consumer: Consumer, close: &mut oneshot::Receiver<()>) {
    let (of_each, told) = (Arc::clone(reader), async {
        // An error is as good.
        let _ = close.await;
    });
    let ended = consumer.run(told, move |partition| read(Arc::clone(&of_each), partition)).await;
    if let Err(error) = ended {
        reader.refused("run", &error);
    }
}

async fn read(reader: Arc<Reader>, mut partition: PartitionStream) -> HandlerResult {
    let mut random = reader.fork_random();
    loop {
        let polls = reader.polls_until_dropped(&mut random);
        match drop_after(polls, partition.next()).await {
            Some(Some(Ok(batch))) => {
                reader.see(&batch);
                reader.look_at_memory();
                reader.dawdle(&mut random).await;
            }
            Some(Some(Err(error))) => {
                reader.told("a partition's stream", &error);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Some(None) => return Ok(()),
            None => tokio::time::sleep(Duration::from_millis(random.u64(1..20))).await,
        }
    }
}
