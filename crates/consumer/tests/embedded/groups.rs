//! A consumer that is the only member of its group.

use std::time::Duration;

use ottla_consumer::Consumer;

use crate::setup::{LONG, Seen, Setup, TOPIC, partition};

fn member(setup: &Setup) -> Consumer {
    let consumer = setup.consumer().group_id("readers").auto_commit_interval(Duration::from_secs(5)).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    consumer
}

#[tokio::test(start_paused = true)]
async fn partition_streams_begin_with_the_first_record_of_an_assignment() {
    let setup = Setup::start(1, 4).await;
    for index in 0..4 {
        setup.append(index, 3).await;
    }
    let mut streams = member(&setup).into_partition_streams();
    let mut seen = Seen::default();
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(streams.next().await.unwrap());
    }
    for reader in &mut readers {
        let batch = tokio::select! {
            batch = reader.next() => batch.unwrap().unwrap(),
            _ = streams.next() => panic!("there are four partitions"),
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("nothing comes"),
        };
        assert_eq!(batch.start_offset(), 0, "of {}", batch.topic_partition());
        let offsets = batch.records().map(|record| record.unwrap().offset());
        seen.0.insert(batch.partition(), offsets.collect());
    }
    seen.assert_complete(4, 3);
}

#[tokio::test(start_paused = true)]
async fn an_automatic_commit_follows_one_that_was_late_although_the_poll_goes_on() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 1).await;
    let mut consumer = member(&setup);
    let mut seen = Seen::default();
    seen.take(&consumer.poll(LONG).await.unwrap());
    // The first commit is under way when the next record is handed out and when the next commit is due.
    let slow = ottla_broker::Fault::delay(Duration::from_secs(8)).on_api(ottla_wire::ApiKey::OffsetCommit);
    setup.embedded.faults().inject(slow);
    assert!(consumer.poll(Duration::from_secs(6)).await.unwrap().is_empty());
    setup.append(0, 1).await;
    seen.take(&consumer.poll(LONG).await.unwrap());
    assert_eq!(seen.count(), 2);
    assert!(consumer.poll(Duration::from_secs(20)).await.unwrap().is_empty());
    let committed = setup.embedded.committed_offsets("readers").await.unwrap();
    assert_eq!(committed[&partition(0)].offset, 2);
}
