//! Newtypes for the integers and ids that could be swapped by mistake.
//!
//! Where Kafka's wire format uses -1 for "none", the newtype holds the value as it came, so that every message
//! reads back byte for byte; `known()` turns it into an `Option` where the value leaves this crate.

use std::fmt;
use std::sync::Arc;

macro_rules! integer_id {
    ($($(#[$doc:meta])* $name:ident($integer:ty), none $none:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $integer);

        impl $name {
            /// What stands on the wire where there is none.
            pub const NONE: Self = Self($none);

            /// The value, or `None` where the wire said that there is none (any negative number).
            pub fn known(self) -> Option<Self> {
                (self.0 >= 0).then_some(self)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::NONE
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}

integer_id! {
    /// A broker's number in its cluster.
    NodeId(i32), none -1;
    /// A position in a partition.
    Offset(i64), none -1;
    /// Counts the leaders that a partition has had (KIP-101, KIP-320).
    LeaderEpoch(i32), none -1;
    /// Counts the rebalances of a classic consumer group.
    GenerationId(i32), none -1;
    /// Given to an idempotent or transactional producer by the cluster (KIP-98).
    ProducerId(i64), none -1;
    /// Tells the incarnations of one producer id apart.
    ProducerEpoch(i16), none -1;
    /// Numbers the records that an idempotent producer writes to a partition; wraps after 2^31 - 1.
    Sequence(i32), none -1;
}

/// A topic's id, which a topic made anew under the same name does not share (KIP-516). All zeroes: none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// What stands on the wire where the id is not known.
    pub const NONE: Self = Self([0; 16]);

    /// The id, or `None` where the wire had sixteen zeroes.
    pub fn known(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

impl fmt::Display for TopicId {
    /// Kafka's own text form: url-safe base64 without padding.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for group in self.0.chunks(3) {
            let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for place in 0..=group.len() {
                let letter = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
                write!(formatter, "{}", letter as char)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TopicId({self})")
    }
}

/// One partition of one topic. Cloning it copies no text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "these two are what a partition is")]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index in it, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    /// As Kafka's tools print it: `topic-partition`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_id_prints_as_kafka_prints_it() {
        assert_eq!(TopicId::NONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(TopicId([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn minus_one_is_none() {
        assert_eq!(LeaderEpoch(-1).known(), None);
        assert_eq!(LeaderEpoch(0).known(), Some(LeaderEpoch(0)));
    }
}
