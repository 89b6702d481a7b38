//! Frames on a connection: requests are read whole, answers written whole.
//!
//! While a request is at work the next is not begun, but what the client sends is taken in, up to a bound: that is how its
//! end is noticed, although a request of it may wait for minutes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use ottla_connection::BoxedStream;
use ottla_wire::{Frame, frame_length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// A connection.
pub(crate) struct Frames {
    stream: BoxedStream,
    /// What was taken in and not read yet.
    ahead: BytesMut,
}

impl Frames {
    pub(crate) fn new(stream: BoxedStream) -> Self {
        Self { stream, ahead: BytesMut::new() }
    }

    /// The next frame without its length, `None` where the client has closed the connection between two.
    pub(crate) async fn next(&mut self, max_bytes: usize) -> io::Result<Option<Bytes>> {
        while self.ahead.len() < PREFIX_BYTES {
            let wanted = PREFIX_BYTES - self.ahead.len();
            if take_in(&mut self.stream, &mut self.ahead, wanted).await? == 0 {
                return if self.ahead.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
        let length = frame_length([self.ahead[0], self.ahead[1], self.ahead[2], self.ahead[3]], max_bytes);
        let length = length.map_err(io::Error::other)?;
        self.ahead.advance(PREFIX_BYTES);
        let mut frame = self.ahead.split_to(length.min(self.ahead.len()));
        // What is announced is believed as it arrives: nobody gets 100 MiB for four bytes.
        frame.reserve((length - frame.len()).min(BELIEVED_BYTES));
        while frame.len() < length {
            let rest = length - frame.len();
            if frame.len() == frame.capacity() {
                frame.reserve(rest.min(frame.len()));
            }
            if take_in(&mut self.stream, &mut frame, rest).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Some(frame.freeze()))
    }

    /// Returns when the client has gone. Cancel safe: what it sends meanwhile is kept for [`next`](Self::next). Of a client that
    /// sends more than is taken in ahead, this is not seen.
    pub(crate) async fn gone(&mut self) {
        while self.ahead.len() < AHEAD_BYTES {
            let room = AHEAD_BYTES - self.ahead.len();
            match take_in(&mut self.stream, &mut self.ahead, room).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending::<()>().await;
    }

    /// Writes a frame, its segments in one go where the transport can do that.
    pub(crate) async fn write(&mut self, frame: Frame) -> io::Result<()> {
        let mut segments: VecDeque<Bytes> = frame.segments.into();
        while !segments.is_empty() {
            let slices: Vec<IoSlice<'_>> = segments.iter().take(MAX_SLICES).map(|bytes| IoSlice::new(bytes)).collect();
            let mut written = self.stream.write_vectored(&slices).await?;
            if written == 0 && segments.iter().any(|segment| !segment.is_empty()) {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while let Some(first) = segments.front_mut() {
                if first.len() > written {
                    first.advance(written);
                    break;
                }
                written -= first.len();
                segments.pop_front();
            }
        }
        self.stream.flush().await
    }

    /// Takes in whatever comes, until the client gives up.
    pub(crate) async fn swallow(&mut self) -> io::Result<()> {
        let mut swallowed = [0; 4096];
        while self.stream.read(&mut swallowed).await? > 0 {}
        Ok(())
    }
}

/// Appends what has arrived, at most `limit` bytes. Cancel safe.
async fn take_in(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut, limit: usize) -> io::Result<usize> {
    stream.take(limit as u64).read_buf(buffer).await
}

/// A frame's length stands before it.
const PREFIX_BYTES: usize = 4;

/// Room for so much of a frame is made before any of it has arrived; then as much again as has.
const BELIEVED_BYTES: usize = 1024 * 1024;

/// How much is taken in ahead. A client that has so much under way is not one that waits.
const AHEAD_BYTES: usize = 64 * 1024;

/// How many segments are handed to the system at once.
const MAX_SLICES: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::DuplexStream;
    use tokio::time::timeout;

    use super::*;

    fn connection() -> (DuplexStream, Frames) {
        let (client, node) = tokio::io::duplex(1 << 20);
        (client, Frames::new(Box::new(node)))
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as i32).to_be_bytes()[..], body].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_a_request_is_at_work_is_read_in_its_turn() {
        let (mut client, mut frames) = connection();
        let large = vec![7; 3 * AHEAD_BYTES];
        for body in [&b"first"[..], b"", &large] {
            client.write_all(&frame(body)).await.unwrap();
        }
        assert!(timeout(Duration::from_secs(1), frames.gone()).await.is_err());
        for body in [&b"first"[..], b"", &large] {
            assert_eq!(frames.next(1 << 20).await.unwrap().unwrap(), body);
            assert!(timeout(Duration::from_secs(1), frames.gone()).await.is_err());
        }
        drop(client);
        assert_eq!(frames.next(1 << 20).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_client_is_seen_behind_what_it_has_sent() {
        let (mut client, mut frames) = connection();
        client.write_all(&frame(b"last words")).await.unwrap();
        drop(client);
        frames.gone().await;
        assert_eq!(frames.next(1 << 20).await.unwrap().unwrap(), &b"last words"[..]);
        assert_eq!(frames.next(1 << 20).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_in_the_middle_or_is_too_long_is_no_frame() {
        for sent in [&b"\0\0"[..], b"\0\0\0\x05four", b"\x7f\0\0\0", b"\xff\xff\xff\xff"] {
            let (mut client, mut frames) = connection();
            client.write_all(sent).await.unwrap();
            drop(client);
            assert!(frames.next(1 << 20).await.is_err(), "{sent:?}");
        }
    }
}
