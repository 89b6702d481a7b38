//! For this crate's tests: the machine with its time in hand, asked as a connection asks it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_connection::Address;
use ottla_wire::compression::{Compression, CompressionLevel, Compressor};
use ottla_wire::messages::{
    FetchPartition, FetchPartitionData, FetchRequest, FetchTopic, ProducePartitionData, ProducePartitionResponse,
    ProduceRequest, ProduceTopicData,
};
use ottla_wire::records::{BatchBuilder, ProducerState};
use ottla_wire::{ErrorCode, NodeId, TopicId};

use crate::api::{AnyRequest, AnyResponse, Context};
use crate::fault::{Fault, Faults};
use crate::machine::{Answer, CallId, Machine};
use crate::settings::Settings;
use crate::state::{ClusterState, NewTopic, Now, Partition, PartitionKey};

pub(crate) const TOPIC: &str = "topic";

/// A cluster of three nodes that has one topic of one partition on all of them, led by node 0.
pub(crate) struct TestCluster {
    pub(crate) machine: Machine,
    pub(crate) now: Instant,
    pub(crate) key: PartitionKey,
    pub(crate) fault: Option<Fault>,
    next_call: u64,
}

impl TestCluster {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), &[])
    }

    pub(crate) fn with(settings: Settings, config: &[(&str, &str)]) -> Self {
        let addresses: BTreeMap<_, _> =
            (0..3).map(|node| (NodeId(node), Address::new(format!("broker-{node}"), 9092))).collect();
        let mut machine = Machine::new(ClusterState::new(settings, addresses));
        let new = NewTopic {
            name: TOPIC.to_owned(),
            partitions: Some(1),
            replication_factor: Some(3),
            config: config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..NewTopic::default()
        };
        let topic = machine.state.create_topic(new, false).unwrap();
        // Any origin will do: the machine reads no clock.
        #[allow(clippy::disallowed_methods, reason = "a test's origin of time")]
        let now = Instant::now();
        Self { machine, now, key: PartitionKey { topic, partition: 0 }, fault: None, next_call: 0 }
    }

    pub(crate) fn partition(&self) -> &Partition {
        self.machine.state.partition(self.key).unwrap()
    }

    pub(crate) fn now(&self) -> Now {
        Now { instant: self.now, timestamp_ms: 1_000_000 }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.machine.handle_timeout(self.now());
    }

    /// Changes the state as a handle does.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut ClusterState) -> T) -> T {
        self.machine.change(self.now(), change)
    }

    /// Sends a request to a node; the answers are taken out by [`answer`](Self::answer).
    pub(crate) fn send(&mut self, node: i32, version: i16, request: AnyRequest) -> CallId {
        let faults = Faults::default();
        self.fault.take().map(|fault| faults.inject(fault));
        let refusal =
            faults.next(NodeId(node), ottla_wire::ApiKey::Produce, version).fault.and_then(|hit| hit.refusal());
        let call = CallId(self.next_call);
        self.next_call += 1;
        let context = Context { node: NodeId(node), version, client_id: "client".to_owned(), refusal };
        self.machine.handle_call(self.now(), call, &context, request);
        call
    }

    /// The next answer, if there is one.
    pub(crate) fn answer(&mut self) -> Option<(CallId, Answer)> {
        self.machine.next_answer()
    }

    /// The next answer, which has to be a response.
    pub(crate) fn response(&mut self) -> AnyResponse {
        match self.answer() {
            Some((_, Answer::Response(response))) => response,
            other => panic!("no response but {other:?}"),
        }
    }

    /// Sends a request that is answered at once.
    pub(crate) fn ask(&mut self, node: i32, version: i16, request: AnyRequest) -> AnyResponse {
        self.send(node, version, request);
        self.response()
    }

    pub(crate) fn send_produce(&mut self, node: i32, acks: i16, records: Bytes) -> CallId {
        self.send(node, 10, AnyRequest::Produce(produce(acks, records)))
    }

    pub(crate) fn produced(&mut self) -> ProducePartitionResponse {
        let AnyResponse::Produce(mut response) = self.response() else { panic!("no answer to Produce") };
        response.responses.remove(0).partition_responses.into_vec().remove(0)
    }

    /// Produces with acks=1 to node 0 and returns the offset.
    pub(crate) fn produce(&mut self, records: Bytes) -> i64 {
        let leader = self.partition().leader().unwrap().0;
        self.send_produce(leader, 1, records);
        let produced = self.produced();
        assert_eq!(produced.error_code, ErrorCode::None, "{:?}", produced.error_message());
        produced.base_offset
    }

    /// Fetches without waiting.
    pub(crate) fn fetch(&mut self, node: i32, offset: i64) -> FetchPartitionData {
        let request = fetch(offset);
        self.fetch_with(node, FetchRequest { max_wait_ms: 0, ..request })
    }

    pub(crate) fn fetch_with(&mut self, node: i32, request: FetchRequest) -> FetchPartitionData {
        self.send(node, 12, AnyRequest::Fetch(request));
        self.fetched()
    }

    pub(crate) fn fetched(&mut self) -> FetchPartitionData {
        let AnyResponse::Fetch(mut response) = self.response() else { panic!("no answer to Fetch") };
        response.responses.remove(0).partitions.remove(0)
    }
}

/// A Produce request for the one partition.
pub(crate) fn produce(acks: i16, records: Bytes) -> ProduceRequest {
    let partition_data = vec![ProducePartitionData { index: 0, records: Some(records) }];
    let topic = ProduceTopicData { name: TOPIC.to_owned(), topic_id: TopicId::NONE, partition_data };
    ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], transactional_id: None }
}

/// A Fetch request for the one partition that waits a second for one byte.
pub(crate) fn fetch(fetch_offset: i64) -> FetchRequest {
    let partition = FetchPartition { partition: 0, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), topic_id: TopicId::NONE, partitions: vec![partition] };
    FetchRequest { max_wait_ms: 1000, min_bytes: 1, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
}

/// A batch of records whose timestamps are those, and whose values have ten bytes.
pub(crate) fn batch(timestamps: &[i64]) -> Bytes {
    batch_by(ProducerState::NONE, timestamps)
}

/// The same, of an idempotent producer.
pub(crate) fn batch_by(producer: ProducerState, timestamps: &[i64]) -> Bytes {
    encode(producer, Compression::None, timestamps.iter().map(|timestamp| (*timestamp, None)))
}

/// A batch of so many records of the idempotent producer 7.
pub(crate) fn sequenced(producer_epoch: i16, base_sequence: i32, records: usize) -> Bytes {
    let producer = ProducerState { producer_id: 7, producer_epoch, base_sequence, transactional: false };
    batch_by(producer, &vec![0; records])
}

pub(crate) fn encode<'k>(
    producer: ProducerState,
    compression: Compression,
    records: impl Iterator<Item = (i64, Option<&'k [u8]>)>,
) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (timestamp, key) in records {
        builder.append(timestamp, key, Some(b"ten bytes!"), []).unwrap();
    }
    let mut compressor = Compressor::new(CompressionLevel::from(compression));
    builder.build(&mut compressor, producer).unwrap()
}
