//! Assignors that panic, or ask about the member: the application's own code, called by the member's task.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::EmbeddedCluster;
use ottla_coordinator::assignor::{
    Assignor, AssignorError, GroupMember, LastAssignment, MemberAssignment, RebalanceProtocol, Topics,
};
use ottla_coordinator::{Coordinator, CoordinatorHandle, Error, GroupConfig, GroupEvent};
use ottla_wire::ApiKey;

use crate::member::{InTurn, Member, client, client_with, config, in_memory, offsets, partitions, start, topics};

const INNER: InTurn = InTurn { name: "panicking", protocol: RebalanceProtocol::Eager };

/// As [`InTurn`], but panics so many times first.
#[derive(Debug, Default)]
struct Panicking {
    assigns: AtomicUsize,
    user_data: AtomicUsize,
    name: AtomicBool,
}

fn take_one(times: &AtomicUsize) -> bool {
    times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

impl Assignor for Panicking {
    fn name(&self) -> &str {
        assert!(!self.name.load(Ordering::Relaxed), "in name");
        INNER.name
    }

    fn user_data(&self, _: &LastAssignment) -> Option<Bytes> {
        assert!(!take_one(&self.user_data), "in user_data");
        None
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        assert!(!take_one(&self.assigns), "in assign");
        INNER.assign(topics, members)
    }
}

fn member(cluster: &EmbeddedCluster, assignor: &Arc<Panicking>) -> Member {
    let mut config: GroupConfig = config();
    config.assignors = vec![Arc::clone(assignor) as Arc<dyn Assignor>];
    Member::join(&client(cluster), config)
}

async fn failure(handle: &CoordinatorHandle) -> Error {
    tokio::time::timeout(Duration::from_mins(1), handle.event_ready()).await.expect("the application hears of it");
    match handle.next_event() {
        Some(GroupEvent::Failed(error)) => error,
        event => panic!("{event:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignor_that_panics_has_failed_and_is_tried_again() {
    let cluster = start(in_memory()).await;
    let cases = [
        (Panicking { assigns: 3.into(), ..Panicking::default() }, "it panicked: in assign"),
        (Panicking { user_data: 3.into(), ..Panicking::default() }, "it panicked: in user_data"),
    ];
    for (assignor, text) in cases {
        let mut member = member(&cluster, &Arc::new(assignor));
        let mut times = Vec::new();
        for _ in 0..3 {
            let error = failure(member.handle()).await;
            times.push(tokio::time::Instant::now());
            assert!(matches!(&error, Error::Assignor { assignor, .. } if &**assignor == "panicking"), "{error}");
            assert_eq!(error.source().map(ToString::to_string).as_deref(), Some(text));
            assert!(!error.is_fatal());
            member.handle().join(Vec::new());
        }
        assert!(times[1] > times[0] && times[2] - times[1] > times[1] - times[0], "with back-off: {times:?}");
        member.poll_until_assigned(1).await;
        assert_eq!(member.assignment, partitions(0..6));
        member.coordinator.close(Some("done"), Duration::from_secs(5)).await.unwrap();
    }
}

/// As [`InTurn`], but asks the member's handle about the membership.
#[derive(Debug, Default)]
struct Asking {
    handle: OnceLock<CoordinatorHandle>,
    answered: AtomicUsize,
}

impl Asking {
    /// Asks from another thread, so that a handle that is locked fails the test and does not hang it.
    #[allow(clippy::disallowed_methods, reason = "a thread of the application's")]
    fn ask(&self) {
        let Some(handle) = self.handle.get().cloned() else { return };
        let (result, answer) = mpsc::channel();
        std::thread::spawn(move || result.send((handle.is_joining(), handle.membership().is_none())));
        assert_eq!(answer.recv_timeout(Duration::from_secs(10)), Ok((true, true)), "it is joining");
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Assignor for Asking {
    fn name(&self) -> &str {
        INNER.name
    }

    fn user_data(&self, _: &LastAssignment) -> Option<Bytes> {
        self.ask();
        None
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        self.ask();
        INNER.assign(topics, members)
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignor_may_ask_about_the_member() {
    let cluster = start(in_memory()).await;
    let assignor = Arc::new(Asking::default());
    let mut config = config();
    config.assignors = vec![Arc::clone(&assignor) as Arc<dyn Assignor>];
    let mut member = Member::join(&client(&cluster), config);
    assignor.handle.set(member.handle().clone()).unwrap();
    member.poll_until_assigned(1).await;
    // JoinGroup goes without an id first, and then with it.
    assert_eq!(assignor.answered.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_task_is_told_and_everything_after_it_fails() {
    let cluster = start(in_memory()).await;
    let assignor = Arc::new(Panicking::default());
    let mut member = member(&cluster, &assignor);
    member.poll_until_assigned(1).await;
    cluster.faults().inject(ottla_broker::Fault::black_hole().on_api(ApiKey::OffsetCommit).always());
    let commit = member.handle().commit(offsets(&[(0, 1)]));
    // Not where the assignor is asked to decide something: what is done there is no longer certain.
    member.handle().rejoin("to call the assignor");
    while let Some(event) = member.handle().next_event() {
        assert!(matches!(event, GroupEvent::RebalanceNeeded { .. }), "{event:?}");
    }
    assignor.name.store(true, Ordering::Relaxed);
    member.handle().join(Vec::new());

    let error = failure(member.handle()).await;
    assert!(matches!(&error, Error::TaskEnded { group } if &**group == "group") && error.is_fatal(), "{error}");
    assert!(member.handle().next_event().is_none() && !member.handle().is_joining());
    assert!(member.handle().membership().is_none());
    assert!(matches!(commit.await, Err(Error::TaskEnded { .. })));
    assert!(matches!(member.handle().commit(offsets(&[(0, 1)])).await, Err(Error::TaskEnded { .. })));
    let committed = member.handle().committed(partitions(0..1), Duration::from_secs(5)).await;
    assert!(matches!(committed, Err(Error::TaskEnded { .. })), "{committed:?}");
    let closed = member.coordinator.close(Some("done"), Duration::from_secs(5)).await;
    assert!(matches!(closed, Err(Error::TaskEnded { .. })), "{closed:?}");
}

#[test]
fn the_end_of_the_runtime_is_told() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (one, other) = (runtime(), runtime());
    let member = one.block_on(async {
        let cluster = start(in_memory()).await;
        let mut member = Member::join(&client(&cluster), config());
        member.poll_until_assigned(1).await;
        member
    });
    drop(one);
    other.block_on(async {
        assert!(matches!(failure(member.handle()).await, Error::TaskEnded { .. }));
        let closed = member.coordinator.close(Some("done"), Duration::from_secs(5)).await;
        assert!(matches!(closed, Err(Error::TaskEnded { .. })), "{closed:?}");
    });
}

#[test]
fn the_end_of_the_runtime_is_told_also_where_the_task_never_ran() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let ended = |result: Result<_, _>| match result {
        Err(Error::TaskEnded { .. }) => {}
        other => panic!("{other:?}"),
    };
    for is_spawned_before in [true, false] {
        let (one, other) = (runtime(), runtime());
        let cluster = one.block_on(start(in_memory()));
        let coordinator =
            Coordinator::new(client_with(&cluster, 1, |config| config.runtime(one.handle().clone())), config());
        let coordinator = coordinator.unwrap();
        let handle = coordinator.handle().clone();
        let (before, after) = if is_spawned_before {
            let before = handle.commit(offsets(&[(0, 1)]));
            drop(one);
            (Some(before), handle.commit(offsets(&[(0, 2)])))
        } else {
            drop(one);
            (None, handle.commit(offsets(&[(0, 2)])))
        };
        let all = async {
            if let Some(before) = before {
                ended(before.await);
            }
            ended(after.await);
            ended(handle.committed(partitions(0..1), Duration::from_secs(5)).await.map(drop));
            handle.subscribe(topics(&["topic"]));
            handle.join(Vec::new());
            assert!(matches!(failure(&handle).await, Error::TaskEnded { .. }));
            assert!(!handle.is_joining());
            ended(coordinator.close(Some("done"), Duration::from_secs(5)).await);
        };
        let all = other.block_on(async { tokio::time::timeout(Duration::from_mins(1), all).await });
        all.expect("nothing hangs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_dropped_or_closed_tells_of_no_end() {
    let cluster = start(in_memory()).await;
    for is_closed in [true, false] {
        let mut member = Member::join(&client(&cluster), config());
        member.poll_until_assigned(1).await;
        let handle = member.handle().clone();
        if is_closed {
            member.coordinator.close(Some("done"), Duration::from_secs(5)).await.unwrap();
        } else {
            drop(member);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(handle.next_event().is_none());
        assert!(matches!(handle.commit(offsets(&[(0, 1)])).await, Err(Error::Closed)));
    }
}
