//! Data that cannot be read is an error of its partition, at its place.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_consumer::{Consumer, Error, FetchError};
use ottla_wire::compression::Compression;
use ottla_wire::records::crc32c;

use tokio::time::Instant;

use crate::setup::{LONG, Seen, Setup, TOPIC, batch, partition};

/// Polls until partition 1 has been read to its end and partition 0 has failed, and returns how it failed.
async fn read_both(consumer: &mut Consumer, seen: &mut Seen) -> Error {
    let mut failure = None;
    while failure.is_none() || seen.0.get(&1).is_none_or(|offsets| offsets.len() < 30) {
        match consumer.poll(LONG).await {
            Ok(batches) => seen.take(&batches),
            Err(error) => failure = Some(error),
        }
    }
    failure.unwrap()
}

/// Partition 0 with `damaged` between two good batches, and partition 1 with three good ones.
async fn setup_with(damaged: Bytes) -> (Setup, Consumer) {
    let setup = Setup::start(1, 2).await;
    setup.append(0, 10).await;
    setup.append_bytes(0, damaged, 10).await;
    setup.append(0, 10).await;
    for _ in 0..3 {
        setup.append(1, 10).await;
    }
    let consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0), partition(1)]).unwrap();
    (setup, consumer)
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_a_wrong_crc_is_told_again_and_again_until_it_is_sought_past() {
    for compression in [Compression::None, Compression::Zstd] {
        let mut damaged = BytesMut::from(&batch(0, 10, 10, compression)[..]);
        *damaged.last_mut().unwrap() ^= 1;
        let (_setup, mut consumer) = setup_with(damaged.freeze()).await;
        let mut seen = Seen::default();
        for _ in 0..3 {
            let error = read_both(&mut consumer, &mut seen).await;
            assert_eq!(error.to_string(), "topic-0 has a corrupt batch at offset 10");
            assert_eq!((error.partition(), error.next_offset()), (Some(&partition(0)), Some(20)));
            assert!(std::error::Error::source(&error).is_some(), "it says what is wrong");
            assert_eq!(consumer.position(&partition(0)).await.unwrap(), 10);
        }
        assert_eq!(seen.0[&0], (0..10).collect::<Vec<_>>());
        consumer.seek(&partition(0), 20).unwrap();
        while seen.0[&0].len() < 20 {
            seen.take(&consumer.poll(LONG).await.unwrap());
        }
        assert_eq!(seen.0[&0][10..], (20..30).collect::<Vec<_>>());
        assert_eq!(seen.0[&1], (0..30).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_crc_that_is_not_to_be_checked_is_not() {
    let mut damaged = BytesMut::from(&batch(0, 10, 10, Compression::None)[..]);
    damaged[17] ^= 1; // of the CRC itself
    let (setup, _) = setup_with(damaged.freeze()).await;
    let mut consumer = setup.consumer().check_crcs(false).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    assert_eq!(crate::setup::read(&mut consumer, 30).await.0[&0], (0..30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_magic_that_does_not_exist_is_an_error_of_its_partition() {
    let mut damaged = BytesMut::from(&batch(0, 10, 10, Compression::None)[..]);
    damaged[16] = 9;
    let (_setup, mut consumer) = setup_with(damaged.freeze()).await;
    let mut seen = Seen::default();
    let error = read_both(&mut consumer, &mut seen).await;
    assert_eq!(error.to_string(), "topic-0 has a corrupt batch at offset 10");
    assert_eq!(seen.0[&0], (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_decompresses_to_too_much_is_an_error_of_its_partition() {
    let (setup, _) = setup_with(batch(0, 10, 10, Compression::Gzip)).await;
    let mut consumer = setup.consumer().max_decompressed_batch_bytes(50).build().unwrap();
    consumer.assign([partition(0), partition(1)]).unwrap();
    let error = read_both(&mut consumer, &mut Seen::default()).await;
    let Error::Fetch(FetchError::CorruptBatch { offset, next_offset, source, .. }) = error else { panic!("{error}") };
    assert_eq!((offset, next_offset), (10, Some(20)));
    assert!(source.to_string().contains("more than the 50 bytes"), "{source}");
}

#[tokio::test(start_paused = true)]
async fn the_position_stays_at_a_record_that_cannot_be_read() {
    // The fourth record's length says more than there is; the CRC is right.
    let mut damaged = BytesMut::from(&batch(0, 10, 10, Compression::None)[..]);
    let record = damaged.len() - 61;
    let record = record / 10;
    let at = 61 + 3 * record;
    damaged[at] = 0x7f;
    let crc = crc32c(&damaged[21..]);
    damaged[17..21].copy_from_slice(&crc.to_be_bytes());
    let (_setup, mut consumer) = setup_with(damaged.freeze()).await;
    for attempt in 0..3 {
        let mut offsets = Vec::new();
        let mut failure = None;
        while failure.is_none() {
            for batch in &consumer.poll(LONG).await.unwrap() {
                for record in batch.records() {
                    match record {
                        Ok(record) if batch.partition() == 0 => offsets.push(record.offset()),
                        Ok(_) => {}
                        Err(corrupt) => failure = Some(corrupt),
                    }
                }
            }
        }
        let corrupt = failure.unwrap();
        assert_eq!((corrupt.partition, corrupt.offset, corrupt.next_offset), (partition(0), 13, 20));
        assert_eq!(consumer.position(&partition(0)).await.unwrap(), 13);
        // What came behind it in the same poll is handed out again, because it may not be committed.
        let before: Vec<_> = offsets.into_iter().filter(|offset| *offset < 13).collect();
        let expected: Vec<i64> = if attempt == 0 { (0..13).collect() } else { Vec::new() };
        assert_eq!(before, expected);
    }
    consumer.seek(&partition(0), 20).unwrap();
    let mut seen = Seen::default();
    while seen.0.get(&0).is_none_or(|offsets| offsets.len() < 10) {
        seen.take(&consumer.poll(LONG).await.unwrap());
    }
    assert_eq!(seen.0[&0], (20..30).collect::<Vec<_>>());
}

/// A batch of ten, from offset 10 on, of which the fourth record cannot be read.
fn with_a_corrupt_record() -> Bytes {
    let mut damaged = BytesMut::from(&batch(0, 10, 10, Compression::None)[..]);
    let record = (damaged.len() - 61) / 10;
    damaged[61 + 3 * record] = 0x7f;
    let crc = crc32c(&damaged[21..]);
    damaged[17..21].copy_from_slice(&crc.to_be_bytes());
    damaged.freeze()
}

async fn setup_with_a_corrupt_record() -> Setup {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    setup.append_bytes(0, with_a_corrupt_record(), 10).await;
    setup.append(0, 10).await;
    setup
}

#[tokio::test(start_paused = true)]
async fn a_stream_does_not_get_past_a_record_that_cannot_be_read_before_it_is_sought() {
    let setup = setup_with_a_corrupt_record().await;
    let mut consumer = setup.member().build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let handle = consumer.handle();
    let mut records = consumer.stream();
    let mut offsets = Vec::new();
    for _ in 0..3 {
        let error = loop {
            match records.next().await.unwrap() {
                Ok(record) => {
                    offsets.push(record.offset());
                    assert!(handle.mark_processed(&record));
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, Error::Corrupt(corrupt) if corrupt.offset == 13), "{error}");
        assert_eq!(error.next_offset(), Some(20));
    }
    assert_eq!(offsets, (0..13).collect::<Vec<_>>());
    handle.commit_sync().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(13));
    handle.seek(&partition(0), 20).unwrap();
    assert_eq!(records.next().await.unwrap().unwrap().offset(), 20);
}

#[tokio::test(start_paused = true)]
async fn nor_does_a_partitions_stream() {
    let setup = setup_with_a_corrupt_record().await;
    let consumer = setup.member().auto_commit_interval(Duration::from_secs(1)).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let handle = consumer.handle();
    let mut streams = consumer.into_partition_streams();
    let mut stream = streams.next().await.unwrap();
    let driver = tokio::spawn(async move { streams.next().await.map(|_| ()) });
    let (mut offsets, mut failures) = (Vec::new(), 0);
    let began = Instant::now();
    while failures < 5 {
        for record in stream.next().await.unwrap().unwrap().records() {
            match record {
                Ok(record) => offsets.push(record.offset()),
                Err(corrupt) => {
                    assert_eq!(corrupt.offset, 13);
                    failures += 1;
                }
            }
        }
    }
    assert_eq!(offsets, (0..13).collect::<Vec<_>>());
    assert!(began.elapsed() > Duration::from_secs(1), "it is tried again with back-off: {:?}", began.elapsed());
    stream.commit_sync().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(13));
    handle.seek(&partition(0), 20).unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().start_offset(), 20);
    driver.abort();
}
