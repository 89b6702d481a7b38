//! What a reader may be handed of a partition, from where it was told to begin until it is told something else.

use std::collections::BTreeSet;

use ottla::{AutoOffsetReset, OnTruncation};

use super::lineage::Lineage;
use crate::history::{LogName, Start};
use crate::scenario::ReaderPlan;

/// A course.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) start: Start,
    /// The record that was handed out last, and the offset of the first.
    pub(super) last: Option<u64>,
    pub(super) first: i64,
    pub(super) past: Past,
    /// The topic was made anew: its new log, of which nothing has been handed out.
    pub(super) renewed: Option<Past>,
    /// The application was told that this record is gone, and that the course begins where the logs parted.
    pub(super) parted_from: Option<u64>,
    /// The topic had been made anew when the course began, which the consumer may notice only now, and begin the log again.
    pub(super) may_be_unaware: bool,
}

/// How a log has been for a while.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) log: LogName,
    /// All offsets at which it began.
    pub(super) starts: BTreeSet<i64>,
    /// The earliest end that it had.
    pub(super) lowest_end: i64,
    /// Up to which offsets it was the former one, each time when it became another.
    pub(super) cuts: BTreeSet<i64>,
}

/// A record that is handed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next<'l> {
    pub(super) log: &'l LogName,
    pub(super) number: u64,
    pub(super) offset: i64,
}

impl Course {
    pub(super) fn new(start: Start, past: Past) -> Self {
        Self { start, last: None, first: 0, past, renewed: None, parted_from: None, may_be_unaware: false }
    }

    /// Takes a record in. An error says what was to come instead.
    pub(super) fn go_on(&mut self, lineage: &Lineage, plan: &ReaderPlan, next: Next<'_>) -> Result<(), String> {
        let may = if self.renewed.as_ref().is_some_and(|renewed| renewed.log == *next.log) {
            self.may_renew(plan, next)
        } else {
            match self.last {
                Some(last) if lineage.before(next.number) == Some(last) => Ok(()),
                Some(last) => self.may_jump(lineage, plan, last, next),
                None => self.may_start(lineage, plan, next),
            }
        };
        let may = match may {
            Err(_) if self.may_be_unaware && self.past.starts.contains(&next.offset) => {
                self.may_be_unaware = false;
                Ok(())
            }
            may => may,
        };
        if let Some(renewed) = self.renewed.take_if(|renewed| renewed.log == *next.log) {
            self.past = renewed;
        }
        if self.last.replace(next.number).is_none() {
            self.first = next.offset;
        }
        may
    }

    fn may_start(&self, lineage: &Lineage, plan: &ReaderPlan, next: Next<'_>) -> Result<(), String> {
        let is_reset = || self.past.is_reset_to(plan.policy, next.offset);
        let starts_so = match self.start {
            // It may have been found, and the log begun later, before anything was read.
            Start::Beginning => self.past.starts.contains(&next.offset) || self.past.starts.len() > 1 && is_reset(),
            Start::End { readable } => {
                let end = readable.min(self.past.lowest_end);
                next.offset >= end || self.past.lacked(end) && is_reset()
            }
            Start::Offset(start) => next.offset == start || self.past.lacked(start) && is_reset(),
        };
        if !starts_so {
            return Err(format!("it was to be read from {}; {:?}", self.start, self.past));
        }
        match self.parted_from {
            Some(last) if !stands_on(lineage, next.number, last) => {
                Err(format!("the log was said to part from record {last} there"))
            }
            _ => Ok(()),
        }
    }

    /// A record that was not written behind the last one.
    fn may_jump(&self, lineage: &Lineage, plan: &ReaderPlan, last: u64, next: Next<'_>) -> Result<(), String> {
        let position = self.position(lineage).unwrap_or_default();
        let is_told = plan.policy == AutoOffsetReset::None || plan.on_truncation == OnTruncation::Tell;
        // It goes on where the logs parted: with the first that is new, unless the log has become what it was since; or, where
        // that is before all that was read, with something before that.
        let is_first_new = stands_on(lineage, next.number, last) && !lineage.leads_to(next.number, last);
        let is_back = self.past.cuts.contains(&next.offset);
        let is_before_all = next.offset <= self.first && self.past.cuts.first().is_some_and(|cut| *cut <= self.first);
        let goes_back = !is_told && (is_first_new || is_back || is_before_all);
        let is_reset = self.past.lacked(position) && self.past.is_reset_to(plan.policy, next.offset);
        if goes_back || is_reset && !lineage.leads_to(next.number, last) {
            return Ok(());
        }
        Err(format!("record {last} was the last before it; {:?}", self.past))
    }

    /// The first record of the topic that was made anew: that which it begins with.
    fn may_renew(&self, plan: &ReaderPlan, next: Next<'_>) -> Result<(), String> {
        let Some(renewed) = &self.renewed else { return Ok(()) };
        let is_begun = renewed.starts.contains(&next.offset);
        let is_reset = renewed.starts.len() > 1 && renewed.is_reset_to(plan.policy, next.offset);
        // Where it begins may have been looked up in the new topic only.
        let is_start = self.last.is_none() && matches!(self.start, Start::Beginning | Start::End { .. });
        if is_start && (is_begun || matches!(self.start, Start::End { .. })) {
            return Ok(());
        }
        // And an offset that is none of the new topic's is out of range.
        let is_out_of_range = match (self.last, self.start) {
            (None, Start::Offset(start)) => renewed.lacked(start) && renewed.is_reset_to(plan.policy, next.offset),
            _ => false,
        };
        if plan.policy != AutoOffsetReset::None && (is_begun || is_reset || is_out_of_range) {
            return Ok(());
        }
        Err(format!("the topic was made anew, which is to be told, or to be read from its start; {renewed:?}"))
    }

    /// The offset that is next, where it is known.
    pub(super) fn position(&self, lineage: &Lineage) -> Option<i64> {
        match (self.last, self.start) {
            (Some(last), _) => lineage.place(last).map(|(_, offset)| offset + 1),
            (None, Start::Offset(offset)) => Some(offset),
            (None, _) => None,
        }
    }

    /// The log that is read, or will be.
    pub(super) fn log(&self) -> &LogName {
        self.renewed.as_ref().map_or(&self.past.log, |renewed| &renewed.log)
    }

    /// How the log has been, if it is this one's.
    pub(super) fn past_of(&mut self, log: &LogName) -> Option<&mut Past> {
        self.renewed.iter_mut().chain([&mut self.past]).find(|past| past.log == *log)
    }

    /// Whether there may have been nothing for it to come to, up to the log's end.
    pub(super) fn may_end_without(&self, lineage: &Lineage, policy: AutoOffsetReset, end: i64) -> bool {
        let position = self.position(lineage);
        let waits_for_more = self.last.is_none() && position.is_some_and(|position| position >= end);
        let past = self.renewed.as_ref().unwrap_or(&self.past);
        // What was looked up may have been deleted before anything was read.
        let is_passed = past.starts.len() > 1;
        let is_out_of_range = position.map_or(is_passed, |position| past.lacked(position));
        waits_for_more || policy == AutoOffsetReset::Latest && is_out_of_range
    }
}

/// Whether what is before a record is on the branch that led to `last`.
fn stands_on(lineage: &Lineage, number: u64, last: u64) -> bool {
    lineage.before(number).is_none_or(|before| lineage.leads_to(before, last))
}

impl Past {
    /// From now on.
    pub(super) fn new(log: LogName, start: i64, end: i64) -> Self {
        Self { log, starts: BTreeSet::from([start]), lowest_end: end, cuts: BTreeSet::new() }
    }

    pub(super) fn begins(&mut self, start: i64) {
        self.starts.insert(start);
    }

    /// It is the former one up to `end`.
    pub(super) fn is_cut(&mut self, end: i64) {
        self.lowest_end = self.lowest_end.min(end);
        self.cuts.insert(end);
    }

    /// Whether the log did not have `offset` at some time, not even as its end.
    pub(super) fn lacked(&self, offset: i64) -> bool {
        self.starts.last().is_some_and(|start| offset < *start) || offset > self.lowest_end
    }

    /// Whether the policy may have led to `offset`. Where the end of the log was when it was looked up, nobody knows.
    fn is_reset_to(&self, policy: AutoOffsetReset, offset: i64) -> bool {
        match policy {
            AutoOffsetReset::Earliest => self.starts.contains(&offset),
            AutoOffsetReset::Latest => true,
            _ => false,
        }
    }
}
