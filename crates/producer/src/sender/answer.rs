//! What an answer to a batch, or the lack of one, does to it (KIP-91, KIP-126, KIP-467, KIP-951):
//!
//! | answer | batch |
//! |---|---|
//! | none | written |
//! | MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, several records | split in two, sent at once |
//! | a retriable code, a lost connection, left out | sent again after a back-off, while retries and time last |
//! | the same, or late, and another node leads by now | sent again at once, to that one |
//! | any other code | refused; with record errors, each record told its own part |
//!
//! Codes that say the metadata is wrong have it refreshed, and a leader named in the answer is used at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use ottla_wire::messages::ProducePartitionResponse;
use ottla_wire::{ErrorCode, NodeId, TopicPartition};

use super::{Action, Leaders, Place, Sender};
use crate::Error;
use crate::accumulator::PartitionKey;
use crate::batch::EncodedBatch;
use crate::completion::Outcome;

impl Sender {
    pub(super) fn written(
        &mut self,
        now: Instant,
        key: PartitionKey,
        answer: &ProducePartitionResponse,
        leaders: &impl Leaders,
    ) {
        let outcome = Outcome::Written {
            base_offset: (answer.base_offset >= 0).then_some(answer.base_offset),
            log_append_time_ms: (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms),
        };
        self.answer_part(now, key, outcome, leaders);
    }

    pub(super) fn refused(
        &mut self,
        now: Instant,
        key: PartitionKey,
        node: NodeId,
        answer: &ProducePartitionResponse,
        leaders: &impl Leaders,
    ) {
        let code = answer.error_code;
        if code.invalidates_metadata() {
            self.refresh(key);
        }
        let too_large = matches!(code, ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge);
        if too_large && self.split(now, key, leaders) {
            return;
        }
        let message: Option<Arc<str>> = answer.error_message().map(Arc::from);
        let unseen = may_be_written_in_spite_of(code);
        let earlier = self.first_part(key).is_some_and(EncodedBatch::may_have_been_written);
        let may_have_been_written = unseen || earlier;
        let error = |topic_partition| Error::Refused { topic_partition, node, code, message, may_have_been_written };
        if code.is_retriable() {
            return self.failed(now, key, leaders, (node, Attempt::Sent), error);
        }
        if answer.record_errors().is_empty() {
            let Some(topic_partition) = self.turns.get(&key).map(|turn| turn.topic_partition.clone()) else { return };
            return self.answer_part(now, key, Outcome::Failed(error(topic_partition)), leaders);
        }
        self.refused_by_record(now, key, node, answer, leaders);
    }

    /// Tells each record of a refused batch whether it was the one to blame (KIP-467). None of them was written.
    fn refused_by_record(
        &mut self,
        now: Instant,
        key: PartitionKey,
        node: NodeId,
        answer: &ProducePartitionResponse,
        leaders: &impl Leaders,
    ) {
        let Some(turn) = self.turns.get_mut(&key) else { return };
        let Some(part) = turn.parts.front_mut().filter(|part| part.is_waiting()) else {
            return self.next_part(now, key, leaders);
        };
        let count = part.record_count();
        let named = answer.record_errors().iter().filter_map(|named| {
            let index = u32::try_from(named.batch_index).ok().filter(|index| *index < count)?;
            Some((index, named.batch_index_error_message.as_deref().or(answer.error_message())))
        });
        let blamed: BTreeMap<u32, Option<&str>> = named.collect();
        let (code, refused) = (answer.error_code, blamed.len());
        let may_have_been_written = part.may_have_been_written();
        let mut outcomes = Vec::new();
        let mut next = 0;
        let sound = |range: Range<u32>, topic_partition: &TopicPartition| {
            let topic_partition = topic_partition.clone();
            (
                range,
                Outcome::Failed(Error::RefusedWithBatch {
                    topic_partition,
                    node,
                    code,
                    refused,
                    may_have_been_written,
                }),
            )
        };
        for (index, message) in blamed {
            outcomes.push(sound(next..index, &turn.topic_partition));
            let (topic_partition, message) = (turn.topic_partition.clone(), message.map(Arc::from));
            let error = Error::Refused { topic_partition, node, code, message, may_have_been_written };
            outcomes.push((index..index + 1, Outcome::Failed(error)));
            next = index + 1;
        }
        outcomes.push(sound(next..count, &turn.topic_partition));
        part.answered();
        let first = part.indexes().start;
        for (range, outcome) in outcomes.into_iter().filter(|(range, _)| !range.is_empty()) {
            let (completion, records) = (Arc::clone(part.completion()), first + range.start..first + range.end);
            self.actions.push_back(Action::Answer { completion, records, outcome });
        }
        self.next_part(now, key, leaders);
    }

    /// Splits a batch that is too large for the broker. `false` where it has one record, or cannot be read back.
    fn split(&mut self, now: Instant, key: PartitionKey, leaders: &impl Leaders) -> bool {
        let Some(turn) = self.turns.get_mut(&key) else { return false };
        let Some(part) = turn.parts.front().filter(|part| part.is_waiting() && part.record_count() > 1) else {
            return false;
        };
        let Some((first, second)) = self.encoder.split(part) else { return false };
        tracing::debug!(
            partition = %turn.topic_partition, records = part.record_count(), "batch too large for the broker, splitting it"
        );
        turn.parts.pop_front();
        turn.parts.push_front(second);
        turn.parts.push_front(first);
        self.enqueue(now, key, leaders);
        true
    }

    /// An attempt failed: sends the first part again after a back-off, or gives it up.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        key: PartitionKey,
        leaders: &impl Leaders,
        (node, attempt): (NodeId, Attempt),
        error: impl FnOnce(TopicPartition) -> Error,
    ) {
        let Some(turn) = self.turns.get_mut(&key) else { return };
        let Some(part) = turn.parts.front_mut().filter(|part| part.is_waiting()) else {
            return self.next_part(now, key, leaders);
        };
        let error = error(turn.topic_partition.clone());
        let retriable = error.is_retriable();
        part.attempt_failed(node, attempt == Attempt::Sent, error);
        if !retriable || part.attempts() > self.max_retries {
            let outcome = part.take_last_error().map(Outcome::Failed);
            return outcome.map_or((), |outcome| self.answer_part(now, key, outcome, leaders));
        }
        let is_expired = part.expires() <= now;
        let leads_elsewhere = leaders.leader(&turn.topic_partition).is_some_and(|leader| leader != node);
        // No longer in flight: what this attempt may have done has been noted.
        turn.place = Place::BackingOff { until: now + self.backoff.next_delay(part.failures()), failed_on: node };
        if is_expired {
            self.expire(key);
        } else if leads_elsewhere {
            self.enqueue(now, key, leaders);
        }
    }

    /// Answers the first part, which is no longer in flight, and goes on with the next.
    pub(super) fn answer_part(&mut self, now: Instant, key: PartitionKey, outcome: Outcome, leaders: &impl Leaders) {
        let part = self.turns.get_mut(&key).and_then(|turn| turn.parts.front_mut());
        if let Some(part) = part.filter(|part| part.is_waiting()) {
            part.answered();
            self.actions.push_back(answer(part, outcome));
        }
        self.next_part(now, key, leaders);
    }

    /// Answers the only part of a turn that is not in flight, and ends the turn.
    pub(super) fn answer_first(&mut self, key: PartitionKey, outcome: Outcome) {
        if let Some(batch) = self.turns.get_mut(&key).and_then(|turn| turn.parts.pop_front()) {
            self.actions.push_back(answer(&batch, outcome));
        }
        self.end_turn(key);
    }

    /// Drops the first part, which is answered, and sends the next one or ends the turn.
    fn next_part(&mut self, now: Instant, key: PartitionKey, leaders: &impl Leaders) {
        let Some(turn) = self.turns.get_mut(&key) else { return };
        while turn.parts.front().is_some_and(|part| !part.is_waiting()) {
            turn.parts.pop_front();
        }
        if turn.parts.is_empty() {
            self.end_turn(key);
        } else {
            self.enqueue(now, key, leaders);
        }
    }

    /// Gives up the parts of a turn. One in flight keeps its turn until its request has ended, so that nothing of the
    /// partition overtakes it.
    pub(super) fn expire(&mut self, key: PartitionKey) {
        let timeout = self.delivery_timeout;
        let Some(turn) = self.turns.get_mut(&key) else { return };
        let in_flight = turn.place == Place::InFlight;
        for (place, part) in turn.parts.iter_mut().enumerate().filter(|(_, part)| part.is_waiting()) {
            part.answered();
            let error = Error::DeliveryTimedOut {
                topic_partition: turn.topic_partition.clone(),
                timeout,
                attempts: part.attempts() + u32::from(in_flight && place == 0),
                may_have_been_written: part.may_have_been_written() || (in_flight && place == 0),
                source: part.take_last_error().map(Box::new),
            };
            self.actions.push_back(answer(part, Outcome::Failed(error)));
        }
        if !in_flight {
            if let Place::Queued(node) = turn.place
                && let Some(node) = self.nodes.get_mut(&node)
            {
                node.queue.retain(|queued| *queued != key);
            }
            self.end_turn(key);
        }
    }

    fn first_part(&self, key: PartitionKey) -> Option<&EncodedBatch> {
        self.turns.get(&key)?.parts.front()
    }
}

/// The answer to a whole part.
pub(super) fn answer(part: &EncodedBatch, outcome: Outcome) -> Action {
    Action::Answer { completion: Arc::clone(part.completion()), records: part.indexes(), outcome }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The request was sent, or may have been.
    Sent,
    /// There was no connection to send it on: counts for the back-off, not as an attempt.
    NotSent,
}

/// Codes with which the leader may have the records all the same.
fn may_be_written_in_spite_of(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::UnknownServerError
            | ErrorCode::Unknown(_)
    )
}
