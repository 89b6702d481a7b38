//! What members of a group tell one another: subscriptions, assignments and user data, which the broker passes on
//! unread.
//!
//! An input is one byte that says which of them follows, and its bytes.
//!
//! - Decoding keeps the bound of every message, and so does walking what was decoded.
//! - What decodes can be encoded, and reads back the same: a subscription once it is sorted, as encoding sorts it.

use std::fmt::Debug;

use bytes::Bytes;
use ottla_wire::consumer_protocol::{
    Assignment, CooperativeUserData, HIGHEST_VERSION, PartitionsByTopic, StickyUserData, Subscription,
};
use ottla_wire::{DecodeError, EncodeError};

use crate::messages::memory_bound;

/// What an input is taken for: its first byte, modulo their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A subscription.
    Subscription,
    /// An assignment.
    Assignment,
    /// The sticky assignor's user data.
    StickyUserData,
    /// The cooperative sticky assignor's user data.
    CooperativeUserData,
}

/// Checks an input.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let [kind, body @ ..] = input else { return };
    let body = Bytes::copy_from_slice(body);
    match kind % 4 {
        0 => check_subscription(body),
        1 => {
            let Some(assignment) = decoded(body, Assignment::decode) else { return };
            walk(&assignment.partitions);
            reads_back(&assignment, assignment.encode(HIGHEST_VERSION), Assignment::decode);
        }
        2 => {
            let Some(user_data) = decoded(body, StickyUserData::decode) else { return };
            walk(&user_data.partitions);
            reads_back(&user_data, user_data.encode(), StickyUserData::decode);
        }
        _ => {
            let Some(user_data) = decoded(body, CooperativeUserData::decode) else { return };
            reads_back(&user_data, Ok(user_data.encode()), CooperativeUserData::decode);
        }
    }
}

/// The input that is `bytes` as that kind.
pub fn input(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let mut input = vec![kind as u8];
    input.extend_from_slice(bytes);
    input
}

fn check_subscription(body: Bytes) {
    let Some(subscription) = decoded(body, Subscription::decode) else { return };
    walk(&subscription.owned_partitions);
    let mut topics: Vec<&str> = subscription.topics.iter().collect();
    assert_eq!(topics.len(), subscription.topics.len());

    let Some(sorted) = reencoded(&subscription, subscription.encode(HIGHEST_VERSION), Subscription::decode) else {
        return;
    };
    let mut topics_again: Vec<&str> = sorted.topics.iter().collect();
    let mut owned: Vec<(&str, i32)> = subscription.owned_partitions.partitions().collect();
    let mut owned_again: Vec<(&str, i32)> = sorted.owned_partitions.partitions().collect();
    topics.sort_unstable();
    topics_again.sort_unstable();
    owned.sort_unstable();
    owned_again.sort_unstable();
    assert_eq!((topics, owned), (topics_again, owned_again));
    assert_eq!(
        (&subscription.user_data, subscription.generation_id, &subscription.rack_id),
        (&sorted.user_data, sorted.generation_id, &sorted.rack_id)
    );
    reads_back(&sorted, sorted.encode(HIGHEST_VERSION), Subscription::decode);
}

fn decoded<T>(body: Bytes, decode: impl Fn(Bytes) -> Result<T, DecodeError>) -> Option<T> {
    let length = body.len();
    let (decoded, allocated) = allocation_counter::measure(|| decode(body));
    let (taken, bound) = (length + allocated.peak_bytes, memory_bound(length));
    assert!(taken <= bound, "{length} bytes: {taken} taken, over {bound}");
    decoded.ok()
}

fn walk(partitions: &PartitionsByTopic) {
    let (count, allocated) = allocation_counter::measure(|| partitions.partitions().count());
    assert_eq!(allocated.allocations, 0, "walking {count} partitions allocates");
    assert_eq!(partitions.is_empty(), count == 0);
}

fn reencoded<T: Debug>(
    value: &T,
    encoded: Result<Bytes, EncodeError>,
    decode: impl Fn(Bytes) -> Result<T, DecodeError>,
) -> Option<T> {
    let bytes = match encoded {
        Ok(bytes) => bytes,
        Err(error) => panic!("{value:?} was decoded and does not encode: {error}"),
    };
    match decode(bytes) {
        Ok(again) => Some(again),
        // What followed the last known field is gone, and with it the memory that more bytes may take.
        Err(DecodeError::MemoryBeyondAllowance { .. }) => None,
        Err(error) => panic!("{value:?} was encoded and does not decode: {error}"),
    }
}

fn reads_back<T: Debug + PartialEq>(
    value: &T,
    encoded: Result<Bytes, EncodeError>,
    decode: impl Fn(Bytes) -> Result<T, DecodeError>,
) {
    if let Some(again) = reencoded(value, encoded, decode) {
        assert_eq!(&again, value);
    }
}
