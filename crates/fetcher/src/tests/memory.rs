//! What is asked for, and given up, when memory is short.

use super::*;

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
