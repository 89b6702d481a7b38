//! The partition of a key: murmur2, made positive, modulo the number of partitions. As in Java's
//! `BuiltInPartitioner.partitionForKey`, so that producers of both kinds put a key in the same place.

use ottla_wire::hashing::murmur2;

/// The hash that decides; the same for whatever number of partitions.
pub(crate) fn key_hash(key: &[u8]) -> i32 {
    murmur2(key)
}

/// The partition of a key with that hash. `None` where the topic has no partition.
pub(crate) fn partition_for_hash(hash: i32, partition_count: i32) -> Option<i32> {
    (hash & i32::MAX).checked_rem(partition_count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_hash_is_made_positive_by_its_sign_bit_and_not_by_negation() {
        assert_eq!(partition_for_hash(-1, 10), Some(7)); // 2147483647 % 10, where abs(-1) % 10 would be 1
        assert_eq!(partition_for_hash(i32::MIN, 10), Some(0)); // whose absolute value does not exist
    }

    #[test]
    fn a_topic_without_partitions_has_none_for_a_key() {
        assert_eq!(partition_for_hash(5, 0), None);
    }

    #[test]
    fn keys_hash_as_in_java() {
        // From the tests of Kafka's `Utils.murmur2`.
        assert_eq!(key_hash(b"21"), -973_932_308);
        assert_eq!(key_hash(b"foobar"), -790_332_482);
        assert_eq!(key_hash(b"a-little-bit-long-string"), -985_981_536);
    }
}
