//! The only door to the `kafka-protocol` crate's decoders.
//!
//! That crate reserves a `Vec` for as many elements as an array's count claims, before it has read one: a Metadata
//! response of 69 bytes makes it ask for 451 GB and abort the process. So bytes reach it through `GuardedBytes`, which
//! looks over its shoulder: the crate reads variable-length integers a byte at a time, by `try_get_u8`, and by nothing
//! else, so the guard knows each count before the crate does and can refuse it. For that every length must be such an
//! integer, which is why only flexible versions (KIP-482) are let in.
//!
//! What the guard cannot see is what an integer means: the crate reads Booleans by the same call, and counts, lengths
//! of strings, sizes of tagged fields and tag numbers all look alike. Hence the rules:
//!
//! 1. A Boolean can pose as the start of an integer and hide where the true one begins. So at every byte that can end
//!    an integer (it is below 0x80, or the fifth) the value is taken for each start within the last five bytes.
//! 2. A claim (the value less one: counts and lengths are written so) of more than what remains of the frame can only
//!    be a tag number. All of those together may come to `TAG_NUMBERS`, but for those of unknown tags, which are
//!    known by what follows: a size, then so many bytes. (After a string's value one byte less is taken.)
//! 3. A claim of more than `FREE_CLAIM`, which every string is below, must leave four bytes an element: so many the
//!    smallest structures and numbers take, of which an array has so many. Where a message has byte fields that may be
//!    larger, the claim passes if exactly that many bytes are taken next.
//! 4. A frame over a limit (a setting, [`DEFAULT_MAX_GUARDED_BYTES`]) is refused unread.
//!
//! The crate's structures take less than 350 bytes an element, and those of the deepest path less than 700, so what is
//! reserved in vain stays below 16 MiB and 200 times the frame: a claim is at most a quarter of the frame, or at most
//! 32 KiB on each of three levels, and the tag numbers' 44,000 on top.

use bytes::{Buf, Bytes, BytesMut, TryGetError};
use kafka_protocol::protocol::buf::{ByteBuf, NotEnoughBytesError};
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::{DecodeError, EncodeError};

/// The largest frame that is handed to the `kafka-protocol` crate where nothing else is set.
pub const DEFAULT_MAX_GUARDED_BYTES: usize = 16 * 1024 * 1024;

/// A claim up to which it need only fit into what remains. Kafka's strings have at most 32,767 bytes.
const FREE_CLAIM: usize = 32 * 1024;

/// The fewest bytes that an element takes in an array of more than [`FREE_CLAIM`].
const SMALLEST_ELEMENT_BYTES: usize = 4;

/// What all claims beyond the frame's end may come to in one frame. Kafka's own tags are below twenty.
const TAG_NUMBERS: usize = 44_000;

/// Whether a message has fields of bytes that may be larger than a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteFields {
    /// It has none.
    Small,
    /// It has: a member's metadata, telemetry, records.
    #[cfg_attr(not(feature = "any-message"), allow(dead_code, reason = "no admin message has any so far"))]
    Large,
}

/// Reads a message of the `kafka-protocol` crate from the front of `body`, and says how many bytes it took. `version`
/// must be a flexible one.
pub(crate) fn decode<M: Decodable>(
    message: &'static str,
    body: Bytes,
    version: i16,
    byte_fields: ByteFields,
    limit: usize,
) -> Result<(M, usize), DecodeError> {
    let length = body.len();
    if length > limit {
        return Err(DecodeError::GuardedFrameTooLarge { message, length, limit });
    }
    let mut guarded = GuardedBytes::new(body, byte_fields);
    let decoded = M::decode(&mut guarded, version);
    match decoded {
        _ if guarded.refused.is_some() => Err(guarded.refusal()),
        Ok(decoded) => Ok((decoded, guarded.position)),
        Err(error) => Err(DecodeError::Guarded { message, reason: format!("{error:#}") }),
    }
}

/// The bytes of a message of the `kafka-protocol` crate.
pub(crate) fn encode<M: Encodable>(message: &'static str, value: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut bytes = BytesMut::new();
    match value.encode(&mut bytes, version) {
        Ok(()) => Ok(bytes.freeze()),
        Err(error) => Err(EncodeError::Guarded { message, reason: format!("{error:#}") }),
    }
}

/// The bytes of a frame, as the `kafka-protocol` crate gets to see them.
#[derive(Debug)]
struct GuardedBytes {
    frame: Bytes,
    position: usize,
    byte_fields: ByteFields,
    /// How many of the bytes before `position` were read one by one, up to the five that an integer has at most.
    run: usize,
    /// What the claims beyond the frame's end have come to.
    beyond: usize,
    /// The last of them, and where it ended: to be forgiven if it turns out to be the number of an unknown tag.
    doubtful: Option<(usize, usize)>,
    /// So many bytes are to be taken next, or the last claim was none of a byte field.
    owed: Option<usize>,
    /// The claim that was refused, and where.
    refused: Option<(usize, usize)>,
}

impl GuardedBytes {
    fn new(frame: Bytes, byte_fields: ByteFields) -> Self {
        Self { frame, position: 0, byte_fields, run: 0, beyond: 0, doubtful: None, owed: None, refused: None }
    }

    /// The largest claim that an integer ending with the last byte read can make, wherever it starts.
    fn largest_claim(&self) -> Option<usize> {
        let recent = self.frame.get(self.position.saturating_sub(self.run)..self.position)?;
        let (&last, before) = recent.split_last()?;
        // An integer begins in any of the bytes that lead up to the last without ending one.
        let reach = before.iter().rev().take_while(|&&byte| byte >= 0x80).count();
        let starts = if last < 0x80 { 0..=reach } else { 4..=reach };
        let value = |start: usize| {
            let bytes = recent[recent.len() - 1 - start..].iter().enumerate();
            // As the crate does it: what is beyond 32 bits falls off.
            bytes.fold(0u32, |value, (place, &byte)| value | u32::from(byte & 0x7f) << (7 * place))
        };
        starts.map(value).max().map(|value| (value as usize).saturating_sub(1))
    }

    fn check(&mut self) {
        let Some(claim) = self.largest_claim() else { return };
        let remaining = self.frame.len() - self.position;
        if claim > remaining {
            self.beyond = self.beyond.saturating_add(claim);
            self.doubtful = Some((claim, self.position));
            if self.beyond > TAG_NUMBERS {
                self.refuse(claim);
            }
        } else if claim > FREE_CLAIM && claim.saturating_mul(SMALLEST_ELEMENT_BYTES) > remaining {
            match self.byte_fields {
                ByteFields::Large => self.owed = Some(claim),
                ByteFields::Small => self.refuse(claim),
            }
        }
    }

    fn refuse(&mut self, claim: usize) {
        self.refused.get_or_insert((claim, self.position));
    }

    /// Settles what the integers before had left open, now that bytes are `taken` or, with `None`, something else is.
    fn settle(&mut self, taken: Option<usize>) {
        match self.owed.take() {
            Some(owed) if taken != Some(owed) => self.refuse(owed),
            Some(_) | None => {}
        }
        if let (Some((claim, end)), Some(taken)) = (self.doubtful.take(), taken)
            && integer(&self.frame[end..self.position]) == Some(taken)
        {
            self.beyond -= claim;
        }
        self.run = 0;
    }

    fn refusal(&self) -> DecodeError {
        let (claim, position) = self.refused.unwrap_or_default();
        DecodeError::LengthBeyondFrame { position, length: claim as i64, remaining: self.frame.len() - position }
    }
}

/// The value of `bytes`, if they are one integer.
fn integer(bytes: &[u8]) -> Option<usize> {
    let (&last, before) = bytes.split_last()?;
    let is_one = bytes.len() <= 5 && last < 0x80 && before.iter().all(|&byte| byte >= 0x80);
    is_one.then(|| {
        let value = |value, (place, &byte): (usize, &u8)| value | u64::from(byte & 0x7f) << (7 * place);
        bytes.iter().enumerate().fold(0, value) as usize
    })
}

impl Buf for GuardedBytes {
    /// Nothing, once a claim was refused: whatever the crate reads next fails.
    fn remaining(&self) -> usize {
        if self.refused.is_some() { 0 } else { self.frame.len() - self.position }
    }

    fn chunk(&self) -> &[u8] {
        &self.frame[self.frame.len() - self.remaining()..]
    }

    fn advance(&mut self, count: usize) {
        self.settle(None);
        self.position = self.frame.len().min(self.position.saturating_add(count));
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        if self.owed.is_some() {
            self.settle(None);
        }
        let (requested, available) = (1, self.remaining());
        let Some(&byte) = self.chunk().first() else { return Err(TryGetError { requested, available }) };
        self.position += 1;
        self.run = 5.min(self.run + 1);
        self.check();
        match self.refused {
            None => Ok(byte),
            Some(_) => Err(TryGetError { requested, available }),
        }
    }
}

impl ByteBuf for GuardedBytes {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        Bytes::copy_from_slice(self.chunk().get(range).unwrap_or_default())
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.try_get_bytes(size).unwrap_or_default()
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        self.settle(Some(size));
        if size > self.remaining() {
            return Err(NotEnoughBytesError);
        }
        let start = self.position;
        self.position += size;
        Ok(self.frame.slice(start..self.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{CreateTopicsResponse, DescribeGroupsResponse, MetadataResponse};

    fn decode_metadata(body: Bytes) -> Result<(MetadataResponse, usize), DecodeError> {
        decode("MetadataResponse", body, 12, ByteFields::Small, DEFAULT_MAX_GUARDED_BYTES)
    }

    /// 69 bytes, the length and the header among them, of which the crate makes 451 GB: the topics claim to be as many
    /// as five bytes can say.
    fn frame_of_451_gigabytes() -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend_from_slice(&65u32.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 1, 0]); // correlation id, tags
        frame.extend_from_slice(&[0; 4]); // throttle time
        frame.extend_from_slice(&[1, 0]); // no brokers, no cluster id
        frame.extend_from_slice(&[0; 4]); // controller
        frame.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        frame.resize(69, 0);
        frame
    }

    #[test]
    fn the_frame_of_69_bytes_that_asks_for_451_gigabytes_is_refused() {
        let frame = Bytes::from(frame_of_451_gigabytes());
        assert_eq!(frame.len(), 69);
        let refused = decode_metadata(frame.slice(9..)).unwrap_err();
        let expected = DecodeError::LengthBeyondFrame { position: 15, length: i64::from(u32::MAX) - 1, remaining: 45 };
        assert_eq!(refused, expected);
    }

    #[test]
    fn a_claim_anywhere_in_a_frame_is_refused() {
        let original = frame_of_451_gigabytes();
        for length in 0..original.len() - 9 {
            for claim in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff, 0xff, 0xff, 0x7f], &[0x80, 0x80, 0x04]] {
                let mut body = vec![0; length];
                body.extend_from_slice(claim);
                body.resize(60, 0);
                // Most are refused, and some are no message; none reserves what it claims.
                let _ = decode_metadata(body.into());
            }
        }
    }

    #[test]
    fn a_boolean_cannot_hide_where_an_integer_begins() {
        let mut guarded =
            GuardedBytes::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]), ByteFields::Small);
        // The first byte may have been a Boolean. Taken for the start of an integer it would end with the fifth, and
        // the sixth would seem to be a fifteen by itself.
        let refused_at = (0..6).position(|_| guarded.try_get_u8().is_err());
        assert!(refused_at.is_some());

        // An honest Boolean is 0 or 1, which ends whatever it could pose as.
        let honest = Bytes::from_static(&[1, 0xb3, 0x9d, 0x02, 0, 1, 0, 0]);
        let mut guarded = GuardedBytes::new(honest, ByteFields::Small);
        assert_eq!((0..8).position(|_| guarded.try_get_u8().is_err()), None);
    }

    #[test]
    fn tag_numbers_may_go_beyond_the_frame_but_not_add_up() {
        // 36,531 as a tag number, three bytes before the end.
        let tag = [0xb3, 0x9d, 0x02];
        let mut guarded = GuardedBytes::new([&tag[..], &[1, 0, 0]].concat().into(), ByteFields::Small);
        assert!((0..3).all(|_| guarded.try_get_u8().is_ok()));
        let mut guarded = GuardedBytes::new([tag, tag, [1, 0, 0]].concat().into(), ByteFields::Small);
        assert_eq!((0..6).position(|_| guarded.try_get_u8().is_err()), Some(5));
        // An unknown tag is followed by its size and as many bytes.
        let unknown = [&tag[..], &[1, 7]].concat();
        let mut guarded = GuardedBytes::new([&unknown[..], &unknown].concat().into(), ByteFields::Small);
        for _ in 0..2 {
            assert!((0..4).all(|_| guarded.try_get_u8().is_ok()));
            assert_eq!(guarded.try_get_bytes(1).unwrap(), [7][..]);
        }
    }

    #[test]
    fn a_large_claim_must_leave_room_for_its_elements() {
        let claim = [0x81, 0x80, 0x06]; // 98,304 elements, or as many bytes
        let mut body = vec![0; 4];
        body.extend_from_slice(&claim);
        body.resize(150_000, 0);
        let refused: Result<(CreateTopicsResponse, usize), _> =
            decode("CreateTopicsResponse", body.clone().into(), 7, ByteFields::Small, DEFAULT_MAX_GUARDED_BYTES);
        assert!(matches!(refused, Err(DecodeError::LengthBeyondFrame { length: 98_304, .. })), "{refused:?}");
        // Neither does it pass as a length where byte fields may be large: it is no bytes that the crate takes.
        let refused: Result<(DescribeGroupsResponse, usize), _> =
            decode("DescribeGroupsResponse", body.into(), 5, ByteFields::Large, DEFAULT_MAX_GUARDED_BYTES);
        assert!(matches!(refused, Err(DecodeError::LengthBeyondFrame { length: 98_304, .. })), "{refused:?}");
    }

    #[test]
    fn a_large_byte_field_passes_where_there_may_be_one() {
        use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
        let mut member = DescribedGroupMember::default();
        member.member_metadata = Bytes::from(vec![7; 100_000]);
        let mut group = DescribedGroup::default();
        group.members = vec![member];
        let mut response = DescribeGroupsResponse::default();
        response.groups = vec![group];
        let bytes = encode("DescribeGroupsResponse", &response, 5).unwrap();
        let length = bytes.len();
        let read = decode("DescribeGroupsResponse", bytes, 5, ByteFields::Large, DEFAULT_MAX_GUARDED_BYTES);
        assert_eq!(read, Ok((response, length)));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_unread() {
        let refused: Result<(MetadataResponse, usize), _> =
            decode("MetadataResponse", Bytes::from(vec![0; 101]), 12, ByteFields::Small, 100);
        let expected = DecodeError::GuardedFrameTooLarge { message: "MetadataResponse", length: 101, limit: 100 };
        assert_eq!(refused, Err(expected));
    }
}
