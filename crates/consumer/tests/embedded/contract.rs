//! Positions, seek, pause and resume.

use std::time::Duration;

use ottla_consumer::{StartAt, TopicPartition};
use ottla_wire::ApiKey;
use ottla_wire::{ErrorCode, NodeId};

use crate::setup::{LONG, Seen, Setup, partition, read};

#[tokio::test(start_paused = true)]
async fn a_batch_is_come_back_from_when_its_iterator_ends_or_the_next_poll_begins() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    setup.append(0, 10).await;
    let mut consumer = setup.consumer().max_poll_bytes(1).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let here = partition(0);
    let progress = |consumer: &ottla_consumer::Consumer| {
        (consumer.position_now(&here).unwrap(), consumer.completed(&here).unwrap())
    };

    let batches = consumer.poll(LONG).await.unwrap();
    assert_eq!(batches.len(), 1);
    assert_eq!(progress(&consumer), (Some(0), Some(0)));
    for batch in &batches {
        for record in batch.records().take(4) {
            let offset = record.unwrap().offset();
            assert_eq!(consumer.position_now(&here).unwrap(), Some(offset + 1));
        }
    }
    assert_eq!(progress(&consumer), (Some(4), Some(0)), "left early: the position is behind the last record");

    let batches = consumer.poll(LONG).await.unwrap();
    assert_eq!(progress(&consumer), (Some(10), Some(10)), "the next poll began");
    Seen::default().take(&batches);
    assert_eq!(progress(&consumer), (Some(20), Some(20)), "the iterator ended");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_topic_that_does_not_exist_says_so_within_the_consumers_own_time_out() {
    let setup = Setup::start(1, 1).await;
    let timeout = Duration::from_secs(3);
    let consumer = setup.consumer().default_api_timeout(timeout).build().unwrap();
    let says_so = |error: ottla_consumer::Error, began: tokio::time::Instant| {
        assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition), "{error}");
        assert!(error.to_string().contains("topic nowhere"), "{error}");
        assert!(began.elapsed() <= timeout + Duration::from_millis(10), "after {:?}", began.elapsed());
    };
    let nowhere = TopicPartition::new("nowhere", 0);

    let began = tokio::time::Instant::now();
    says_so(consumer.assign_topic("nowhere").await.unwrap_err(), began);
    consumer.assign([nowhere.clone()]).unwrap();
    let began = tokio::time::Instant::now();
    says_so(consumer.position(&nowhere).await.unwrap_err(), began);
    let began = tokio::time::Instant::now();
    says_so(consumer.end_offsets([nowhere]).await.unwrap_err(), began);
}

#[tokio::test(start_paused = true)]
async fn batches_may_be_held_and_sent_while_the_consumer_is_used() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let batches = consumer.poll(LONG).await.unwrap();
    let owned = {
        let batch = batches.iter().next().unwrap();
        let record = batch.records().nth(3).unwrap().unwrap();
        consumer.seek(batch.topic_partition(), 8).unwrap();
        consumer.pause([batch.topic_partition()]).unwrap();
        batch.to_owned_record(&record)
    };
    consumer.close().await.unwrap();
    let read = tokio::spawn(async move {
        let mut seen = Seen::default();
        seen.take(&batches);
        seen
    });
    assert_eq!(read.await.unwrap().count(), 10);
    assert_eq!((owned.offset(), &owned.value().unwrap()[..]), (3, &b"0 at 3"[..]));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_before_a_seek_appears_after_it() {
    let setup = Setup::start(1, 2).await;
    for _ in 0..10 {
        setup.append(0, 10).await;
        setup.append(1, 10).await;
    }
    let mut consumer = setup.consumer().max_poll_bytes(1).build().unwrap();
    consumer.assign([partition(0), partition(1)]).unwrap();
    let first = consumer.poll(LONG).await.unwrap();
    let first = first.iter().next().unwrap().topic_partition().clone();
    consumer.seek(&first, 95).unwrap();
    assert_eq!(consumer.position(&first).await.unwrap(), 95);
    let mut seen = Seen::default();
    while seen.0.get(&first.partition).is_none_or(|offsets| offsets.len() < 5) || seen.count() < 105 {
        seen.take(&consumer.poll(LONG).await.unwrap());
    }
    assert_eq!(seen.0[&first.partition], [95, 96, 97, 98, 99]);
    assert_eq!(seen.0[&(1 - first.partition)], (0..100).collect::<Vec<_>>(), "the other partition is not touched");

    consumer.seek_to(&first, StartAt::Earliest).unwrap();
    assert_eq!(read(&mut consumer, 100).await.0[&first.partition], (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn pause_keeps_what_is_buffered_and_resume_does_not_fetch_it_again() {
    let setup = Setup::start(1, 2).await;
    for _ in 0..10 {
        setup.append(0, 10).await;
        setup.append(1, 10).await;
    }
    let mut consumer = setup.consumer().max_poll_bytes(1).build().unwrap();
    consumer.assign([partition(0), partition(1)]).unwrap();
    let mut seen = Seen::default();
    while seen.0.get(&0).is_none_or(Vec::is_empty) {
        seen.take(&consumer.poll(LONG).await.unwrap());
    }
    consumer.pause([&partition(0)]).unwrap();
    assert_eq!(consumer.paused(), [partition(0)].into());
    let paused_at = seen.0[&0].len();
    loop {
        let batches = consumer.poll(Duration::from_secs(2)).await.unwrap();
        if batches.is_empty() {
            break;
        }
        seen.take(&batches);
    }
    assert_eq!(seen.0[&0].len(), paused_at, "a paused partition was handed out");
    assert_eq!(seen.0[&1].len(), 100);
    let before = setup.embedded.faults().requests(NodeId(0), ApiKey::Fetch);
    consumer.resume([&partition(0)]).unwrap();
    while seen.count() < 200 {
        // Without waiting: it is there.
        let batches = consumer.poll(Duration::ZERO).await.unwrap();
        assert!(!batches.is_empty());
        seen.take(&batches);
    }
    assert!(setup.embedded.faults().requests(NodeId(0), ApiKey::Fetch) <= before + 2);
    seen.assert_complete(2, 100);
}

#[tokio::test(start_paused = true)]
async fn assigning_anew_keeps_the_position_of_what_stays_and_drops_what_goes() {
    let setup = Setup::start(1, 3).await;
    for index in 0..3 {
        for _ in 0..5 {
            setup.append(index, 10).await;
        }
    }
    let mut consumer = setup.consumer().max_poll_bytes(1).build().unwrap();
    consumer.assign([partition(0), partition(1)]).unwrap();
    let mut seen = Seen::default();
    while seen.0.get(&0).is_none_or(Vec::is_empty) {
        seen.take(&consumer.poll(LONG).await.unwrap());
    }
    consumer.assign([partition(0), partition(2)]).unwrap();
    seen.0.remove(&1);
    while seen.count() < 100 {
        seen.take(&consumer.poll(LONG).await.unwrap());
    }
    assert_eq!(seen.0.keys().copied().collect::<Vec<_>>(), [0, 2]);
    assert_eq!(seen.0[&0], (0..50).collect::<Vec<_>>());
    assert_eq!(seen.0[&2], (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_assigned_is_named() {
    let setup = Setup::start(1, 1).await;
    let consumer = setup.consumer().build().unwrap();
    let stranger = TopicPartition::new("stranger", 7);
    assert_eq!(consumer.seek(&stranger, 0).unwrap_err().to_string(), "stranger-7 is not assigned");
    assert_eq!(consumer.pause([&stranger]).unwrap_err().to_string(), "stranger-7 is not assigned");
    assert_eq!(consumer.position(&stranger).await.unwrap_err().to_string(), "stranger-7 is not assigned");
    consumer.assign([partition(0)]).unwrap();
    let error = consumer.seek(&partition(0), -1).unwrap_err();
    assert_eq!(error.to_string(), "topic-0 cannot be read from offset -1");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_is_refused_and_the_assignment_stays() {
    let setup = Setup::start(1, 1).await;
    let consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let refused = consumer.assign([partition(0), partition(-1)]).unwrap_err();
    assert_eq!(refused.to_string(), format!("{} has no partition -1", partition(0).topic));
    assert!(!refused.is_retriable());
    assert_eq!(consumer.assignment().into_iter().collect::<Vec<_>>(), [partition(0)]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_partition_that_is_assigned_at_another_offset_stays_paused_and_says_so() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 5).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    consumer.pause([&partition(0)]).unwrap();
    consumer.assign_at([(partition(0), StartAt::Offset(2))]).unwrap();
    assert_eq!(consumer.paused(), [partition(0)].into());
    assert!(consumer.poll(Duration::from_secs(10)).await.unwrap().is_empty());
    consumer.resume([&partition(0)]).unwrap();
    let batches = consumer.poll(LONG).await.unwrap();
    assert_eq!(batches.iter().map(ottla_consumer::Batch::start_offset).collect::<Vec<_>>(), [2]);
}
