//! Brokers that owe an answer.

use ottla_cluster::LATE;

use super::*;

/// How many topics there are about which the cluster is to be asked, which it is then.
fn doubted(state: &mut State) -> usize {
    std::mem::take(&mut state.stale_topics).len()
}

#[test]
fn an_answer_is_late_a_while_after_its_wait_at_the_broker() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    assert_eq!(send(&mut state, Lane::Main, now).late_at, now + 500 * MILLISECOND + LATE);
}

#[test]
fn a_leader_that_is_late_is_doubted_each_time_that_metadata_comes_until_it_answers() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    state.doubt_silent_brokers();
    assert_eq!(doubted(&mut state), 0);
    state.handle_late(&fetch, now);
    for _ in 0..3 {
        assert_eq!(doubted(&mut state), 1);
        state.doubt_silent_brokers();
    }
    assert!(!state.is_overtaken(&fetch), "nobody else has what it was asked for");
    doubted(&mut state);
    answer(&mut state, &fetch, vec![data(0, &[])], now);
    state.doubt_silent_brokers();
    assert_eq!(doubted(&mut state), 0);
}

#[test]
fn a_leader_that_fails_is_doubted_each_time_that_metadata_comes() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    state.handle_failure(&fetch, Error::Closed, now);
    for _ in 0..3 {
        assert_eq!(doubted(&mut state), 1);
        state.doubt_silent_brokers();
    }
}

#[test]
fn a_partition_with_another_leader_is_fetched_there_and_the_late_answer_given_up_once_nobody_waits_for_it() {
    let (mut state, now) = (state(2, FetcherConfig::default()), Instant::now());
    let fetch = send(&mut state, Lane::Main, now);
    state.handle_late(&fetch, now);
    doubted(&mut state);
    lead(&mut state, 0, TWO);
    assert!(!state.is_overtaken(&fetch));
    let NextFetch::Send(elsewhere) = state.next_fetch(TWO, Lane::Main, now, Usage::default()) else {
        panic!("it is fetched from its new leader at once")
    };
    assert_eq!(asked(&elsewhere), [(0, 0)]);
    lead(&mut state, 1, TWO);
    assert!(state.is_overtaken(&fetch));
    state.handle_overtaken(&fetch);
    state.doubt_silent_brokers();
    assert_eq!(doubted(&mut state), 0, "it leads nothing any more");
    assert!(matches!(next(&mut state, Lane::Main, now), NextFetch::End));
}

#[test]
fn a_lookup_that_is_late_has_its_leader_doubted_and_is_made_elsewhere_once_that_is_known() {
    let (mut state, now) = (state(1, FetcherConfig::default()), Instant::now());
    state.seek(&name(0), StartAt::Earliest).unwrap();
    let [lookup] = &state.next_lookups(now)[..] else { panic!("one broker leads all") };
    assert_eq!(state.next_lookup_deadline(), Some(now + LATE));
    state.doubt_late_lookups(now + LATE.saturating_sub(MILLISECOND));
    assert_eq!(doubted(&mut state), 0);
    state.doubt_late_lookups(now + LATE);
    assert_eq!((doubted(&mut state), state.next_lookup_deadline()), (1, None));
    lead(&mut state, 0, TWO);
    assert_eq!(state.next_lookups(now + LATE)[0].lookup.node, TWO);
    state.handle_lookup(lookup, Err(ottla_cluster::Error::Closed), now + LATE);
    assert_eq!(state.next_lookup_deadline(), Some(now + LATE + LATE), "the other one is still in flight");
}
