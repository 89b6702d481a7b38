//! Small histories of one reader, each of which breaks one rule, or none.

use std::time::Duration;

use super::*;
use crate::scenario::ReaderPlan;

const NAME: Name = Name { reader: 0, life: 1 };

fn partition() -> TopicPartition {
    TopicPartition::new("letters", 0)
}

fn log(incarnation: u32) -> LogName {
    LogName { partition: partition(), incarnation }
}

fn made(incarnation: u32) -> Event {
    Event::Made { topic: "letters".to_owned(), incarnation }
}

/// Records from `number` on at the offsets from `offset` on.
fn wrote(offset: i64, number: u64, count: u64, after: Option<u64>) -> Event {
    Event::Wrote { log: log(1), stretch: Stretch { offset, number, count }, after }
}

fn handed(offset: i64, number: u64, count: u64) -> Event {
    Event::Handed { name: NAME, log: log(1), stretch: Stretch { offset, number, count } }
}

fn assigned(start: Start) -> Event {
    Event::Assigned { name: NAME, partition: partition(), start }
}

fn sought(start: Start) -> Event {
    Event::Sought { name: NAME, partition: partition(), start }
}

fn cut(shared_end: i64, end: i64, last: u64) -> Event {
    Event::Diverged { log: log(1), shared_end, end, last: Some(last) }
}

fn caught_up() -> Event {
    Event::CaughtUp { missing: Vec::new() }
}

/// Ten records, numbered from 100 on, that are read from the beginning.
fn begun() -> Vec<Event> {
    vec![made(1), wrote(0, 100, 10, None), assigned(Start::Beginning)]
}

/// The rules that are broken when this follows.
fn broken_by(plan: impl Fn(&mut ReaderPlan), events: &[Event]) -> Vec<Rule> {
    let mut scenario = Scenario::new(0);
    let reader = &mut scenario.readers[0];
    (reader.policy, reader.on_truncation) = (AutoOffsetReset::Earliest, OnTruncation::Reset);
    reader.application = Application::Polls;
    plan(reader);
    let all = begun().into_iter().chain(events.iter().cloned()).chain([caught_up()]);
    let entries: Vec<_> = all.map(|event| Entry { at: Duration::ZERO, event }).collect();
    check(&entries, &scenario).into_iter().map(|violation| violation.rule).collect()
}

fn broken(events: &[Event]) -> Vec<Rule> {
    broken_by(|_| {}, events)
}

#[test]
fn records_that_follow_one_another_break_no_rule() {
    assert_eq!(broken(&[handed(0, 100, 4), handed(4, 104, 6)]), []);
    assert_eq!(broken(&[handed(0, 100, 4), sought(Start::Offset(2)), handed(2, 102, 8)]), []);
}

#[test]
fn what_comes_twice_or_not_at_all_breaks_the_order() {
    assert_eq!(broken(&[handed(0, 100, 4), handed(3, 103, 2)]), [Rule::Order]);
    assert_eq!(broken(&[handed(0, 100, 4), handed(5, 105, 2)]), [Rule::Order]);
    assert_eq!(broken(&[handed(1, 101, 4)]), [Rule::Order]);
}

#[test]
fn a_record_of_before_a_seek_breaks_the_order() {
    assert_eq!(broken(&[handed(0, 100, 4), sought(Start::Offset(8)), handed(4, 104, 1)]), [Rule::Order]);
}

#[test]
fn what_was_never_written_there_is_seen() {
    assert_eq!(broken(&[handed(0, 100, 1), handed(1, 102, 1)]), [Rule::Content]);
    assert_eq!(broken(&[handed(0, 700, 1)]), [Rule::Content]);
}

#[test]
fn what_is_paused_or_given_up_is_not_wanted() {
    let paused = Event::Paused { name: NAME, partitions: [partition()].into() };
    assert_eq!(broken(&[handed(0, 100, 4), paused, handed(4, 104, 1)]), [Rule::Wanted]);
    let given_up = Event::Unassigned { name: NAME, partition: partition() };
    assert_eq!(broken(&[handed(0, 100, 4), given_up, handed(4, 104, 1)]), [Rule::Wanted]);
}

#[test]
fn what_was_deleted_may_be_left_out_and_what_was_not_may_not() {
    let begins = |start| Event::Begins { log: log(1), start };
    assert_eq!(broken(&[handed(0, 100, 2), begins(6), handed(6, 106, 1)]), []);
    assert_eq!(broken(&[handed(0, 100, 2), begins(6), handed(7, 107, 1)]), [Rule::Order]);
    assert_eq!(broken(&[handed(0, 100, 8), begins(6), handed(9, 109, 1)]), [Rule::Order]);
    let latest = |plan: &mut ReaderPlan| plan.policy = AutoOffsetReset::Latest;
    assert_eq!(broken_by(latest, &[handed(0, 100, 2), begins(6), handed(9, 109, 1)]), []);
    let none = |plan: &mut ReaderPlan| plan.policy = AutoOffsetReset::None;
    assert_eq!(broken_by(none, &[handed(0, 100, 2), begins(6), handed(6, 106, 1)]), [Rule::Order]);
}

#[test]
fn a_log_that_was_cut_is_read_on_where_it_parts_and_nowhere_else() {
    let written_anew = [handed(0, 100, 10), cut(5, 5, 104), wrote(5, 200, 10, Some(104))];
    let then = |event: Event| [&written_anew[..], &[event]].concat();
    assert_eq!(broken(&then(handed(5, 200, 1))), []);
    assert_eq!(broken(&then(handed(10, 205, 1))), [Rule::Order], "as if nothing had happened");
    assert_eq!(broken(&then(handed(4, 104, 1))), [Rule::Order], "which has been read");
    let tells = |plan: &mut ReaderPlan| plan.on_truncation = OnTruncation::Tell;
    assert_eq!(broken_by(tells, &then(handed(5, 200, 1))), [Rule::Order], "nobody has told");
}

#[test]
fn whoever_is_told_that_a_log_was_cut_is_told_the_truth() {
    let none = |plan: &mut ReaderPlan| plan.policy = AutoOffsetReset::None;
    let told = |diverging| {
        let truncated =
            Event::Truncated { name: NAME, partition: partition(), position: 10, diverging: Some(diverging) };
        [truncated, sought(Start::Offset(diverging))]
    };
    let written_anew = [handed(0, 100, 10), cut(5, 5, 104), wrote(5, 200, 10, Some(104))];
    let all = |diverging, next| [&written_anew[..], &told(diverging), &[next]].concat();
    assert_eq!(broken_by(none, &all(5, handed(5, 200, 1))), []);
    assert_eq!(broken_by(none, &all(7, handed(7, 202, 1))), [Rule::Order]);
    let nothing_was_cut = [&[handed(0, 100, 10)][..], &told(10)].concat();
    assert_eq!(broken_by(none, &nothing_was_cut), [Rule::Reasons]);
}

#[test]
fn a_position_that_the_log_has_is_not_out_of_range() {
    let none = |plan: &mut ReaderPlan| plan.policy = AutoOffsetReset::None;
    let told = Event::OutOfRange { name: NAME, partition: partition(), offset: 4 };
    let begins = Event::Begins { log: log(1), start: 6 };
    assert_eq!(broken_by(none, &[handed(0, 100, 4), begins, told.clone()]), []);
    assert_eq!(broken_by(none, &[handed(0, 100, 4), told]), [Rule::Reasons]);
}

#[test]
fn a_topic_that_was_made_anew_is_read_from_its_start() {
    let anew = |offset, number| {
        let stretch = Stretch { offset, number, count: 1 };
        Event::Handed { name: NAME, log: log(2), stretch }
    };
    let stretch = Stretch { offset: 0, number: 200, count: 20 };
    let written_anew = [handed(0, 100, 5), made(2), Event::Wrote { log: log(2), stretch, after: None }];
    let then = |event: Event| [&written_anew[..], &[event]].concat();
    assert_eq!(broken(&then(anew(0, 200))), []);
    assert_eq!(broken(&then(handed(5, 105, 5))), [], "what was received of the former one may come");
    assert_eq!(broken(&then(anew(5, 205))), [Rule::Order]);
    let none = |plan: &mut ReaderPlan| plan.policy = AutoOffsetReset::None;
    assert_eq!(broken_by(none, &then(anew(0, 200))), [Rule::Order]);
}

#[test]
fn everybody_comes_to_the_last_record() {
    let remains = Event::Remains { log: log(1), start: 0, end: 10, last: Some(109) };
    assert_eq!(broken(&[handed(0, 100, 10), remains.clone()]), []);
    assert_eq!(broken(&[handed(0, 100, 9), remains.clone()]), [Rule::EveryRecord]);
    assert_eq!(broken(&[sought(Start::Offset(10)), remains]), [], "there is nothing from there on");
}

#[test]
fn memory_beyond_the_limit_is_seen() {
    assert_eq!(broken(&[Event::Ended { name: NAME, peak_bytes: 11, limit_bytes: 10 }]), [Rule::Memory]);
}
