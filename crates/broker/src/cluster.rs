//! The handle to an embedded cluster: where it is, and everything that can be done to it from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_connection::{Address, Connector};
use ottla_wire::{NodeId, TopicId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::builder::EmbeddedClusterBuilder;
use crate::driver::Command;
use crate::error::Error;
use crate::fault::Faults;
use crate::log::Replay;
use crate::records;
use crate::settings::Loss;
use crate::state::{ClusterState, NewTopic, Now, PartitionKey, Refused, unknown_topic};

/// A Kafka cluster in this process.
///
/// It runs on the tokio runtime that it was started on. Dropping it ends all that it runs, without waiting;
/// [`shutdown`](Self::shutdown) waits.
#[derive(Debug)]
pub struct EmbeddedCluster {
    addresses: BTreeMap<NodeId, Address>,
    connector: Arc<dyn Connector>,
    faults: Faults,
    commands: mpsc::Sender<Command>,
    /// The driver's task; dropping the set ends it.
    task: JoinSet<()>,
}

/// What is known of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// The node that leads it, `None` while no candidate is up.
    pub leader: Option<NodeId>,
    /// Counts the changes of leader.
    pub leader_epoch: i32,
    /// The nodes that hold it, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those of them that count for acks=all.
    pub in_sync_replicas: Vec<NodeId>,
    /// The first offset that can be read.
    pub log_start_offset: i64,
    /// Up to here, exclusive, consumers may read.
    pub high_watermark: i64,
    /// The offset that the leader gives to the next record.
    pub log_end_offset: i64,
}

impl EmbeddedCluster {
    /// Settings to start one with.
    pub fn builder() -> EmbeddedClusterBuilder {
        EmbeddedClusterBuilder::default()
    }

    pub(crate) fn new(
        addresses: BTreeMap<NodeId, Address>,
        connector: Arc<dyn Connector>,
        faults: Faults,
        commands: mpsc::Sender<Command>,
        task: JoinSet<()>,
    ) -> Self {
        Self { addresses, connector, faults, commands, task }
    }

    /// Where clients begin: `127.0.0.1:40001,127.0.0.1:40002`. All nodes are listed, those that are stopped, too.
    pub fn bootstrap_servers(&self) -> String {
        self.addresses.values().map(Address::to_string).collect::<Vec<_>>().join(",")
    }

    /// Where a node is found; it keeps the address when it is stopped and started.
    pub fn address(&self, node: NodeId) -> Option<&Address> {
        self.addresses.get(&node)
    }

    /// The nodes, whether they run or not.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        self.addresses.keys().copied()
    }

    /// What opens connections to the nodes, to be given to clients.
    pub fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
    }

    /// The faults to be injected into requests.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Makes a topic.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have made it.
    pub async fn create_topic(&self, name: &str, partitions: i32, replication_factor: i16) -> Result<TopicId, Error> {
        self.create_topic_with(name, partitions, replication_factor, []).await
    }

    /// Makes a topic with configurations of its own: `[("max.message.bytes", "1000")]`.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have made it.
    pub async fn create_topic_with<'c>(
        &self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        config: impl IntoIterator<Item = (&'c str, &'c str)>,
    ) -> Result<TopicId, Error> {
        let new = NewTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(replication_factor),
            assignment: Vec::new(),
            config: config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        let created = self.change(move |state, _| state.create_topic(new, false)).await?;
        created.map_err(refused("creating", name))
    }

    /// Makes a topic without followers, each of whose partitions holds what is replayed. What is written to it stands behind
    /// that. A node that is killed with [`Loss::Everything`] has lost that, too.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have made it.
    pub async fn create_replayed_topic(&self, name: &str, partitions: i32, replay: &Replay) -> Result<TopicId, Error> {
        let new = NewTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(1),
            ..NewTopic::default()
        };
        let replay = replay.clone();
        let created = self.change(move |state, now| {
            let topic = state.create_topic(new, false)?;
            for partition in 0..partitions {
                let key = PartitionKey { topic, partition };
                if let Some(partition) = state.partition_mut(key) {
                    partition.log.replay(replay.clone());
                }
                state.appended(key, now.instant);
            }
            Ok(topic)
        });
        created.await?.map_err(refused("creating", name))
    }

    /// Deletes a topic with all that it holds.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have deleted it.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.with_topic("deleting", name, |state, id, _| state.delete_topic(id)).await
    }

    /// Adds partitions until the topic has `count`.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have added them.
    pub async fn add_partitions(&self, topic: &str, count: i32) -> Result<(), Error> {
        self.with_topic("growing", topic, move |state, id, _| state.grow_topic(id, count, Vec::new(), false)).await
    }

    /// Makes an in-sync replica of a partition its leader.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have moved it.
    pub async fn move_leader(&self, topic: &str, partition: i32, node: NodeId) -> Result<(), Error> {
        let moved = move |state: &mut ClusterState, topic, now: Now| {
            state.move_leader(PartitionKey { topic, partition }, node, now.instant)
        };
        self.with_topic("moving a leader of", topic, moved).await
    }

    /// Deletes the records before `offset`, as retention does.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have deleted them.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Result<(), Error> {
        let delete = move |state: &mut ClusterState, topic, _: Now| {
            state.delete_before(PartitionKey { topic, partition }, offset).map(drop).ok_or_else(unknown_topic)
        };
        self.with_topic("deleting records of", topic, delete).await
    }

    /// Forgets the idempotent producers of a partition, as brokers do with those that were idle for long
    /// (`producer.id.expiration.ms`).
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have done it.
    pub async fn forget_producers(&self, topic: &str, partition: i32) -> Result<(), Error> {
        let forget = move |state: &mut ClusterState, topic, _: Now| {
            let partition = state.partition_mut(PartitionKey { topic, partition }).ok_or_else(unknown_topic)?;
            partition.log.producers.forget_all();
            Ok(())
        };
        self.with_topic("forgetting producers of", topic, forget).await
    }

    /// Appends bytes to a partition as they are, as a batch of `records` records, and returns the first offset. What a
    /// client makes of corrupt data, of old formats and of control batches is tested with this.
    ///
    /// What looks like a batch of magic 2 is given its offset and leader epoch, which no CRC covers; anything else is
    /// stored untouched, so that messages of magic 0 and 1 have to bring the right offsets.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have appended them.
    pub async fn append_unchecked(
        &self,
        topic: &str,
        partition: i32,
        bytes: Bytes,
        records: u32,
    ) -> Result<i64, Error> {
        let append = move |state: &mut ClusterState, topic, now: Now| {
            let key = PartitionKey { topic, partition };
            let partition = state.partition_mut(key).ok_or_else(unknown_topic)?;
            let epoch = partition.leader_epoch();
            let offset = records::append_unchecked(&mut partition.log, &bytes, records, epoch);
            state.appended(key, now.instant);
            Ok(offset)
        };
        self.with_topic("appending to", topic, append).await
    }

    /// The batches that the leader of a partition holds, as it would serve them.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens when the future is dropped.
    pub async fn batches(&self, topic: &str, partition: i32) -> Result<Vec<Bytes>, Error> {
        let read = move |state: &mut ClusterState, topic, _: Now| {
            let partition = state.partition_mut(PartitionKey { topic, partition }).ok_or_else(unknown_topic)?;
            let log = &mut partition.log;
            Ok((0..log.batch_count()).filter_map(|index| log.stored(index)).map(|batch| batch.bytes).collect())
        };
        self.with_topic("reading", topic, read).await
    }

    /// What is known of a partition.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens when the future is dropped.
    pub async fn describe_partition(&self, topic: &str, partition: i32) -> Result<PartitionDescription, Error> {
        let describe = move |state: &mut ClusterState, topic, _: Now| {
            let partition = state.partition(PartitionKey { topic, partition }).ok_or_else(unknown_topic)?;
            Ok(PartitionDescription {
                leader: partition.leader(),
                leader_epoch: partition.leader_epoch(),
                replicas: partition.replicas().to_vec(),
                in_sync_replicas: partition.in_sync().to_vec(),
                log_start_offset: partition.log.start_offset(),
                high_watermark: partition.high_watermark(),
                log_end_offset: partition.log.end_offset(),
            })
        };
        self.with_topic("describing", topic, describe).await
    }

    /// Stops the followers on a node from taking over what leaders get; after `replica_lag_time_max` they leave the
    /// in-sync replicas.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have done it.
    pub async fn pause_replication(&self, node: NodeId) -> Result<(), Error> {
        self.set_replicates(node, false).await
    }

    /// Lets the followers on a node catch up and go on.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have done it.
    pub async fn resume_replication(&self, node: NodeId) -> Result<(), Error> {
        self.set_replicates(node, true).await
    }

    /// Stops a node in good order: its leaders move, requests that it is at are answered, its connections are closed.
    /// Returns when nothing of it runs any more.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have stopped it.
    pub async fn stop_node(&self, node: NodeId) -> Result<(), Error> {
        self.command(|done| Command::Stop(node, None, done)).await?
    }

    /// Kills a node: its connections break, and its leaders move after
    /// [`broker_session_timeout`](EmbeddedClusterBuilder::broker_session_timeout). What it had when it comes back,
    /// `loss` says.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have killed it.
    pub async fn kill_node(&self, node: NodeId, loss: Loss) -> Result<(), Error> {
        self.command(|done| Command::Stop(node, Some(loss), done)).await?
    }

    /// Starts a node that was stopped or killed, at its old address. It catches up with the leaders before this returns,
    /// unless its replication is paused.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have started it.
    pub async fn start_node(&self, node: NodeId) -> Result<(), Error> {
        self.command(|done| Command::Start(node, done)).await?
    }

    /// Ends the cluster. When this returns, nothing of it runs any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the cluster all the same, without waiting.
    pub async fn shutdown(mut self) {
        // An error says that it has ended already.
        let _ = self.command(Command::ShutDown).await;
        while self.task.join_next().await.is_some() {}
    }

    async fn set_replicates(&self, node: NodeId, replicates: bool) -> Result<(), Error> {
        if !self.addresses.contains_key(&node) {
            return Err(Error::UnknownNode { node });
        }
        self.change(move |state, now| state.set_replicates(node, replicates, now.instant)).await
    }

    async fn with_topic<T: Send + 'static>(
        &self,
        attempted: &'static str,
        topic: &str,
        action: impl FnOnce(&mut ClusterState, TopicId, Now) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Error> {
        let name = topic.to_owned();
        let done = self.change(move |state, now| {
            let id = state.topic(&name).map(|topic| topic.id).ok_or_else(unknown_topic)?;
            action(state, id, now)
        });
        done.await?.map_err(refused(attempted, topic))
    }

    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut ClusterState, Now) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.command(|done| {
            Command::Change(Box::new(move |machine, now| {
                // Whoever asked may have stopped waiting.
                let _ = done.send(machine.change(now, |state| change(state, now)));
            }))
        })
        .await
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| Error::ShutDown)?;
        outcome.await.map_err(|_| Error::ShutDown)
    }
}

fn refused(attempted: &'static str, topic: &str) -> impl FnOnce(Refused) -> Error + use<> {
    let topic = topic.to_owned();
    move |Refused { code, reason }| Error::Refused { attempted, topic, code, reason }
}
