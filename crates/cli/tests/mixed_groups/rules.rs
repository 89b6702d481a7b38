//! What an assignment has to be, by its assignor, whoever computed it.
//!
//! `range` and `roundrobin` are defined by the members' ids and the topics alone, so that there is one right assignment. The
//! sticky ones are bound by balance and by what was assigned before: a partition moves only where it has to.

use std::collections::{BTreeMap, BTreeSet};

use ottla::TopicPartition;

/// The assignors that the clients have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    Range,
    RoundRobin,
    Sticky,
    CooperativeSticky,
}

/// The members' shares, by member id.
pub(crate) type Shares = BTreeMap<String, BTreeSet<TopicPartition>>;

/// The topics and how many partitions they have, in the order of their names.
pub(crate) type Topics = BTreeMap<String, i32>;

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub(crate) fn java_class(self) -> &'static str {
        match self {
            Self::Range => "org.apache.kafka.clients.consumer.RangeAssignor",
            Self::RoundRobin => "org.apache.kafka.clients.consumer.RoundRobinAssignor",
            Self::Sticky => "org.apache.kafka.clients.consumer.StickyAssignor",
            Self::CooperativeSticky => "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        }
    }

    /// What is wrong with these shares, taken by themselves.
    pub(crate) fn flaw(self, topics: &Topics, shares: &Shares) -> Option<String> {
        incomplete(topics, shares).or_else(|| match self {
            Self::Range => differs(shares, &range(topics, emptied(shares))),
            Self::RoundRobin => differs(shares, &round_robin(topics, emptied(shares))),
            Self::Sticky | Self::CooperativeSticky => uneven(shares),
        })
    }

    /// What moved from `before` to `after`, members having come or gone, and need not have. What a member had that does not
    /// tell the leader of it (`remembers`) is anybody's.
    pub(crate) fn needless_move(
        self,
        before: &Shares,
        after: &Shares,
        remembers: impl Fn(&str) -> bool,
    ) -> Option<String> {
        match self {
            Self::Range | Self::RoundRobin => None,
            Self::Sticky | Self::CooperativeSticky => needless_move(before, after, remembers),
        }
    }
}

/// A partition without an owner, with two, or one that is not there.
fn incomplete(topics: &Topics, shares: &Shares) -> Option<String> {
    let mut unowned = all(topics);
    for (member, partition) in shares.iter().flat_map(|(member, share)| share.iter().map(move |one| (member, one))) {
        if !unowned.remove(partition) {
            return Some(format!("{partition} is {member}'s, and another's, or there is no such partition"));
        }
    }
    unowned.first().map(|partition| format!("{partition} is nobody's"))
}

fn all(topics: &Topics) -> BTreeSet<TopicPartition> {
    topics.iter().flat_map(|(topic, count)| (0..*count).map(|index| TopicPartition::new(&**topic, index))).collect()
}

/// The same members, with nothing.
fn emptied(shares: &Shares) -> Shares {
    shares.keys().map(|member| (member.clone(), BTreeSet::new())).collect()
}

fn uneven(shares: &Shares) -> Option<String> {
    let sizes = || shares.values().map(BTreeSet::len);
    let (least, most) = (sizes().min()?, sizes().max()?);
    (most > least + 1).then(|| format!("one member has {most} partitions and another {least}"))
}

fn differs(shares: &Shares, expected: &Shares) -> Option<String> {
    let (member, share) = shares.iter().find(|(member, share)| expected.get(*member) != Some(share))?;
    let should_have = expected.get(member).map(list).unwrap_or_default();
    Some(format!("{member} has {} and not {should_have}", list(share)))
}

/// Of each topic, one stretch for each member in the order of their ids, the first ones longer by one.
fn range(topics: &Topics, mut shares: Shares) -> Shares {
    let count = shares.len() as i32;
    for (topic, partitions) in topics {
        let mut next = 0;
        for (place, share) in (0..).zip(shares.values_mut()) {
            let length = partitions / count + i32::from(place < partitions % count);
            share.extend((next..next + length).map(|index| TopicPartition::new(&**topic, index)));
            next += length;
        }
    }
    shares
}

/// All partitions of all topics, dealt out in turn.
fn round_robin(topics: &Topics, mut shares: Shares) -> Shares {
    let count = shares.len();
    for (place, share) in shares.values_mut().enumerate() {
        share.extend(all(topics).into_iter().skip(place).step_by(count));
    }
    shares
}

/// While members come, partitions go to those and to nobody else, no more than their even share; while members go, those
/// who stay keep all that they have.
fn needless_move(before: &Shares, after: &Shares, remembers: impl Fn(&str) -> bool) -> Option<String> {
    let partitions: usize = after.values().map(BTreeSet::len).sum();
    let least = partitions.checked_div(after.len())?;
    let has_come = after.keys().any(|member| !before.contains_key(member));
    let all_remember = after.keys().all(|member| remembers(member));
    for (member, share) in after.iter().filter(|(member, _)| remembers(member)) {
        match before.get(member) {
            None if all_remember && share.len() > least => {
                return Some(format!("{member} is new and has {} partitions, where {least} would do", share.len()));
            }
            Some(had) if has_come && !share.is_subset(had) => {
                return Some(format!("{member} gained for nothing: from {} to {}", list(had), list(share)));
            }
            Some(had) if !has_come && !share.is_superset(had) => {
                return Some(format!("{member} lost for nothing: from {} to {}", list(had), list(share)));
            }
            _ => {}
        }
    }
    None
}

/// Partitions as a failure tells of them.
fn list(partitions: &BTreeSet<TopicPartition>) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("rules::the_one_right_assignment_is_told_from_others", the_one_right_assignment_is_told_from_others),
    ("rules::what_is_incomplete_or_uneven_is_found", what_is_incomplete_or_uneven_is_found),
    ("rules::what_moves_for_nothing_is_found", what_moves_for_nothing_is_found),
];

/// Shares of two topics, `a` with five partitions and `b` with two, by what a member has of each.
fn shares(members: &[(&str, &[i32], &[i32])]) -> Shares {
    let partitions = |topic, indexes: &[i32]| {
        indexes.iter().map(move |index| TopicPartition::new(topic, *index)).collect::<BTreeSet<TopicPartition>>()
    };
    let share = |(member, of_a, of_b): &(&str, &[i32], &[i32])| {
        ((*member).to_owned(), &partitions("a", of_a) | &partitions("b", of_b))
    };
    members.iter().map(share).collect()
}

fn five_and_two() -> Topics {
    [("a".to_owned(), 5), ("b".to_owned(), 2)].into()
}

fn the_one_right_assignment_is_told_from_others() {
    let cut = shares(&[("x", &[0, 1], &[0]), ("y", &[2, 3], &[1]), ("z", &[4], &[])]);
    let dealt = shares(&[("x", &[0, 3], &[1]), ("y", &[1, 4], &[]), ("z", &[2], &[0])]);
    assert_eq!(Strategy::Range.flaw(&five_and_two(), &cut), None);
    assert_eq!(Strategy::RoundRobin.flaw(&five_and_two(), &dealt), None);
    assert!(Strategy::Range.flaw(&five_and_two(), &dealt).is_some());
    assert!(Strategy::RoundRobin.flaw(&five_and_two(), &cut).is_some());
}

fn what_is_incomplete_or_uneven_is_found() {
    let flaw = |members: &[(&str, &[i32], &[i32])]| Strategy::Sticky.flaw(&five_and_two(), &shares(members));
    assert_eq!(flaw(&[("x", &[0, 1, 2, 3], &[]), ("y", &[4], &[0, 1])]), None);
    assert!(flaw(&[("x", &[0, 1, 2, 3], &[]), ("y", &[], &[0, 1])]).is_some(), "nobody has one of them");
    assert!(flaw(&[("x", &[0, 1, 2, 3], &[]), ("y", &[3, 4], &[0, 1])]).is_some(), "two have one of them");
    assert!(flaw(&[("x", &[0, 1, 2, 3, 4], &[]), ("y", &[5], &[0, 1])]).is_some(), "there is no such partition");
    assert!(flaw(&[("x", &[0, 1, 2, 3, 4], &[]), ("y", &[], &[0, 1])]).is_some(), "five and two");
}

fn what_moves_for_nothing_is_found() {
    let two = shares(&[("x", &[0, 1, 2, 3], &[]), ("y", &[4], &[0, 1])]);
    let moved = |before: &Shares, after: &Shares| Strategy::Sticky.needless_move(before, after, |_| true);
    let joined = shares(&[("x", &[0, 1, 2], &[]), ("y", &[4], &[0]), ("z", &[3], &[1])]);
    assert_eq!(moved(&two, &joined), None);
    assert_eq!(moved(&joined, &shares(&[("x", &[0, 1, 2, 4], &[]), ("z", &[3], &[0, 1])])), None);
    let swapped = shares(&[("x", &[0, 1, 4], &[]), ("y", &[3], &[0]), ("z", &[2], &[1])]);
    assert!(moved(&two, &swapped).is_some());
    let greedy = shares(&[("x", &[0, 1], &[]), ("y", &[4], &[0]), ("z", &[2, 3], &[1])]);
    assert!(moved(&two, &greedy).is_some());
    assert!(moved(&joined, &shares(&[("x", &[0, 1, 4], &[1]), ("z", &[2, 3], &[0])])).is_some());
    assert_eq!(Strategy::Range.needless_move(&two, &swapped, |_| true), None);
    assert_eq!(Strategy::Sticky.needless_move(&two, &greedy, |member| member != "y"), None);
    assert!(Strategy::Sticky.needless_move(&two, &swapped, |member| member != "y").is_some());
}
