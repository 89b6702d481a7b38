//! Writing batches of magic 2.
//!
//! A [`BatchBuilder`] holds its records in wire form behind room for the header, so that an uncompressed batch is
//! never copied. [`BatchBuilder::encode`] compresses and gives an [`EncodedBatch`]; what an idempotent producer only
//! knows when it sends (KIP-98) is filled in by [`EncodedBatch::seal`], which computes the CRC.

use bytes::Bytes;

use super::NO_TIMESTAMP;
use super::batch::{put, put_crc};
use super::header::{
    ATTRIBUTE_TRANSACTIONAL, ATTRIBUTES_AT, BASE_TIMESTAMP_AT, HEADER_BYTES, LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT,
    LOG_OVERHEAD_BYTES, MAGIC_AT, MAX_TIMESTAMP_AT, PRODUCER_ID_AT, RECORD_COUNT_AT,
};
use super::varint::{put_varint, put_varlong, varint_size, varlong_size};
use crate::EncodeError;
use crate::compression::{CompressError, Compression, Compressor};

/// What an idempotent or transactional producer states in a batch (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "these are the format's fields")]
pub struct ProducerState {
    /// The producer's id, -1 without idempotence.
    pub producer_id: i64,
    /// Its epoch, -1 without idempotence.
    pub producer_epoch: i16,
    /// The number of the batch's first record in its partition, -1 without idempotence.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl ProducerState {
    /// Neither idempotent nor transactional.
    pub const NONE: Self = Self { producer_id: -1, producer_epoch: -1, base_sequence: -1, transactional: false };

    /// Writes it into a batch, whose CRC is computed.
    pub(super) fn put(self, batch: &mut [u8]) {
        let attributes = batch.get(ATTRIBUTES_AT..).and_then(|rest| rest.first_chunk::<2>());
        let attributes = attributes.map_or(0, |attributes| i16::from_be_bytes(*attributes)) & !ATTRIBUTE_TRANSACTIONAL;
        let attributes = if self.transactional { attributes | ATTRIBUTE_TRANSACTIONAL } else { attributes };
        put(batch, ATTRIBUTES_AT, &attributes.to_be_bytes());
        put(batch, PRODUCER_ID_AT, &self.producer_id.to_be_bytes());
        put(batch, PRODUCER_ID_AT + 8, &self.producer_epoch.to_be_bytes());
        put(batch, PRODUCER_ID_AT + 10, &self.base_sequence.to_be_bytes());
        put_crc(batch);
    }
}

impl Default for ProducerState {
    fn default() -> Self {
        Self::NONE
    }
}

/// Collects the records of a batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records in wire form.
    buffer: Vec<u8>,
    summary: Summary,
}

impl BatchBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::with_buffer(Vec::new())
    }

    /// An empty one that has room for `bytes`, header included.
    pub fn with_capacity(bytes: usize) -> Self {
        Self::with_buffer(Vec::with_capacity(bytes.max(HEADER_BYTES)))
    }

    /// An empty one in memory that was used before.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_BYTES, 0);
        Self { buffer, summary: Summary::default() }
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.summary.record_count == 0
    }

    /// How many records it has.
    pub fn record_count(&self) -> u32 {
        self.summary.record_count as u32
    }

    /// The batch's size if it were not compressed, header included; exact. What compression makes of it, the
    /// producer estimates from what it made of earlier ones.
    pub fn estimated_size(&self) -> usize {
        self.buffer.len()
    }

    /// How many bytes such a record would add; exact.
    pub fn record_size<'h, H>(&self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: H) -> usize
    where
        H: IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
    {
        self.record_size_at(self.next_offset_delta(), timestamp, key, value, headers)
    }

    /// The same for [`append_at`](Self::append_at).
    pub fn record_size_at<'h, H>(
        &self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> usize
    where
        H: IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
    {
        let body = body_size(self.timestamp_delta(timestamp), offset_delta, key, value, headers).0;
        varint_size(body as i32).saturating_add(body)
    }

    /// Adds a record, `timestamp` in milliseconds since 1970. Fails, changing nothing, where the batch would become
    /// larger than its length field can say.
    pub fn append<'h, H>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Result<(), EncodeError>
    where
        H: IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
        H::IntoIter: Clone,
    {
        self.append_at(self.next_offset_delta(), timestamp, key, value, headers)
    }

    /// The same at an offset that leaves a gap, as compaction does: `offset_delta` after the batch's base offset,
    /// which must be larger than the last record's.
    pub fn append_at<'h, H>(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Result<(), EncodeError>
    where
        H: IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
        H::IntoIter: Clone,
    {
        let headers = headers.into_iter();
        let timestamp_delta = self.timestamp_delta(timestamp);
        let (body, header_count) = body_size(timestamp_delta, offset_delta, key, value, headers.clone());
        let length = self.buffer.len().saturating_add(body).saturating_add(5);
        if i32::try_from(length).is_err() || offset_delta <= self.summary.last_offset_delta {
            return Err(EncodeError::TooLong { length });
        }
        let summary = &mut self.summary;
        if summary.record_count == 0 {
            summary.base_timestamp = timestamp;
            summary.max_timestamp = timestamp;
        }
        summary.max_timestamp = summary.max_timestamp.max(timestamp);
        summary.last_offset_delta = offset_delta;
        summary.record_count += 1;
        let output = &mut self.buffer;
        output.reserve(body + 5);
        put_varint(output, body as i32);
        output.push(0);
        put_varlong(output, timestamp_delta);
        put_varint(output, offset_delta);
        put_slice(output, key);
        put_slice(output, value);
        put_varint(output, header_count);
        for (key, value) in headers {
            put_slice(output, Some(key.as_bytes()));
            put_slice(output, value);
        }
        Ok(())
    }

    /// Ends the batch: compresses the records, and leaves nothing open but what [`EncodedBatch::seal`] fills in.
    ///
    /// The builder is empty afterwards, and keeps its memory where the batch did not take it along.
    pub fn encode(&mut self, compressor: &mut Compressor) -> Result<EncodedBatch, CompressError> {
        let attributes = i16::from(compressor.compression().id());
        if compressor.compression() == Compression::None {
            return Ok(self.encode_uncompressed(attributes));
        }
        let records = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
        let mut batch = Vec::with_capacity(HEADER_BYTES + records.len() / 2);
        batch.resize(HEADER_BYTES, 0);
        compressor.compress_into(records, &mut batch)?;
        let summary = std::mem::take(&mut self.summary);
        self.buffer.truncate(HEADER_BYTES);
        Ok(summary.finish(batch, attributes))
    }

    /// Ends the batch and states what the producer is, in one step.
    pub fn build(&mut self, compressor: &mut Compressor, producer: ProducerState) -> Result<Bytes, CompressError> {
        Ok(self.encode(compressor)?.seal(producer))
    }

    /// Ends the batch as it stands.
    pub(super) fn encode_uncompressed(&mut self, attributes: i16) -> EncodedBatch {
        let Self { buffer, summary } = std::mem::take(self);
        summary.finish(buffer, attributes)
    }

    fn next_offset_delta(&self) -> i32 {
        // Every record takes bytes, of which a batch has fewer than offsets.
        self.summary.last_offset_delta.saturating_add(1)
    }

    fn timestamp_delta(&self, timestamp: i64) -> i64 {
        if self.is_empty() { 0 } else { timestamp.wrapping_sub(self.summary.base_timestamp) }
    }
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A batch that lacks its producer's state and its CRC.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    bytes: Vec<u8>,
    record_count: i32,
}

impl EncodedBatch {
    /// The batch's size, header included.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many records it has.
    pub fn record_count(&self) -> u32 {
        self.record_count as u32
    }

    /// States what the producer is, computes the CRC and gives the bytes to be sent. To state it anew later, see
    /// [`RecordBatch::set_producer_state`](super::RecordBatch::set_producer_state).
    pub fn seal(mut self, producer: ProducerState) -> Bytes {
        producer.put(&mut self.bytes);
        Bytes::from(self.bytes)
    }
}

/// What the header says of the records.
#[derive(Clone, Copy, Debug)]
struct Summary {
    record_count: i32,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for Summary {
    fn default() -> Self {
        Self { record_count: 0, last_offset_delta: -1, base_timestamp: NO_TIMESTAMP, max_timestamp: NO_TIMESTAMP }
    }
}

impl Summary {
    /// Fills in the header of the batch whose records stand in `bytes` behind it.
    fn finish(self, mut bytes: Vec<u8>, attributes: i16) -> EncodedBatch {
        let length = bytes.len().saturating_sub(LOG_OVERHEAD_BYTES) as i32;
        put(&mut bytes, 8, &length.to_be_bytes());
        put(&mut bytes, LEADER_EPOCH_AT, &(-1i32).to_be_bytes());
        put(&mut bytes, MAGIC_AT, &[2]);
        put(&mut bytes, ATTRIBUTES_AT, &attributes.to_be_bytes());
        put(&mut bytes, LAST_OFFSET_DELTA_AT, &self.last_offset_delta.max(0).to_be_bytes());
        put(&mut bytes, BASE_TIMESTAMP_AT, &self.base_timestamp.to_be_bytes());
        put(&mut bytes, MAX_TIMESTAMP_AT, &self.max_timestamp.to_be_bytes());
        put(&mut bytes, RECORD_COUNT_AT, &self.record_count.to_be_bytes());
        EncodedBatch { bytes, record_count: self.record_count }
    }
}

/// The size of a record without its length field, and how many headers it has.
fn body_size<'h>(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
) -> (usize, i32) {
    let mut size = 1 + varlong_size(timestamp_delta) + varint_size(offset_delta) + slice_size(key) + slice_size(value);
    let mut header_count = 0i32;
    for (key, value) in headers {
        size = size.saturating_add(slice_size(Some(key.as_bytes()))).saturating_add(slice_size(value));
        header_count = header_count.saturating_add(1);
    }
    (size.saturating_add(varint_size(header_count)), header_count)
}

/// The size of a length and as many bytes. A length beyond `i32` makes the record too long, whatever is counted here.
fn slice_size(slice: Option<&[u8]>) -> usize {
    slice.map_or(1, |slice| varint_size(slice.len() as i32).saturating_add(slice.len()))
}

fn put_slice(output: &mut Vec<u8>, slice: Option<&[u8]>) {
    put_varint(output, slice.map_or(-1, |slice| slice.len() as i32));
    output.extend_from_slice(slice.unwrap_or_default());
}
