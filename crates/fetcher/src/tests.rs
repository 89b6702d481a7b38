//! The machine as a whole: what is asked of whom and when, and what an answer changes. No I/O, and the time as it is
//! told.

#![allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use ottla_cluster::{Backoff, Leader};
use ottla_wire::compression::{Compression, Compressor};
use ottla_wire::messages::{
    AbortedTransaction, FetchPartitionData, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
};
use ottla_wire::records::{BatchBuilder, ProducerState};
use ottla_wire::{ErrorCode, LeaderEpoch, Message, NodeId, ProducerId, TopicId, TopicPartition, Writer};

use crate::answer::{Hints, read};
use crate::buffer_pool::{BufferPool, Usage};
use crate::hand_out::Taken;
use crate::opener::Opener;
use crate::plan::{Fetch, Lane, NextFetch};
use crate::position::Phase;
use crate::state::State;
use crate::{AutoOffsetReset, Error, FetcherConfig, IsolationLevel, Lookup, StartAt};

mod memory;
mod nothing_before;
mod recreation;
mod replica;
mod sessions;
mod silence;
mod validation;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const MILLISECOND: Duration = Duration::from_millis(1);
const VERSION: i16 = 12;

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new("topic", partition)
}

/// A state with so many partitions at offset 0, led by node 1.
fn state(partitions: i32, config: FetcherConfig) -> State {
    let random = Rng::with_seed(1);
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), random);
    let mut state = State::new(config, backoff);
    let at_0 = (0..partitions).map(|partition| (name(partition), Some(StartAt::Offset(0)))).collect();
    state.assign(at_0, &ottla_cluster::Metadata::default());
    for partition in 0..partitions {
        lead(&mut state, partition, ONE);
    }
    state
}

/// As metadata would have it.
fn lead(state: &mut State, partition: i32, node: NodeId) {
    let place = state.places[&name(partition)];
    state.partition_mut(place).unwrap().set_leader(Some(Leader { node, epoch: Some(LeaderEpoch(3)) }));
}

fn next(state: &mut State, lane: Lane, now: Instant) -> NextFetch {
    state.next_fetch(ONE, lane, now, Usage::default())
}

fn send(state: &mut State, lane: Lane, now: Instant) -> Box<Fetch> {
    match next(state, lane, now) {
        NextFetch::Send(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

/// The partitions and offsets that a Fetch asks for.
fn asked(fetch: &Fetch) -> Vec<(i32, i64)> {
    let partitions = fetch.request.request.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect()
}

fn batch(first: i64, records: u32, producer: ProducerState) -> Bytes {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.append(0, None, Some(b"value"), []).unwrap();
    }
    let bytes = builder.build(&mut Compressor::new(Compression::None), producer).unwrap();
    let mut batches = ottla_wire::records::RecordBatches::new(bytes);
    batches.next().unwrap().unwrap().assign_offsets(first, 3).unwrap().into_bytes()
}

fn data(partition: i32, records: &[Bytes]) -> FetchPartitionData {
    FetchPartitionData {
        partition_index: partition,
        high_watermark: 100,
        records: Some(records.concat().into()),
        ..FetchPartitionData::default()
    }
}

fn refused(partition: i32, error_code: ErrorCode) -> FetchPartitionData {
    FetchPartitionData { error_code, ..data(partition, &[]) }
}

fn answer(state: &mut State, fetch: &Fetch, partitions: Vec<FetchPartitionData>, now: Instant) -> Hints {
    let topic = FetchableTopicResponse { topic: "topic".to_owned(), topic_id: TopicId::NONE, partitions };
    let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
    answer_whole(state, fetch, &response, now)
}

fn answer_whole(state: &mut State, fetch: &Fetch, response: &FetchResponse, now: Instant) -> Hints {
    let mut writer = Writer::new();
    response.encode(&mut writer, VERSION).unwrap();
    let read = read(state.config.isolation_level, VERSION, writer.into_bytes()).unwrap();
    state.handle_answer(fetch, read, now)
}

/// All that can be handed out: the offsets by partition.
fn hand_out(state: &mut State, now: Instant) -> Result<BTreeMap<i32, Vec<i64>>, Error> {
    state.begin_poll(now);
    let entries = match state.take(usize::MAX) {
        Taken::Nothing => return Ok(BTreeMap::new()),
        Taken::Failure(error) => return Err(error),
        Taken::Entries(entries) => entries,
    };
    let mut opener = Opener::new(&state.config, &BufferPool::new(1 << 20));
    let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for batch in &state.hand_out(opener.open(entries), now) {
        let read = batch.records().map(|record| record.unwrap().offset());
        offsets.entry(batch.partition()).or_default().extend(read);
    }
    Ok(offsets)
}

fn none() -> ProducerState {
    ProducerState::default()
}

#[test]
fn the_next_fetch_asks_from_behind_the_answer_before_its_records_are_used() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let first = send(&mut state, Lane::Main, now);
    assert_eq!(asked(&first), [(0, 0), (1, 0)]);
    let request = &first.request.request;
    assert_eq!((request.max_wait_ms, request.min_bytes), (500, 1));
    assert_eq!(request.max_bytes, 2 << 20, "what is worth it, where nothing is known of the broker");
    let partition = &request.topics[0].partitions[0];
    assert_eq!((partition.current_leader_epoch, partition.partition_max_bytes), (LeaderEpoch(3), 1 << 20));
    assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::Wait(None)), "all are in flight");

    answer(&mut state, &first, vec![data(0, &[batch(0, 5, none()), batch(5, 5, none())]), data(1, &[])], now);
    let second = send(&mut state, Lane::Main, now);
    assert_eq!(asked(&second), [(1, 0), (0, 10)], "who has brought records comes last");
    assert_eq!(hand_out(&mut state, now).unwrap()[&0], (0..10).collect::<Vec<_>>());
}

#[test]
fn a_batch_cut_at_the_end_is_fetched_again_and_one_before_the_position_is_no_step_back() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    state.seek(&name(0), StartAt::Offset(3)).unwrap();
    let fetch = send(&mut state, Lane::Main, now);
    let cut = batch(5, 5, none());
    let records = [batch(0, 5, none()), cut.slice(..cut.len() - 1)];
    answer(&mut state, &fetch, vec![data(0, &records)], now);
    assert_eq!(asked(&send(&mut state, Lane::Main, now)), [(0, 5)]);
    assert_eq!(hand_out(&mut state, now).unwrap()[&0], [3, 4]);
}

#[test]
fn an_answer_after_a_seek_changes_nothing() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let old = send(&mut state, Lane::Main, now);
    state.seek(&name(0), StartAt::Offset(50)).unwrap();
    answer(&mut state, &old, vec![data(0, &[batch(0, 5, none())])], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(asked(&send(&mut state, Lane::Main, now)), [(0, 50)]);
}

#[test]
fn what_was_looked_up_for_an_earlier_course_starts_no_later_one() {
    let mut state = state(0, FetcherConfig::default());
    let metadata = ottla_cluster::Metadata::default();
    let assign = |state: &mut State, start| state.assign([(name(0), Some(start))].into(), &metadata);
    assign(&mut state, StartAt::Committed);
    let first = state.awaiting()[&name(0)];
    // Given up, and assigned again when another had read on from there.
    state.assign(BTreeMap::new(), &metadata);
    assert!(!state.start_awaited(&name(0), first, StartAt::Offset(1)), "it is gone");
    assign(&mut state, StartAt::Committed);
    assert!(!state.start_awaited(&name(0), first, StartAt::Offset(1)));
    let second = state.awaiting()[&name(0)];
    assert_ne!(second, first);
    // Sought to where something is committed by now.
    state.seek(&name(0), StartAt::Committed).unwrap();
    assert!(!state.start_awaited(&name(0), second, StartAt::Offset(1)));
    let third = state.awaiting()[&name(0)];
    assert!(state.start_awaited(&name(0), third, StartAt::Offset(2)));
    assert_eq!(state.position(&name(0)).unwrap(), Some(2));
    assert!(!state.start_awaited(&name(0), third, StartAt::Offset(3)), "it has been started");
    assert!(state.awaiting().is_empty());
}

#[test]
fn a_partition_that_comes_late_goes_aside_and_joins_when_the_main_lane_is_back() {
    let (mut state, start) = (state(2, FetcherConfig::default()), Instant::now());
    state.pause(&name(1)).unwrap();
    let main = send(&mut state, Lane::Main, start);
    assert_eq!(asked(&main), [(0, 0)]);
    state.resume(&name(1)).unwrap();

    let parked = start + 5 * MILLISECOND;
    assert!(matches!(next(&mut state, Lane::Aside, start), NextFetch::Wait(Some(until)) if until == parked));
    let aside = send(&mut state, Lane::Aside, parked);
    assert_eq!((asked(&aside), aside.request.request.max_wait_ms), (vec![(1, 0)], 25));
    answer(&mut state, &aside, vec![data(1, &[])], parked + 25 * MILLISECOND);

    // Shortly before the main lane is due it is better to join it, unless that is late.
    let late = start + 530 * MILLISECOND;
    let before = start + 496 * MILLISECOND;
    assert!(matches!(next(&mut state, Lane::Aside, before), NextFetch::Wait(Some(until)) if until == late));
    answer(&mut state, &main, vec![data(0, &[])], start + 500 * MILLISECOND);
    assert_eq!(asked(&send(&mut state, Lane::Main, start + 500 * MILLISECOND)), [(0, 0), (1, 0)]);
    assert!(matches!(next(&mut state, Lane::Aside, start + 500 * MILLISECOND), NextFetch::Wait(_)));
}

#[test]
fn the_main_lane_is_told_when_what_it_found_in_flight_aside_is_answered() {
    let (mut state, start) = (state(1, FetcherConfig::default()), Instant::now());
    let main = send(&mut state, Lane::Main, start);
    state.seek(&name(0), StartAt::Offset(7)).unwrap();
    let aside = send(&mut state, Lane::Aside, start + 490 * MILLISECOND);
    let back = start + 500 * MILLISECOND;
    assert!(!answer(&mut state, &main, vec![data(0, &[])], back).is_for_others);
    assert!(matches!(next(&mut state, Lane::Main, back), NextFetch::Wait(None)));
    assert!(answer(&mut state, &aside, vec![data(0, &[])], back).is_for_others);
    assert_eq!(asked(&send(&mut state, Lane::Main, back)), [(0, 7)]);
}

#[test]
fn what_goes_away_by_itself_is_tried_again_after_the_back_off() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    let moved = FetchPartitionData {
        current_leader: LeaderIdAndEpoch { leader_id: TWO, leader_epoch: LeaderEpoch(4) },
        ..refused(0, ErrorCode::NotLeaderOrFollower)
    };
    let hints = answer(&mut state, &fetch, vec![moved, data(1, &[])], now);
    assert_eq!(hints.leaders, [(name(0), Leader { node: TWO, epoch: Some(LeaderEpoch(4)) })]);
    assert!(hints.is_for_others);
    assert_eq!(state.stale_topics.iter().map(Arc::as_ref).collect::<Vec<&str>>(), ["topic"]);
    assert!(state.buffered.is_empty(), "the application need not know");
    let other = send(&mut state, Lane::Main, now);
    assert_eq!(asked(&other), [(1, 0)], "the other goes on");
    answer(&mut state, &other, vec![data(1, &[])], now);

    let place = state.places[&name(0)];
    let due = state.partition(place).unwrap().not_before.unwrap();
    assert!((80..=120).contains(&(due - now).as_millis()), "{:?}", due - now);
    assert_eq!(asked(&send(&mut state, Lane::Main, due)).len(), 2);
}

#[test]
fn a_new_leader_is_asked_at_once_and_the_old_ones_answer_no_longer_counts() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let old = send(&mut state, Lane::Main, now);
    let place = state.places[&name(0)];
    state.partition_mut(place).unwrap().in_flight = None; // as `update_leader` has it
    lead(&mut state, 0, TWO);
    let NextFetch::Send(new) = state.next_fetch(TWO, Lane::Main, now, Usage::default()) else {
        panic!("nothing is sent")
    };
    answer(&mut state, &old, vec![data(0, &[batch(0, 5, none())])], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    answer(&mut state, &new, vec![data(0, &[batch(0, 5, none())])], now);
    assert_eq!(hand_out(&mut state, now).unwrap()[&0].len(), 5);
    assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::End), "node 1 leads nothing any more");
}

#[test]
fn what_does_not_go_away_is_told_behind_the_records_before_it_and_once_at_a_time() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())])], now);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![refused(0, ErrorCode::TopicAuthorizationFailed)], now);
    let later = now + Duration::from_secs(10);
    assert!(matches!(next(&mut state, Lane::Main, later), NextFetch::Wait(None)), "nothing before it has been told");
    assert_eq!(hand_out(&mut state, now).unwrap()[&0].len(), 5);
    let error = hand_out(&mut state, now).unwrap_err();
    let text = "Fetch of topic-0 was refused by node 1: TOPIC_AUTHORIZATION_FAILED (29)";
    assert_eq!(error.to_string(), text);
    assert_eq!(asked(&send(&mut state, Lane::Main, later)), [(0, 5)]);
}

#[test]
fn out_of_range_is_acted_on_when_what_is_before_it_has_been_handed_out() {
    let config = FetcherConfig { auto_offset_reset: AutoOffsetReset::Earliest, ..FetcherConfig::default() };
    let (mut state, now) = (state(1, config), Instant::now());
    let place = state.places[&name(0)];
    // Without an epoch nobody can be asked whether the log was truncated.
    state.partition_mut(place).unwrap().set_leader(Some(Leader { node: ONE, epoch: None }));
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())])], now);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![refused(0, ErrorCode::OffsetOutOfRange)], now);
    assert_eq!(state.partition(place).unwrap().fetch_offset(), Some(5));
    assert_eq!(hand_out(&mut state, now).unwrap()[&0].len(), 5);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(state.partition(place).unwrap().phase, Phase::Starting(Lookup::Earliest));
}

#[test]
fn batches_before_the_position_and_nothing_behind_it_are_the_end_of_the_log() {
    let (mut state, mut now) = (state(1, FetcherConfig::default()), Instant::now());
    state.seek(&name(0), StartAt::Offset(5)).unwrap();
    let at_its_end = || FetchPartitionData { high_watermark: 5, ..data(0, &[batch(0, 5, none())]) };
    for _ in 0..10 {
        let fetch = send(&mut state, Lane::Main, now);
        assert_eq!(asked(&fetch), [(0, 5)]);
        answer(&mut state, &fetch, vec![at_its_end()], now);
        assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
        assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::Wait(Some(_))), "it would say so again at once");
        now += Duration::from_secs(2);
    }
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none()), batch(5, 1, none())])], now);
    assert_eq!(hand_out(&mut state, now).unwrap()[&0], [5]);
}

#[test]
fn batches_before_the_position_where_there_are_more_behind_it_are_told_after_some_attempts() {
    let (mut state, mut now) = (state(1, FetcherConfig::default()), Instant::now());
    state.seek(&name(0), StartAt::Offset(5)).unwrap();
    let mut told = None;
    for _ in 0..4 {
        assert!(told.is_none());
        let fetch = send(&mut state, Lane::Main, now);
        answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())])], now);
        told = hand_out(&mut state, now).err();
        now += Duration::from_secs(2);
    }
    assert!(matches!(told, Some(Error::NoWholeBatch { offset: 5, .. })), "{told:?}");
}

#[test]
fn bytes_without_a_whole_batch_are_told_after_some_attempts() {
    let (mut state, mut now) = (state(1, FetcherConfig::default()), Instant::now());
    let whole = batch(0, 5, none());
    let cut = [whole.slice(..whole.len() - 1)];
    for _ in 0..3 {
        let fetch = send(&mut state, Lane::Main, now);
        answer(&mut state, &fetch, vec![data(0, &cut)], now);
        assert!(state.buffered.is_empty());
        now += Duration::from_secs(2);
    }
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &cut)], now);
    let error = hand_out(&mut state, now).unwrap_err();
    assert!(matches!(error, Error::NoWholeBatch { offset: 0, node: ONE, .. }), "{error}");
}

#[test]
fn a_failed_broker_is_left_alone_for_the_back_off_which_grows() {
    let (mut state, mut now) = (state(1, FetcherConfig::default()), Instant::now());
    for expected in [100, 200, 400, 800, 1000, 1000] {
        let fetch = send(&mut state, Lane::Main, now);
        let source = ottla_connection::Error::TimedOut {
            api: ottla_wire::ApiKey::Fetch,
            address: "one:9092".parse().unwrap(),
            timeout: MILLISECOND,
            written: true,
        };
        state.handle_failure(&fetch, Error::Broker { node: ONE, source }, now);
        let NextFetch::Wait(Some(until)) = next(&mut state, Lane::Main, now) else { panic!("no wait") };
        let waited = (until - now).as_millis();
        assert!((expected * 8 / 10..=expected * 12 / 10).contains(&waited), "{waited} for {expected}");
        now = until;
    }
    assert!(state.buffered.is_empty(), "the application need not know");
}

#[test]
fn no_fetch_asks_to_be_answered_at_once() {
    for fetch_max_wait in [Duration::ZERO, MILLISECOND / 2, MILLISECOND] {
        let (mut state, now) = (state(1, FetcherConfig { fetch_max_wait, ..FetcherConfig::default() }), Instant::now());
        assert_eq!(send(&mut state, Lane::Main, now).request.request.max_wait_ms, 1);
    }
}

#[test]
fn what_lies_before_the_position_is_neither_handed_out_nor_a_reason_to_go_there() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    state.seek(&name(0), StartAt::Offset(10)).unwrap();
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 4, none()), batch(4, 4, none())])], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    let until = match next(&mut state, Lane::Main, now) {
        NextFetch::Wait(Some(until)) => until,
        other => panic!("it is asked again after a back-off: {other:?}"),
    };
    let fetch = send(&mut state, Lane::Main, until);
    assert_eq!(asked(&fetch), [(0, 10)]);
    // One that begins before it and goes beyond.
    answer(&mut state, &fetch, vec![data(0, &[batch(8, 4, none())])], until);
    assert_eq!(hand_out(&mut state, until).unwrap(), BTreeMap::from([(0, vec![10, 11])]));
}

#[test]
fn a_broker_that_throttles_is_left_alone_for_so_long() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    let response = FetchResponse { throttle_time_ms: 700, ..FetchResponse::default() };
    answer_whole(&mut state, &fetch, &response, now);
    let until = now + 700 * MILLISECOND;
    assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::Wait(Some(deadline)) if deadline == until));
    send(&mut state, Lane::Main, until);
}

#[test]
fn answers_for_what_was_not_asked_are_ignored_and_any_order_is_read() {
    let (mut state, now) = (state(3, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    let parts = [2, 9, 0, 2, 1].map(|partition| data(partition, &[batch(0, 2, none())]));
    answer(&mut state, &fetch, parts.into(), now);
    let handed_out = hand_out(&mut state, now).unwrap();
    assert_eq!(handed_out, (0..3).map(|partition| (partition, vec![0, 1])).collect());
}

#[test]
fn aborted_transactions_are_left_out_also_if_the_list_is_not_sorted() {
    let transactional = |producer_id| ProducerState { producer_id, transactional: true, ..none() };
    let marker = |first, kind, producer| {
        let bytes = ottla_wire::records::control_batch(kind, 0, 0, transactional(producer));
        let mut batches = ottla_wire::records::RecordBatches::new(bytes);
        batches.next().unwrap().unwrap().assign_offsets(first, 3).unwrap().into_bytes()
    };
    let records = [
        batch(0, 2, transactional(1)),
        batch(2, 2, transactional(2)),
        batch(4, 2, none()),
        marker(6, ottla_wire::records::ControlRecordType::Abort, 1),
        batch(7, 2, transactional(1)),
        marker(9, ottla_wire::records::ControlRecordType::Commit, 1),
        marker(10, ottla_wire::records::ControlRecordType::Abort, 2),
        batch(11, 2, transactional(2)),
        marker(13, ottla_wire::records::ControlRecordType::Abort, 2),
    ];
    let aborted = |producer, first_offset| AbortedTransaction { producer_id: ProducerId(producer), first_offset };
    let part = FetchPartitionData {
        aborted_transactions: Some(vec![aborted(2, 11), aborted(1, 0), aborted(2, 2)]),
        ..data(0, &records)
    };
    for (isolation_level, expected) in [
        (IsolationLevel::ReadCommitted, vec![4, 5, 7, 8]),
        (IsolationLevel::ReadUncommitted, vec![0, 1, 2, 3, 4, 5, 7, 8, 11, 12]),
    ] {
        let now = Instant::now();
        let mut state = state(1, FetcherConfig { isolation_level, ..FetcherConfig::default() });
        let fetch = send(&mut state, Lane::Main, now);
        assert_eq!(fetch.request.request.isolation_level, isolation_level.number());
        answer(&mut state, &fetch, vec![part.clone()], now);
        assert_eq!(hand_out(&mut state, now).unwrap()[&0], expected);
        state.begin_poll(now);
        assert_eq!(state.position(&name(0)).unwrap(), Some(14));
    }
}

#[test]
fn places_are_used_again_and_an_old_answer_is_not_taken_for_the_new_one() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let old = send(&mut state, Lane::Main, now);
    let other = TopicPartition::new("topic", 7);
    let metadata = ottla_cluster::Metadata::default();
    state.assign(BTreeMap::from([(other.clone(), Some(StartAt::Offset(2)))]), &metadata);
    assert_eq!(state.partitions.len(), 1);
    answer(&mut state, &old, vec![data(0, &[batch(0, 5, none())])], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(state.position(&other).unwrap(), Some(2));
}

/// A batch whose checksum does not fit.
fn corrupt_batch(first: i64, records: u32) -> Bytes {
    let mut bytes = batch(first, records, none()).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes.into()
}

#[test]
fn nothing_behind_a_batch_that_cannot_be_read_is_handed_out_before_it() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    let parts = vec![data(0, &[batch(0, 5, none()), corrupt_batch(5, 5)]), data(1, &[batch(0, 1, none())])];
    answer(&mut state, &fetch, parts, now);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(10, 5, none())]), data(1, &[batch(1, 1, none())])], now);

    let handed_out = hand_out(&mut state, now).unwrap();
    assert_eq!(handed_out, BTreeMap::from([(0, (0..5).collect()), (1, vec![0, 1])]), "the other partition goes on");
    let error = hand_out(&mut state, now).unwrap_err();
    assert!(matches!(error, Error::CorruptBatch { offset: 5, .. }), "{error}");
    assert_eq!(state.position(&name(0)).unwrap(), Some(5));
    let later = now + Duration::from_secs(1);
    assert_eq!(asked(&send(&mut state, Lane::Main, later)), [(0, 5), (1, 2)]);
}

#[test]
fn a_failure_that_waited_behind_a_record_that_cannot_be_read_does_not_end_the_fetching() {
    let config = FetcherConfig { check_crcs: false, ..FetcherConfig::default() };
    let (mut state, now) = (state(1, config), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    let mut bytes = batch(0, 1, none()).to_vec();
    bytes[61] = 0x7f; // the record's length, which is beyond the batch now
    answer(&mut state, &fetch, vec![data(0, &[bytes.into()])], now);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![refused(0, ErrorCode::TopicAuthorizationFailed)], now);

    let Taken::Entries(entries) = state.take(usize::MAX) else { panic!("nothing to hand out") };
    let opened = Opener::new(&state.config, &BufferPool::new(1 << 20)).open(entries);
    let batches = state.hand_out(opened, now);
    let read: Vec<_> = batches.iter().flat_map(crate::Batch::records).collect();
    assert!(matches!(read.as_slice(), [Err(corrupt)] if corrupt.offset == 0), "{read:?}");
    drop(read);

    state.is_news = false;
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert!(state.is_news, "the lanes have something to do");
    assert_eq!(asked(&send(&mut state, Lane::Main, now + Duration::from_secs(1))), [(0, 0)]);
}

#[test]
fn a_partition_whose_failure_is_untold_has_nothing_due() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let place = state.places[&name(0)];
    let partition = state.partition_mut(place).unwrap();
    partition.leader = None;
    let (generation, error) = (partition.generation, Error::NoPosition { partition: name(0) });
    state.fail(place, generation, error, now);
    let later = now + Duration::from_secs(10);
    state.ask_for_leaders(later);
    assert_eq!(state.next_lookup_deadline(), None, "the supervisor would turn round and round");
    assert!(hand_out(&mut state, later).is_err());
    assert!(state.next_lookup_deadline().is_some());
}

#[test]
fn a_partition_that_backs_off_beside_a_parked_fetch_goes_aside_when_it_is_due() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![refused(0, ErrorCode::NotLeaderOrFollower), data(1, &[])], now);
    send(&mut state, Lane::Main, now);
    let due = state.partition(state.places[&name(0)]).unwrap().not_before.unwrap();
    assert!(matches!(next(&mut state, Lane::Aside, now), NextFetch::Wait(Some(until)) if until == due));
    assert_eq!(asked(&send(&mut state, Lane::Aside, due)), [(0, 0)]);
}

#[test]
fn the_lane_aside_is_told_of_each_back_off_and_waits_for_it_whichever_lane_looks_first() {
    let whole = batch(0, 5, none());
    let no_whole_batch = vec![data(0, &[whole.slice(..whole.len() - 1)]), data(1, &[])];
    let left_out = vec![data(1, &[])];
    for partitions in [no_whole_batch, left_out] {
        for aside_is_first in [true, false] {
            let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
            let fetch = send(&mut state, Lane::Main, now);
            assert!(answer(&mut state, &fetch, partitions.clone(), now).is_for_others);
            let due = state.partition(state.places[&name(0)]).unwrap().not_before.unwrap();
            if aside_is_first {
                assert!(matches!(next(&mut state, Lane::Aside, now), NextFetch::Wait(Some(until)) if until == due));
            }
            assert_eq!(asked(&send(&mut state, Lane::Main, now)), [(1, 0)]);
            if !aside_is_first {
                assert!(matches!(next(&mut state, Lane::Aside, now), NextFetch::Wait(Some(until)) if until == due));
            }
            assert_eq!(asked(&send(&mut state, Lane::Aside, due)), [(0, 0)]);
        }
    }
}

#[test]
fn what_an_answer_leaves_out_is_asked_for_again_after_a_back_off() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    assert!(answer(&mut state, &fetch, vec![data(0, &[])], now).is_for_others);
    assert_eq!(asked(&send(&mut state, Lane::Main, now)), [(0, 0)]);
}

#[test]
fn failures_of_another_kind_are_no_attempts_at_a_whole_batch() {
    let (mut state, mut now) = (state(1, FetcherConfig::default()), Instant::now());
    for _ in 0..5 {
        let fetch = send(&mut state, Lane::Main, now);
        answer(&mut state, &fetch, vec![refused(0, ErrorCode::NotLeaderOrFollower)], now);
        now += Duration::from_secs(2);
    }
    let fetch = send(&mut state, Lane::Main, now);
    let whole = batch(0, 5, none());
    answer(&mut state, &fetch, vec![data(0, &[whole.slice(..whole.len() - 1)])], now);
    assert!(state.buffered.is_empty(), "it was the first attempt");
}

#[test]
fn what_is_buffered_of_paused_partitions_can_be_given_up_and_is_fetched_again() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())]), data(1, &[batch(0, 1, none())])], now);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(5, 5, none())]), data(1, &[])], now);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![refused(0, ErrorCode::TopicAuthorizationFailed), data(1, &[])], now);
    state.pause(&name(0)).unwrap();

    assert!(state.give_up_paused(), "there was something");
    assert!(!state.give_up_paused(), "and now there is nothing");
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::from([(1, vec![0])]));
    state.resume(&name(0)).unwrap();
    let later = now + Duration::from_secs(1);
    let fetch = send(&mut state, Lane::Main, later);
    assert_eq!(asked(&fetch), [(1, 1), (0, 0)]);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())])], later);
    assert_eq!(hand_out(&mut state, later).unwrap(), BTreeMap::from([(0, (0..5).collect())]));
}
