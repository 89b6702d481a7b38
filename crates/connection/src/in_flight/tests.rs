use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MAX_IDLE: Duration = Duration::from_mins(1);

struct Machine {
    start: Instant,
    in_flight: InFlight<i32>,
}

impl Machine {
    #[allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]
    fn new(limit: usize) -> Self {
        let start = Instant::now();
        Self { start, in_flight: InFlight::new(start, limit, MAX_IDLE) }
    }

    fn at(&self, seconds: u32) -> Instant {
        self.start + SECOND * seconds
    }

    /// A request of the number `id` that is due at `deadline` seconds.
    fn submit(&mut self, id: i32, deadline: u32) {
        self.in_flight.submit(id, true, self.at(deadline), id);
    }

    fn write(&mut self, seconds: u32) -> Option<i32> {
        let now = self.at(seconds);
        let written = self.in_flight.next_to_write(now, |_| false).map(|request| *request);
        if written.is_some() {
            assert_eq!(self.in_flight.handle_written(now), None);
        }
        written
    }

    fn respond(&mut self, seconds: u32, id: i32) -> Result<Answer<i32>, Mismatch> {
        self.in_flight.handle_response(self.at(seconds), id)
    }

    fn overdue(&mut self, seconds: u32) -> Option<Overdue<i32>> {
        self.in_flight.next_overdue(self.at(seconds))
    }

    fn send_unanswered(&mut self, id: i32) {
        let (now, deadline) = (self.at(0), self.at(30));
        self.in_flight.submit(id, false, deadline, id);
        assert_eq!(self.in_flight.next_to_write(now, |_| false), Some(&mut { id }));
        assert_eq!(self.in_flight.handle_written(now), Some(id));
    }
}

#[test]
fn nothing_leaves_while_the_broker_asks_for_quiet() {
    let mut machine = Machine::new(5);
    machine.submit(1, 30);
    assert_eq!(machine.write(0), Some(1));
    assert_eq!(machine.respond(1, 1), Ok(Answer::To(1)));
    let muted_at = machine.at(1);
    machine.in_flight.mute(muted_at, SECOND * 10);
    // A shorter wish does not end a longer one.
    machine.in_flight.mute(muted_at, SECOND);
    machine.submit(2, 8);
    machine.submit(3, 30);
    assert_eq!(machine.write(2), None);
    assert_eq!(machine.in_flight.next_deadline(), machine.at(8));
    assert_eq!(machine.overdue(8), Some(Overdue::Waiting(2)), "it was not sent, and fails alone");
    assert_eq!(machine.overdue(8), None);
    assert_eq!(machine.in_flight.next_deadline(), machine.at(11));
    assert_eq!((machine.overdue(11), machine.write(11)), (None, Some(3)));
    assert_eq!(machine.in_flight.next_deadline(), machine.at(30));
}

#[test]
fn requests_leave_in_order_up_to_the_limit() {
    let mut machine = Machine::new(2);
    (1..=3).for_each(|id| machine.submit(id, 30));
    assert_eq!([machine.write(0), machine.write(0), machine.write(0)], [Some(1), Some(2), None]);
    assert_eq!(machine.respond(1, 1), Ok(Answer::To(1)));
    assert_eq!(machine.write(1), Some(3));
    assert_eq!(machine.respond(1, 2), Ok(Answer::To(2)));
    assert_eq!(machine.respond(1, 3), Ok(Answer::To(3)));
    assert!(machine.in_flight.is_empty());
}

#[test]
fn a_withdrawn_request_is_not_written_and_takes_no_room() {
    let mut machine = Machine::new(1);
    (1..=3).for_each(|id| machine.submit(id, 30));
    let now = machine.at(0);
    assert_eq!(machine.in_flight.next_to_write(now, |id| *id < 3), Some(&mut 3));
    assert_eq!(machine.in_flight.next_to_write(now, |_| false), None);
}

#[test]
fn an_answer_that_is_not_next_is_a_mismatch() {
    let mut machine = Machine::new(5);
    assert_eq!(machine.respond(0, 1), Err(Mismatch { expected: None, received: 1 }));
    machine.submit(1, 30);
    machine.submit(2, 30);
    machine.write(0);
    machine.write(0);
    assert_eq!(machine.respond(0, 2), Err(Mismatch { expected: Some(1), received: 2 }));
}

#[test]
fn an_answer_to_a_request_that_is_not_wholly_written_is_a_mismatch() {
    let mut machine = Machine::new(5);
    machine.submit(1, 30);
    assert_eq!(machine.in_flight.next_to_write(machine.start, |_| false), Some(&mut 1));
    assert_eq!(machine.respond(0, 1), Err(Mismatch { expected: Some(1), received: 1 }));
}

#[test]
fn a_written_request_is_overdue_at_its_deadline_and_not_before() {
    let mut machine = Machine::new(5);
    machine.submit(1, 30);
    machine.write(0);
    assert_eq!(machine.in_flight.next_deadline(), machine.at(30));
    assert_eq!(machine.overdue(29), None);
    assert_eq!(machine.overdue(30), Some(Overdue::Sent(1, true)));
}

#[test]
fn a_half_written_request_is_overdue_without_effect() {
    let mut machine = Machine::new(5);
    machine.submit(1, 30);
    assert!(machine.in_flight.next_to_write(machine.start, |_| false).is_some());
    assert_eq!(machine.overdue(30), Some(Overdue::Sent(1, false)));
}

#[test]
fn a_waiting_request_is_overdue_alone() {
    let mut machine = Machine::new(1);
    machine.submit(1, 30);
    machine.submit(2, 10);
    machine.write(0);
    assert_eq!(machine.in_flight.next_deadline(), machine.at(10));
    assert_eq!(machine.overdue(10), Some(Overdue::Waiting(2)));
    assert_eq!(machine.overdue(10), None);
    assert_eq!(machine.in_flight.next_deadline(), machine.at(30));
}

#[test]
fn an_early_wake_up_finds_the_true_deadline() {
    let mut machine = Machine::new(5);
    machine.submit(1, 10);
    machine.submit(2, 40);
    machine.write(0);
    machine.write(0);
    machine.respond(1, 1).unwrap();
    assert!(machine.in_flight.next_deadline() <= machine.at(40));
    assert_eq!(machine.overdue(10), None);
    assert_eq!(machine.in_flight.next_deadline(), machine.at(40));
}

#[test]
fn time_without_ears_is_given_back_to_what_is_sent() {
    let mut machine = Machine::new(5);
    machine.submit(1, 30);
    machine.write(0);
    machine.in_flight.hold(machine.at(10));
    machine.submit(2, 40);
    machine.write(20);
    assert_eq!(machine.overdue(35), None, "the broker cannot be heard");
    assert!(machine.in_flight.next_deadline() > machine.at(1_000_000), "nor is the connection idle");
    machine.in_flight.release(machine.at(50));
    assert_eq!(machine.in_flight.next_deadline(), machine.at(70), "both were deaf from when they were sent");
    assert_eq!(machine.overdue(69), None);
    assert_eq!(machine.overdue(70), Some(Overdue::Sent(1, true)));
    assert_eq!(machine.overdue(70), Some(Overdue::Sent(2, true)));
}

#[test]
fn time_without_ears_counts_for_what_waits() {
    let mut machine = Machine::new(1);
    machine.submit(1, 30);
    machine.submit(2, 30);
    machine.write(0);
    machine.in_flight.hold(machine.at(10));
    assert_eq!(machine.overdue(30), Some(Overdue::Waiting(2)));
    assert_eq!(machine.overdue(30), None);
}

#[test]
fn a_connection_is_idle_after_its_last_answer() {
    let mut machine = Machine::new(5);
    assert_eq!(machine.in_flight.next_deadline(), machine.at(60));
    machine.submit(1, 90);
    machine.write(50);
    assert_eq!(machine.overdue(60), None, "a request is in flight");
    machine.respond(80, 1).unwrap();
    assert_eq!(machine.in_flight.next_deadline(), machine.at(140));
    assert_eq!(machine.overdue(139), None);
    assert_eq!(machine.overdue(140), Some(Overdue::Idle));
    assert_eq!(machine.overdue(140), None);
}

#[test]
fn draining_tells_what_was_written() {
    let mut machine = Machine::new(2);
    (1..=3).for_each(|id| machine.submit(id, 30));
    machine.write(0);
    assert!(machine.in_flight.next_to_write(machine.start, |_| false).is_some());
    assert_eq!(machine.in_flight.drain().collect::<Vec<_>>(), [(1, true), (2, false), (3, false)]);
    assert!(machine.in_flight.is_empty());
}

#[test]
fn an_answer_to_what_expected_none_is_accepted_once() {
    let mut machine = Machine::new(5);
    machine.send_unanswered(1);
    machine.send_unanswered(2);
    machine.send_unanswered(3);
    assert!(machine.in_flight.is_empty());
    assert_eq!(machine.respond(0, 1), Ok(Answer::Unexpected));
    assert_eq!(machine.respond(0, 1), Err(Mismatch { expected: None, received: 1 }));
    assert_eq!(machine.respond(0, 3), Ok(Answer::Unexpected));
    assert_eq!(machine.respond(0, 2), Err(Mismatch { expected: None, received: 2 }), "overtaken");
}

#[test]
fn an_unexpected_answer_may_come_before_an_awaited_one_but_not_after() {
    let mut machine = Machine::new(5);
    machine.send_unanswered(1);
    machine.submit(2, 30);
    machine.write(0);
    machine.send_unanswered(3);
    assert_eq!(machine.respond(0, 1), Ok(Answer::Unexpected));
    assert_eq!(machine.respond(0, 2), Ok(Answer::To(2)));
    assert_eq!(machine.respond(0, 1), Err(Mismatch { expected: None, received: 1 }));
    assert_eq!(machine.respond(0, 3), Ok(Answer::Unexpected));
}

#[test]
fn what_expects_no_answer_is_remembered_in_bounded_space() {
    let mut machine = Machine::new(5);
    (0..10_000).for_each(|id| machine.send_unanswered(id));
    assert_eq!(machine.in_flight.unanswered.len(), 1);
    assert_eq!(machine.respond(0, 9_999), Ok(Answer::Unexpected));
    assert!(machine.in_flight.unanswered.is_empty());
}

#[test]
fn correlation_ids_wrap() {
    let mut machine = Machine::new(5);
    machine.send_unanswered(i32::MAX);
    machine.send_unanswered(i32::MIN);
    machine.submit(i32::MIN + 1, 30);
    machine.write(0);
    assert_eq!(machine.respond(0, i32::MIN), Ok(Answer::Unexpected));
    assert_eq!(machine.respond(0, i32::MIN + 1), Ok(Answer::To(i32::MIN + 1)));
}
