//! The hashes that decide places: a key's partition, and the partition of `__consumer_offsets` (or of
//! `__transaction_state`) that a group's (or a transaction's) coordinator leads. They must equal Java's.

/// MurmurHash2, 32 bits, as Kafka's `Utils.murmur2` has it: with its seed, over little-endian words.
pub fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(MULTIPLIER);
    (hash ^ hash >> 15) as i32
}

/// The partition of a key, of so many. `None` where there are none.
pub fn partition_for_key(key: &[u8], partition_count: i32) -> Option<i32> {
    (murmur2(key) & i32::MAX).checked_rem(partition_count.max(0))
}

/// The partition, of so many, whose leader coordinates the group or transactional id: by Java's `String.hashCode`,
/// which is over UTF-16 units. `None` where there are none.
pub fn coordinator_partition(id: &str, partition_count: i32) -> Option<i32> {
    // Kafka's `Utils.abs`, which has 0 for the one number that has no absolute value.
    java_string_hash(id).checked_abs().unwrap_or(0).checked_rem(partition_count.max(0))
}

/// Java's `String.hashCode`, which goes by UTF-16 code units.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        // From Kafka's UtilsTest.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn without_partitions_nothing_has_a_place() {
        assert_eq!((partition_for_key(b"k", 0), coordinator_partition("g", 0)), (None, None));
    }

    #[test]
    fn the_id_without_an_absolute_hash_is_placed_first() {
        // "polygenelubricants" hashes to i32::MIN in Java.
        assert_eq!(coordinator_partition("polygenelubricants", 50), Some(0));
    }
}
