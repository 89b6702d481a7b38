//! What a record's value says: which record it is, of which log, and a hash of all that, padding included. So whoever reads
//! it knows whether it is whole, and where it belongs.

use crate::history::LogName;

/// What a value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) number: u64,
    pub(crate) partition: i32,
    pub(crate) incarnation: u32,
}

const HEAD: usize = 8 + 4 + 4;
/// The shortest value.
pub(crate) const SHORTEST: usize = HEAD + 8;

/// The value of a record, about so long. `compressible`: it is padded with what repeats, otherwise with noise.
pub(crate) fn value(log: &LogName, number: u64, length: usize, compressible: bool) -> Vec<u8> {
    let mut value = Vec::with_capacity(length.max(SHORTEST));
    value.extend_from_slice(&number.to_be_bytes());
    value.extend_from_slice(&log.partition.partition.to_be_bytes());
    value.extend_from_slice(&log.incarnation.to_be_bytes());
    let padding = length.saturating_sub(SHORTEST);
    if compressible {
        value.extend(b"the sister of Kafka ".iter().copied().cycle().take(padding));
    } else {
        let mut random = fastrand::Rng::with_seed(number);
        value.extend(std::iter::repeat_with(|| random.u8(..)).take(padding));
    }
    value.extend_from_slice(&hash(&value).to_be_bytes());
    value
}

/// What a value says, if it is whole.
pub(crate) fn read(value: &[u8]) -> Option<Said> {
    let (said, hashed) = value.split_last_chunk::<8>()?;
    if hash(said) != u64::from_be_bytes(*hashed) {
        return None;
    }
    let (number, rest) = said.split_first_chunk::<8>()?;
    let (partition, rest) = rest.split_first_chunk::<4>()?;
    let (incarnation, _) = rest.split_first_chunk::<4>()?;
    Some(Said {
        number: u64::from_be_bytes(*number),
        partition: i32::from_be_bytes(*partition),
        incarnation: u32::from_be_bytes(*incarnation),
    })
}

/// FNV-1a, eight bytes at a time.
fn hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, part: u64| (hash ^ part).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64, |hash, chunk| {
        let mut part = [0; 8];
        part[..chunk.len()].copy_from_slice(chunk);
        mix(hash, u64::from_be_bytes(part))
    })
}
