//! A partition in a Produce response: a request for hundreds of topics is answered with as many.
//!
//! Why a batch was refused stands in a box of its own: most are not. With it in the structure, an honest answer for
//! many topics of one partition each would decode to more than four times its size.

use super::LeaderIdAndEpoch;
use super::macros::{field_as_table, wire_struct};
use crate::ErrorCode;

/// What became of one partition's batch.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct ProducePartitionResponse {
    /// The partition's index in its topic.
    pub index: i32,
    /// What went wrong.
    pub error_code: ErrorCode,
    /// The offset that the first record was given.
    pub base_offset: i64,
    /// The records' timestamp where the topic has log append time, else -1.
    pub log_append_time_ms: i64,
    /// The first offset that the partition still has. From version 5 on.
    pub log_start_offset: i64,
    /// Who leads the partition now, where this broker does not (KIP-951). From version 10 on.
    pub current_leader: LeaderIdAndEpoch,
    /// Why the batch was refused; absent where the broker does not say. From version 8 on.
    pub refusal: Option<Box<Refusal>>,
}

/// Why a batch was refused (KIP-467).
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct Refusal {
    /// The records for which the whole batch was refused.
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    /// The reason in words.
    pub error_message: Option<String>,
}

impl ProducePartitionResponse {
    /// The records for which the whole batch was refused.
    pub fn record_errors(&self) -> &[BatchIndexAndErrorMessage] {
        self.refusal.as_ref().map_or(&[], |refusal| &refusal.record_errors)
    }

    /// Why the batch was refused, in words.
    pub fn error_message(&self) -> Option<&str> {
        self.refusal.as_ref()?.error_message.as_deref()
    }
}

impl Default for ProducePartitionResponse {
    fn default() -> Self {
        Self::from(Table::default())
    }
}

wire_struct! {
    /// The answer as it stands on the wire.
    pub struct Table {
        /// The partition's index in its topic.
        index: i32 [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The offset that the first record was given.
        base_offset: i64 [0..],
        /// The records' timestamp where the topic has log append time, else -1.
        log_append_time_ms: i64 [2..; default -1; ignorable],
        /// The first offset that the partition still has.
        log_start_offset: i64 [5..; default -1; ignorable],
        /// The records for which the whole batch was refused.
        record_errors: Vec<BatchIndexAndErrorMessage> [8..; ignorable],
        /// Why the batch was refused, in words.
        error_message: Option<String> [8..; ignorable],
    }
    tagged {
        /// Who leads the partition now, where this broker does not.
        0 => current_leader: LeaderIdAndEpoch [10..; ignorable],
    }
}

wire_struct! {
    /// A record for which its batch was refused.
    pub struct BatchIndexAndErrorMessage {
        /// Its index in the batch.
        batch_index: i32 [8..],
        /// What is wrong with it, in words.
        batch_index_error_message: Option<String> [8..],
    }
}

impl From<Table> for ProducePartitionResponse {
    fn from(table: Table) -> Self {
        let refusal = Refusal { record_errors: table.record_errors, error_message: table.error_message };
        Self {
            index: table.index,
            error_code: table.error_code,
            base_offset: table.base_offset,
            log_append_time_ms: table.log_append_time_ms,
            log_start_offset: table.log_start_offset,
            current_leader: table.current_leader,
            refusal: (refusal != Refusal::default()).then(|| Box::new(refusal)),
        }
    }
}

impl From<&ProducePartitionResponse> for Table {
    fn from(response: &ProducePartitionResponse) -> Self {
        let Refusal { record_errors, error_message } = response.refusal.as_deref().cloned().unwrap_or_default();
        Self {
            index: response.index,
            error_code: response.error_code,
            base_offset: response.base_offset,
            log_append_time_ms: response.log_append_time_ms,
            log_start_offset: response.log_start_offset,
            record_errors,
            error_message,
            current_leader: response.current_leader.clone(),
        }
    }
}

field_as_table! { ProducePartitionResponse as Table, boxed refusal: Refusal }
