//! What stands in a Produce request, and which batch each part of its answer is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_cluster::{Address, Broker, Leader, Metadata};
use ottla_wire::messages::{
    ProducePartitionData, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicData,
};
use ottla_wire::{NodeId, TopicId, TopicPartition};

use crate::accumulator::PartitionKey;
use crate::sender::{Leaders, OutgoingBatch};

impl Leaders for Metadata {
    fn leader(&self, partition: &TopicPartition) -> Option<NodeId> {
        Self::leader(self, &partition.topic, partition.partition).map(|leader| leader.node)
    }
}

/// What a request asked for, so that its answer can be told apart: by topic id from version 13 on, before by name.
#[derive(Debug)]
pub(crate) struct Asked {
    topics: Vec<AskedTopic>,
}

#[derive(Debug)]
struct AskedTopic {
    place: usize,
    name: Arc<str>,
    id: TopicId,
}

/// The request that brings these batches, a topic's together.
pub(crate) fn produce_request(
    batches: &[OutgoingBatch],
    metadata: &Metadata,
    acks: i16,
    timeout_ms: i32,
) -> (ProduceRequest, Asked) {
    let mut by_topic: BTreeMap<usize, (AskedTopic, Vec<ProducePartitionData>)> = BTreeMap::new();
    for batch in batches {
        let (_, partitions) = by_topic.entry(batch.key.topic).or_insert_with(|| {
            let name = Arc::clone(&batch.topic_partition.topic);
            let id = metadata.topic(&name).and_then(|topic| topic.id).unwrap_or(TopicId::NONE);
            (AskedTopic { place: batch.key.topic, name, id }, Vec::new())
        });
        partitions.push(ProducePartitionData { index: batch.key.partition, records: Some(batch.records.clone()) });
    }
    let mut topics = Vec::with_capacity(by_topic.len());
    let mut topic_data = Vec::with_capacity(by_topic.len());
    for (topic, partition_data) in by_topic.into_values() {
        topic_data.push(ProduceTopicData { name: topic.name.to_string(), topic_id: topic.id, partition_data });
        topics.push(topic);
    }
    (ProduceRequest { transactional_id: None, acks, timeout_ms, topic_data }, Asked { topics })
}

/// The answer, partition by partition, and the leaders that it names (KIP-951). What was not asked for is left out.
pub(crate) fn answers(asked: &Asked, response: ProduceResponse) -> Answers {
    let mut answers = Answers::default();
    for endpoint in response.node_endpoints {
        // A port that is none would be a mistake of the broker's; metadata will tell the right one.
        if let Ok(port) = u16::try_from(endpoint.port) {
            let (address, rack) = (Address::new(endpoint.host, port), endpoint.rack.map(Into::into));
            answers.nodes.push(Broker::new(endpoint.node_id, address, rack));
        }
    }
    for topic in response.responses {
        let is_it = |asked: &&AskedTopic| match topic.topic_id.known() {
            Some(id) => asked.id == id,
            None => *asked.name == *topic.name,
        };
        let Some(asked) = asked.topics.iter().find(is_it) else { continue };
        for partition in topic.partition_responses {
            let hint = &partition.current_leader;
            if let Some(node) = hint.leader_id.known() {
                let topic_partition = TopicPartition::new(Arc::clone(&asked.name), partition.index);
                answers.leaders.push((topic_partition, Leader { node, epoch: hint.leader_epoch.known() }));
            }
            answers.by_partition.insert(PartitionKey { topic: asked.place, partition: partition.index }, partition);
        }
    }
    answers
}

/// An answer, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) by_partition: BTreeMap<PartitionKey, ProducePartitionResponse>,
    pub(crate) leaders: Vec<(TopicPartition, Leader)>,
    /// Where those listen.
    pub(crate) nodes: Vec<Broker>,
}
