//! Writing and reading plain records through the client.

use std::time::Duration;

use ottla::{AutoOffsetReset, Client, Consumer, Producer, ProducerRecord, RecordMetadata, StartAt, TopicPartition};

use crate::record::PlainRecord;

/// The longest that a case waits for records that must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// The record as the producer takes it.
pub(super) fn to_send<'a>(topic: &'a str, record: &'a PlainRecord) -> ProducerRecord<'a> {
    let mut sent = ProducerRecord::new(topic);
    if let Some(partition) = record.partition {
        sent = sent.partition(partition);
    }
    if let Some(timestamp_ms) = record.timestamp_ms {
        sent = sent.timestamp_ms(timestamp_ms);
    }
    if let Some(key) = &record.key {
        sent = sent.key(key);
    }
    if let Some(value) = &record.value {
        sent = sent.value(value);
    }
    for (name, value) in &record.headers {
        sent = match value {
            Some(value) => sent.header(name, value),
            None => sent.null_header(name),
        };
    }
    sent
}

/// Enqueues every record, then waits for all to be acknowledged. The answers are in the records' order.
pub async fn send_all(producer: &Producer, topic: &str, records: &[PlainRecord]) -> Vec<RecordMetadata> {
    let mut handles = Vec::with_capacity(records.len());
    for record in records {
        handles.push(producer.enqueue(to_send(topic, record)).await.expect("the record is taken"));
    }
    let mut metadata = Vec::with_capacity(handles.len());
    for handle in handles {
        metadata.push(handle.await.expect("the record is acknowledged"));
    }
    metadata
}

/// Polls until `count` records have come, and fails when they do not within a minute. What is more is returned, too.
pub async fn read(consumer: &mut Consumer, count: usize) -> Vec<PlainRecord> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} of {count} records came within {PATIENCE:?}",
            records.len()
        );
        let batches = consumer.poll(Duration::from_millis(500)).await.expect("nothing fails while reading");
        take(&batches, &mut records);
    }
    records
}

/// The records of the batches, appended.
pub(super) fn take(batches: &ottla::Batches, records: &mut Vec<PlainRecord>) {
    for batch in batches {
        let partition = batch.partition();
        for record in batch.records() {
            let record = record.expect("the record is whole");
            records.push(PlainRecord {
                partition: Some(partition),
                offset: Some(record.offset()),
                timestamp_ms: Some(record.timestamp()),
                key: record.key().map(<[u8]>::to_vec),
                value: record.value().map(<[u8]>::to_vec),
                headers: record
                    .headers()
                    .map(|header| (header.key().into_owned(), header.value().map(<[u8]>::to_vec)))
                    .collect(),
            });
        }
    }
}

/// The first `count` records of a partition, in a consumer of its own.
pub async fn read_from_start(client: &Client, topic: &str, partition: i32, count: usize) -> Vec<PlainRecord> {
    let mut consumer = client
        .consumer()
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .build()
        .expect("the consumer's settings are valid");
    consumer
        .assign_at([(TopicPartition::new(topic, partition), StartAt::Earliest)])
        .expect("the partition is assigned");
    let records = read(&mut consumer, count).await;
    consumer.close().await.expect("the consumer closes");
    records
}

/// The records of a partition among those of several.
pub(super) fn of_partition(records: &[PlainRecord], partition: i32) -> Vec<PlainRecord> {
    records.iter().filter(|record| record.partition == Some(partition)).cloned().collect()
}

/// Contents without offsets and times.
pub(super) fn contents(records: &[PlainRecord]) -> Vec<PlainRecord> {
    records.iter().map(PlainRecord::content).collect()
}
