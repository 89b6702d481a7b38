//! New leaders that lack what was read.

use ottla_wire::messages::{EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult};

use super::*;
use crate::position::{Refusal, Validation};
use crate::validation::ValidationRequest;
use crate::{DivergingOffset, OnTruncation};

/// As metadata would have it.
fn lead_in(state: &mut State, node: NodeId, epoch: i32) {
    lead(state, 0, node);
    let place = state.places[&name(0)];
    state.partition_mut(place).unwrap().set_leader(Some(Leader { node, epoch: Some(LeaderEpoch(epoch)) }));
    state.to_validate.insert(place);
}

/// A partition that node 1 leads in epoch 3, of which batches of five records were read.
fn read_so_far(config: FetcherConfig, batches: i64, now: Instant) -> State {
    let mut state = state(1, config);
    for number in 0..batches {
        let fetch = send(&mut state, Lane::Main, now);
        answer(&mut state, &fetch, vec![data(0, &[batch(5 * number, 5, none())])], now);
    }
    state
}

fn asked_of(state: &mut State, now: Instant) -> Option<ValidationRequest> {
    let mut requests = state.next_validations(now);
    assert!(requests.len() <= 1, "{requests:?}");
    requests.pop()
}

/// The epoch that a leader is asked for, and who is asked.
fn epoch_asked(asked: &ValidationRequest) -> (NodeId, i32) {
    let partition = &asked.request.topics[0].partitions[0];
    (asked.node, partition.leader_epoch.0)
}

fn answer_end(state: &mut State, asked: &ValidationRequest, epoch: i32, end_offset: i64, now: Instant) {
    answer_with(state, asked, ErrorCode::None, epoch, end_offset, now);
}

fn answer_with(
    state: &mut State,
    asked: &ValidationRequest,
    error_code: ErrorCode,
    epoch: i32,
    end_offset: i64,
    now: Instant,
) {
    let end = EpochEndOffset { error_code, partition: 0, leader_epoch: LeaderEpoch(epoch), end_offset };
    let topic = OffsetForLeaderTopicResult { topic: "topic".to_owned(), partitions: vec![end] };
    let response = OffsetForLeaderEpochResponse { topics: vec![topic], ..Default::default() };
    state.handle_validation(asked, Ok(response), now);
}

/// What node 2 is asked to send next.
fn fetched_from_two(state: &mut State, now: Instant) -> Option<Vec<(i32, i64)>> {
    match state.next_fetch(TWO, Lane::Main, now, Usage::default()) {
        NextFetch::Send(fetch) => Some(asked(&fetch)),
        _ => None,
    }
}

fn diverging(offset: i64, epoch: i32) -> DivergingOffset {
    DivergingOffset { offset, leader_epoch: LeaderEpoch(epoch) }
}

#[test]
fn a_new_leader_is_asked_before_anything_is_fetched_from_it() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 2, now);
    assert!(asked_of(&mut state, now).is_none());
    lead_in(&mut state, TWO, 4);
    assert_eq!(fetched_from_two(&mut state, now), None);
    let asked = asked_of(&mut state, now).unwrap();
    assert_eq!(epoch_asked(&asked), (TWO, 3));
    assert_eq!(asked.request.topics[0].partitions[0].current_leader_epoch, LeaderEpoch(4));
    assert_eq!(asked.request.replica_id, NodeId::NONE, "as a consumer");
    assert!(asked_of(&mut state, now).is_none(), "once");
    answer_end(&mut state, &asked, 3, 10, now);
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 10)]));
    assert_eq!(hand_out(&mut state, now).unwrap()[&0], (0..10).collect::<Vec<_>>(), "what was buffered stays");
}

#[test]
fn a_leader_is_not_asked_about_what_it_wrote_itself_nor_where_nothing_was_read() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    lead_in(&mut state, TWO, 3);
    assert!(asked_of(&mut state, now).is_none());
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 5)]));

    let mut state = read_so_far(FetcherConfig::default(), 0, now);
    lead_in(&mut state, TWO, 9);
    assert!(asked_of(&mut state, now).is_none());
}

#[test]
fn a_leader_whose_epoch_is_older_than_what_was_read_is_asked_too() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    hand_out(&mut state, now).unwrap();
    // Made anew, where topics have no ids: its log has never had such an epoch.
    lead_in(&mut state, TWO, 0);
    let mut later = now;
    while state.truncated.is_empty() {
        let asked = asked_of(&mut state, later).unwrap();
        answer_end(&mut state, &asked, -1, -1, later);
        later = state.next_lookup_deadline().unwrap_or(later);
        assert!(later - now < Duration::from_secs(20), "it is believed in the end");
    }
    assert!(later - now > Duration::from_secs(5), "metadata had the time to catch up");
    assert_eq!(hand_out(&mut state, later).unwrap(), BTreeMap::new());
    assert!(matches!(state.resets.pop_front(), Some(Error::LogTruncated { diverging: None, .. })));
}

#[test]
fn a_leader_of_an_epoch_before_the_committed_one_is_behind_and_decides_nothing() {
    for (epoch, end_offset) in [(-1, -1), (2, 40)] {
        let now = Instant::now();
        let config = FetcherConfig { auto_offset_reset: AutoOffsetReset::Latest, ..FetcherConfig::default() };
        let mut state = read_so_far(config, 0, now);
        state.seek(&name(0), StartAt::offset_and_epoch(50, Some(LeaderEpoch(7)))).unwrap();
        let asked = asked_of(&mut state, now).unwrap();
        answer_end(&mut state, &asked, epoch, end_offset, now);
        assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
        assert_eq!((state.position(&name(0)).unwrap(), state.resets.len()), (Some(50), 0));
        assert_eq!(state.stale_topics.len(), 1);
        assert!(asked_of(&mut state, now).is_none(), "not before the back-off is over");
        lead_in(&mut state, TWO, 8);
        let asked = asked_of(&mut state, now).unwrap();
        answer_end(&mut state, &asked, 7, 60, now);
        assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 50)]));
    }
}

#[test]
fn a_cluster_without_epochs_is_believed() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    lead_in(&mut state, TWO, 4);
    let place = state.places[&name(0)];
    let without = Leader { node: TWO, epoch: None };
    state.partition_mut(place).unwrap().set_leader(Some(without));
    assert!(asked_of(&mut state, now).is_none());
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 5)]));
}

#[test]
fn a_broker_that_may_not_be_asked_is_believed() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    lead_in(&mut state, TWO, 4);
    let asked = asked_of(&mut state, now).unwrap();
    answer_with(&mut state, &asked, ErrorCode::ClusterAuthorizationFailed, -1, -1, now);
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 5)]));
}

#[test]
fn a_question_that_others_must_answer_is_asked_again_after_the_back_off() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    lead_in(&mut state, TWO, 4);
    let asked = asked_of(&mut state, now).unwrap();
    answer_with(&mut state, &asked, ErrorCode::FencedLeaderEpoch, -1, -1, now);
    assert_eq!(state.stale_topics.len(), 1);
    assert!(asked_of(&mut state, now).is_none());
    let later = state.next_lookup_deadline().unwrap();
    assert!(later > now);
    let asked = asked_of(&mut state, later).unwrap();
    assert_eq!(fetched_from_two(&mut state, later), None);
    lead_in(&mut state, ONE, 5);
    answer_end(&mut state, &asked, 3, 2, later);
    assert!(state.truncated.is_empty(), "node 2 leads no more: what it says counts no more");
    assert_eq!(epoch_asked(&asked_of(&mut state, later).unwrap()), (ONE, 3));
}

#[test]
fn what_is_buffered_beyond_the_truncation_is_not_handed_out_and_nobody_has_lost_anything() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    assert_eq!(hand_out(&mut state, now).unwrap()[&0], [0, 1, 2, 3, 4]);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(5, 5, none())])], now);
    lead_in(&mut state, TWO, 4);
    let asked = asked_of(&mut state, now).unwrap();
    answer_end(&mut state, &asked, 3, 7, now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert!(state.resets.is_empty());
    let asked = asked_of(&mut state, now).unwrap();
    answer_end(&mut state, &asked, 3, 7, now);
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 5)]));
}

#[test]
fn what_was_being_opened_when_the_truncation_was_found_is_not_handed_out() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 2, now);
    lead_in(&mut state, TWO, 4);
    let asked = asked_of(&mut state, now).unwrap();
    let Taken::Entries(entries) = state.take(usize::MAX) else { panic!("there are records") };
    answer_end(&mut state, &asked, 3, 7, now);
    let opened = Opener::new(&state.config, &BufferPool::new(1 << 20)).open(entries);
    assert!(state.hand_out(opened, now).is_empty());
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    let asked = asked_of(&mut state, now);
    assert!(asked.is_none(), "nothing of what was read counts");
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 0)]));
}

#[test]
fn a_batch_that_cannot_be_read_when_the_truncation_is_found_hides_nothing_before_it() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    let mut damaged = batch(5, 5, none()).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[damaged.into()])], now);
    lead_in(&mut state, TWO, 4);
    let asked = asked_of(&mut state, now).unwrap();
    let Taken::Entries(entries) = state.take(usize::MAX) else { panic!("there are records") };
    answer_end(&mut state, &asked, 3, 5, now);
    let opened = Opener::new(&state.config, &BufferPool::new(1 << 20)).open(entries);
    assert_eq!((opened.batches.len(), opened.faults.len()), (1, 1));
    assert!(state.hand_out(opened, now).is_empty());
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 0)]), "from before what was dropped");
}

#[test]
fn what_the_application_has_read_and_the_log_has_not_is_read_anew_from_where_they_parted() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 2, now);
    hand_out(&mut state, now).unwrap();
    lead_in(&mut state, TWO, 4);
    let asked = asked_of(&mut state, now).unwrap();
    answer_end(&mut state, &asked, 3, 7, now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(state.position(&name(0)).unwrap(), Some(7));
    let told = state.resets.pop_front().unwrap();
    let text = "the log of topic-0 was truncated before offset 10: it parted from what was read at offset 7";
    assert_eq!(told.to_string(), text);
    let asked = asked_of(&mut state, now).unwrap();
    answer_end(&mut state, &asked, 3, 7, now);
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 7)]));
}

#[test]
fn who_wants_to_be_told_is_told_until_the_application_seeks() {
    let tells = [
        FetcherConfig { on_truncation: OnTruncation::Tell, ..FetcherConfig::default() },
        FetcherConfig { auto_offset_reset: AutoOffsetReset::None, ..FetcherConfig::default() },
    ];
    for config in tells {
        let mut now = Instant::now();
        let mut state = read_so_far(config, 2, now);
        hand_out(&mut state, now).unwrap();
        lead_in(&mut state, TWO, 4);
        let asked = asked_of(&mut state, now).unwrap();
        answer_end(&mut state, &asked, 3, 7, now);
        for _ in 0..2 {
            assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
            assert_eq!(fetched_from_two(&mut state, now), None);
            state.tell_refused(now);
            let error = hand_out(&mut state, now).unwrap_err();
            let Error::LogTruncated { position, leader_epoch, diverging: parted, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!((*position, *leader_epoch), (10, Some(LeaderEpoch(3))));
            assert_eq!(*parted, Some(diverging(7, 3)));
            now += Duration::from_secs(2);
        }
        state.seek(&name(0), diverging(7, 3).into()).unwrap();
        let asked = asked_of(&mut state, now).unwrap();
        answer_end(&mut state, &asked, 3, 7, now);
        assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 7)]));
    }
}

#[test]
fn where_a_leader_cannot_say_the_policy_decides() {
    let now = Instant::now();
    let config = FetcherConfig { auto_offset_reset: AutoOffsetReset::Earliest, ..FetcherConfig::default() };
    let mut state = read_so_far(config, 1, now);
    hand_out(&mut state, now).unwrap();
    lead_in(&mut state, TWO, 4);
    let asked = asked_of(&mut state, now).unwrap();
    answer_end(&mut state, &asked, -1, -1, now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    let place = state.places[&name(0)];
    assert_eq!(state.partition(place).unwrap().phase, Phase::Starting(Lookup::Earliest));
    assert!(matches!(state.resets.pop_front(), Some(Error::LogTruncated { diverging: None, .. })));
}

#[test]
fn a_position_that_comes_with_an_epoch_is_compared_before_the_first_fetch() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 0, now);
    state.seek(&name(0), StartAt::offset_and_epoch(50, Some(LeaderEpoch(2)))).unwrap();
    assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::Wait(None)));
    let asked_one = asked_of(&mut state, now).unwrap();
    assert_eq!(epoch_asked(&asked_one), (ONE, 2));
    answer_end(&mut state, &asked_one, 2, 40, now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(state.position(&name(0)).unwrap(), Some(40));
    state.seek(&name(0), StartAt::offset_and_epoch(50, None)).unwrap();
    assert_eq!(asked(&send(&mut state, Lane::Main, now)), [(0, 50)]);
}

#[test]
fn a_seek_ends_the_questions_about_the_old_position() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    lead_in(&mut state, TWO, 4);
    let asked = asked_of(&mut state, now).unwrap();
    state.seek(&name(0), StartAt::Offset(3)).unwrap();
    answer_end(&mut state, &asked, 3, 2, now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(fetched_from_two(&mut state, now), Some(vec![(0, 3)]));
}

#[test]
fn out_of_range_is_truncation_where_the_leader_says_so() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 1, now);
    hand_out(&mut state, now).unwrap();
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![refused(0, ErrorCode::OffsetOutOfRange)], now);
    let asked = asked_of(&mut state, now).unwrap();
    answer_end(&mut state, &asked, 3, 4, now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(state.position(&name(0)).unwrap(), Some(4));
}

#[test]
fn out_of_range_is_for_the_policy_where_the_log_has_what_was_read() {
    let now = Instant::now();
    let config = FetcherConfig { auto_offset_reset: AutoOffsetReset::None, ..FetcherConfig::default() };
    let mut state = read_so_far(config, 1, now);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![refused(0, ErrorCode::OffsetOutOfRange)], now);
    let asked = asked_of(&mut state, now).unwrap();
    answer_end(&mut state, &asked, 3, 90, now);
    assert_eq!(hand_out(&mut state, now).unwrap()[&0], [0, 1, 2, 3, 4], "what is buffered comes first");
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    let place = state.places[&name(0)];
    assert_eq!(state.partition(place).unwrap().phase, Phase::Refused(Refusal::OutOfRange(5)));
}

#[test]
fn a_fetch_that_is_answered_by_where_the_logs_parted_is_as_good_as_having_asked() {
    let now = Instant::now();
    let mut state = read_so_far(FetcherConfig::default(), 2, now);
    hand_out(&mut state, now).unwrap();
    let fetch = send(&mut state, Lane::Main, now);
    let diverging_epoch = ottla_wire::messages::DivergingEpoch { epoch: LeaderEpoch(3), end_offset: 6 };
    answer(&mut state, &fetch, vec![FetchPartitionData { diverging_epoch, ..data(0, &[]) }], now);
    let place = state.places[&name(0)];
    assert_eq!(state.partition(place).unwrap().validation, Validation::Truncated(Some(diverging(6, 3))));
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(state.position(&name(0)).unwrap(), Some(6));
}
