//! A record: key, value and headers as slices of their batch, or kept with a share in its buffer.

use std::borrow::Cow;

use bytes::Bytes;

use super::varint::sized;

/// A record, borrowed from its [`OpenBatch`](super::OpenBatch).
#[derive(Clone, Copy, Debug)]
pub struct Record<'b> {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<&'b [u8]>,
    pub(super) value: Option<&'b [u8]>,
    /// Checked when the record was read.
    pub(super) headers: &'b [u8],
    pub(super) header_count: u32,
}

impl<'b> Record<'b> {
    /// Its offset in the partition.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Milliseconds since 1970; -1 where there is none.
    #[inline]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Its key.
    #[inline]
    pub fn key(&self) -> Option<&'b [u8]> {
        self.key
    }

    /// Its value; `None` is a tombstone in a compacted topic.
    #[inline]
    pub fn value(&self) -> Option<&'b [u8]> {
        self.value
    }

    /// Its headers, in order; keys may repeat.
    #[inline]
    pub fn headers(&self) -> Headers<'b> {
        Headers { bytes: self.headers, count: self.header_count }
    }

    /// A record that keeps `buffer` alive instead of borrowing from it; copies what is not part of that buffer.
    pub fn to_owned(&self, buffer: &Bytes) -> OwnedRecord {
        OwnedRecord {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.map(|key| share(buffer, key)),
            value: self.value.map(|value| share(buffer, value)),
            header_count: self.header_count,
            headers: share(buffer, self.headers),
        }
    }

    /// A record in memory of its own, exactly as much as key, value and headers take: copied once, it keeps no batch alive.
    pub fn to_detached(&self) -> OwnedRecord {
        let (key, value) = (self.key.unwrap_or_default(), self.value.unwrap_or_default());
        let mut memory = Vec::with_capacity(key.len() + value.len() + self.headers.len());
        memory.extend_from_slice(key);
        memory.extend_from_slice(value);
        memory.extend_from_slice(self.headers);
        let (memory, behind) = (Bytes::from(memory), key.len() + value.len());
        OwnedRecord {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.map(|key| memory.slice(..key.len())),
            value: self.value.map(|_| memory.slice(key.len()..behind)),
            headers: memory.slice(behind..),
            header_count: self.header_count,
        }
    }
}

/// The headers of a record: an iterator over what was checked when the record was read.
#[derive(Clone, Debug, Default)]
pub struct Headers<'b> {
    bytes: &'b [u8],
    count: u32,
}

impl<'b> Iterator for Headers<'b> {
    type Item = Header<'b>;

    #[inline]
    fn next(&mut self) -> Option<Header<'b>> {
        self.count = self.count.checked_sub(1)?;
        let mut position = 0;
        let key = sized(self.bytes, &mut position).ok()??;
        let value = sized(self.bytes, &mut position).ok()?;
        self.bytes = self.bytes.get(position..)?;
        Some(Header { key, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count as usize, Some(self.count as usize))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'b> {
    key: &'b [u8],
    value: Option<&'b [u8]>,
}

impl<'b> Header<'b> {
    /// Its key as text. What is not UTF-8 in it is replaced, as Java does; see [`key_bytes`](Self::key_bytes).
    pub fn key(&self) -> Cow<'b, str> {
        String::from_utf8_lossy(self.key)
    }

    /// Its key as it stands.
    pub fn key_bytes(&self) -> &'b [u8] {
        self.key
    }

    /// Its value.
    pub fn value(&self) -> Option<&'b [u8]> {
        self.value
    }
}

/// A record that borrows nothing: it shares its batch's buffer, and keeps all of that alive, unless it was
/// [detached](Self::detach).
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    offset: i64,
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Bytes,
    header_count: u32,
}

impl OwnedRecord {
    /// Its offset in the partition.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Milliseconds since 1970; -1 where there is none.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Its key.
    pub fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// Its value; `None` is a tombstone in a compacted topic.
    pub fn value(&self) -> Option<&Bytes> {
        self.value.as_ref()
    }

    /// The record in memory of its own: key, value and headers are copied once, and its share in the batch's buffer is
    /// given up.
    #[must_use = "the record that is returned is the one that keeps no buffer"]
    pub fn detach(self) -> Self {
        Record::from(&self).to_detached()
    }

    /// Its headers, in order; keys may repeat.
    pub fn headers(&self) -> Headers<'_> {
        Headers { bytes: &self.headers, count: self.header_count }
    }
}

/// The same record, borrowed.
impl<'b> From<&'b OwnedRecord> for Record<'b> {
    fn from(record: &'b OwnedRecord) -> Self {
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
            header_count: record.header_count,
        }
    }
}

/// `part` as a share in `buffer`, of which it is a slice; otherwise a copy.
fn share(buffer: &Bytes, part: &[u8]) -> Bytes {
    // By address rather than by `slice_ref`, which panics on a part of another buffer.
    let start = (part.as_ptr() as usize).wrapping_sub(buffer.as_ptr() as usize);
    match start.checked_add(part.len()) {
        Some(end) if end <= buffer.len() => buffer.slice(start..end),
        _ => Bytes::copy_from_slice(part),
    }
}
