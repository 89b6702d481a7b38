//! The member's rebalance listener: writes down what it is told, and sometimes takes its time or commits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla::{AssignmentChange, ConsumerHandle, ListenerResult, RebalanceListener};

use super::{LISTENER_TIME, Member};
use crate::history::{Event, Partitions};
use crate::sabotage::Sabotage;

/// See the [module](self).
pub(super) struct Listener(pub(super) Arc<Member>);

impl RebalanceListener for Listener {
    async fn on_assigned(&self, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        let member = self.0.name;
        let Some(assigned) = consumer.last_assigned() else { return Err("nothing was assigned".into()) };
        let generation = assigned.generation_id.0;
        if let Some(group) = &assigned.group {
            let parts = group.iter().map(|member| member.partitions.clone()).collect();
            self.0.history.record(Event::Shared { member, generation, parts });
        }
        let AssignmentChange { partitions: added, assignment, .. } = change;
        self.0.history.record(Event::Assigned { member, generation, added, assignment: assignment.clone() });
        self.take_time().await;
        self.look_around(assignment, &consumer).await;
        Ok(())
    }

    async fn on_revoked(&self, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        if self.0.sabotage == Some(Sabotage::NeverGiveUp) {
            std::future::pending::<()>().await;
        }
        self.take_time().await;
        let commits = !self.0.plan.application.is_automatic() && self.0.fork_random().bool();
        if commits {
            self.0.commit_sync(&consumer).await;
        }
        let generation = consumer.last_assigned().map_or(-1, |assigned| assigned.generation_id.0);
        let (member, partitions) = (self.0.name, change.partitions);
        self.0.history.record(Event::Revoked { member, generation, partitions });
        self.0.revocations.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn on_lost(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.history.record(Event::Lost { member: self.0.name, partitions: change.partitions });
        self.0.revocations.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Listener {
    /// What an application may want to know that keeps its own account of offsets. None of it needs a poll.
    async fn look_around(&self, assignment: Partitions, consumer: &ConsumerHandle) {
        let (member, limit) = (&self.0, self.0.commit_limit());
        let Some(one) = assignment.first().cloned().filter(|_| member.fork_random().u32(0..4) == 0) else { return };
        let committed = consumer.committed(assignment);
        if let Some(Err(error)) = member.within(limit, "committed", committed).await {
            member.failed("committed", &error);
        }
        if let Some(Err(error)) = member.within(limit, "position", consumer.position(&one)).await {
            member.failed("position", &error);
        }
    }

    async fn take_time(&self) {
        if self.0.plan.slow_listener {
            let longest = LISTENER_TIME.as_millis() as u64;
            let time = self.0.fork_random().u64(0..longest);
            tokio::time::sleep(Duration::from_millis(time)).await;
        }
    }
}
