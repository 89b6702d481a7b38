//! Reading from the replica that stands closest.

use super::*;

/// Node 1 leads, and sends readers on to node 2.
fn sent_on(config: FetcherConfig, now: Instant) -> State {
    let mut state = state(1, config);
    state.known_nodes = [ONE, TWO].into();
    send_on(&mut state, now);
    state
}

fn send_on(state: &mut State, now: Instant) {
    let fetch = send(state, Lane::Main, now);
    let hints = answer(state, &fetch, vec![FetchPartitionData { preferred_read_replica: TWO, ..data(0, &[]) }], now);
    assert!(hints.is_for_others, "node 2 may have no lanes yet");
}

fn send_to_two(state: &mut State, now: Instant) -> Option<Box<Fetch>> {
    match state.next_fetch(TWO, Lane::Main, now, Usage::default()) {
        NextFetch::Send(fetch) => Some(fetch),
        _ => None,
    }
}

fn is_read_from_one(state: &mut State, now: Instant) -> bool {
    match next(state, Lane::Main, now) {
        NextFetch::Send(fetch) => asked(&fetch) == [(0, 0)],
        _ => false,
    }
}

#[test]
fn the_rack_is_told_and_the_replica_that_is_named_is_read_from() {
    let config = FetcherConfig { client_rack: Some("east".to_owned()), ..FetcherConfig::default() };
    let now = Instant::now();
    let mut state = sent_on(config, now);
    assert!(!is_read_from_one(&mut state, now));
    let fetch = send_to_two(&mut state, now).unwrap();
    assert_eq!((asked(&fetch), &*fetch.request.request.rack_id), (vec![(0, 0)], "east"));
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())])], now);
    assert_eq!(asked(&send_to_two(&mut state, now).unwrap()), [(0, 5)], "and it stays there");
    assert_eq!(hand_out(&mut state, now).unwrap()[&0], [0, 1, 2, 3, 4]);
}

#[test]
fn a_replica_that_nobody_knows_is_asked_about_instead() {
    let now = Instant::now();
    let mut state = state(1, FetcherConfig::default());
    state.known_nodes = [ONE].into();
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![FetchPartitionData { preferred_read_replica: TWO, ..data(0, &[]) }], now);
    assert_eq!(state.stale_topics.len(), 1);
    assert!(!is_read_from_one(&mut state, now), "not before the back-off is over");
    assert!(is_read_from_one(&mut state, now + Duration::from_secs(1)));
}

#[test]
fn the_leader_is_asked_again_when_the_replica_has_had_its_time() {
    let now = Instant::now();
    let mut state = sent_on(FetcherConfig::default(), now);
    let until = state.replicas_expire_at.unwrap();
    assert_eq!(until, now + Duration::from_mins(5));
    state.expire_replicas(now + Duration::from_secs(299));
    assert!(!is_read_from_one(&mut state, until));
    state.expire_replicas(until);
    assert!(is_read_from_one(&mut state, until));
    assert_eq!(state.replicas_expire_at, None);
}

#[test]
fn a_replica_that_lags_is_no_reason_for_a_reset() {
    let mut now = Instant::now();
    let config = FetcherConfig { auto_offset_reset: AutoOffsetReset::Latest, ..FetcherConfig::default() };
    let mut state = sent_on(config, now);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let fetch = send_to_two(&mut state, now).unwrap();
        answer(&mut state, &fetch, vec![refused(0, ErrorCode::OffsetOutOfRange)], now);
        assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new(), "nothing to tell, nothing to reset");
        let NextFetch::Wait(Some(until)) = next(&mut state, Lane::Main, now) else { panic!("not at once") };
        waits.push(until - now);
        now = until;
        // The leader insists, and sends nothing itself.
        send_on(&mut state, now);
    }
    assert!(waits.is_sorted() && waits[3] > 2 * waits[0], "{waits:?}: no loop without a pause");
    assert_eq!(state.position(&name(0)).unwrap(), Some(0));
}

#[test]
fn whatever_a_replica_refuses_is_for_its_leader() {
    let now = Instant::now();
    for error_code in [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::ReplicaNotAvailable,
        ErrorCode::UnknownLeaderEpoch,
        ErrorCode::TopicAuthorizationFailed,
    ] {
        let mut state = sent_on(FetcherConfig::default(), now);
        let fetch = send_to_two(&mut state, now).unwrap();
        answer(&mut state, &fetch, vec![refused(0, error_code)], now);
        assert_eq!(hand_out(&mut state, now).unwrap(), BTreeMap::new());
        assert!(is_read_from_one(&mut state, now + Duration::from_secs(1)), "{error_code}");
    }
}

#[test]
fn a_replica_that_cannot_be_reached_or_is_late_is_left_at_once() {
    let now = Instant::now();
    let mut state = sent_on(FetcherConfig::default(), now);
    let fetch = send_to_two(&mut state, now).unwrap();
    state.handle_failure(&fetch, Error::Closed, now);
    assert!(is_read_from_one(&mut state, now));

    let mut state = sent_on(FetcherConfig::default(), now);
    let fetch = send_to_two(&mut state, now).unwrap();
    state.handle_late(&fetch, now);
    assert!(state.is_overtaken(&fetch));
    assert!(is_read_from_one(&mut state, now));
}

#[test]
fn a_leader_whose_replica_failed_serves_itself_for_a_while_that_grows() {
    let config = FetcherConfig { client_rack: Some("east".to_owned()), ..FetcherConfig::default() };
    let mut now = Instant::now();
    let mut state = sent_on(config, now);
    let mut spans = Vec::new();
    for _ in 0..12 {
        let fetch = send_to_two(&mut state, now).unwrap();
        state.handle_failure(&fetch, Error::Closed, now);
        let failed_at = now;
        // Without the rack the leader has no other to name.
        let mut fetch = send(&mut state, Lane::Main, now);
        while fetch.request.request.rack_id.is_empty() {
            answer(&mut state, &fetch, vec![data(0, &[])], now);
            now += Duration::from_secs(1);
            fetch = send(&mut state, Lane::Main, now);
        }
        assert_eq!(fetch.request.request.rack_id, "east");
        spans.push((now - failed_at).as_secs());
        let named = FetchPartitionData { preferred_read_replica: TWO, ..data(0, &[]) };
        answer(&mut state, &fetch, vec![named], now);
    }
    assert_eq!(spans[..6], [10, 20, 40, 80, 160, 300]);
    assert_eq!(spans[6..], [300; 6], "up to metadata.max.age");

    let fetch = send_to_two(&mut state, now).unwrap();
    answer(&mut state, &fetch, vec![data(0, &[])], now);
    let fetch = send_to_two(&mut state, now).unwrap();
    state.handle_failure(&fetch, Error::Closed, now);
    let fetch = send(&mut state, Lane::Main, now + Duration::from_secs(9));
    assert_eq!(fetch.request.request.rack_id, "");
    answer(&mut state, &fetch, vec![data(0, &[])], now);
    let fetch = send(&mut state, Lane::Main, now + Duration::from_secs(10));
    assert_eq!(fetch.request.request.rack_id, "east", "it has worked meanwhile");
}

#[test]
fn another_leader_is_asked_first_itself() {
    let now = Instant::now();
    let mut state = sent_on(FetcherConfig::default(), now);
    let place = state.places[&name(0)];
    let partition = state.partition_mut(place).unwrap();
    partition.set_leader(Some(Leader { node: ONE, epoch: Some(LeaderEpoch(4)) }));
    assert_eq!(partition.fetched_from(), Some(ONE));
    assert_eq!(partition.replica, None);
}
