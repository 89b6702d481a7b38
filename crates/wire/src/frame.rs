//! Frames: a length of four bytes, then that many bytes.

use bytes::Bytes;

/// The largest frame accepted where nothing else is set: 100 MiB, Java's `socket.request.max.bytes`.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 100 * 1024 * 1024;

/// A whole frame to be sent, its length first, in segments to be written one after the other.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The bytes. The first segment begins with the length.
    pub segments: Vec<Bytes>,
    /// How many bytes, the four of the length included.
    pub total_bytes: usize,
}

/// A peer announced a frame over the limit, or of negative length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes was announced, over the limit of {limit}")]
#[non_exhaustive]
pub struct FrameTooLarge {
    /// What was announced.
    pub length: i32,
    /// The limit.
    pub limit: usize,
}

/// How many bytes follow the four of `prefix`, unless that is negative or more than `limit`.
pub fn frame_length(prefix: [u8; 4], limit: usize) -> Result<usize, FrameTooLarge> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= limit => Ok(bytes),
        _ => Err(FrameTooLarge { length, limit }),
    }
}
