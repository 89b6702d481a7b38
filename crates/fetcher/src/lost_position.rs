//! What becomes of a position in a log that is not the same any more: it was [truncated](crate::validation), or is another topic's
//! of the same name (KIP-320, KIP-516).
//!
//! | what happened | the application has been handed | what follows |
//! |---|---|---|
//! | truncated | nothing that is gone | what is buffered is dropped; reading goes on at the position |
//! | truncated | more | as [`OnTruncation`] says: reading goes on where the logs parted, or the application is told |
//! | made anew | all that was received of the former topic | without a policy it is told; with any, the new topic is read from its start |
//!
//! What is done without the application is told beside polls ([`push_reset`](State::push_reset)). All this happens within a poll,
//! where nothing is being opened.

use crate::position::{Partition, Recreation, Refusal, Truncation, Validation};
use crate::state::State;
use crate::truncation::DivergingOffset;
use crate::{AutoOffsetReset, Error, OnTruncation, StartAt};

impl State {
    /// Acts on logs that were found truncated. To be called while nothing is being opened: what was opened before is on
    /// [its way](Self::is_truncated) to nowhere.
    pub(crate) fn act_on_truncations(&mut self) {
        while let Some(place) = self.truncated.pop_first() {
            let Some(partition) = self.partition(place) else { continue };
            if let Validation::Truncated(diverging) = partition.validation {
                self.act_on_truncation(place, diverging);
            }
        }
    }

    fn act_on_truncation(&mut self, place: usize, diverging: Option<DivergingOffset>) {
        let (policy, generation) = (self.config.auto_offset_reset, self.new_generation());
        let tells = self.config.on_truncation == OnTruncation::Tell || policy == AutoOffsetReset::None;
        let Some(partition) = self.partition_mut(place) else { return };
        partition.validation = Validation::Done;
        let Some(position) = partition.position.filter(|_| partition.recreation().is_none()) else { return };
        self.buffered.discard(place);
        self.is_news = true;
        let Some(partition) = self.partition_mut(place) else { return };
        let leader_epoch = partition.position_epoch;
        let is_kept = |end: DivergingOffset| {
            position <= end.offset && leader_epoch.is_none_or(|leader_epoch| leader_epoch <= end.leader_epoch)
        };
        if diverging.is_some_and(is_kept) {
            partition.rewind(position);
            partition.validate();
            self.to_validate.insert(place);
            return;
        }
        let truncation = Truncation { position, leader_epoch, diverging };
        let error = Error::of_refusal(partition.name.clone(), Refusal::Truncated(truncation));
        if tells {
            partition.refuse(generation, Refusal::Truncated(truncation));
        } else {
            match diverging {
                Some(diverging) => self.start(place, diverging.into()),
                None => partition.out_of_range(generation, policy),
            }
            self.push_reset(error);
        }
    }

    /// Acts on topics that were made anew, where the application has been handed what was received of the former.
    pub(crate) fn act_on_recreations(&mut self) {
        if self.recreated.is_empty() {
            return;
        }
        for place in std::mem::take(&mut self.recreated) {
            let Some(recreation) = self.partition(place).and_then(Partition::recreation) else { continue };
            if self.buffered.has_any_of(place) {
                self.recreated.insert(place);
            } else {
                self.act_on_recreation(place, recreation);
                self.is_news = true;
            }
        }
    }

    fn act_on_recreation(&mut self, place: usize, recreation: Recreation) {
        let (policy, generation) = (self.config.auto_offset_reset, self.new_generation());
        let Some(partition) = self.partition_mut(place) else { return };
        if policy == AutoOffsetReset::None {
            partition.refuse(generation, Refusal::Recreated(recreation));
            return;
        }
        let error = Error::of_refusal(partition.name.clone(), Refusal::Recreated(recreation));
        // Whatever the policy says of a first start: nobody has read anything of the new topic.
        self.start(place, StartAt::Earliest);
        self.push_reset(error);
    }

    /// Whether a partition's log was found truncated, which has not been acted on: what is opened of it may be gone.
    pub(crate) fn is_truncated(&self, place: usize) -> bool {
        self.truncated.contains(&place)
    }

    /// Tells beside polls of a position that was lost.
    pub(crate) fn push_reset(&mut self, error: Error) {
        tracing::warn!(%error, "reading goes on elsewhere");
        self.reset_partitions.extend(error.partition().cloned());
        if self.resets.len() == MOST_RESETS {
            self.resets.pop_front();
        }
        self.resets.push_back(error);
    }
}

/// So many are kept when nobody asks.
const MOST_RESETS: usize = 64;
