//! Frames behind the guard: every message that the `kafka-protocol` crate decodes, in all flexible versions.
//!
//! An input is the API's index in [`API_KEYS`], whether it is a request (even) or a response, the version counted from
//! the lowest flexible one, and the body.
//!
//! Decoding takes at most 200 times the frame and 16 MiB: without the guard, a frame of 69 bytes makes that crate ask for
//! 451 GB and end the process.

use bytes::Bytes;
use ottla_wire::guard::DEFAULT_MAX_GUARDED_BYTES;
use ottla_wire::guarded::any::{API_KEYS, AnyMessage, Direction, flexible_versions};

/// How many times its frame a message may take in memory.
pub const FRAMES: usize = 200;
/// What a message of any size may take beside.
pub const FLOOR_BYTES: usize = 16 * 1024 * 1024;

/// Checks an input.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let [index, direction, version, body @ ..] = input else { return };
    let api_key = API_KEYS[usize::from(*index) % API_KEYS.len()];
    let direction = if direction % 2 == 0 { Direction::Request } else { Direction::Response };
    let Some(versions) = flexible_versions(api_key).filter(|versions| versions.min <= versions.max) else { return };
    let version = versions.min + i16::from(*version) % (versions.max - versions.min + 1);
    let body = Bytes::copy_from_slice(body);
    let length = body.len();
    let (decoded, allocated) = allocation_counter::measure(|| {
        AnyMessage::decode(api_key, direction, version, body, DEFAULT_MAX_GUARDED_BYTES)
    });
    let (taken, bound) = (length + allocated.peak_bytes, FRAMES * length + FLOOR_BYTES);
    assert!(
        taken <= bound,
        "{direction:?} {api_key} version {version}: {taken} bytes for a frame of {length}, over {bound}: {:?}",
        decoded.err()
    );
}

/// The input that is `body` as a request or a response of that API in `version`. `None` where that is not decoded
/// behind the guard.
pub fn input(api_key: i16, direction: Direction, version: i16, body: &[u8]) -> Option<Vec<u8>> {
    let index = API_KEYS.iter().position(|key| *key == api_key)?;
    let versions = flexible_versions(api_key).filter(|versions| versions.contains(version))?;
    let mut input = vec![index as u8, direction as u8, (version - versions.min) as u8];
    input.extend_from_slice(body);
    Some(input)
}
