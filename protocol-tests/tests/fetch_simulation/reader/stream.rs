//! An application that reads record by record, and drops its stream now and then.

use std::sync::Arc;
use std::time::Duration;

use ottla::Consumer;
use protocol_tests::simulation::dropping::drop_after;
use tokio::sync::oneshot;

use super::{CLOSE_TIMEOUT, Reader, SLACK};

/// Runs until it is told to close.
pub(super) async fn run(reader: &Arc<Reader>, mut consumer: Consumer, close: &mut oneshot::Receiver<()>) {
    let mut random = reader.fork_random();
    'streams: loop {
        let mut records = consumer.stream();
        let most = random.u32(1..500);
        for _ in 0..most {
            let polls = reader.polls_until_dropped(&mut random);
            let record = tokio::select! {
                biased; // what is waited for is dropped
                _ = &mut *close => break 'streams,
                record = drop_after(polls, records.next()) => record,
            };
            match record {
                Some(Some(Ok(record))) => {
                    reader.see_record(record.topic_partition(), record.offset(), record.value().map(AsRef::as_ref));
                    if random.u32(0..20) == 0 {
                        reader.look_at_memory();
                        reader.dawdle(&mut random).await;
                    }
                }
                Some(Some(Err(error))) => {
                    reader.told("a stream", &error);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Some(None) => break 'streams,
                None => tokio::time::sleep(Duration::from_millis(random.u64(1..20))).await,
            }
        }
    }
    let closing = consumer.close_within(CLOSE_TIMEOUT);
    if let Some(Err(error)) = reader.within(CLOSE_TIMEOUT + SLACK, "close", closing).await {
        reader.refused("close", &error);
    }
}
