//! Groups whose members are consumers of several clients, on a real Kafka: Java's, librdkafka's and franz-go's beside ours, for
//! every assignor that the client has in common with ours, in every order of joining and leaving.
//!
//! Each test is one group ([`plan`]). Its members are processes of their own, which tell what happens to them as Kafka's
//! `VerifiableConsumer` does. Whenever members have come or gone, the group has to settle as its assignor demands ([`rules`]),
//! whoever leads it, and has to read all that is written meanwhile, each record once while it is settled ([`walk`]). Static members
//! come back to what they had ([`static_members`]).
//!
//! By default a group for every client, assignor and leader; `OTTLA_MIXED_GROUPS=all` is for every order. Without Java, or without
//! the other clients, tests are listed as ignored; `OTTLA_REQUIRE_KAFKA=1` and `OTTLA_REQUIRE_CLIENTS=1` turn that into failures.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

mod group;
mod member;
mod plan;
mod readings;
mod rules;
mod shared;
mod static_members;
mod walk;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use protocol_tests::clients::{self, OtherClients};
use protocol_tests::kafka::{self, Toolbox};

use member::Client;
use shared::Shared;

/// Groups wait most of the time: for heartbeats, sessions and JVMs.
const GROUPS_AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(GROUPS_AT_ONCE);
    let found = if arguments.list { Err("only listing".to_owned()) } else { Toolbox::find(&kafka::version()) };
    let (shared, missing) = match found {
        Ok(toolbox) => {
            let others = OtherClients::find();
            let missing = others.as_ref().err().map(|reason| Missing::new(reason, clients::is_required()));
            (Some(Arc::new(Shared::new(toolbox, others.ok()))), missing)
        }
        Err(reason) => (None, Some(Missing::new(&reason, kafka::is_required()))),
    };
    let mut trials: Vec<Trial> = rules::TESTS.iter().chain(readings::TESTS).map(own).collect();
    for plan in plan::plans() {
        let (name, other, jvms) = (plan.name(), plan.other, plan.jvms());
        trials.push(trial(name, other, shared.as_ref(), missing.as_ref(), move |shared| {
            shared.run(jvms, async |means| walk::walk(&means, plan).await);
        }));
    }
    for (other, strategy) in static_members::groups() {
        let name = static_members::name(other, strategy);
        trials.push(trial(name, other, shared.as_ref(), missing.as_ref(), move |shared| {
            shared.run(usize::from(other == Client::Java), async |means| {
                static_members::come_back(&means, other, strategy).await;
            });
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(shared) = shared {
        shared.end();
    }
    conclusion.exit_code()
}

/// What this machine lacks.
#[derive(Debug, Clone)]
struct Missing {
    reason: String,
    is_failure: bool,
}

impl Missing {
    fn new(reason: &str, is_failure: bool) -> Self {
        Self { reason: reason.to_owned(), is_failure }
    }
}

/// A group with members of `other`.
fn trial(
    name: String,
    other: Client,
    shared: Option<&Arc<Shared>>,
    missing: Option<&Missing>,
    run: impl FnOnce(&Shared) + Send + 'static,
) -> Trial {
    let shared = shared.cloned();
    // Java is there where Kafka is.
    let missing = missing.filter(|_| shared.is_none() || other != Client::Java).cloned();
    Trial::ignorable_test(name, move || match (missing, shared) {
        (Some(missing), _) if missing.is_failure => Err(Failed::from(missing.reason)),
        (Some(missing), _) => Ok(Completion::ignored_with(missing.reason)),
        (None, shared) => {
            run(&*shared.ok_or("there is no Kafka")?);
            Ok(Completion::Completed)
        }
    })
}

/// A test of what the tests themselves reckon with.
fn own((name, body): &(&'static str, fn())) -> Trial {
    let body = *body;
    Trial::test(*name, move || {
        body();
        Ok(())
    })
}
