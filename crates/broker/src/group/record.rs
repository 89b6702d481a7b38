//! What stands in the log of `__consumer_offsets`, in Kafka's own form: a new coordinator reads there what the last one
//! knew, and so can any client.
//!
//! | record | key | value |
//! |---|---|---|
//! | an offset | version 1: group, topic, partition | version 4; absent where it was deleted |
//! | a group | version 2: group | version 3; absent where it was deleted |
//!
//! Keys and values of other versions are Kafka's of other times, and passed over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::messages::JoinGroupRequestProtocol;
use ottla_wire::{DecodeError, EncodeError, Encoding, Field, LeaderEpoch, Reader, TopicId, TopicPartition, Writer};

use super::{CommittedOffset, Member};

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    Offset { group: Arc<str>, partition: TopicPartition, value: Option<CommittedOffset> },
    Group { group: Arc<str>, value: Option<GroupMetadata> },
}

/// A group, as far as it outlives its coordinator.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupMetadata {
    /// Empty: it never had a member.
    pub(crate) protocol_type: String,
    pub(crate) generation_id: i32,
    pub(crate) protocol_name: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: Vec<MemberMetadata>,
}

/// A member, as far as it outlives the coordinator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemberMetadata {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    /// What it said for the protocol that was chosen.
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

impl MemberMetadata {
    /// The member. It is known to go by the protocol that was chosen, and by no other.
    pub(super) fn into_member(self, protocol: Option<&str>) -> Member {
        let protocol =
            protocol.map(|name| JoinGroupRequestProtocol { name: name.to_owned(), metadata: self.subscription });
        Member {
            id: self.member_id,
            instance_id: self.instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            rebalance_timeout: self.rebalance_timeout,
            session_timeout: self.session_timeout,
            protocols: protocol.into_iter().collect(),
            assignment: self.assignment,
            is_new: false,
            joining: Vec::new(),
            syncing: Vec::new(),
            session_deadline: None,
        }
    }
}

impl Record {
    /// The key and the value; `timestamp_ms` is that of the group's last change.
    pub(crate) fn encode(&self, timestamp_ms: i64) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Self::Offset { group, partition, value } => {
                let mut key = Writer::new();
                key.i16(OFFSET_KEY);
                text(&mut key, group)?;
                text(&mut key, &partition.topic)?;
                key.i32(partition.partition);
                Ok((key.into_bytes(), value.as_ref().map(write_offset).transpose()?))
            }
            Self::Group { group, value } => {
                let mut key = Writer::new();
                key.i16(GROUP_KEY);
                text(&mut key, group)?;
                let value = value.as_ref().map(|value| write_group(value, timestamp_ms)).transpose()?;
                Ok((key.into_bytes(), value))
            }
        }
    }

    /// Reads a record; `None` where it is of another kind or version.
    pub(crate) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, DecodeError> {
        let mut key = Reader::new(Bytes::copy_from_slice(key));
        let value = value.map(|value| Reader::new(Bytes::copy_from_slice(value)));
        match key.i16()? {
            OFFSET_KEY => {
                let group = String::read(&mut key, FIXED)?.into();
                let topic = String::read(&mut key, FIXED)?;
                let partition = TopicPartition::new(topic, key.i32()?);
                let value = match value.map(read_offset).transpose()? {
                    None => None,
                    Some(Some(offset)) => Some(offset),
                    Some(None) => return Ok(None),
                };
                Ok(Some(Self::Offset { group, partition, value }))
            }
            GROUP_KEY => {
                let group = String::read(&mut key, FIXED)?.into();
                let value = match value.map(read_group).transpose()? {
                    None => None,
                    Some(Some(metadata)) => Some(metadata),
                    Some(None) => return Ok(None),
                };
                Ok(Some(Self::Group { group, value }))
            }
            _ => Ok(None),
        }
    }
}

fn text(writer: &mut Writer, text: &str) -> Result<(), EncodeError> {
    text.to_owned().write(writer, FIXED)
}

fn write_offset(value: &CommittedOffset) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(OFFSET_VALUE);
    writer.i64(value.offset);
    value.leader_epoch.unwrap_or_default().write(&mut writer, FLEXIBLE)?;
    value.metadata.write(&mut writer, FLEXIBLE)?;
    writer.i64(value.commit_timestamp_ms);
    match value.topic_id.known() {
        None => writer.unsigned_varint(0),
        Some(topic_id) => {
            // One tagged field: its tag, its length, itself.
            writer.unsigned_varint(1);
            writer.unsigned_varint(TOPIC_ID_TAG);
            writer.unsigned_varint(16);
            topic_id.write(&mut writer, FLEXIBLE)?;
        }
    }
    Ok(writer.into_bytes())
}

fn read_offset(mut reader: Reader) -> Result<Option<CommittedOffset>, DecodeError> {
    if reader.i16()? != OFFSET_VALUE {
        return Ok(None);
    }
    let offset = reader.i64()?;
    let leader_epoch = LeaderEpoch::read(&mut reader, FLEXIBLE)?.known();
    let metadata = String::read(&mut reader, FLEXIBLE)?;
    let commit_timestamp_ms = reader.i64()?;
    let mut topic_id = TopicId::NONE;
    for _ in 0..reader.unsigned_varint()? {
        let (tag, length) = (reader.unsigned_varint()?, reader.unsigned_varint()?);
        if tag == TOPIC_ID_TAG {
            topic_id = TopicId::read(&mut reader, FLEXIBLE)?;
        } else {
            reader.skip(length as usize)?;
        }
    }
    Ok(Some(CommittedOffset { offset, leader_epoch, metadata, commit_timestamp_ms, topic_id }))
}

fn write_group(value: &GroupMetadata, timestamp_ms: i64) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(GROUP_VALUE);
    value.protocol_type.write(&mut writer, FIXED)?;
    writer.i32(value.generation_id);
    value.protocol_name.write(&mut writer, FIXED)?;
    value.leader.write(&mut writer, FIXED)?;
    writer.i64(timestamp_ms);
    writer.i32(value.members.len() as i32);
    for member in &value.members {
        member.member_id.write(&mut writer, FIXED)?;
        member.instance_id.write(&mut writer, FIXED)?;
        member.client_id.write(&mut writer, FIXED)?;
        member.client_host.write(&mut writer, FIXED)?;
        writer.i32(milliseconds(member.rebalance_timeout));
        writer.i32(milliseconds(member.session_timeout));
        member.subscription.write(&mut writer, FIXED)?;
        member.assignment.write(&mut writer, FIXED)?;
    }
    Ok(writer.into_bytes())
}

fn read_group(mut reader: Reader) -> Result<Option<GroupMetadata>, DecodeError> {
    if reader.i16()? != GROUP_VALUE {
        return Ok(None);
    }
    let protocol_type = String::read(&mut reader, FIXED)?;
    let generation_id = reader.i32()?;
    let protocol_name = Field::read(&mut reader, FIXED)?;
    let leader = Field::read(&mut reader, FIXED)?;
    let _changed_ms = reader.i64()?;
    let mut members = Vec::new();
    for _ in 0..reader.i32()? {
        members.push(MemberMetadata {
            member_id: Field::read(&mut reader, FIXED)?,
            instance_id: Field::read(&mut reader, FIXED)?,
            client_id: Field::read(&mut reader, FIXED)?,
            client_host: Field::read(&mut reader, FIXED)?,
            rebalance_timeout: duration(reader.i32()?),
            session_timeout: duration(reader.i32()?),
            subscription: Field::read(&mut reader, FIXED)?,
            assignment: Field::read(&mut reader, FIXED)?,
        });
    }
    Ok(Some(GroupMetadata { protocol_type, generation_id, protocol_name, leader, members }))
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// A duration as a client or the log says it: not negative, and no more than an `i32` of milliseconds, 25 days.
pub(crate) fn duration(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 4;
const GROUP_VALUE: i16 = 3;
const TOPIC_ID_TAG: u32 = 0;
/// Lengths of two and of four bytes, as the keys and the groups have them.
const FIXED: Encoding = Encoding::new(0, false);
/// Lengths as varints, as the offsets have them.
const FLEXIBLE: Encoding = Encoding::new(0, true);

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(record: &Record) -> Record {
        let (key, value) = record.encode(77).unwrap();
        Record::decode(&key, value.as_deref()).unwrap().unwrap()
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let offset = CommittedOffset {
            offset: 42,
            leader_epoch: Some(LeaderEpoch(3)),
            metadata: "kept".to_owned(),
            commit_timestamp_ms: 1_000_000,
            topic_id: TopicId([9; 16]),
        };
        let unknown = CommittedOffset { leader_epoch: None, topic_id: TopicId::NONE, ..offset.clone() };
        let member = MemberMetadata {
            member_id: "member".to_owned(),
            instance_id: Some("instance".to_owned()),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout: Duration::from_mins(1),
            session_timeout: Duration::from_secs(10),
            subscription: Bytes::from_static(b"subscription"),
            assignment: Bytes::from_static(b"assignment"),
        };
        let metadata = GroupMetadata {
            protocol_type: "consumer".to_owned(),
            generation_id: 5,
            protocol_name: Some("range".to_owned()),
            leader: Some("member".to_owned()),
            members: vec![member],
        };
        let group: Arc<str> = "group".into();
        for value in [Some(offset), Some(unknown), None] {
            let partition = TopicPartition::new("topic", 7);
            let record = Record::Offset { group: Arc::clone(&group), partition, value };
            assert_eq!(read_back(&record), record);
        }
        for value in [Some(metadata), Some(GroupMetadata::default()), None] {
            let record = Record::Group { group: Arc::clone(&group), value };
            assert_eq!(read_back(&record), record);
        }
    }

    #[test]
    fn an_offset_stands_in_the_log_as_kafka_writes_it() {
        let value = CommittedOffset {
            offset: 1,
            leader_epoch: None,
            metadata: "m".to_owned(),
            commit_timestamp_ms: 2,
            topic_id: TopicId::NONE,
        };
        let record = Record::Offset { group: "g".into(), partition: TopicPartition::new("t", 3), value: Some(value) };
        let (key, value) = record.encode(0).unwrap();
        assert_eq!(&key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x03");
        assert_eq!(&value.unwrap()[..], b"\0\x04\0\0\0\0\0\0\0\x01\xff\xff\xff\xff\x02m\0\0\0\0\0\0\0\x02\0");
    }

    #[test]
    fn other_kinds_and_versions_are_passed_over() {
        assert_eq!(Record::decode(&[0, 3, 0, 0], None).unwrap(), None);
        assert_eq!(Record::decode(&[0, 2, 0, 1, b'g'], Some(&[0, 9])).unwrap(), None);
        assert!(Record::decode(&[0], None).is_err());
    }
}
