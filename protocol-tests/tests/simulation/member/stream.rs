//! An application that reads record by record, holds some of them, and marks them out of order.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ottla::{Consumer, ConsumerHandle, ConsumerRecord};
use tokio::sync::mpsc;

use super::{Command, Member};
use crate::history::Event;
use crate::workload::sequence_of;

struct Application<'m> {
    member: &'m Arc<Member>,
    handle: ConsumerHandle,
    automatic: bool,
    random: Rng,
    /// Records that it works on.
    held: Vec<ConsumerRecord>,
}

/// Why a stream is dropped.
enum Left {
    Close {
        calm: bool,
    },
    Unsubscribe(Command),
    /// To be made anew.
    Idly,
    Ended(&'static str),
}

/// Runs until it is told to close; how it ended.
pub(super) async fn run(
    member: &Arc<Member>,
    mut consumer: Consumer,
    mut orders: mpsc::UnboundedReceiver<Command>,
    automatic: bool,
) -> &'static str {
    let (handle, random) = (consumer.handle(), member.fork_random());
    let mut application = Application { member, handle, automatic, random, held: Vec::new() };
    loop {
        match application.read(&mut consumer, &mut orders).await {
            Left::Close { calm } => {
                application.work().await;
                return member.close(consumer, calm).await;
            }
            Left::Unsubscribe(Command::Resubscribe { topics }) => {
                let unsubscribing = consumer.unsubscribe();
                let ended = member.within(member.revocation_limit(), "unsubscribe", unsubscribing).await;
                if let Some(Err(error)) = ended {
                    member.failed("unsubscribe", &error);
                }
                member.subscribe(&consumer, &topics);
                member.orders.done();
            }
            Left::Unsubscribe(_) | Left::Idly => {}
            Left::Ended(how) => return how,
        }
    }
}

impl Application<'_> {
    /// Reads a stream for as long as it likes.
    async fn read(&mut self, consumer: &mut Consumer, orders: &mut mpsc::UnboundedReceiver<Command>) -> Left {
        let mut records = consumer.stream();
        loop {
            let waits = Duration::from_millis(self.random.u64(1..1000));
            let next = tokio::select! {
                biased; // orders first: the future that waits for a record is dropped for them
                order = orders.recv() => match order {
                    Some(Command::Close { calm }) => return Left::Close { calm },
                    Some(order @ Command::Resubscribe { .. }) => return Left::Unsubscribe(order),
                    Some(order) => {
                        self.obey(order).await;
                        self.member.orders.done();
                        continue;
                    }
                    None => return Left::Ended("forgotten"),
                },
                next = tokio::time::timeout(waits, records.next()) => next,
            };
            match next {
                Ok(Some(Ok(record))) => {
                    let (member, partition, first) =
                        (self.member.name, record.topic_partition().clone(), record.offset());
                    self.member.history.record(Event::Handed { member, partition, first, next: first + 1 });
                    self.held.push(record);
                    if self.held.len() >= HELD {
                        self.work().await;
                    }
                }
                Ok(Some(Err(error))) => {
                    if let Some(how) = self.member.poll_failed(&error).await {
                        return Left::Ended(how);
                    }
                }
                Ok(None) => return Left::Ended("failed"),
                Err(_) => self.work().await,
            }
            if self.random.u32(0..100) < self.member.plan.drops_percent / 4 {
                return Left::Idly;
            }
        }
    }

    /// Is done with what it holds, in any order.
    async fn work(&mut self) {
        self.random.shuffle(&mut self.held);
        let had_some = !self.held.is_empty();
        for record in std::mem::take(&mut self.held) {
            self.member.pace(&mut self.random).await;
            self.member.history.record(Event::Processed {
                member: self.member.name,
                partition: record.topic_partition().clone(),
                offset: record.offset(),
                sequence: sequence_of(record.value().map(|value| &**value)),
            });
            self.handle.mark_processed(&record);
        }
        if had_some && !self.automatic {
            self.member.commit_sync(&self.handle).await;
        }
    }

    async fn obey(&mut self, order: Command) {
        match order {
            // The caller's; and it has been slow already.
            Command::Close { .. } | Command::Resubscribe { .. } | Command::Quick => {}
            Command::Slow { lasting } => tokio::time::sleep(lasting).await,
            Command::Subscribe { topics } => self.member.subscribe(&self.handle, &topics),
            Command::SeekBack => self.member.seek_back(&self.handle, &mut self.random),
            Command::EnforceRebalance => {
                if let Err(error) = self.handle.enforce_rebalance("for a change") {
                    self.member.failed("enforce_rebalance", &error);
                }
            }
        }
    }
}

/// How many records it holds at most.
const HELD: usize = 5;
