//! Frames on their way out: written as far as the transport takes them, several at once, without copying.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use ottla_wire::Frame;
use tokio::io::AsyncWrite;

use crate::BoxedStream;

/// How many segments are handed to the transport at once; systems take up to 1024.
const SEGMENTS_AT_ONCE: usize = 32;

/// Frames that are not, or not wholly, written. Bounded by the in-flight limit.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    segments: VecDeque<Bytes>,
    /// How many bytes of each frame are unwritten.
    remaining: VecDeque<usize>,
    unflushed: bool,
}

impl Outgoing {
    /// Queues a frame.
    pub(crate) fn push(&mut self, frame: Frame) {
        self.remaining.push_back(frame.total_bytes);
        self.segments.extend(frame.segments.into_iter().filter(|segment| !segment.is_empty()));
    }

    /// Writes until at least one more frame is written to its end; says how many are. Pending, without being woken,
    /// where there is nothing to write.
    pub(crate) fn poll_written(
        &mut self,
        stream: &mut BoxedStream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        while !self.segments.is_empty() {
            let mut slices = [IoSlice::new(&[]); SEGMENTS_AT_ONCE];
            let count = self.segments.len().min(SEGMENTS_AT_ONCE);
            for (slice, segment) in slices.iter_mut().zip(&self.segments) {
                *slice = IoSlice::new(segment);
            }
            let bytes = ready!(Pin::new(&mut *stream).poll_write_vectored(context, &slices[..count]))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            let frames = self.advance(bytes);
            if frames > 0 {
                return Poll::Ready(Ok(frames));
            }
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    /// `bytes` have been written: forgets them, and counts the frames that they ended.
    fn advance(&mut self, mut bytes: usize) -> usize {
        let mut frames = 0;
        let mut unaccounted = bytes;
        while let Some(remaining) = self.remaining.front_mut() {
            if *remaining > unaccounted {
                *remaining -= unaccounted;
                break;
            }
            unaccounted -= *remaining;
            self.remaining.pop_front();
            frames += 1;
        }
        while let Some(segment) = self.segments.front_mut() {
            if segment.len() > bytes {
                segment.advance(bytes);
                break;
            }
            bytes -= segment.len();
            self.segments.pop_front();
        }
        frames
    }
}
