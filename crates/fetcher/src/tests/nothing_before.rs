//! Up to where there is nothing to hand out, which is how a bounded read knows its end behind the last record.

use super::*;

/// What two partitions have nothing before.
fn nothing_before(state: &State) -> [Option<i64>; 2] {
    [0, 1].map(|partition| state.nothing_before(&name(partition)))
}

fn send_to(state: &mut State, node: NodeId, now: Instant) -> Box<Fetch> {
    match state.next_fetch(node, Lane::Main, now, Usage::default()) {
        NextFetch::Send(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

/// The answer in a session. The first one, to a full request, has to tell of all.
fn answer_in_session(state: &mut State, fetch: &Fetch, partitions: Vec<FetchPartitionData>, now: Instant) {
    let topic = FetchableTopicResponse { topic: "topic".to_owned(), topic_id: TopicId::NONE, partitions };
    let response = FetchResponse { session_id: 5, responses: vec![topic], ..FetchResponse::default() };
    answer_whole(state, fetch, &response, now);
}

/// Two partitions in a session, the first of which has a record that was handed out: it has been asked for what is behind that.
fn in_session(now: Instant) -> (State, Box<Fetch>) {
    let mut state = state(2, FetcherConfig::default());
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())]), data(1, &[])], now);
    hand_out(&mut state, now).unwrap();
    state.begin_poll(now);
    let fetch = send(&mut state, Lane::Main, now);
    (state, fetch)
}

#[test]
fn an_answer_without_a_single_record_says_that_there_is_none_up_to_the_end() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())]), data(1, &[])], now);
    assert_eq!(nothing_before(&state), [Some(0), Some(0)], "there may have been no room for the other's");
    hand_out(&mut state, now).unwrap();
    state.begin_poll(now);
    assert_eq!(nothing_before(&state), [Some(5), Some(0)]);
    let fetch = send(&mut state, Lane::Main, now);
    assert_eq!(nothing_before(&state), [Some(5), Some(0)]);
    answer(&mut state, &fetch, vec![data(0, &[]), data(1, &[])], now);
    assert_eq!(nothing_before(&state), [Some(100), Some(100)]);
    state.seek(&name(0), StartAt::Offset(50)).unwrap();
    assert_eq!(nothing_before(&state), [Some(50), Some(100)], "of what is there nobody has been asked");
}

#[test]
fn without_sessions_that_is_still_known_when_the_next_request_is_on_its_way() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[]), data(1, &[])], now);
    send(&mut state, Lane::Main, now);
    assert_eq!(nothing_before(&state), [Some(100), Some(100)]);
}

#[test]
fn what_comes_behind_an_end_that_was_found_is_not_taken_to_be_nothing() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    for _ in 0..2 {
        let fetch = send(&mut state, Lane::Main, now);
        answer(&mut state, &fetch, vec![data(0, &[]), data(1, &[])], now);
    }
    let fetch = send(&mut state, Lane::Main, now);
    let longer = FetchPartitionData { high_watermark: 200, ..data(0, &[]) };
    answer(&mut state, &fetch, vec![longer, data(1, &[batch(0, 5, none())])], now);
    assert_eq!(nothing_before(&state), [Some(0), Some(0)], "there was no room for what has come");
    state.pause(&name(1)).unwrap();
    assert!(state.give_up_paused());
    assert_eq!(nothing_before(&state), [Some(0), Some(0)], "it is fetched again");
    send(&mut state, Lane::Main, now);
    assert_eq!(nothing_before(&state), [Some(0), Some(0)]);
}

#[test]
fn what_another_broker_had_nothing_of_is_not_what_it_was_not_asked_for() {
    let now = Instant::now();
    let (mut state, fetch) = in_session(now);
    lead(&mut state, 1, TWO);
    let elsewhere = send_to(&mut state, TWO, now);
    answer_in_session(&mut state, &fetch, vec![refused(0, ErrorCode::NotLeaderOrFollower)], now);
    answer_in_session(&mut state, &elsewhere, vec![data(1, &[])], now);
    lead(&mut state, 0, TWO);
    assert_eq!(nothing_before(&state), [Some(5), Some(100)], "before it is listed");
    let elsewhere = send_to(&mut state, TWO, now);
    assert_eq!(nothing_before(&state), [Some(5), Some(100)]);
    answer_in_session(&mut state, &elsewhere, vec![], now);
    assert_eq!(nothing_before(&state), [Some(100), Some(100)]);
}

#[test]
fn an_answer_for_others_says_nothing_of_what_has_left_the_session() {
    let now = Instant::now();
    let (mut state, fetch) = in_session(now);
    answer_in_session(&mut state, &fetch, vec![refused(0, ErrorCode::NotLeaderOrFollower)], now);
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![], now);
    assert_eq!(nothing_before(&state), [Some(5), Some(100)], "it backs off");

    let (mut state, fetch) = in_session(now);
    state.pause(&name(0)).unwrap();
    answer_in_session(&mut state, &fetch, vec![data(1, &[batch(0, 5, none())])], now);
    let fetch = send(&mut state, Lane::Main, now);
    answer_in_session(&mut state, &fetch, vec![], now);
    assert_eq!(nothing_before(&state)[0], Some(5), "it is paused");
}

#[test]
fn what_a_full_answer_leaves_out_or_sends_elsewhere_says_nothing() {
    let now = Instant::now();
    let elsewhere = || FetchPartitionData { preferred_read_replica: TWO, ..data(0, &[]) };
    for first in [None, Some(elsewhere())] {
        let mut state = state(2, FetcherConfig::default());
        let fetch = send(&mut state, Lane::Main, now);
        answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())]), data(1, &[])], now);
        hand_out(&mut state, now).unwrap();
        state.begin_poll(now);
        let fetch = send(&mut state, Lane::Main, now);
        answer(&mut state, &fetch, first.into_iter().chain([data(1, &[])]).collect(), now);
        assert_eq!(nothing_before(&state)[0], Some(5));
    }
}
