//! A stretch of a log's bytes: whole batches, one after the other, in one piece of memory.
//!
//! Batches are copied once, when they arrive: their offsets have to be written into them, and the frame that brought
//! them need not live as long as they do. From then on they are shared. A segment is closed when it is large enough, or
//! when a read wants more of it than is worth copying; closing turns the buffer into [`Bytes`] without touching it.

use bytes::Bytes;

/// An open segment of this size is closed, and the next one begins.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// A read of at least this size closes the open segment and shares it; a smaller one is copied.
const WORTH_SHARING_BYTES: usize = 256 * 1024;

/// Where the bytes of some consecutive batches are.
#[derive(Debug)]
pub(super) struct Segment {
    /// How many bytes of the log stand before it.
    pub(super) start: u64,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Open(Vec<u8>),
    Closed(Bytes),
}

impl Segment {
    /// An empty one. The first segment of a log starts small: most logs of most tests never hold more.
    pub(super) fn open(start: u64) -> Self {
        let capacity = if start == 0 { 0 } else { SEGMENT_BYTES };
        Self { start, storage: Storage::Open(Vec::with_capacity(capacity)) }
    }

    pub(super) fn len(&self) -> usize {
        match &self.storage {
            Storage::Open(buffer) => buffer.len(),
            Storage::Closed(bytes) => bytes.len(),
        }
    }

    /// Whether `additional` bytes may be appended. A batch over the size of a segment gets one to itself.
    pub(super) fn takes(&self, additional: usize) -> bool {
        match &self.storage {
            Storage::Open(buffer) => buffer.is_empty() || buffer.len() + additional <= SEGMENT_BYTES,
            Storage::Closed(_) => false,
        }
    }

    /// Appends `size` bytes, which `write` puts behind those that are there.
    pub(super) fn append(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if let Storage::Open(buffer) = &mut self.storage {
            buffer.reserve(size);
            write(buffer);
        }
    }

    /// The bytes from `from` to `to`, counted from the segment's start.
    pub(super) fn read(&mut self, from: usize, to: usize) -> Bytes {
        if let Storage::Open(buffer) = &self.storage
            && to.saturating_sub(from) < WORTH_SHARING_BYTES
        {
            return Bytes::copy_from_slice(buffer.get(from..to).unwrap_or_default());
        }
        let bytes = self.close();
        let to = to.min(bytes.len());
        bytes.slice(from.min(to)..to)
    }

    /// Drops what stands behind `length`.
    pub(super) fn truncate(&mut self, length: usize) {
        match &mut self.storage {
            Storage::Open(buffer) => buffer.truncate(length),
            Storage::Closed(bytes) => bytes.truncate(length),
        }
    }

    fn close(&mut self) -> Bytes {
        if let Storage::Open(buffer) = &mut self.storage {
            self.storage = Storage::Closed(Bytes::from(std::mem::take(buffer)));
        }
        match &self.storage {
            Storage::Closed(bytes) => bytes.clone(),
            Storage::Open(_) => Bytes::new(), // closed above
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_read_shares_what_was_written() {
        let mut segment = Segment::open(0);
        segment.append(WORTH_SHARING_BYTES, |buffer| buffer.extend(vec![7; WORTH_SHARING_BYTES]));
        let first = segment.read(0, WORTH_SHARING_BYTES);
        let second = segment.read(0, WORTH_SHARING_BYTES);
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert!(!segment.takes(1), "what is shared is not written to");
    }

    #[test]
    fn a_small_read_leaves_the_segment_open() {
        let mut segment = Segment::open(0);
        segment.append(3, |buffer| buffer.extend([1, 2, 3]));
        assert_eq!(segment.read(1, 3), Bytes::from_static(&[2, 3]));
        assert!(segment.takes(1));
    }
}
