//! What is asked of a broker that remembers what is read: only partitions that have changed are looked at and named.

use ottla_wire::messages::FetchRequest;

use super::*;

const SESSION: i32 = 5;

/// What a Fetch has of its session: id, epoch, what it names and what it has forgotten.
type Said = (i32, i32, Vec<(i32, i64)>, Vec<i32>);

fn said(fetch: &Fetch) -> Said {
    let FetchRequest { session_id, session_epoch, forgotten_topics_data, .. } = &fetch.request.request;
    let forgotten = forgotten_topics_data.iter().flat_map(|topic| &topic.partitions).copied().collect();
    (*session_id, *session_epoch, asked(fetch), forgotten)
}

fn answer_in_session(state: &mut State, fetch: &Fetch, partitions: Vec<FetchPartitionData>, now: Instant) -> Hints {
    let topic = FetchableTopicResponse { topic: "topic".to_owned(), topic_id: TopicId::NONE, partitions };
    let response = FetchResponse { session_id: SESSION, responses: vec![topic], ..FetchResponse::default() };
    answer_whole(state, fetch, &response, now)
}

fn refuse(state: &mut State, fetch: &Fetch, error_code: ErrorCode, now: Instant) {
    answer_whole(state, fetch, &FetchResponse { error_code, ..FetchResponse::default() }, now);
}

/// A state whose partitions stand in a session at node 1.
fn in_session(partitions: i32, now: Instant) -> State {
    let mut state = state(partitions, FetcherConfig::default());
    let fetch = send(&mut state, Lane::Main, now);
    assert_eq!((fetch.request.request.session_epoch, asked(&fetch).len()), (0, usize::try_from(partitions).unwrap()));
    answer_in_session(&mut state, &fetch, (0..partitions).map(|partition| data(partition, &[])).collect(), now);
    state
}

fn records(partition: i32, first: i64) -> FetchPartitionData {
    data(partition, &[batch(first, 5, none())])
}

#[test]
fn at_rest_nothing_is_named_and_what_an_answer_leaves_out_waits_on() {
    let now = Instant::now();
    let mut state = in_session(3, now);
    for epoch in 1..4 {
        let fetch = send(&mut state, Lane::Main, now);
        assert_eq!(said(&fetch), (SESSION, epoch, vec![], vec![]));
        answer_in_session(&mut state, &fetch, vec![], now);
    }
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![records(1, 0)], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::from([(1, (0..5).collect())]));
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 5, vec![(1, 5)], vec![]));
}

#[test]
fn ten_thousand_partitions_cost_nothing_but_for_those_that_have_records() {
    let now = Instant::now();
    let mut state = in_session(10_000, now);
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![], now);
    for round in 0..10 {
        let fetch = send(&mut state, Lane::Main, now);
        answer_in_session(&mut state, &fetch, vec![records(7, round * 5), records(9_000, round * 5)], now);
        assert_eq!(state.touched(), 2);
        // A poll, and what the supervisor asks for, touch nothing.
        assert_eq!(hand_out(&mut state, now).unwrap().len(), 2);
        state.begin_poll(now);
        state.tell_refused(now);
        state.ask_for_leaders(now);
        assert!(state.next_lookups(now).is_empty() && state.awaiting().is_empty());
        assert_eq!((state.changed.stranded.len(), state.brokers[&ONE].changed.len()), (0, 2));
    }
}

#[test]
fn a_broker_that_partitions_leave_keeps_nothing_of_those_of_which_it_had_more() {
    let now = Instant::now();
    let mut state = in_session(4, now);
    for round in 0..3 {
        let fetch = send(&mut state, Lane::Main, now);
        let all = (0..4).map(|partition| records(partition, round * 5)).collect();
        answer_in_session(&mut state, &fetch, all, now);
        assert_eq!(state.behind(ONE).count(), 4);
    }
    for partition in [0, 2] {
        lead(&mut state, partition, TWO);
    }
    state.sort();
    assert_eq!((state.behind(ONE).count(), state.behind(TWO).count()), (2, 0));
    state.assign([(name(1), None)].into(), &ottla_cluster::Metadata::default());
    assert!(state.behind(ONE).count() <= 1);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::from([(1, (0..15).collect())]));
}

#[test]
fn what_is_behind_takes_no_more_memory_however_often_one_is_served_before_the_others() {
    let now = Instant::now();
    let mut state = in_session(4, now);
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, (0..4).map(|partition| records(partition, 0)).collect(), now);
    for round in 1..50 {
        let fetch = send(&mut state, Lane::Main, now);
        answer_in_session(&mut state, &fetch, vec![records(3, round * 5)], now);
        assert_eq!(state.behind(ONE).count(), if round < 19 { 4 } else { 3 }, "there are 100 records");
        assert!(state.brokers[&ONE].behind.len() <= 9);
    }
}

#[test]
fn a_request_is_as_long_for_ten_thousand_partitions_at_rest_as_for_one() {
    let now = Instant::now();
    let lengths = [1, 10_000].map(|partitions| {
        let mut state = in_session(partitions, now);
        let fetch = send(&mut state, Lane::Main, now);
        let mut writer = Writer::new();
        fetch.request.encode(&mut writer, VERSION).unwrap();
        writer.into_bytes().len()
    });
    assert_eq!(lengths[0], lengths[1]);
    assert!(lengths[0] < 64, "{lengths:?}");
}

#[test]
fn a_seek_while_a_request_is_on_its_way_has_its_answer_dropped_and_the_new_offset_named() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    state.seek(&name(0), StartAt::Offset(50)).unwrap();
    answer_in_session(&mut state, &fetch, vec![records(0, 0), records(1, 0)], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::from([(1, (0..5).collect())]));
    let fetch = send(&mut state, Lane::Main, now);
    assert_eq!(said(&fetch), (SESSION, 2, vec![(0, 50), (1, 5)], vec![]));
    answer_in_session(&mut state, &fetch, vec![records(0, 50)], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::from([(0, (50..55).collect())]));
}

#[test]
fn a_paused_partition_keeps_what_was_on_its_way_and_leaves_the_session_until_it_is_resumed() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    state.pause(&name(0)).unwrap();
    answer_in_session(&mut state, &fetch, vec![records(0, 0)], now);
    let fetch = send(&mut state, Lane::Main, now);
    assert_eq!(said(&fetch), (SESSION, 2, vec![], vec![0]));
    answer_in_session(&mut state, &fetch, vec![], now);
    state.resume(&name(0)).unwrap();
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::from([(0, (0..5).collect())]));
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 3, vec![(0, 5)], vec![]));
}

#[test]
fn a_pause_that_ends_before_the_next_request_is_nothing_to_tell() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    state.pause(&name(0)).unwrap();
    state.resume(&name(0)).unwrap();
    assert!(matches!(next(&mut state, Lane::Aside, now + 10 * MILLISECOND), NextFetch::Wait(None)), "it is on its way");
    answer_in_session(&mut state, &fetch, vec![], now);
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 2, vec![], vec![]));
}

#[test]
fn nothing_is_asked_while_all_is_paused_and_the_session_goes_on_after_it() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    for partition in 0..2 {
        state.pause(&name(partition)).unwrap();
    }
    assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::Wait(None)));
    state.resume(&name(1)).unwrap();
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 1, vec![(1, 0)], vec![0]));
}

#[test]
fn what_backs_off_leaves_the_session_and_joins_again_when_it_is_due() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![refused(0, ErrorCode::NotLeaderOrFollower)], now);
    let fetch = send(&mut state, Lane::Main, now);
    assert_eq!(said(&fetch), (SESSION, 2, vec![], vec![0]));
    let due = state.partition(state.places[&name(0)]).unwrap().not_before.unwrap();
    answer_in_session(&mut state, &fetch, vec![], due);
    assert_eq!(said(&send(&mut state, Lane::Main, due)), (SESSION, 3, vec![(0, 0)], vec![]));
}

#[test]
fn what_came_without_a_whole_batch_is_named_before_what_had_its_turn_when_it_joins_again() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    let whole = batch(0, 5, none());
    answer_in_session(&mut state, &fetch, vec![records(0, 0), data(1, &[whole.slice(..whole.len() - 1)])], now);
    let fetch = send(&mut state, Lane::Main, now);
    assert_eq!(said(&fetch), (SESSION, 2, vec![(0, 5)], vec![1]));
    let due = state.partition(state.places[&name(1)]).unwrap().not_before.unwrap();
    answer_in_session(&mut state, &fetch, vec![records(0, 5)], due);
    // A broker need not move to the end of the session what it has served.
    assert_eq!(said(&send(&mut state, Lane::Main, due)), (SESSION, 0, vec![(1, 0), (0, 10)], vec![]));
}

#[test]
fn a_leader_in_another_epoch_is_asked_for_what_it_has_before_the_session_hears_of_it() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![records(0, 0)], now);
    let fetch = send(&mut state, Lane::Main, now);
    let place = state.places[&name(0)];
    let leader = Leader { node: ONE, epoch: Some(LeaderEpoch(4)) };
    state.partition_mut(place).unwrap().set_leader(Some(leader));
    state.to_validate.insert(place);
    // The session may not answer for that partition for long, or its request have failed.
    assert_eq!(state.next_validations(now).len(), 1);
    answer_in_session(&mut state, &fetch, vec![], now);
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 3, vec![], vec![0]));
}

#[test]
fn what_has_gone_to_another_broker_while_it_backed_off_is_not_asked_of_the_first_when_it_would_be_due() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![refused(0, ErrorCode::NotLeaderOrFollower)], now);
    let fetch = send(&mut state, Lane::Main, now);
    let due = state.partition(state.places[&name(0)]).unwrap().not_before.unwrap();
    lead(&mut state, 0, TWO);
    answer_in_session(&mut state, &fetch, vec![], due);
    assert_eq!(said(&send(&mut state, Lane::Main, due)), (SESSION, 3, vec![], vec![]));
    assert!(matches!(state.next_fetch(TWO, Lane::Main, due, Usage::default()), NextFetch::Send(_)));
}

#[test]
fn what_goes_aside_leaves_the_session_and_joins_it_when_that_has_been_answered() {
    let start = Instant::now();
    let mut state = in_session(2, start);
    let main = send(&mut state, Lane::Main, start);
    state.seek(&name(0), StartAt::Offset(50)).unwrap();
    let aside = send(&mut state, Lane::Aside, start + 5 * MILLISECOND);
    assert_eq!(said(&aside), (0, -1, vec![(0, 50)], vec![]));

    let back = start + 20 * MILLISECOND;
    answer_in_session(&mut state, &main, vec![records(0, 0)], back);
    assert_eq!(hand_out(&mut state, back).unwrap(), BTreeMap::new());
    let main = send(&mut state, Lane::Main, back);
    assert_eq!(said(&main), (SESSION, 2, vec![], vec![0]));
    answer(&mut state, &aside, vec![records(0, 50)], back);
    assert_eq!(hand_out(&mut state, back).unwrap(), BTreeMap::from([(0, (50..55).collect())]));
    answer_in_session(&mut state, &main, vec![], back);
    assert_eq!(said(&send(&mut state, Lane::Main, back)), (SESSION, 3, vec![(0, 55)], vec![]));
}

#[test]
fn what_has_another_leader_leaves_the_session_and_can_come_back() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    lead(&mut state, 0, TWO);
    let NextFetch::Send(elsewhere) = state.next_fetch(TWO, Lane::Main, now, Usage::default()) else {
        panic!("nothing is sent")
    };
    assert_eq!(said(&elsewhere), (0, 0, vec![(0, 0)], vec![]));
    answer_in_session(&mut state, &fetch, vec![records(0, 0)], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new(), "the old leader's records do not count");
    let fetch = send(&mut state, Lane::Main, now);
    assert_eq!(said(&fetch), (SESSION, 2, vec![], vec![0]));
    lead(&mut state, 0, ONE);
    answer_in_session(&mut state, &fetch, vec![], now);
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 3, vec![(0, 0)], vec![]));
}

#[test]
fn a_place_that_is_used_again_is_another_partition_to_the_session() {
    let now = Instant::now();
    let mut state = in_session(1, now);
    let fetch = send(&mut state, Lane::Main, now);
    let other = TopicPartition::new("topic", 7);
    state.assign([(other.clone(), Some(StartAt::Offset(2)))].into(), &ottla_cluster::Metadata::default());
    assert_eq!(state.partitions.len(), 1);
    lead(&mut state, 7, ONE);
    answer_in_session(&mut state, &fetch, vec![records(0, 0)], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 2, vec![(7, 2)], vec![0]));
}

#[test]
fn a_session_that_the_broker_does_not_have_is_begun_anew_at_once_and_nobody_need_know() {
    for (error_code, over) in [
        (ErrorCode::FetchSessionIdNotFound, 0),
        (ErrorCode::InvalidFetchSessionEpoch, SESSION),
        (ErrorCode::FetchSessionTopicIdError, SESSION),
    ] {
        let now = Instant::now();
        let mut state = in_session(2, now);
        let fetch = send(&mut state, Lane::Main, now);
        answer_in_session(&mut state, &fetch, vec![records(0, 0)], now);
        let fetch = send(&mut state, Lane::Main, now);
        refuse(&mut state, &fetch, error_code, now);
        // Who has brought records comes last.
        assert_eq!(said(&send(&mut state, Lane::Main, now)), (over, 0, vec![(1, 0), (0, 5)], vec![]));
        assert!(state.stale_topics.is_empty());
        hand_out(&mut state, now).unwrap();
        assert!(hand_out(&mut state, now).unwrap().is_empty());
    }
}

#[test]
fn an_error_of_topic_ids_has_the_cluster_asked_and_the_session_begun_anew_after_the_back_off() {
    for error_code in [ErrorCode::UnknownTopicId, ErrorCode::InconsistentTopicId] {
        let now = Instant::now();
        let mut state = in_session(1, now);
        let fetch = send(&mut state, Lane::Main, now);
        refuse(&mut state, &fetch, error_code, now);
        assert_eq!(state.stale_topics.len(), 1);
        let NextFetch::Wait(Some(until)) = next(&mut state, Lane::Main, now) else { panic!("no back-off") };
        assert_eq!(said(&send(&mut state, Lane::Main, until)), (SESSION, 0, vec![(0, 0)], vec![]));
    }
}

#[test]
fn an_error_of_a_session_in_the_answer_to_a_full_request_is_waited_for() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    refuse(&mut state, &fetch, ErrorCode::FetchSessionIdNotFound, now);
    assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::Wait(Some(until)) if until > now));
}

#[test]
fn a_request_without_an_answer_has_the_session_begun_anew_and_the_old_one_ended() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    state.handle_failure(&fetch, Error::Closed, now);
    assert!(state.buffered.is_empty(), "what becomes of the next request is told, if anything");
    let NextFetch::Wait(Some(until)) = next(&mut state, Lane::Main, now) else { panic!("no back-off") };
    assert_eq!(said(&send(&mut state, Lane::Main, until)), (SESSION, 0, vec![(0, 0), (1, 0)], vec![]));
}

#[test]
fn a_late_answer_that_nobody_waits_for_any_more_ends_the_session() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    state.handle_late(&fetch, now);
    for partition in 0..2 {
        assert!(!state.is_overtaken(&fetch));
        lead(&mut state, partition, TWO);
    }
    assert!(state.is_overtaken(&fetch));
    state.handle_overtaken(&fetch);
    lead(&mut state, 0, ONE);
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 0, vec![(0, 0)], vec![]));
}

#[test]
fn a_broker_that_answers_the_whole_set_each_time_is_read_all_the_same() {
    let now = Instant::now();
    let mut state = in_session(3, now);
    for round in 0..5 {
        let fetch = send(&mut state, Lane::Main, now);
        assert_eq!(fetch.request.request.session_epoch, i32::try_from(round).unwrap() + 1);
        answer_in_session(&mut state, &fetch, vec![data(0, &[]), records(1, round * 5), data(2, &[])], now);
    }
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::from([(1, (0..25).collect())]));
}

#[test]
fn what_was_not_asked_for_is_dropped_and_ends_the_session() {
    let now = Instant::now();
    let mut state = in_session(2, now);
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![records(9, 0), records(1, 0)], now);
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::from([(1, (0..5).collect())]));
    assert_eq!(said(&send(&mut state, Lane::Main, now)), (SESSION, 0, vec![(0, 0), (1, 5)], vec![]));
}

#[test]
fn a_session_is_ended_once_when_the_lane_ends() {
    let now = Instant::now();
    let mut state = in_session(1, now);
    let end = state.end_session(ONE).unwrap().request;
    assert_eq!((end.session_id, end.session_epoch, end.topics.len()), (SESSION, -1, 0));
    assert_eq!(state.end_session(ONE), None);
    assert_eq!(state.end_session(TWO), None);
}
