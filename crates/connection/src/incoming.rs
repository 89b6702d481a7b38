//! Frames on their way in.
//!
//! Small frames are collected in one growing buffer, many to a read, and cut off it without copying. Once the length of
//! a larger one is known, room for what is missing is made at once, so that it is not copied while it grows; beyond
//! [`BELIEVED_BYTES`] the room grows with what has really come, because a length is only a claim.
//!
//! With [`ResponseBuffers`], the body of a large frame is read straight into their memory. Nothing is read until that
//! memory is there; reads before it are kept short, so that little of the body has to be moved over.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use ottla_wire::frame_length;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::{BoxedStream, CloseCause, LARGE_RESPONSE_BYTES, ResponseBuffer, ResponseBuffers};

const LENGTH_BYTES: usize = 4;

/// Room for each read where no length is known yet.
const READ_BYTES: usize = 64 * 1024;

/// Room that is made at once because a length says so.
const BELIEVED_BYTES: usize = 1024 * 1024;

/// Turns what the transport delivers into frames.
pub(crate) struct Incoming {
    max_frame_bytes: usize,
    response_buffers: Option<Arc<dyn ResponseBuffers>>,
    buffer: BytesMut,
    body: Body,
}

/// Where the body of the frame at hand goes.
enum Body {
    /// Into the buffer.
    Collected,
    /// Into memory that is being waited for.
    Wanted { length: usize, told: bool, memory: Pin<Box<dyn Future<Output = Box<dyn ResponseBuffer>> + Send>> },
    /// Into memory that is there.
    Filling { length: usize, filled: usize, memory: Box<dyn ResponseBuffer> },
}

/// What has come.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A frame without its length.
    Frame(Bytes),
    /// Nothing will be read until there is memory for a body.
    MemoryWanted,
    /// There is, now.
    MemoryGranted,
}

impl Incoming {
    /// Nothing yet.
    pub(crate) fn new(max_frame_bytes: usize, response_buffers: Option<Arc<dyn ResponseBuffers>>) -> Self {
        Self { max_frame_bytes, response_buffers, buffer: BytesMut::new(), body: Body::Collected }
    }

    /// Reads until there is something to tell, or the transport has no more.
    pub(crate) fn poll_arrival(
        &mut self,
        stream: &mut BoxedStream,
        context: &mut Context<'_>,
    ) -> Poll<Result<Arrival, CloseCause>> {
        loop {
            match &mut self.body {
                Body::Collected => {
                    if let Some(frame) = self.next_collected()? {
                        return Poll::Ready(Ok(Arrival::Frame(frame)));
                    }
                    if matches!(self.body, Body::Collected) {
                        ready!(self.poll_collect(stream, context))?;
                    }
                }
                Body::Wanted { length, told, memory } => {
                    let Poll::Ready(granted) = memory.as_mut().poll(context) else {
                        if std::mem::replace(told, true) {
                            return Poll::Pending;
                        }
                        return Poll::Ready(Ok(Arrival::MemoryWanted));
                    };
                    let (length, told) = (*length, *told);
                    self.start_filling(length, granted);
                    if told {
                        return Poll::Ready(Ok(Arrival::MemoryGranted));
                    }
                }
                Body::Filling { length, filled, memory } => {
                    while *filled < *length {
                        let mut room = ReadBuf::new(&mut memory.memory()[*filled..*length]);
                        ready!(Pin::new(&mut *stream).poll_read(context, &mut room)).map_err(transport_failed)?;
                        match room.filled().len() {
                            0 => return Poll::Ready(Err(CloseCause::EndOfStream)),
                            read => *filled += read,
                        }
                    }
                    if let Body::Filling { memory, .. } = std::mem::replace(&mut self.body, Body::Collected) {
                        return Poll::Ready(Ok(Arrival::Frame(memory.freeze())));
                    }
                }
            }
        }
    }

    /// A whole frame, if the buffer has one. Where the frame at hand is to go elsewhere, begins with that.
    fn next_collected(&mut self) -> Result<Option<Bytes>, CloseCause> {
        let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = frame_length(*prefix, self.max_frame_bytes).map_err(CloseCause::FrameTooLarge)?;
        if self.buffer.len() >= LENGTH_BYTES + length {
            self.buffer.advance(LENGTH_BYTES);
            return Ok(Some(self.buffer.split_to(length).freeze()));
        }
        if let Some(buffers) = self.response_buffers.as_ref().filter(|_| length > LARGE_RESPONSE_BYTES) {
            let buffers = Arc::clone(buffers);
            let memory = Box::pin(async move { buffers.acquire(length).await });
            self.body = Body::Wanted { length, told: false, memory };
        }
        Ok(None)
    }

    fn poll_collect(&mut self, stream: &mut BoxedStream, context: &mut Context<'_>) -> Poll<Result<(), CloseCause>> {
        let missing = match self.buffer.first_chunk::<LENGTH_BYTES>() {
            Some(prefix) => {
                let length = frame_length(*prefix, self.max_frame_bytes).map_err(CloseCause::FrameTooLarge)?;
                (LENGTH_BYTES + length - self.buffer.len()).min(self.buffer.len().max(BELIEVED_BYTES))
            }
            None => 0,
        };
        let usual = if self.response_buffers.is_some() { LARGE_RESPONSE_BYTES } else { READ_BYTES };
        // Room for a whole read again only once little of it is left: small frames share one allocation.
        if missing > 0 || self.buffer.capacity() - self.buffer.len() < usual / 4 {
            self.buffer.reserve(missing.max(usual));
        }
        // The future holds nothing between polls: what it has read is in the buffer.
        match ready!(pin!(stream.read_buf(&mut self.buffer)).poll(context)).map_err(transport_failed)? {
            0 => Poll::Ready(Err(CloseCause::EndOfStream)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Moves what has come of the body into `memory`, and goes on there.
    fn start_filling(&mut self, length: usize, mut memory: Box<dyn ResponseBuffer>) {
        self.body = Body::Collected;
        // Memory of another size than was asked for is of no use: then the body is collected as if there were none.
        if memory.memory().len() != length {
            tracing::error!(length, "response buffers gave memory of another size than was asked for");
            self.response_buffers = None;
            return;
        }
        self.buffer.advance(LENGTH_BYTES);
        let filled = self.buffer.len();
        memory.memory()[..filled].copy_from_slice(&self.buffer);
        self.buffer.clear();
        self.body = Body::Filling { length, filled, memory };
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Incoming").field("buffered_bytes", &self.buffer.len()).finish_non_exhaustive()
    }
}

fn transport_failed(error: std::io::Error) -> CloseCause {
    CloseCause::Transport(Arc::new(error))
}
