//! Writes messages of one size and waits for the answer to each.

use std::collections::VecDeque;
use std::time::Duration;

use ottla::{Acks, Client, Compression, ProducerRecord};
use ottla_benches::{PAYLOAD_SEED, Payload};

use crate::arguments::{Acknowledgements, Produce};
use crate::report::{Run, Tally};
use ottla_benches::Failure;

/// How many answers may be outstanding before the oldest is waited for. More than the producer's memory holds
/// records, so this bounds the handles and never holds back a record.
const MAX_OUTSTANDING: usize = 1_000_000;

/// What a request may hold at least: the default, which is too little for larger batches.
const LEAST_REQUEST_BYTES: usize = 1024 * 1024;

/// The line of the run.
pub(crate) async fn run(arguments: &Produce) -> Result<String, Failure> {
    let mut run = Run::start("produce", format!("{:?}", arguments.compression).to_lowercase())?;
    let client = Client::builder().bootstrap_servers(&arguments.target.brokers).client_id("ottla-bench").build()?;
    let producer = client
        .producer()
        .acks(acks(arguments.acks))
        .linger(Duration::from_millis(arguments.linger_ms))
        .batch_size(arguments.batch_bytes)
        .max_request_size(arguments.batch_bytes.max(LEAST_REQUEST_BYTES))
        .compression(Compression::from(arguments.compression))
        .build()?;

    let mut tally = Tally::default();
    let mut failures = 0;
    let mut outstanding = VecDeque::new();
    let mut payload = Payload::new(arguments.size, PAYLOAD_SEED);
    let same = arguments.same.then(|| payload.next_value().to_vec());
    for number in 0..arguments.target.messages {
        let value = same.as_deref().unwrap_or_else(|| payload.next_value());
        tally.add(None, Some(value));
        let mut record = ProducerRecord::new(arguments.target.topic.as_str()).value(value);
        if let Some(partitions) = arguments.partitions {
            record = record.partition((number / arguments.chunk % u64::from(partitions)) as i32);
        }
        outstanding.push_back(producer.enqueue(record).await?);
        run.first()?;
        if outstanding.len() > MAX_OUTSTANDING
            && let Some(oldest) = outstanding.pop_front()
        {
            failures += u64::from(oldest.await.is_err());
        }
    }
    producer.flush().await?;
    for handle in outstanding {
        failures += u64::from(handle.await.is_err());
    }
    let line = run.finish(tally, failures)?;
    producer.close(Duration::from_secs(10)).await;
    Ok(line)
}

fn acks(acknowledgements: Acknowledgements) -> Acks {
    match acknowledgements {
        Acknowledgements::All => Acks::All,
        Acknowledgements::Leader => Acks::Leader,
        Acknowledgements::None => Acks::None,
    }
}
