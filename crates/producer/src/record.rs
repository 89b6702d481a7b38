//! What an application hands to the producer, and what it learns about it afterwards.
//!
//! A [`ProducerRecord`] may borrow: the producer copies keys, values and headers once, straight into the batch that
//! goes to the broker, so a record made of slices costs no allocation at all.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use ottla_wire::TopicPartition;

/// A record to be written to a topic.
///
/// ```
/// # use ottla_producer::ProducerRecord;
/// let order = String::from("two espressos");
/// let record = ProducerRecord::new("orders").key("table-7").value(&order).header("trace", "9f3c");
/// assert_eq!(record.topic(), "orders");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ProducerRecord<'a> {
    topic: Cow<'a, str>,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
    key: Option<Payload<'a>>,
    value: Option<Payload<'a>>,
    headers: Vec<Header<'a>>,
}

impl<'a> ProducerRecord<'a> {
    /// A record for that topic, so far without key, value and headers.
    pub fn new(topic: impl Into<Cow<'a, str>>) -> Self {
        let topic = topic.into();
        Self { topic, partition: None, timestamp_ms: None, key: None, value: None, headers: Vec::new() }
    }

    /// Sets the key. Records with equal keys go to the same partition for as long as the topic has equally many.
    #[must_use]
    pub fn key(mut self, key: impl Into<Payload<'a>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the value. Without one the record is a tombstone, which deletes its key from a compacted topic.
    #[must_use]
    pub fn value(mut self, value: impl Into<Payload<'a>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Adds a header. A name may occur more than once.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Payload<'a>>) -> Self {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Adds a header whose value is null.
    #[must_use]
    pub fn null_header(mut self, name: impl Into<Cow<'a, str>>) -> Self {
        self.headers.push(Header { name: name.into(), value: None });
        self
    }

    /// Names the partition, so that no partitioner is asked.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the creation time, in milliseconds since 1970. Without it: the time at which the record is enqueued.
    #[must_use]
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The key's bytes.
    pub fn key_bytes(&self) -> Option<&[u8]> {
        self.key.as_ref().map(Payload::as_slice)
    }

    /// The value's bytes.
    pub fn value_bytes(&self) -> Option<&[u8]> {
        self.value.as_ref().map(Payload::as_slice)
    }

    /// The headers, in their order.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, Option<&[u8]>)> + Clone {
        self.headers.iter().map(|header| (&*header.name, header.value.as_ref().map(Payload::as_slice)))
    }

    /// The partition, where one was named.
    pub fn named_partition(&self) -> Option<i32> {
        self.partition
    }

    /// The creation time, where one was given.
    pub fn given_timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// The same record, borrowing nothing: what was borrowed is copied.
    pub fn into_owned(self) -> ProducerRecord<'static> {
        ProducerRecord {
            topic: Cow::Owned(self.topic.into_owned()),
            partition: self.partition,
            timestamp_ms: self.timestamp_ms,
            key: self.key.map(Payload::into_owned),
            value: self.value.map(Payload::into_owned),
            headers: self.headers.into_iter().map(Header::into_owned).collect(),
        }
    }
}

impl fmt::Debug for ProducerRecord<'_> {
    /// Sizes rather than contents: records hold what should not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProducerRecord")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("timestamp_ms", &self.timestamp_ms)
            .field("key_bytes", &self.key_bytes().map(<[u8]>::len))
            .field("value_bytes", &self.value_bytes().map(<[u8]>::len))
            .field("headers", &self.headers.len())
            .finish()
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Header<'a> {
    name: Cow<'a, str>,
    value: Option<Payload<'a>>,
}

impl Header<'_> {
    fn into_owned(self) -> Header<'static> {
        Header { name: Cow::Owned(self.name.into_owned()), value: self.value.map(Payload::into_owned) }
    }
}

/// The bytes of a key, a value or a header: borrowed, or a share of a buffer.
#[derive(Clone)]
#[allow(clippy::exhaustive_enums, reason = "bytes are borrowed or not")]
pub enum Payload<'a> {
    /// Somebody else's.
    Borrowed(&'a [u8]),
    /// A share of a buffer.
    Shared(Bytes),
}

impl Payload<'_> {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    fn into_owned(self) -> Payload<'static> {
        Payload::Shared(match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => bytes,
        })
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Payload<'_> {}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.as_slice().len())
    }
}

macro_rules! payload_from {
    ($($borrowed:ty),*; $($owned:ty),*) => {
        $(impl<'a> From<&'a $borrowed> for Payload<'a> {
            fn from(bytes: &'a $borrowed) -> Self {
                Self::Borrowed(bytes.as_ref())
            }
        })*
        $(impl From<$owned> for Payload<'_> {
            fn from(bytes: $owned) -> Self {
                Self::Shared(Bytes::from(bytes))
            }
        })*
    };
}

payload_from!([u8], str, String, Vec<u8>, Bytes; Bytes, Vec<u8>, String, Box<[u8]>);

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Borrowed(bytes)
    }
}

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The topic and the partition.
    pub topic_partition: TopicPartition,
    /// Its offset. `None` with acks 0, where no broker says.
    pub offset: Option<i64>,
    /// Its timestamp in milliseconds since 1970: the one it was created with, or the broker's for a topic whose
    /// `message.timestamp.type` is `LogAppendTime`.
    pub timestamp_ms: i64,
}

impl RecordMetadata {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic_partition.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.topic_partition.partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_made_of_slices_borrows_them_until_it_is_made_owned() {
        let (topic, key, value) = (String::from("t"), vec![1, 2], String::from("v"));
        let record = ProducerRecord::new(&*topic).key(&key).value(&value).header("h", b"x").null_header("n");
        assert!(matches!(&record.value, Some(Payload::Borrowed(bytes)) if bytes.as_ptr() == value.as_ptr()));
        let owned: ProducerRecord<'static> = record.clone().into_owned();
        assert_eq!(owned, record);
        assert_eq!(owned.headers().collect::<Vec<_>>(), [("h", Some(b"x".as_slice())), ("n", None)]);
    }

    #[test]
    fn shared_bytes_are_not_copied_by_making_a_record_owned() {
        let value = Bytes::from(vec![7; 100]);
        let owned = ProducerRecord::new("t").value(value.clone()).into_owned();
        assert_eq!(owned.value_bytes().map(<[u8]>::as_ptr), Some(value.as_ptr()));
    }

    #[test]
    fn printing_a_record_shows_no_contents() {
        let text = format!("{:?}", ProducerRecord::new("t").key("secret").value("password"));
        assert!(!text.contains("secret") && !text.contains("password"), "{text}");
    }
}
