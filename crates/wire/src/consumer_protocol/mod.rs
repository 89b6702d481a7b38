//! What the members of a classic consumer group tell one another, inside of JoinGroup and SyncGroup: subscriptions
//! and assignments, in versions 0 to 3, and the user data of the sticky assignors.
//!
//! The bytes come from other members, of any client and age, by way of the broker: they are trusted no more than the
//! network. A version above 3 is read as 3, and what follows the last known field is ignored, so that newer members
//! can add fields. Topics and partitions stay encoded ([`TopicNames`], [`PartitionsByTopic`]): a group's leader reads
//! those of a thousand members, and as structures they would take ten times their size.

mod lists;
mod user_data;

use bytes::Bytes;

pub use lists::{PartitionsByTopic, TopicNames};
pub use user_data::{CooperativeUserData, StickyUserData};

use crate::{DecodeError, EncodeError, Encoding, Field, GenerationId, Reader, Writer};

/// The highest version of subscriptions and assignments.
pub const HIGHEST_VERSION: i16 = 3;

/// What a member tells the leader when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct Subscription {
    /// The topics that it wants.
    pub topics: TopicNames,
    /// What its assignor has to say.
    pub user_data: Option<Bytes>,
    /// The partitions that it still owns (KIP-429). Not in version 0.
    pub owned_partitions: PartitionsByTopic,
    /// The generation in which it was given them, -1: none. From version 2 on.
    pub generation_id: GenerationId,
    /// Its rack (KIP-881); an empty one counts as none. From version 3 on.
    pub rack_id: Option<String>,
}

impl Subscription {
    /// Writes it as Java does: topics sorted, owned partitions sorted and grouped by topic. What `version` cannot
    /// carry is left out, as members of older versions do without it.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let encoding = checked_version("Subscription", version)?;
        let mut writer = Writer::new();
        writer.i16(version);
        self.topics.sorted().write(&mut writer)?;
        self.user_data.write(&mut writer, encoding)?;
        if version >= 1 {
            self.owned_partitions.sorted().write(&mut writer)?;
        }
        if version >= 2 {
            self.generation_id.write(&mut writer, encoding)?;
        }
        if version >= 3 {
            self.rack_id.write(&mut writer, encoding)?;
        }
        Ok(writer.into_bytes())
    }

    /// Reads one. What follows the last known field is ignored.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        let encoding = read_version("Subscription", reader)?;
        let mut subscription =
            Self { topics: TopicNames::read(reader)?, user_data: Field::read(reader, encoding)?, ..Self::default() };
        if encoding.version >= 1 {
            subscription.owned_partitions = PartitionsByTopic::read(reader)?;
        }
        if encoding.version >= 2 {
            subscription.generation_id = Field::read(reader, encoding)?;
        }
        if encoding.version >= 3 {
            let rack_id: Option<String> = Field::read(reader, encoding)?;
            subscription.rack_id = rack_id.filter(|rack| !rack.is_empty());
        }
        Ok(subscription)
    }
}

/// What the leader gives a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct Assignment {
    /// The partitions.
    pub partitions: PartitionsByTopic,
    /// What the assignor has to say.
    pub user_data: Option<Bytes>,
}

impl Assignment {
    /// Writes it as Java does: partitions grouped by topic, topics in the order of their first partition. All versions
    /// are alike.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let encoding = checked_version("Assignment", version)?;
        let mut writer = Writer::new();
        writer.i16(version);
        self.partitions.write(&mut writer)?;
        self.user_data.write(&mut writer, encoding)?;
        Ok(writer.into_bytes())
    }

    /// Reads one. What follows the last known field is ignored.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        let encoding = read_version("Assignment", reader)?;
        Ok(Self { partitions: PartitionsByTopic::read(reader)?, user_data: Field::read(reader, encoding)? })
    }
}

fn checked_version(message: &'static str, version: i16) -> Result<Encoding, EncodeError> {
    match version {
        0..=HIGHEST_VERSION => Ok(Encoding::new(version, false)),
        _ => Err(EncodeError::UnknownVersion { message, version }),
    }
}

fn read_version(message: &'static str, reader: &mut Reader) -> Result<Encoding, DecodeError> {
    match reader.i16()? {
        version @ 0.. => Ok(Encoding::new(version.min(HIGHEST_VERSION), false)),
        version => Err(DecodeError::UnknownVersion { message, version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        Subscription {
            topics: ["b", "a"].into_iter().collect(),
            user_data: Some(Bytes::from_static(b"user")),
            owned_partitions: [("b", 1), ("a", 7), ("b", 0)].into_iter().collect(),
            generation_id: GenerationId(5),
            rack_id: Some("rack".to_owned()),
        }
    }

    #[test]
    fn each_version_carries_what_it_has_and_drops_the_rest() {
        for version in 0..=HIGHEST_VERSION {
            let read = Subscription::decode(subscription().encode(version).unwrap()).unwrap();
            assert_eq!(read.topics.iter().collect::<Vec<_>>(), ["a", "b"], "sorted");
            assert_eq!(read.user_data, subscription().user_data);
            let owned: Vec<(&str, i32)> = read.owned_partitions.partitions().collect();
            assert_eq!(owned, if version >= 1 { vec![("a", 7), ("b", 0), ("b", 1)] } else { vec![] });
            assert_eq!(read.generation_id, if version >= 2 { GenerationId(5) } else { GenerationId::NONE });
            assert_eq!(read.rack_id.is_some(), version >= 3);
        }
        assert!(subscription().encode(4).is_err() && subscription().encode(-1).is_err());
    }

    #[test]
    fn a_newer_members_fields_are_ignored() {
        let mut bytes = subscription().encode(3).unwrap().to_vec();
        bytes[1] = 9;
        bytes.extend_from_slice(b"what version 9 may add");
        let newer = Subscription::decode(bytes.into()).unwrap();
        assert_eq!(newer, Subscription::decode(subscription().encode(3).unwrap()).unwrap());
    }

    #[test]
    fn thousands_of_short_topics_fit_the_allowance() {
        let names: Vec<String> = (0..9000).map(|index| format!("{index:x}")).collect();
        let assignment =
            Assignment { partitions: names.iter().map(|name| (name.as_str(), 0)).collect(), user_data: None };
        let read = Assignment::decode(assignment.encode(3).unwrap()).unwrap();
        assert_eq!(read, assignment);
        assert_eq!(read.partitions.partitions().count(), names.len());
    }
}
