//! Small histories, each of which breaks one rule, or none.

use std::time::Duration;

use super::*;

const ONE: Name = Name { member: 1, life: 1 };
const TWO: Name = Name { member: 2, life: 1 };

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("letters", index)
}

fn partitions(indexes: &[i32]) -> Partitions {
    indexes.iter().copied().map(partition).collect()
}

fn assigned(member: Name, generation: i32, added: &[i32], all: &[i32]) -> Event {
    Event::Assigned { member, generation, added: partitions(added), assignment: partitions(all) }
}

fn revoked(member: Name, generation: i32, indexes: &[i32]) -> Event {
    Event::Revoked { member, generation, partitions: partitions(indexes) }
}

fn handed(member: Name, first: i64, next: i64) -> Event {
    Event::Handed { member, partition: partition(0), first, next }
}

/// The log of each partition holds the record 100 + its offset.
fn processed(member: Name, offset: i64) -> Event {
    Event::Processed { member, partition: partition(0), offset, sequence: Some(100 + offset as u64) }
}

fn sent(member: Name, offset: i64) -> Event {
    Event::CommitSent { member, partition: partition(0), offset }
}

fn acknowledged(member: Name, offset: i64) -> Event {
    Event::CommitAcknowledged { member, partition: partition(0), offset }
}

fn settled(generation: i32, members: &[Name]) -> Event {
    Event::Settled { generation, members: members.iter().copied().collect() }
}

/// The rules that a history breaks, where partition 0 holds two records and the others none.
fn broken(partitions: i32, events: &[Event]) -> Vec<Rule> {
    let entries: Vec<_> = events.iter().map(|event| Entry { at: Duration::ZERO, event: event.clone() }).collect();
    let log = |index| (partition(index), if index == 0 { vec![Some(100), Some(101)] } else { Vec::new() });
    let violations = check(&entries, &(0..partitions).map(log).collect(), |name| name == ONE);
    violations.into_iter().map(|violation| violation.rule).collect()
}

/// All is read by one member.
fn good() -> Vec<Event> {
    vec![
        assigned(ONE, 1, &[0], &[0]),
        handed(ONE, 0, 2),
        processed(ONE, 0),
        processed(ONE, 1),
        sent(ONE, 2),
        acknowledged(ONE, 2),
        settled(1, &[ONE]),
        Event::Drained { in_time: true },
        Event::CommittedAtEnd { partition: partition(0), offset: 2 },
    ]
}

/// The same without an event, or with others after it.
fn changed(index: usize, replace: impl FnOnce(Event) -> Vec<Event>) -> Vec<Event> {
    let mut events = good();
    let event = events.remove(index);
    events.splice(index..index, replace(event));
    events
}

#[test]
fn a_history_in_which_all_is_well_breaks_no_rule() {
    assert_eq!(broken(1, &good()), []);
}

#[test]
fn a_partition_has_one_owner_in_a_generation() {
    let events = changed(0, |event| vec![event, assigned(TWO, 1, &[0], &[0])]);
    assert!(broken(1, &events).contains(&Rule::OneOwner));
}

#[test]
fn a_static_member_that_comes_back_is_no_other_owner() {
    let back = Name { member: 1, life: 2 };
    let events = changed(4, |_| {
        vec![Event::Ended { member: ONE, how: "crashed" }, assigned(back, 1, &[0], &[0]), sent(back, 2)]
    });
    let events: Vec<_> = events.into_iter().filter(|event| !matches!(event, Event::Settled { .. })).collect();
    assert_eq!(broken(1, &[events, vec![settled(1, &[back])]].concat()), []);
}

#[test]
fn what_another_is_assigned_has_been_given_up_before() {
    let late = [assigned(TWO, 2, &[0], &[0]), revoked(ONE, 2, &[0]), assigned(ONE, 2, &[], &[])];
    let events = changed(6, |_| [late.to_vec(), vec![settled(2, &[ONE, TWO])]].concat());
    assert_eq!(broken(1, &events), [Rule::OneOwner]);
}

#[test]
fn a_settled_group_owns_every_partition() {
    assert_eq!(broken(2, &good()), [Rule::OneOwner]);
}

#[test]
fn nothing_is_handed_out_after_a_revocation_until_it_is_assigned_again() {
    let again = changed(6, |event| vec![revoked(ONE, 1, &[0]), assigned(ONE, 1, &[0], &[0]), handed(ONE, 2, 2), event]);
    assert_eq!(broken(1, &again), []);
    let events =
        changed(6, |event| vec![revoked(ONE, 1, &[0]), handed(ONE, 2, 2), assigned(ONE, 1, &[0], &[0]), event]);
    assert_eq!(broken(1, &events), [Rule::NothingAfterRevocation]);
}

#[test]
fn what_is_committed_has_been_processed() {
    let events = changed(3, |event| vec![sent(ONE, 2), event]);
    assert_eq!(broken(1, &events), [Rule::CommittedWasProcessed]);
}

#[test]
fn a_gap_before_what_is_committed_is_seen() {
    let events = changed(2, |_| vec![]);
    let rules = broken(1, &events);
    assert!(rules.contains(&Rule::CommittedWasProcessed) && rules.contains(&Rule::EveryRecord), "{rules:?}");
}

#[test]
fn an_acknowledged_record_stands_where_it_was_acknowledged() {
    let written = |sequence| Event::Acknowledged { partition: partition(0), offset: 1, sequence };
    assert_eq!(broken(1, &changed(0, |event| vec![written(101), event])), []);
    assert_eq!(broken(1, &changed(0, |event| vec![written(102), event])), [Rule::EveryRecord]);
}

#[test]
fn batches_follow_one_another_without_gaps_but_for_a_seek() {
    let twice = changed(1, |_| vec![handed(ONE, 0, 1), handed(ONE, 0, 2)]);
    assert_eq!(broken(1, &twice), [Rule::Order]);
    let sought = Event::Sought { member: ONE, partition: partition(0), offset: 0 };
    assert_eq!(broken(1, &changed(1, |_| vec![handed(ONE, 0, 1), sought, handed(ONE, 0, 2)])), []);
}

#[test]
fn an_assignment_begins_at_a_committed_offset() {
    let again = |first| {
        changed(6, |event| vec![revoked(ONE, 1, &[0]), assigned(ONE, 1, &[0], &[0]), handed(ONE, first, 2), event])
    };
    assert_eq!(broken(1, &again(2)), []);
    assert_eq!(broken(1, &again(1)), [Rule::Order], "nobody has committed 1");
    assert_eq!(broken(1, &again(0)), [Rule::Order], "something is committed: nothing begins anew");
    assert_eq!(broken(1, &changed(1, |_| vec![handed(ONE, 1, 2)])), [Rule::Order], "0 would be skipped");
}

#[test]
fn another_record_than_the_logs_is_seen() {
    let wrong = Event::Processed { member: ONE, partition: partition(0), offset: 1, sequence: Some(7) };
    assert_eq!(broken(1, &changed(3, |_| vec![wrong])), [Rule::Order]);
}

#[test]
fn a_group_has_to_settle_and_all_in_one_generation() {
    assert_eq!(broken(1, &changed(6, |_| vec![])), [Rule::Settles]);
    let unsettled = Event::Unsettled { state: "Empty".to_owned() };
    assert_eq!(broken(1, &changed(6, |_| vec![unsettled])), [Rule::Settles]);
    assert_eq!(broken(1, &changed(6, |_| vec![settled(2, &[ONE])])), [Rule::Settles]);
}

#[test]
fn automatic_commits_cover_what_has_been_processed() {
    let behind = Event::CommittedAtEnd { partition: partition(0), offset: 1 };
    assert_eq!(broken(1, &changed(8, |_| vec![behind.clone()])), [Rule::Settles]);
    assert_eq!(
        broken(1, &changed(8, |event| vec![event, Event::Ended { member: ONE, how: "closed" }, behind])),
        [Rule::Settles]
    );
}

#[test]
fn whatever_does_not_end_as_it_should_is_seen() {
    for event in [
        Event::Overdue { member: ONE, what: "poll", limit: Duration::ZERO },
        Event::Refused { member: ONE, what: "poll", error: "fatal".to_owned() },
        Event::Leaked { tasks: 1 },
        Event::Panicked { message: "oh".to_owned() },
    ] {
        assert_eq!(broken(1, &[good(), vec![event]].concat()), [Rule::Ends]);
    }
}
