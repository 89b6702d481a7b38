//! An application that loops over polls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ottla::{Batch, Batches, Consumer, OffsetAndMetadata};
use protocol_tests::simulation::dropping::drop_after;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Command, Member, SLACK};
use crate::sabotage::Sabotage;
use crate::scenario::Commits;

struct Application<'m> {
    member: &'m Arc<Member>,
    consumer: Consumer,
    commits: Commits,
    random: Rng,
    /// Commits whose results are awaited beside the loop.
    under_way: JoinSet<()>,
    /// For those that hand out what they should not: what was handed out last, before how many revocations.
    kept: Option<(u32, Vec<Batch>)>,
}

/// Runs until it is told to close; how it ended.
pub(super) async fn run(
    member: &Arc<Member>,
    consumer: Consumer,
    mut orders: mpsc::UnboundedReceiver<Command>,
    commits: Commits,
) -> &'static str {
    let (random, under_way) = (member.fork_random(), JoinSet::new());
    let mut application = Application { member, consumer, commits, random, under_way, kept: None };
    loop {
        let batches = tokio::select! {
            biased; // orders first: the poll that waits is dropped for them
            order = orders.recv() => match order {
                Some(Command::Close { calm }) => return application.member.close(application.consumer, calm).await,
                Some(order) => {
                    application.obey(order).await;
                    application.member.orders.done();
                    continue;
                }
                None => return "forgotten",
            },
            polled = application.poll() => polled,
        };
        match batches {
            Ok(batches) => application.read(batches).await,
            Err(how) => return how,
        }
    }
}

impl Application<'_> {
    /// An error says how the member has ended.
    async fn poll(&mut self) -> Result<Batches, &'static str> {
        let timeout = Duration::from_millis(self.random.u64(0..2000));
        let drops = self.random.u32(0..100) < self.member.plan.drops_percent;
        let polls = if drops { self.random.u32(0..6) } else { u32::MAX };
        let polling = drop_after(polls, self.consumer.poll(timeout));
        match self.member.within(timeout + SLACK, "poll", polling).await {
            Some(Some(Ok(batches))) => Ok(batches),
            Some(Some(Err(error))) => self.member.poll_failed(&error).await.map_or(Ok(Batches::default()), Err),
            Some(None) => {
                // Time has to pass, or dropping on and on would keep everybody from everything.
                tokio::time::sleep(Duration::from_millis(self.random.u64(1..20))).await;
                Ok(Batches::default())
            }
            None => Ok(Batches::default()),
        }
    }

    async fn read(&mut self, batches: Batches) {
        self.misbehave(&batches).await;
        for batch in &batches {
            self.member.handed(batch);
        }
        for batch in &batches {
            if self.skips() {
                continue;
            }
            let mut random = self.random.fork();
            self.member.process(batch, &mut random).await;
        }
        if !batches.is_empty() {
            self.commit(&batches).await;
        }
    }

    async fn commit(&mut self, batches: &Batches) {
        let member = self.member;
        match self.commits {
            Commits::Automatic => {}
            Commits::Sync => member.commit_sync(&self.consumer).await,
            Commits::Async => {
                let commit = self.consumer.commit_async();
                let member = Arc::clone(member);
                self.under_way.spawn(async move {
                    if let Some(Err(error)) = member.within(member.commit_limit(), "commit_async", commit).await {
                        member.failed("commit_async", &error);
                    }
                });
            }
            Commits::Offsets => {
                let committing = self.consumer.commit_sync_offsets(ends(batches));
                if let Some(Err(error)) = member.within(member.commit_limit(), "commit_sync_offsets", committing).await
                {
                    member.failed("commit_sync_offsets", &error);
                }
            }
        }
    }

    async fn obey(&mut self, order: Command) {
        let member = self.member;
        match order {
            // The loop's; and it has been slow already.
            Command::Close { .. } | Command::Quick => {}
            Command::Slow { lasting } => tokio::time::sleep(lasting).await,
            Command::Subscribe { topics } => member.subscribe(&self.consumer, &topics),
            Command::Resubscribe { topics } => {
                if self.random.bool() {
                    // Dropped half-way; then gone on with.
                    let _ = drop_after(self.random.u32(0..5), self.consumer.unsubscribe()).await;
                }
                let unsubscribing = self.consumer.unsubscribe();
                if let Some(Err(error)) = member.within(member.revocation_limit(), "unsubscribe", unsubscribing).await {
                    member.failed("unsubscribe", &error);
                }
                member.subscribe(&self.consumer, &topics);
            }
            Command::SeekBack => member.seek_back(&self.consumer, &mut self.random),
            Command::EnforceRebalance => {
                if let Err(error) = self.consumer.enforce_rebalance("for a change") {
                    member.failed("enforce_rebalance", &error);
                }
            }
        }
    }

    /// What a broken application, or a broken consumer under it, does before it reads.
    async fn misbehave(&mut self, batches: &Batches) {
        match self.member.sabotage {
            Some(Sabotage::CommitBeforeProcessing) => {
                // Whether it succeeds is all the same.
                let _ = self.consumer.commit_sync_offsets(ends(batches)).await;
            }
            Some(Sabotage::HandOutAfterRevocation) => {
                let revocations = self.member.has_revoked();
                if let Some((_, kept)) = self.kept.take_if(|(before, _)| *before != revocations) {
                    for batch in &kept {
                        self.member.handed(batch);
                    }
                }
                if !batches.is_empty() {
                    self.kept = Some((revocations, batches.iter().cloned().collect()));
                }
            }
            Some(Sabotage::HandOutTwice) => {
                if let Some(batch) = batches.iter().next().filter(|_| self.random.u32(0..5) == 0) {
                    self.member.handed(batch);
                }
            }
            _ => {}
        }
    }

    fn skips(&mut self) -> bool {
        self.member.sabotage == Some(Sabotage::SkipRecords) && self.random.u32(0..10) == 0
    }
}

/// What is read of each partition when these are.
fn ends(batches: &Batches) -> BTreeMap<ottla::TopicPartition, OffsetAndMetadata> {
    let end = |batch: &Batch| (batch.topic_partition().clone(), OffsetAndMetadata::new(batch.next_offset()));
    batches.iter().map(end).collect()
}
