use fastrand::Rng;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MAX_AGE: u32 = 300;

struct Machine {
    start: Instant,
    refresh: Refresh,
}

impl Machine {
    #[allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]
    fn new() -> Self {
        let config = ClusterConfig::new([]);
        let backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max, Rng::with_seed(1));
        let pace = Backoff::new(config.retry_backoff, config.retry_backoff_max / 2, Rng::with_seed(1));
        Self { start: Instant::now(), refresh: Refresh::new(&config, backoff, pace) }
    }

    fn at(&self, seconds: u32) -> Instant {
        self.start + SECOND * seconds
    }

    fn demand(&mut self, seconds: u32, topics: &[&str]) {
        self.refresh.demand(self.at(seconds), &Topics::named(topics.iter().copied()));
    }

    fn ask(&mut self, seconds: u32) -> Option<Topics> {
        self.refresh.next_ask(self.at(seconds)).map(|ask| ask.topics)
    }

    fn answer(&mut self, seconds: u32) {
        self.refresh.handle_answer(self.at(seconds), true, &[]);
    }

    /// Answered about `topics` at the start.
    fn knowing(topics: &[&str]) -> Self {
        let mut machine = Self::new();
        machine.demand(0, topics);
        assert_eq!(machine.ask(0), Some(named(topics)));
        machine.answer(0);
        machine
    }

    /// How long after `seconds` the next request is due.
    fn due_after(&self, seconds: u32) -> Duration {
        self.refresh.next_deadline().unwrap() - self.at(seconds)
    }
}

fn named(topics: &[&str]) -> Topics {
    Topics::named(topics.iter().copied())
}

fn is_about(delay: Duration, milliseconds: u64) -> bool {
    let expected = Duration::from_millis(milliseconds);
    expected.mul_f64(0.8) <= delay && delay <= expected.mul_f64(1.2)
}

#[test]
fn nothing_is_asked_before_anything_is_wanted() {
    let mut machine = Machine::new();
    assert_eq!(machine.refresh.next_deadline(), None);
    assert_eq!(machine.ask(1000), None);
}

#[test]
fn what_is_demanded_together_is_asked_for_together() {
    let mut machine = Machine::new();
    machine.demand(0, &["b"]);
    machine.demand(0, &["a"]);
    machine.refresh.demand(machine.at(0), &Topics::None);
    assert_eq!(machine.ask(0), Some(named(&["a", "b"])));
    assert_eq!(machine.refresh.next_deadline(), None, "one is under way");
}

#[test]
fn what_the_request_under_way_covers_is_not_asked_for_again() {
    let mut machine = Machine::new();
    machine.demand(0, &["a", "b"]);
    machine.ask(0);
    machine.demand(1, &["b"]);
    machine.refresh.demand(machine.at(1), &Topics::None);
    machine.answer(2);
    assert_eq!(machine.refresh.next_deadline(), Some(machine.at(2 + MAX_AGE)));
}

#[test]
fn where_nodes_are_is_asked_with_the_next_topics_or_by_itself_after_a_while() {
    let mut machine = Machine::knowing(&["a"]);
    machine.refresh.demand_nodes(machine.at(10));
    assert!(is_about(machine.due_after(10), 100));
    machine.demand(10, &["a"]);
    assert_eq!(machine.ask(10), Some(named(&["a"])));
    machine.refresh.demand_nodes(machine.at(10));
    machine.answer(10);
    assert_eq!(machine.refresh.next_deadline(), Some(machine.at(MAX_AGE)), "the answer tells of the nodes, too");
    machine.refresh.demand_nodes(machine.at(20));
    assert_eq!(machine.ask(20), None);
    assert_eq!(machine.ask(21), Some(Topics::None));
}

#[test]
fn what_it_does_not_cover_is_asked_for_next() {
    let mut machine = Machine::new();
    machine.demand(0, &["a"]);
    machine.ask(0);
    machine.demand(1, &["a", "b"]);
    machine.answer(2);
    assert_eq!(machine.ask(2), Some(named(&["a", "b"])));
}

#[test]
fn everything_in_use_is_asked_for_when_it_is_old() {
    let mut machine = Machine::knowing(&["a", "b"]);
    assert_eq!(machine.refresh.next_deadline(), Some(machine.at(MAX_AGE)));
    assert_eq!(machine.ask(MAX_AGE - 1), None);
    assert_eq!(machine.ask(MAX_AGE), Some(named(&["a", "b"])));
    machine.answer(MAX_AGE + 1);
    assert_eq!(machine.refresh.next_deadline(), Some(machine.at(2 * MAX_AGE + 1)));
}

#[test]
fn asking_for_one_topic_does_not_make_the_others_young() {
    let mut machine = Machine::knowing(&["a"]);
    machine.demand(100, &["b"]);
    assert_eq!(machine.ask(100), Some(named(&["b"])));
    machine.answer(100);
    assert_eq!(machine.refresh.next_deadline(), Some(machine.at(MAX_AGE)));
}

#[test]
fn a_demand_for_what_is_known_waits_longer_with_each_answer_that_changes_nothing() {
    let mut machine = Machine::knowing(&["a"]);
    for milliseconds in [100, 200, 400, 500, 500] {
        machine.demand(10, &["a"]);
        let paced = machine.refresh.after_answer.unwrap();
        let ask_at = paced.max(machine.at(10));
        assert_eq!(machine.refresh.next_deadline(), Some(ask_at));
        assert!(machine.refresh.next_ask(ask_at).is_some());
        machine.refresh.handle_answer(machine.at(10), false, &[]);
        let pace = machine.refresh.after_answer.unwrap() - machine.at(10);
        assert!(is_about(pace, (milliseconds * 2).min(500)), "{pace:?}");
    }
    machine.demand(10, &["new"]);
    assert_eq!(machine.refresh.next_deadline(), Some(machine.at(10)), "a new topic does not wait");
}

#[test]
fn failures_hold_off_longer_each_time_and_nothing_demanded_is_lost() {
    let mut machine = Machine::new();
    machine.demand(0, &["a"]);
    let mut seconds = 0;
    for milliseconds in [100, 200, 400, 800, 1000, 1000] {
        assert_eq!(machine.ask(seconds), Some(named(&["a"])));
        machine.refresh.handle_failed(machine.at(seconds));
        assert!(is_about(machine.due_after(seconds), milliseconds), "{:?}", machine.due_after(seconds));
        machine.refresh.demand(machine.at(seconds), &Topics::None);
        assert!(is_about(machine.due_after(seconds), milliseconds), "a demand does not cut a back-off short");
        seconds += 10;
    }
}

#[test]
fn a_refresh_by_age_that_fails_is_retried() {
    let mut machine = Machine::knowing(&["a"]);
    machine.ask(MAX_AGE);
    machine.refresh.handle_failed(machine.at(MAX_AGE));
    assert!(is_about(machine.due_after(MAX_AGE), 100));
    assert_eq!(machine.ask(MAX_AGE + 1), Some(named(&["a"])));
}

#[test]
fn failing_for_long_asks_for_a_new_bootstrap() {
    let mut machine = Machine::knowing(&["a"]);
    let rebootstrap_at = |machine: &mut Machine, seconds| {
        machine.demand(seconds, &["a"]);
        machine.refresh.next_ask(machine.at(seconds)).unwrap().rebootstrap
    };
    assert!(!rebootstrap_at(&mut machine, 10));
    machine.refresh.handle_failed(machine.at(10));
    assert!(!rebootstrap_at(&mut machine, 309));
    machine.refresh.handle_failed(machine.at(309));
    assert!(rebootstrap_at(&mut machine, 311));
    machine.answer(311);
    assert!(!rebootstrap_at(&mut machine, 320));
}

#[test]
fn a_cluster_that_requires_it_is_bootstrapped_anew_once() {
    let mut machine = Machine::knowing(&["a"]);
    machine.demand(10, &["a"]);
    machine.ask(10);
    machine.refresh.handle_rebootstrap_required(machine.at(10));
    let ask = machine.refresh.next_ask(machine.at(11)).unwrap();
    assert!(ask.rebootstrap && ask.topics == named(&["a"]));
    machine.answer(11);
    machine.demand(20, &["a"]);
    assert!(!machine.refresh.next_ask(machine.at(20)).unwrap().rebootstrap);
}

#[test]
fn an_unsettled_topic_is_asked_for_again_while_it_is_in_use() {
    let mut machine = Machine::knowing(&["a"]);
    machine.demand(10, &["a"]);
    machine.ask(10);
    machine.refresh.handle_answer(machine.at(10), true, &["a".into(), "nobody wants it".into()]);
    assert!(is_about(machine.due_after(10), 100));
    assert_eq!(machine.ask(11), Some(named(&["a"])));
}

#[test]
fn a_topic_that_nobody_uses_is_no_longer_asked_for() {
    let mut machine = Machine::knowing(&["a", "b"]);
    machine.refresh.handle_used(machine.at(200), &"a".into());
    assert!(!machine.refresh.expire(machine.at(299)));
    assert!(machine.refresh.expire(machine.at(300)));
    assert!(machine.refresh.is_used("a") && !machine.refresh.is_used("b"));
    assert_eq!(machine.ask(MAX_AGE), Some(named(&["a"])));
}

#[test]
fn coverage() {
    let ask = |topics| Ask { topics, rebootstrap: false, elsewhere: false, is_complete: false };
    let (all, none, one, two) = (Topics::All, Topics::None, named(&["a"]), named(&["a", "b"]));
    // What is asked, and which of all, none, one, two that covers.
    let table = [
        (&all, [true, true, true, true]),
        (&none, [false, true, false, false]),
        (&one, [false, true, true, false]),
        (&two, [false, true, true, true]),
    ];
    for (asked, covered) in table {
        for (wanted, is_covered) in [&all, &none, &one, &two].into_iter().zip(covered) {
            assert_eq!(ask(asked.clone()).covers(wanted), is_covered, "{wanted:?} by {asked:?}");
        }
    }
}
