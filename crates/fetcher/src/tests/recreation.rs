//! Topics that are deleted and made anew under their names.

use super::*;
use crate::position::Refusal;

const OLD: TopicId = TopicId([1; 16]);
const NEW: TopicId = TopicId([2; 16]);

/// As metadata would have it.
fn notice(state: &mut State, id: TopicId) {
    let place = state.places[&name(0)];
    let partition = state.partition_mut(place).unwrap();
    partition.notice_topic_id(id);
    if partition.recreation().is_some() {
        state.recreated.insert(place);
    }
}

/// Five records of the old topic are buffered.
fn buffered(policy: AutoOffsetReset, now: Instant) -> State {
    let mut state = state(1, FetcherConfig { auto_offset_reset: policy, ..FetcherConfig::default() });
    notice(&mut state, OLD);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())])], now);
    state
}

fn phase(state: &State) -> Phase {
    let place = state.places[&name(0)];
    state.partition(place).unwrap().phase
}

#[test]
fn what_was_received_of_the_former_comes_first_and_then_the_new_one_from_its_start() {
    let now = Instant::now();
    let mut state = buffered(AutoOffsetReset::Latest, now);
    let in_flight = send(&mut state, Lane::Main, now);
    notice(&mut state, NEW);
    assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::Wait(None)), "nothing is read on");
    answer(&mut state, &in_flight, vec![data(0, &[batch(5, 5, none())])], now);
    assert_eq!(hand_out(&mut state, now).unwrap()[&0], [0, 1, 2, 3, 4], "what came since counts no more");
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert_eq!(phase(&state), Phase::Starting(Lookup::Earliest));
    assert!(matches!(state.resets.pop_front(), Some(Error::TopicRecreated { old_id: OLD, new_id: NEW, .. })));
}

#[test]
fn without_a_policy_the_application_decides() {
    let now = Instant::now();
    let mut state = buffered(AutoOffsetReset::None, now);
    notice(&mut state, NEW);
    hand_out(&mut state, now).unwrap();
    assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
    assert!(matches!(phase(&state), Phase::Refused(Refusal::Recreated(_))));
    assert!(state.resets.is_empty());
    state.tell_refused(now);
    assert!(matches!(hand_out(&mut state, now), Err(Error::TopicRecreated { old_id: OLD, new_id: NEW, .. })));
}

#[test]
fn an_id_that_is_not_told_or_comes_back_from_a_broker_that_is_behind_says_nothing() {
    let now = Instant::now();
    let mut state = buffered(AutoOffsetReset::Earliest, now);
    notice(&mut state, OLD);
    assert!(state.recreated.is_empty());
    notice(&mut state, NEW);
    hand_out(&mut state, now).unwrap();
    hand_out(&mut state, now).unwrap();
    assert_eq!(state.resets.len(), 1);
    let place = state.places[&name(0)];
    state.partition_mut(place).unwrap().started(0, None);
    notice(&mut state, OLD);
    assert!(state.recreated.is_empty(), "ids never come back");
}

#[test]
fn what_the_former_topics_log_refused_is_not_answered_by_the_new_one() {
    let now = Instant::now();
    let mut state = buffered(AutoOffsetReset::Latest, now);
    let place = state.places[&name(0)];
    state.partition_mut(place).unwrap().set_leader(Some(Leader { node: ONE, epoch: None }));
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![refused(0, ErrorCode::OffsetOutOfRange)], now);
    notice(&mut state, NEW);
    hand_out(&mut state, now).unwrap();
    hand_out(&mut state, now).unwrap();
    hand_out(&mut state, now).unwrap();
    assert_eq!(phase(&state), Phase::Starting(Lookup::Earliest), "not at the end of another log");
    assert_eq!(state.resets.len(), 1);
}

#[test]
fn a_seek_by_one_who_could_not_know_goes_where_it_says_and_is_told() {
    let now = Instant::now();
    let mut state = buffered(AutoOffsetReset::None, now);
    notice(&mut state, NEW);
    state.seek(&name(0), StartAt::Offset(3)).unwrap();
    assert_eq!(asked(&send(&mut state, Lane::Main, now)), [(0, 3)]);
    assert!(matches!(state.resets.pop_front(), Some(Error::TopicRecreated { .. })));
    state.seek(&name(0), StartAt::Offset(4)).unwrap();
    assert!(state.resets.is_empty(), "once");
}
