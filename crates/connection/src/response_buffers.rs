//! Where the bodies of large responses go, when somebody other than the connection owns that memory.
//!
//! The fetcher bounds what is fetched and not yet used. It cannot know how large an answer is before it comes, so the
//! connection asks: the length is known from the frame's first four bytes, and nothing more is read until the memory is
//! there. Meanwhile TCP makes the broker wait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

/// Frames longer than this are read into memory from [`ResponseBuffers`], where the connection has that; shorter ones
/// are not worth a permit.
pub const LARGE_RESPONSE_BYTES: usize = 4096;

/// Gives out memory for large responses, and makes the connection wait while there is none.
pub trait ResponseBuffers: fmt::Debug + Send + Sync {
    /// Memory for a response of `length` bytes (the whole frame after its length field), once there is some to be had.
    ///
    /// Called before the body is read. No request in flight on the connection becomes overdue while this is pending.
    /// The future is dropped if the connection closes meanwhile; that must give back whatever it holds.
    fn acquire(&self, length: usize) -> Pin<Box<dyn Future<Output = Box<dyn ResponseBuffer>> + Send + '_>>;
}

/// Memory for one response.
pub trait ResponseBuffer: Send {
    /// The memory: exactly as many bytes as were asked for, initialised, with whatever content.
    fn memory(&mut self) -> &mut [u8];

    /// The filled memory, to be shared.
    fn freeze(self: Box<Self>) -> Bytes;
}
