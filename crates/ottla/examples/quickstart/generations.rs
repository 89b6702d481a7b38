//! The group's generations, as tables that a person can read: who leads, who has what, what has moved and why.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use ottla::TopicPartition;
use ottla::consumer::{Assigned, AssignedMember};

use crate::member::News;

/// What is known of the group's course.
#[derive(Default)]
pub(crate) struct Generations {
    /// The members' names, by their ids.
    names: BTreeMap<Arc<str>, &'static str>,
    /// Who had what in the generation that was shown last.
    shown: BTreeMap<&'static str, Vec<i32>>,
    /// Who last had a partition.
    last_owner: BTreeMap<i32, &'static str>,
    /// What happened to members since, in words.
    happened: BTreeMap<&'static str, &'static str>,
    /// The leader's news, until all members of the generation have told theirs.
    pending: Option<Arc<Assigned>>,
    told: BTreeMap<&'static str, i32>,
}

impl Generations {
    /// Something happened to a member that its group will see.
    pub(crate) fn happened(&mut self, name: &'static str, what: &'static str) {
        self.happened.insert(name, what);
    }

    /// A table, when the news complete a generation.
    pub(crate) fn table(&mut self, news: News) -> Option<String> {
        let News { name, assigned } = news;
        self.names.insert(Arc::clone(&assigned.member_id), name);
        self.told.insert(name, assigned.generation_id.0);
        if assigned.group.is_some() {
            self.pending = Some(assigned);
        }
        let assigned = self.pending.clone()?;
        let members = assigned.group.as_deref()?;
        let has_told = |member: &AssignedMember| {
            let name = self.names.get(&member.member_id);
            name.is_some_and(|name| self.told.get(name) == Some(&assigned.generation_id.0))
        };
        if !members.iter().all(has_told) {
            return None;
        }
        self.pending = None;
        Some(self.draw(&assigned, members))
    }

    /// How many members share all partitions in the generation that was shown last; none if some are on their way.
    pub(crate) fn settled(&self, partitions: usize) -> Option<usize> {
        let assigned: usize = self.shown.values().map(Vec::len).sum();
        (assigned == partitions).then_some(self.shown.len())
    }

    fn draw(&mut self, assigned: &Assigned, members: &[AssignedMember]) -> String {
        let now: BTreeMap<&'static str, Vec<i32>> = members
            .iter()
            .filter_map(|member| Some((*self.names.get(&member.member_id)?, indexes(member.partitions.iter()))))
            .collect();
        let leader = self.names.get(&assigned.leader_id).copied().unwrap_or("?");
        let mut text = format!(
            "\n  generation {:<3} leader {leader}, assignor {}: {}\n",
            assigned.generation_id.0,
            assigned.assignor,
            self.why(&now)
        );
        for (name, partitions) in &now {
            let moved = self.moved(name, partitions);
            let _ = writeln!(text, "    {name:<8} {:<40} {moved}", list(partitions));
        }
        for partitions in now.iter().map(|(name, partitions)| (*name, partitions.clone())) {
            for partition in partitions.1 {
                self.last_owner.insert(partition, partitions.0);
            }
        }
        self.shown = now;
        text
    }

    /// Why there is a new generation.
    fn why(&mut self, now: &BTreeMap<&'static str, Vec<i32>>) -> String {
        let joined = now.keys().filter(|name| !self.shown.contains_key(*name));
        let mut reasons: Vec<String> = joined.map(|name| format!("{name} joined")).collect();
        for name in self.shown.keys().filter(|name| !now.contains_key(*name)) {
            let what = self.happened.get(name).copied().unwrap_or("left");
            reasons.push(format!("{name} {what}"));
        }
        if reasons.is_empty() {
            reasons.push("partitions that were given up find their new owners".to_owned());
        }
        reasons.join(", ")
    }

    /// What a member got and what it gave up.
    fn moved(&self, name: &str, partitions: &[i32]) -> String {
        let before = self.shown.get(name).map_or(&[][..], Vec::as_slice);
        let mut moves = Vec::new();
        let mut from: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for partition in partitions.iter().filter(|partition| !before.contains(partition)) {
            let owner = self.last_owner.get(partition).copied().filter(|owner| *owner != name);
            from.entry(owner.unwrap_or("")).or_default().push(*partition);
        }
        for (owner, partitions) in from {
            let origin = if owner.is_empty() { String::new() } else { format!(" from {owner}") };
            moves.push(format!("+ {}{origin}", list(&partitions)));
        }
        let given_up: Vec<i32> = before.iter().filter(|partition| !partitions.contains(partition)).copied().collect();
        if !given_up.is_empty() {
            moves.push(format!("- {}", list(&given_up)));
        }
        if moves.is_empty() { "keeps what it had".to_owned() } else { moves.join(", ") }
    }
}

fn indexes<'p>(partitions: impl Iterator<Item = &'p TopicPartition>) -> Vec<i32> {
    partitions.map(|partition| partition.partition).collect()
}

fn list(partitions: &[i32]) -> String {
    if partitions.is_empty() {
        return "nothing".to_owned();
    }
    partitions.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")
}
