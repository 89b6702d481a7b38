//! An application that blocks its thread: on a current-thread runtime that is the thread of the heartbeats, too.
//!
//! Real time and real threads, here alone: what blocks is the thread itself.

use std::sync::mpsc;
use std::time::Duration;

use ottla_broker::{EmbeddedCluster, Transport};
use ottla_cluster::{Cluster, ClusterConfig};
use ottla_consumer::{AutoOffsetReset, ConsumerBuilder};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::setup::TOPIC;

const SESSION: Duration = Duration::from_millis(2500);
const HEARTBEAT: Duration = Duration::from_millis(100);
const GROUP: &str = "blocking";

/// A broker on threads of its own, that allows for short sessions.
fn broker(runtime: &Runtime) -> EmbeddedCluster {
    runtime.block_on(async {
        let builder = EmbeddedCluster::builder().transport(Transport::Tcp { port: 0 });
        let cluster = builder.group_min_session_timeout(SESSION).start().await.unwrap();
        cluster.create_topic(TOPIC, 1, 1).await.unwrap();
        cluster
    })
}

/// Joins, then blocks its thread until the member is gone or `is_done` says so; gives how many members there were then.
fn members_while_blocked(consumer_runtime: Option<Handle>, blocked_for: Duration) -> usize {
    let broker_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = broker(&broker_runtime);
    let application = Builder::new_current_thread().enable_all().build().unwrap();
    application.block_on(async {
        let address = cluster.bootstrap_servers().parse().unwrap();
        let config = ClusterConfig::new([address]);
        let config = match consumer_runtime {
            Some(runtime) => config.runtime(runtime),
            None => config,
        };
        let builder = ConsumerBuilder::new(Cluster::new(config).unwrap()).auto_offset_reset(AutoOffsetReset::Earliest);
        let builder = builder.group_id(GROUP).session_timeout(SESSION).heartbeat_interval(HEARTBEAT);
        let mut consumer = builder.build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        while consumer.assignment().is_empty() {
            assert!(consumer.poll(Duration::from_millis(50)).await.unwrap().is_empty());
        }
        let (tell, told) = mpsc::channel();
        broker_runtime.spawn(watch(cluster, blocked_for, tell));
        // Blocks the thread: no task of this runtime runs until the watch has its answer.
        let members = told.recv().unwrap();
        drop(consumer);
        members
    })
}

/// Waits until the group has lost its member, or has kept it for so long.
async fn watch(cluster: EmbeddedCluster, time: Duration, tell: mpsc::Sender<usize>) {
    let lost = async {
        loop {
            if cluster.describe_group(GROUP).await.unwrap().members.is_empty() {
                return 0;
            }
            tokio::time::sleep(HEARTBEAT / 2).await;
        }
    };
    let members = match tokio::time::timeout(time, lost).await {
        Ok(members) => members,
        Err(_) => cluster.describe_group(GROUP).await.unwrap().members.len(),
    };
    tell.send(members).unwrap();
}

#[test]
fn blocking_the_thread_of_a_current_thread_runtime_blocks_the_heartbeats() {
    assert_eq!(members_while_blocked(None, Duration::from_mins(1)), 0);
}

#[test]
fn on_a_runtime_of_their_own_heartbeats_go_on_while_the_application_blocks() {
    let own = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    assert_eq!(members_while_blocked(Some(own.handle().clone()), 2 * SESSION), 1);
}
