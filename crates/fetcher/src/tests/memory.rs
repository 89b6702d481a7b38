//! What is asked for, and given up, when memory is short.

use super::*;
use crate::buffer_pool::LaneBuffers;

const MIB: usize = 1024 * 1024;

fn used(bytes: usize) -> Usage {
    Usage { used: bytes, ..Usage::default() }
}

#[test]
fn a_broker_without_memory_beside_one_that_is_parked_has_paused_partitions_given_up() {
    let (mut state, now) = (state(3, FetcherConfig::default()), Instant::now());
    lead(&mut state, 1, TWO);
    let fetch = send(&mut state, Lane::Main, now);
    answer(&mut state, &fetch, vec![data(0, &[batch(0, 5, none())]), data(2, &[batch(0, 5, none())])], now);
    state.pause(&name(2)).unwrap();

    // As much is used as leaves the one broker its least and the other nothing.
    let bytes = (0..32 * MIB).rev().step_by(MIB / 8).find(|bytes| !state.budget.is_exhausted(*bytes)).unwrap();
    let NextFetch::Send(parked) = state.next_fetch(ONE, Lane::Main, now, used(bytes)) else {
        panic!("nothing is sent")
    };
    assert!(matches!(state.next_fetch(TWO, Lane::Main, now, used(bytes)), NextFetch::WaitForMemory));
    assert!(!state.lacks_memory(bytes), "what is there to be handed out makes room");
    hand_out(&mut state, now).unwrap();
    assert!(state.lacks_memory(bytes) && state.give_up_paused());
    assert!(!state.lacks_memory(0), "there is room");
    assert!(matches!(state.next_fetch(TWO, Lane::Main, now, used(0)), NextFetch::Send(_)));
    answer(&mut state, &parked, vec![data(0, &[])], now);
    assert!(!state.lacks_memory(bytes), "nobody waits");
}

#[test]
fn no_more_small_answers_are_asked_for_than_there_is_memory_for_until_they_are_handed_out() {
    let config = FetcherConfig { fetch_buffer_max_bytes: MIB, ..FetcherConfig::default() };
    let pool = BufferPool::new(config.fetch_buffer_max_bytes);
    let (mut state, now) = (state(1, config), Instant::now());
    let mut answers = 0;
    while let NextFetch::Send(fetch) = state.next_fetch(ONE, Lane::Main, now, pool.usage()) {
        let topic = FetchableTopicResponse {
            topic: "topic".to_owned(),
            topic_id: TopicId::NONE,
            partitions: vec![data(0, &[batch(answers, 1, none())])],
        };
        let mut writer = Writer::new();
        FetchResponse { responses: vec![topic], ..FetchResponse::default() }.encode(&mut writer, VERSION).unwrap();
        let read = read(IsolationLevel::ReadUncommitted, VERSION, writer.into_bytes()).unwrap();
        state.handle_answer(&fetch, read.waiting(LaneBuffers::new(pool.clone()).waiting_answer()), now);
        answers += 1;
        assert!(answers < 1000, "nothing stops them");
    }
    assert!((50..=128).contains(&answers), "{answers}");
    assert!(matches!(state.next_fetch(ONE, Lane::Main, now, pool.usage()), NextFetch::WaitForMemory));
    assert!(pool.usage().buffered <= pool.bound(), "{:?}", pool.usage());
    let all = hand_out(&mut state, now).unwrap();
    assert_eq!(all, BTreeMap::from([(0, (0..answers).collect())]));
    assert_eq!(pool.used(), 0);
    send(&mut state, Lane::Main, now);
}
