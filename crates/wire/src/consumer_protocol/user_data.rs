//! What the sticky assignors write into the user data of a subscription, to find their last assignment again.

use bytes::Bytes;

use super::PartitionsByTopic;
use crate::{DecodeError, EncodeError, GenerationId, Reader, Writer};

/// The user data of the sticky assignor: what the member was last assigned, and in which generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "both versions of a format that is not developed any more")]
pub struct StickyUserData {
    /// The partitions.
    pub partitions: PartitionsByTopic,
    /// The generation; `None` in the data of the first version, which lacks it.
    pub generation_id: Option<GenerationId>,
}

impl StickyUserData {
    /// Writes it: the second version of the format where there is a generation, else the first.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        self.partitions.write(&mut writer)?;
        if let Some(GenerationId(generation)) = self.generation_id {
            writer.i32(generation);
        }
        Ok(writer.into_bytes())
    }

    /// Reads either version: they differ in whether a generation follows.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let partitions = PartitionsByTopic::read(&mut reader)?;
        Ok(Self { partitions, generation_id: reader.i32().ok().map(GenerationId) })
    }
}

/// The user data of the cooperative sticky assignor: the generation alone, as what the member owns stands in its
/// subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a format of one field")]
pub struct CooperativeUserData {
    /// The generation, -1: none.
    pub generation_id: GenerationId,
}

impl CooperativeUserData {
    /// Writes it.
    pub fn encode(self) -> Bytes {
        Bytes::copy_from_slice(&self.generation_id.0.to_be_bytes())
    }

    /// Reads it. What follows is ignored.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Ok(Self { generation_id: GenerationId(Reader::new(bytes).i32()?) })
    }
}
