//! What the leader of a generation does: read what the members want, run the assignor, check what it says, and write it
//! down for each member. Pure; the driver brings what is known of the topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::TopicPartition;
use ottla_wire::consumer_protocol::{Assignment, HIGHEST_VERSION, Subscription};
use ottla_wire::messages::{JoinGroupResponseMember, SyncGroupRequestAssignment};

use super::watch::Watch;
use crate::assignor::{self, Assignor, GroupMember, MemberAssignment, RebalanceProtocol, Topics};
use crate::event::AssignedMember;
use crate::{AssignmentFault, Error};

/// An assignment that is to be made.
#[derive(Debug)]
pub(crate) struct AssignJob {
    group: Arc<str>,
    assignor: Arc<dyn Assignor>,
    protocol: RebalanceProtocol,
    members: Vec<GroupMember>,
    /// The lowest version that a member wrote its subscription in: what all can read.
    version: i16,
    is_skipped: bool,
    topics: BTreeSet<Arc<str>>,
}

/// An assignment that was made.
#[derive(Debug, PartialEq)]
pub(crate) struct LeaderAssignment {
    /// `None` where the coordinator keeps the assignment that there was (KIP-814).
    pub(super) group: Option<Arc<[AssignedMember]>>,
    pub(super) assignments: Vec<SyncGroupRequestAssignment>,
    pub(super) watch: Watch,
}

impl AssignJob {
    pub(super) fn new(
        group: Arc<str>,
        assignor: Arc<dyn Assignor>,
        protocol: RebalanceProtocol,
        described: Vec<JoinGroupResponseMember>,
        is_skipped: bool,
    ) -> Result<Self, Error> {
        let mut members = Vec::with_capacity(described.len());
        let (mut version, mut topics) = (HIGHEST_VERSION, BTreeSet::new());
        for JoinGroupResponseMember { member_id, group_instance_id, metadata } in described {
            version = version.min(version_of(&metadata));
            let subscription = Subscription::decode(metadata).map_err(|source| Error::Subscription {
                group: Arc::clone(&group),
                member_id: member_id.as_str().into(),
                source,
            })?;
            for topic in subscription.topics.iter() {
                if !topics.contains(topic) {
                    topics.insert(Arc::from(topic));
                }
            }
            members.push(GroupMember::new(member_id, group_instance_id, subscription));
        }
        Ok(Self { group, assignor, protocol, members, version, is_skipped, topics })
    }

    /// All topics that a member subscribes to.
    pub(crate) fn topics(&self) -> &BTreeSet<Arc<str>> {
        &self.topics
    }

    /// Assigns what is known of those topics.
    pub(crate) fn run(self, known: Topics) -> Result<LeaderAssignment, Error> {
        let (mut group, mut assignments) = (None, Vec::new());
        if !self.is_skipped {
            let assigned = assignor::call(|| self.assignor.assign(&known, &self.members));
            let results = assigned.map_err(|source| Error::Assignor {
                group: Arc::clone(&self.group),
                assignor: self.assignor.name().into(),
                source: source.into(),
            })?;
            self.check(&known, &results).map_err(|fault| Error::InvalidAssignment {
                group: Arc::clone(&self.group),
                assignor: self.assignor.name().into(),
                fault,
            })?;
            assignments = self.encode(&results)?;
            group = Some(self.describe(results));
        }
        Ok(LeaderAssignment { group, assignments, watch: Watch::new(self.topics, known) })
    }

    /// An assignor is the user's own code, perhaps: what it says is not believed.
    fn check(&self, known: &Topics, results: &[MemberAssignment]) -> Result<(), AssignmentFault> {
        if results.len() != self.members.len() {
            return Err(AssignmentFault::ResultCount { members: self.members.len(), results: results.len() });
        }
        let mut given: BTreeMap<&TopicPartition, &str> = BTreeMap::new();
        for (member, result) in self.members.iter().zip(results) {
            let subscribed: BTreeSet<&str> = member.subscription.topics.iter().collect();
            for partition in &result.partitions {
                let member_id = || Arc::from(member.member_id.as_str());
                if !subscribed.contains(&*partition.topic) {
                    let partition = partition.clone();
                    return Err(AssignmentFault::NotSubscribed { partition, member_id: member_id() });
                }
                let count = known.0.get(&partition.topic).map_or(0, |topic| topic.count);
                if !(0..count).contains(&partition.partition) {
                    let partition = partition.clone();
                    return Err(AssignmentFault::UnknownPartition { partition, member_id: member_id() });
                }
                if let Some(first) = given.insert(partition, &member.member_id) {
                    let (partition, first) = (partition.clone(), first.into());
                    return Err(AssignmentFault::AssignedTwice { partition, first, second: member_id() });
                }
            }
        }
        // The assignor of that name knows better who owns a partition that two members claim: it goes by generations.
        if self.protocol == RebalanceProtocol::Cooperative && self.assignor.name() != COOPERATIVE_STICKY {
            self.check_withheld(&given)?;
        }
        Ok(())
    }

    /// A partition may not move from one member to another before the first has given it up.
    fn check_withheld(&self, given: &BTreeMap<&TopicPartition, &str>) -> Result<(), AssignmentFault> {
        let mut owners: BTreeMap<TopicPartition, Vec<&str>> = BTreeMap::new();
        for member in &self.members {
            for (topic, index) in member.subscription.owned_partitions.partitions() {
                owners.entry(TopicPartition::new(topic, index)).or_default().push(&member.member_id);
            }
        }
        for (partition, owners) in owners {
            let Some(member_id) = given.get(&partition) else { continue };
            if let Some(owner) = owners.first().filter(|_| !owners.contains(member_id)) {
                let (member_id, owner) = (Arc::from(*member_id), Arc::from(*owner));
                return Err(AssignmentFault::StillOwned { partition, member_id, owner });
            }
        }
        Ok(())
    }

    fn encode(&self, results: &[MemberAssignment]) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
        let encode = |(member, result): (&GroupMember, &MemberAssignment)| {
            let partitions = result.partitions.iter().map(|given| (&given.topic, given.partition)).collect();
            let assignment = Assignment { partitions, user_data: result.user_data.clone() };
            let assignment = assignment.encode(self.version).map_err(|source| Error::Encode {
                group: Arc::clone(&self.group),
                member_id: member.member_id.as_str().into(),
                source,
            })?;
            Ok(SyncGroupRequestAssignment { member_id: member.member_id.clone(), assignment })
        };
        self.members.iter().zip(results).map(encode).collect()
    }

    fn describe(&self, results: Vec<MemberAssignment>) -> Arc<[AssignedMember]> {
        let describe = |(member, result): (&GroupMember, MemberAssignment)| {
            let owned = member.subscription.owned_partitions.partitions();
            AssignedMember {
                member_id: member.member_id.as_str().into(),
                group_instance_id: member.group_instance_id.as_deref().map(Into::into),
                owned_before: owned.map(|(topic, partition)| TopicPartition::new(topic, partition)).collect(),
                partitions: result.partitions.into_iter().collect(),
            }
        };
        self.members.iter().zip(results).map(describe).collect()
    }
}

/// The version that a subscription says it is written in.
fn version_of(metadata: &Bytes) -> i16 {
    let version = metadata.first_chunk::<2>().map_or(0, |bytes| i16::from_be_bytes(*bytes));
    version.clamp(0, HIGHEST_VERSION)
}

const COOPERATIVE_STICKY: &str = "cooperative-sticky";
