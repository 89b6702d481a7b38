//! Which groups there are: a client beside ours, an assignor, and an order in which members join and leave.

use std::fmt::Write as _;

use protocol_tests::kafka::Signal;

use crate::member::Client;
use crate::rules::Strategy;

/// What happens to one group. Its members are numbered in the order in which they join.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Whose consumers are in it beside ours.
    pub(crate) other: Client,
    pub(crate) strategy: Strategy,
    /// Who joins, one after the other. The first one leads.
    pub(crate) joins: Vec<Client>,
    /// Who leaves, one after the other, and how.
    pub(crate) leaves: Vec<Leave>,
}

/// A member that leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leave {
    pub(crate) member: usize,
    /// SIGTERM: it leaves in order. SIGKILL: the coordinator misses it once its session is over.
    pub(crate) signal: Signal,
}

impl Plan {
    pub(crate) fn name(&self) -> String {
        let mut name = format!("{}::{}::", self.other.name(), self.strategy.name());
        for client in &self.joins {
            name.push_str(if *client == Client::Ours { "ours_" } else { "theirs_" });
        }
        name.push_str("then");
        for leave in &self.leaves {
            let verb = if leave.signal == Signal::Kill { "dies" } else { "leaves" };
            write!(name, "_{}_{verb}", leave.member).expect("a String takes any text");
        }
        name
    }

    /// How many JVMs it has at a time.
    pub(crate) fn jvms(&self) -> usize {
        self.joins.iter().filter(|client| **client == Client::Java).count()
    }
}

/// Whether all is to be run that there is: `OTTLA_MIXED_GROUPS=all`.
pub(crate) fn is_every_order() -> bool {
    std::env::var("OTTLA_MIXED_GROUPS").is_ok_and(|value| value == "all")
}

/// All plans, or the core of them.
pub(crate) fn plans() -> Vec<Plan> {
    let is_all = is_every_order();
    let of = |other: Client| {
        let strategies = other.strategies().iter();
        strategies.flat_map(move |strategy| if is_all { every_order(other, *strategy) } else { core(other, *strategy) })
    };
    // In turn, for there are only so many JVMs at a time.
    let mut waiting = [Client::Java, Client::Librdkafka, Client::Franz].map(|other| of(other).peekable());
    let mut plans = Vec::new();
    while waiting.iter_mut().any(|plans| plans.peek().is_some()) {
        plans.extend(waiting.iter_mut().filter_map(Iterator::next));
    }
    plans
}

/// Either client leads, and leaves first: once in order, once not.
fn core(other: Client, strategy: Strategy) -> Vec<Plan> {
    let [ours_first, theirs_first] = [[Client::Ours, other, Client::Ours], [other, Client::Ours, other]];
    // A session has to run out for each death; every client and every assignor has one.
    let dies = match strategy {
        Strategy::CooperativeSticky => true,
        Strategy::Range => other == Client::Librdkafka,
        Strategy::RoundRobin => other == Client::Franz,
        Strategy::Sticky => other == Client::Java,
    };
    let first = if dies { Signal::Kill } else { Signal::Terminate };
    vec![
        plan(other, strategy, &ours_first, &[0, 1, 2], Signal::Terminate),
        plan(other, strategy, &theirs_first, &[0, 2, 1], first),
    ]
}

/// Two members and three, whoever they are, joining and leaving in every order; and the leader dying of every group.
fn every_order(other: Client, strategy: Strategy) -> Vec<Plan> {
    let (ours, theirs) = (Client::Ours, other);
    let pairs: &[&[Client]] = &[&[ours, theirs], &[theirs, ours]];
    let threes: &[&[Client]] = &[
        &[ours, ours, theirs],
        &[ours, theirs, ours],
        &[theirs, ours, ours],
        &[theirs, theirs, ours],
        &[theirs, ours, theirs],
        &[ours, theirs, theirs],
    ];
    let mut plans = Vec::new();
    for joins in pairs {
        for signal in [Signal::Terminate, Signal::Kill] {
            plans.extend([[0, 1], [1, 0]].map(|leaves| plan(other, strategy, joins, &leaves, signal)));
        }
    }
    for joins in threes {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        plans.extend(orders.map(|leaves| plan(other, strategy, joins, &leaves, Signal::Terminate)));
        plans.push(plan(other, strategy, joins, &[0, 1, 2], Signal::Kill));
        plans.push(plan(other, strategy, joins, &[2, 1, 0], Signal::Kill));
    }
    plans
}

/// A plan whose first member to leave does so as `first` says, and the others in order.
fn plan(other: Client, strategy: Strategy, joins: &[Client], leaves: &[usize], first: Signal) -> Plan {
    let leave = |(place, member): (usize, &usize)| Leave {
        member: *member,
        signal: if place == 0 { first } else { Signal::Terminate },
    };
    Plan { other, strategy, joins: joins.to_vec(), leaves: leaves.iter().enumerate().map(leave).collect() }
}
