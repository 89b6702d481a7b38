//! What clients may do (KIP-430): everything that there is to do, for there is nobody here who would forbid it.
//!
//! A bit for each operation, by the numbers of Kafka's `AclOperation`.

/// Of a client that has not asked.
const NOT_ASKED: i32 = i32::MIN;

const READ: u32 = 3;
const WRITE: u32 = 4;
const CREATE: u32 = 5;
const DELETE: u32 = 6;
const ALTER: u32 = 7;
const DESCRIBE: u32 = 8;
const CLUSTER_ACTION: u32 = 9;
const DESCRIBE_CONFIGS: u32 = 10;
const ALTER_CONFIGS: u32 = 11;
const IDEMPOTENT_WRITE: u32 = 12;

/// With the cluster.
pub(super) fn of_cluster(asked: bool) -> i32 {
    bits(asked, &[CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE])
}

/// With a topic.
pub(super) fn of_topic(asked: bool) -> i32 {
    bits(asked, &[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS])
}

/// With a group.
pub(super) fn of_group(asked: bool) -> i32 {
    bits(asked, &[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS])
}

fn bits(asked: bool, operations: &[u32]) -> i32 {
    if asked { operations.iter().fold(0, |bits, operation| bits | 1 << operation) } else { NOT_ASKED }
}
