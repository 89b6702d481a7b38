//! Control records: what brokers write between an application's records (KIP-98, KIP-595, KIP-630, KIP-853).

use bytes::Bytes;

use super::header::{ATTRIBUTE_CONTROL, Fields};
use super::{BatchBuilder, ProducerState, Record};

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlRecordType {
    /// The producer's transaction was aborted.
    Abort,
    /// The producer's transaction was committed.
    Commit,
    /// A quorum has a new leader.
    LeaderChange,
    /// A snapshot starts.
    SnapshotHeader,
    /// A snapshot ends.
    SnapshotFooter,
    /// The version of a quorum's protocol.
    KRaftVersion,
    /// The voters of a quorum.
    KRaftVoters,
    /// One that came to Kafka later.
    Unknown(i16),
}

impl ControlRecordType {
    /// Its number.
    pub fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Unknown(id) => id,
        }
    }
}

impl From<i16> for ControlRecordType {
    fn from(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            id => Self::Unknown(id),
        }
    }
}

/// A record of a control batch, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlRecord {
    /// What it says.
    pub kind: ControlRecordType,
    /// The epoch of the transaction coordinator that wrote it; of commit and abort only.
    pub coordinator_epoch: Option<i32>,
}

impl ControlRecord {
    /// Reads a record of a control batch; `None` if its key is none of a control record.
    pub fn parse(record: &Record<'_>) -> Option<Self> {
        let key = record.key().filter(|key| key.len() >= 4)?;
        let mut fields = Fields { bytes: key, at: 0 };
        let (version, kind) = (fields.i16(), ControlRecordType::from(fields.i16()));
        if version < 0 {
            return None;
        }
        let coordinator_epoch = match kind {
            ControlRecordType::Abort | ControlRecordType::Commit => coordinator_epoch(record.value()),
            _ => None,
        };
        Some(Self { kind, coordinator_epoch })
    }
}

/// The batch that ends a transaction in a partition: one control record, as a broker writes it.
pub fn control_batch(
    kind: ControlRecordType,
    coordinator_epoch: i32,
    timestamp: i64,
    producer: ProducerState,
) -> Bytes {
    let mut key = [0; 4];
    key[2..].copy_from_slice(&kind.id().to_be_bytes());
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::new();
    let appended = builder.append(timestamp, Some(&key), Some(&value), []);
    debug_assert!(appended.is_ok(), "ten bytes fit into any batch");
    builder.encode_uncompressed(ATTRIBUTE_CONTROL).seal(ProducerState { transactional: true, ..producer })
}

fn coordinator_epoch(value: Option<&[u8]>) -> Option<i32> {
    let mut fields = Fields { bytes: value.filter(|value| value.len() >= 6)?, at: 0 };
    (fields.i16() >= 0).then(|| fields.i32())
}
