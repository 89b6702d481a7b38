//! Topics and partitions that stay as they stand on the wire: checked once, then read as often as needed.

use std::cmp::Ordering;
use std::fmt;

use bytes::Bytes;

use crate::{DecodeError, EncodeError, Reader, Writer};

/// Names of topics, in an order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TopicNames {
    count: usize,
    /// Each name after its length of two bytes.
    encoded: Bytes,
}

impl TopicNames {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = &self.encoded[..];
        std::iter::from_fn(move || take_text(&mut rest))
    }

    /// The same names, in Java's order.
    pub(super) fn sorted(&self) -> Self {
        let mut names: Vec<&str> = self.iter().collect();
        names.sort_by(|one, other| by_utf16(one, other));
        names.into_iter().collect()
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let count = read_count(reader, 2)?;
        let start = reader.clone();
        for _ in 0..count {
            skip_text(reader)?;
        }
        Ok(Self { count, encoded: passed(start, reader)? })
    }

    pub(super) fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.long_length(Some(self.count), false)?;
        writer.shared(&self.encoded);
        Ok(())
    }
}

impl<T: AsRef<str>> FromIterator<T> for TopicNames {
    /// A name longer than the 32,767 bytes that a length can say is none that a topic can have, and is left out.
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        let mut writer = Writer::new();
        let mut count = 0;
        for name in names {
            count += usize::from(put_text(&mut writer, name.as_ref()));
        }
        Self { count, encoded: writer.into_bytes() }
    }
}

impl fmt::Debug for TopicNames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

/// Partitions, grouped by topic.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PartitionsByTopic {
    topic_count: usize,
    /// Of each topic its name after its length of two bytes, then its partitions after their count of four.
    encoded: Bytes,
}

impl PartitionsByTopic {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.partitions().next().is_none()
    }

    /// The topics, each with its partitions, in the order in which they were written.
    pub fn topics(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = i32> + '_)> {
        let mut rest = &self.encoded[..];
        std::iter::from_fn(move || {
            let topic = take_text(&mut rest)?;
            let (count, after) = rest.split_first_chunk::<4>()?;
            let (partitions, after) = after.split_at_checked(4 * u32::from_be_bytes(*count) as usize)?;
            rest = after;
            Some((topic, partitions.as_chunks::<4>().0.iter().map(|partition| i32::from_be_bytes(*partition))))
        })
    }

    /// Each partition with its topic, in the order in which they were written.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.topics().flat_map(|(topic, partitions)| partitions.map(move |partition| (topic, partition)))
    }

    /// The same partitions, in Java's order of topics, then by number.
    pub(super) fn sorted(&self) -> Self {
        let mut partitions: Vec<(&str, i32)> = self.partitions().collect();
        partitions.sort_by(|one, other| by_utf16(one.0, other.0).then(one.1.cmp(&other.1)));
        partitions.into_iter().collect()
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let topic_count = read_count(reader, 6)?;
        let start = reader.clone();
        for _ in 0..topic_count {
            skip_text(reader)?;
            let partition_count = read_count(reader, 4)?;
            reader.skip(4 * partition_count)?;
        }
        Ok(Self { topic_count, encoded: passed(start, reader)? })
    }

    pub(super) fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.long_length(Some(self.topic_count), false)?;
        writer.shared(&self.encoded);
        Ok(())
    }
}

impl<T: AsRef<str>> FromIterator<(T, i32)> for PartitionsByTopic {
    /// Groups by topic: topics in the order of their first partition, the partitions of each in the order given.
    fn from_iter<I: IntoIterator<Item = (T, i32)>>(partitions: I) -> Self {
        let given: Vec<(T, i32)> = partitions.into_iter().collect();
        let mut topics: Vec<(&str, Vec<i32>)> = Vec::new();
        let mut places = std::collections::BTreeMap::new();
        for (topic, partition) in &given {
            let topic = topic.as_ref();
            let place = *places.entry(topic).or_insert_with(|| {
                topics.push((topic, Vec::new()));
                topics.len() - 1
            });
            topics[place].1.push(*partition);
        }
        let mut writer = Writer::new();
        let mut topic_count = 0;
        for (topic, partitions) in topics {
            if put_text(&mut writer, topic) {
                topic_count += 1;
                writer.i32(partitions.len() as i32);
                for partition in partitions {
                    writer.i32(partition);
                }
            }
        }
        Self { topic_count, encoded: writer.into_bytes() }
    }
}

impl fmt::Debug for PartitionsByTopic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = self.topics().map(|(topic, partitions)| (topic, partitions.collect::<Vec<i32>>()));
        formatter.debug_map().entries(topics).finish()
    }
}

/// Java compares strings by UTF-16 code unit, which differs from UTF-8's order above U+FFFF.
fn by_utf16(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

/// The count of an array that must not be null, whose elements take at least `smallest` bytes each.
fn read_count(reader: &mut Reader, smallest: usize) -> Result<usize, DecodeError> {
    let position = reader.position();
    let count = reader.long_length(false)?.ok_or(DecodeError::UnexpectedNull { position })?;
    if count.saturating_mul(smallest) > reader.remaining() {
        let (length, remaining) = (count as i64, reader.remaining());
        return Err(DecodeError::LengthBeyondFrame { position, length, remaining });
    }
    Ok(count)
}

fn skip_text(reader: &mut Reader) -> Result<(), DecodeError> {
    let position = reader.position();
    let length = reader.string_length(false)?.ok_or(DecodeError::UnexpectedNull { position })?;
    match std::str::from_utf8(reader.slice(length)?) {
        Ok(_) => Ok(()),
        Err(_) => Err(DecodeError::InvalidUtf8 { position }),
    }
}

/// The bytes between two places of the same frame.
fn passed(mut start: Reader, end: &Reader) -> Result<Bytes, DecodeError> {
    start.bytes(end.position() - start.position())
}

/// Takes a name off the front. What was checked when it was read, or written here, always has one until it ends.
fn take_text<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (text, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn put_text(writer: &mut Writer, text: &str) -> bool {
    let fits = writer.string_length(Some(text.len()), false).is_ok();
    if fits {
        writer.slice(text.as_bytes());
    }
    fits
}
