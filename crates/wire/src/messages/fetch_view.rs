//! A Fetch response read where it lies: no vector, no string and no structure for each partition.
//!
//! [`FetchResponseView::parse`] walks the whole body once, so that a malformed response is refused before any of it is
//! used. [`FetchResponseView::partitions`] then walks it again and hands out each partition; its records are a slice
//! that shares the frame's buffer. Both walks are the same code, which is why the second one cannot fail.
//!
//! What is accepted, and what comes out, is what [`FetchResponse`](super::FetchResponse) makes of the same bytes. Only
//! the allowance for memory differs: the view needs next to none, and so reads responses with tens of thousands of
//! idle partitions that would take more than four times their size as structures.

use std::ops::Range;

use bytes::Bytes;

use super::{AbortedTransaction, DivergingEpoch, FetchResponse, LeaderIdAndEpoch, NodeEndpoint, SnapshotId};
use crate::{DecodeError, Encoding, ErrorCode, Field, Message, NodeId, Reader, TopicId};

/// A Fetch response of which only the start and the end have been taken apart.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchResponseView {
    /// How long the broker held the request back for a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What went wrong with the request or its session.
    pub error_code: ErrorCode,
    /// The session, 0: none.
    pub session_id: i32,
    /// Where the leaders are that `current_leader` names (KIP-951).
    pub node_endpoints: Vec<NodeEndpoint>,
    body: Bytes,
    encoding: Encoding,
    /// Where the first topic starts, and how many there are.
    topics: Section,
    partition_count: usize,
}

impl FetchResponseView {
    /// Reads the body of a response, which is what follows its header to the end of the frame.
    pub fn parse(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        const NAME: &str = FetchResponse::NAME;
        if !FetchResponse::VERSIONS.contains(version) {
            return Err(DecodeError::UnknownVersion { message: NAME, version });
        }
        let encoding = FetchResponse::encoding(version);
        let reader = &mut Reader::new(body.clone());
        let throttle_time_ms = reader.i32()?;
        let (error_code, session_id) = match version {
            7.. => (ErrorCode::read(reader, encoding)?, reader.i32()?),
            _ => (ErrorCode::None, 0),
        };
        let topic_count = array_count(reader, encoding)?;
        let topics = Section { start: reader.position(), count: topic_count };
        let mut partition_count = 0;
        for _ in 0..topic_count {
            let topic = Topic::read(reader, encoding)?;
            std::str::from_utf8(&body[topic.name.clone()])
                .map_err(|_| DecodeError::InvalidUtf8 { position: topic.name.start })?;
            for _ in 0..topic.partition_count {
                Partition::read(reader, encoding)?;
            }
            partition_count += topic.partition_count;
            skip_tags(reader, encoding)?;
        }
        let mut node_endpoints = Vec::new();
        if encoding.flexible {
            reader.tagged_fields(|tag, reader| match tag {
                0 if version >= 16 => {
                    node_endpoints = Field::read(reader, encoding)?;
                    Ok(true)
                }
                _ => Ok(false),
            })?;
        }
        match reader.remaining() {
            0 => Ok(Self {
                throttle_time_ms,
                error_code,
                session_id,
                node_endpoints,
                body,
                encoding,
                topics,
                partition_count,
            }),
            left_over => Err(DecodeError::TrailingBytes { message: NAME, left_over }),
        }
    }

    /// How many partitions there are.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The partitions, in the response's order.
    pub fn partitions(&self) -> FetchedPartitions<'_> {
        let mut reader = Reader::new(self.body.clone());
        // `parse` has been there, so there are as many bytes; were there not, there would be no partition.
        let topics_left = if reader.skip(self.topics.start).is_ok() { self.topics.count } else { 0 };
        let topic = FetchedTopic { name: "", id: TopicId::NONE };
        FetchedPartitions { view: self, reader, topics_left, topic, partitions_left: 0, left: self.partition_count }
    }
}

/// Hands out the partitions of a [`FetchResponseView`], in the response's order.
#[derive(Clone, Debug)]
pub struct FetchedPartitions<'v> {
    view: &'v FetchResponseView,
    reader: Reader,
    topics_left: usize,
    topic: FetchedTopic<'v>,
    partitions_left: usize,
    left: usize,
}

impl<'v> FetchedPartitions<'v> {
    fn read_next(&mut self) -> Result<Option<FetchedPartition<'v>>, DecodeError> {
        let view = self.view;
        while self.partitions_left == 0 {
            if self.topics_left == 0 {
                return Ok(None);
            }
            self.topics_left -= 1;
            let topic = Topic::read(&mut self.reader, view.encoding)?;
            let name = std::str::from_utf8(&view.body[topic.name.clone()])
                .map_err(|_| DecodeError::InvalidUtf8 { position: topic.name.start })?;
            self.topic = FetchedTopic { name, id: topic.id };
            self.partitions_left = topic.partition_count;
            if topic.partition_count == 0 {
                skip_tags(&mut self.reader, view.encoding)?;
            }
        }
        let partition = Partition::read(&mut self.reader, view.encoding)?;
        self.partitions_left -= 1;
        if self.partitions_left == 0 {
            skip_tags(&mut self.reader, view.encoding)?;
        }
        Ok(Some(partition.hand_out(view, self.topic)))
    }
}

impl<'v> Iterator for FetchedPartitions<'v> {
    type Item = FetchedPartition<'v>;

    #[inline]
    fn next(&mut self) -> Option<FetchedPartition<'v>> {
        let next = self.read_next();
        debug_assert!(next.is_ok(), "the same bytes were walked by `parse`: {next:?}");
        let next = next.ok().flatten();
        self.left = if next.is_some() { self.left.saturating_sub(1) } else { 0 };
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for FetchedPartitions<'_> {}

/// The topic of a partition: by name up to version 12, by id from 13 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a topic is known by one of the two")]
pub struct FetchedTopic<'v> {
    /// Its name, empty where it goes by id.
    pub name: &'v str,
    /// Its id, [`TopicId::NONE`] where it goes by name.
    pub id: TopicId,
}

/// One partition's batches, and its state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchedPartition<'v> {
    /// The topic.
    pub topic: FetchedTopic<'v>,
    /// The partition's index in its topic.
    pub partition_index: i32,
    /// What went wrong.
    pub error_code: ErrorCode,
    /// Up to where the records are replicated.
    pub high_watermark: i64,
    /// Up to where no transaction is open, -1 where unknown.
    pub last_stable_offset: i64,
    /// The first offset that the partition still has, -1 where unknown.
    pub log_start_offset: i64,
    /// The replica to read from instead, -1: none (KIP-392).
    pub preferred_read_replica: NodeId,
    /// Whole record batches, but for the last, which may be cut. Shares the frame's buffer.
    pub records: Option<Bytes>,
    /// Where the log parted from what the client has read (KIP-595).
    pub diverging_epoch: DivergingEpoch,
    /// Who leads the partition now, where this broker does not (KIP-951).
    pub current_leader: LeaderIdAndEpoch,
    /// The snapshot to fetch instead; used among controllers.
    pub snapshot_id: SnapshotId,
    aborted_transactions: Option<Section>,
    view: &'v FetchResponseView,
}

impl FetchedPartition<'_> {
    /// The transactions among the records that were aborted; `None` unless they were asked to be left out.
    pub fn aborted_transactions(&self) -> Option<AbortedTransactions> {
        let Section { start, count } = self.aborted_transactions?;
        let reader = Reader::new(self.view.body.slice(start..));
        Some(AbortedTransactions { reader, encoding: self.view.encoding, left: count })
    }
}

/// Hands out the aborted transactions of one partition.
#[derive(Clone, Debug)]
pub struct AbortedTransactions {
    reader: Reader,
    encoding: Encoding,
    left: usize,
}

impl Iterator for AbortedTransactions {
    type Item = AbortedTransaction;

    fn next(&mut self) -> Option<AbortedTransaction> {
        self.left = self.left.checked_sub(1)?;
        let next = AbortedTransaction::read(&mut self.reader, self.encoding);
        debug_assert!(next.is_ok(), "the same bytes were walked by `parse`: {next:?}");
        next.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for AbortedTransactions {}

/// Elements that follow one another from a place in the body on.
#[derive(Clone, Copy, Debug)]
struct Section {
    start: usize,
    count: usize,
}

/// The start of a topic, up to its first partition.
struct Topic {
    name: Range<usize>,
    id: TopicId,
    partition_count: usize,
}

impl Topic {
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        let mut topic = Self { name: 0..0, id: TopicId::NONE, partition_count: 0 };
        if encoding.version >= 13 {
            topic.id = TopicId::read(reader, encoding)?;
        } else {
            let position = reader.position();
            let length = reader.string_length(encoding.flexible)?;
            let length = length.ok_or(DecodeError::UnexpectedNull { position })?;
            topic.name = reader.position()..reader.position() + length;
            reader.skip(length)?;
        }
        topic.partition_count = array_count(reader, encoding)?;
        Ok(topic)
    }
}

/// A partition, with the places of what it holds in the body.
struct Partition {
    index: i32,
    error_code: ErrorCode,
    high_watermark: i64,
    last_stable_offset: i64,
    log_start_offset: i64,
    aborted_transactions: Option<Section>,
    preferred_read_replica: NodeId,
    records: Option<Range<usize>>,
    diverging_epoch: DivergingEpoch,
    current_leader: LeaderIdAndEpoch,
    snapshot_id: SnapshotId,
}

impl Partition {
    #[inline]
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        let version = encoding.version;
        // The fields that every version has are taken in one piece: one check of the bounds instead of four.
        let [i0, i1, i2, i3, e0, e1, offsets @ ..] = reader.array::<22>()?;
        let [h0, h1, h2, h3, h4, h5, h6, h7, last_stable_offset @ ..] = offsets;
        let mut partition = Self {
            index: i32::from_be_bytes([i0, i1, i2, i3]),
            error_code: ErrorCode::from(i16::from_be_bytes([e0, e1])),
            high_watermark: i64::from_be_bytes([h0, h1, h2, h3, h4, h5, h6, h7]),
            last_stable_offset: i64::from_be_bytes(last_stable_offset),
            log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
            aborted_transactions: Self::read_aborted_transactions(reader, encoding)?,
            preferred_read_replica: if version >= 11 { NodeId(reader.i32()?) } else { NodeId::NONE },
            records: Self::read_records(reader, encoding)?,
            diverging_epoch: DivergingEpoch::default(),
            current_leader: LeaderIdAndEpoch::default(),
            snapshot_id: SnapshotId::default(),
        };
        if encoding.flexible {
            reader.tagged_fields(|tag, reader| {
                match tag {
                    0 => partition.diverging_epoch = Field::read(reader, encoding)?,
                    1 => partition.current_leader = Field::read(reader, encoding)?,
                    2 => partition.snapshot_id = Field::read(reader, encoding)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(partition)
    }

    fn read_aborted_transactions(reader: &mut Reader, encoding: Encoding) -> Result<Option<Section>, DecodeError> {
        let Some(count) = reader.long_length(encoding.flexible)? else { return Ok(None) };
        let section = Section { start: reader.position(), count };
        for _ in 0..count {
            AbortedTransaction::read(reader, encoding)?;
        }
        Ok(Some(section))
    }

    fn read_records(reader: &mut Reader, encoding: Encoding) -> Result<Option<Range<usize>>, DecodeError> {
        let Some(length) = reader.long_length(encoding.flexible)? else { return Ok(None) };
        let start = reader.position();
        reader.skip(length)?;
        Ok(Some(start..start + length))
    }

    fn hand_out<'v>(self, view: &'v FetchResponseView, topic: FetchedTopic<'v>) -> FetchedPartition<'v> {
        FetchedPartition {
            topic,
            partition_index: self.index,
            error_code: self.error_code,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
            log_start_offset: self.log_start_offset,
            preferred_read_replica: self.preferred_read_replica,
            records: self.records.map(|range| view.body.slice(range)),
            diverging_epoch: self.diverging_epoch,
            current_leader: self.current_leader,
            snapshot_id: self.snapshot_id,
            aborted_transactions: self.aborted_transactions,
            view,
        }
    }
}

/// How many elements an array has that must not be null. No count is believed beyond what remains of the body.
fn array_count(reader: &mut Reader, encoding: Encoding) -> Result<usize, DecodeError> {
    let position = reader.position();
    reader.long_length(encoding.flexible)?.ok_or(DecodeError::UnexpectedNull { position })
}

fn skip_tags(reader: &mut Reader, encoding: Encoding) -> Result<(), DecodeError> {
    if encoding.flexible { reader.skip_tagged_fields() } else { Ok(()) }
}
