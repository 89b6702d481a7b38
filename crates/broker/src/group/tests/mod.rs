//! A group with its time in hand: what is answered in which state, and when what happens by itself.

mod cells;
mod joining;
mod random;
mod static_members;
mod times;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{JoinGroupRequestProtocol, JoinGroupResponse, SyncGroupResponse};

use super::{
    Action, Committer, Group, GroupLimits, GroupMetadata, GroupState, Join, Leave, Reply, ReplyId, Sync, Written,
};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_mins(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A group, and what it has answered.
struct Fixture {
    group: Group,
    now: Instant,
    next_reply: u64,
    replies: BTreeMap<ReplyId, Reply>,
    /// What was written last, and whether that is safe at once.
    written: Option<GroupMetadata>,
    writes_are_safe: bool,
    unsafe_writes: Vec<Written>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(GroupLimits { initial_rebalance_delay: Duration::ZERO, max_size: 10 })
    }

    fn with(limits: GroupLimits) -> Self {
        // Any origin will do: a group reads no clock.
        #[allow(clippy::disallowed_methods, reason = "a test's origin of time")]
        let now = Instant::now();
        let group = Group::new("group".into(), limits);
        let (replies, unsafe_writes) = (BTreeMap::new(), Vec::new());
        Self { group, now, next_reply: 0, replies, written: None, writes_are_safe: true, unsafe_writes }
    }

    /// A stable group of members of those ids, the first of them its leader.
    fn stable(members: &[&str]) -> Self {
        let mut fixture = Self::completing(members);
        for member in members.iter().rev() {
            fixture.sync(member);
        }
        assert_eq!(fixture.group.state(), GroupState::Stable);
        fixture
    }

    /// A group whose members of those ids have joined, the first of them its leader.
    fn completing(members: &[&str]) -> Self {
        let mut fixture = Self::new();
        for member in members {
            fixture.join_new(member);
        }
        fixture.pass(Duration::ZERO);
        assert_eq!(fixture.group.state(), GroupState::CompletingRebalance);
        fixture
    }

    fn request(&mut self, member_id: &str) -> Join {
        self.next_reply += 1;
        Join {
            reply: ReplyId(self.next_reply),
            member_id: member_id.to_owned(),
            new_member_id: String::new(),
            instance_id: None,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".to_owned(),
            protocols: protocols(&["range"]),
            requires_known_member_id: false,
            can_skip_assignment: true,
        }
    }

    fn handle_join(&mut self, join: Join) -> ReplyId {
        let reply = join.reply;
        self.group.handle_join(self.now, join);
        self.carry_out();
        reply
    }

    /// A new dynamic member joins, by an old client, and is given that id.
    fn join_new(&mut self, member_id: &str) -> ReplyId {
        let join = self.request("");
        self.handle_join(Join { new_member_id: member_id.to_owned(), ..join })
    }

    /// A static member joins without its id, and is given that one.
    fn join_static(&mut self, instance_id: &str, member_id: &str) -> ReplyId {
        let join = self.request("");
        let instance_id = Some(instance_id.to_owned());
        self.handle_join(Join { new_member_id: member_id.to_owned(), instance_id, ..join })
    }

    fn rejoin(&mut self, member_id: &str) -> ReplyId {
        let join = self.request(member_id);
        self.handle_join(join)
    }

    fn handle_sync(&mut self, member_id: &str, generation_id: i32) -> ReplyId {
        self.next_reply += 1;
        let assignments = self.group.members.keys().map(|id| (id.clone(), Bytes::from(format!("of {id}"))));
        let sync = Sync {
            reply: ReplyId(self.next_reply),
            member_id: member_id.to_owned(),
            instance_id: None,
            generation_id,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: assignments.collect(),
        };
        self.group.handle_sync(sync);
        self.carry_out();
        ReplyId(self.next_reply)
    }

    /// A member of the current generation asks for its assignment; the leader brings all.
    fn sync(&mut self, member_id: &str) -> ReplyId {
        self.handle_sync(member_id, self.group.generation_id)
    }

    fn heartbeat(&mut self, member_id: &str) -> ErrorCode {
        let beat = self.group.handle_heartbeat(self.now, member_id, None, self.group.generation_id);
        self.carry_out();
        beat.err().unwrap_or(ErrorCode::None)
    }

    fn leave(&mut self, member_id: &str) -> ErrorCode {
        let left = self.group.handle_leave(self.now, &[Leave { member_id: member_id.to_owned(), instance_id: None }]);
        self.carry_out();
        left.map_or_else(|code| code, |codes| codes[0])
    }

    fn commit(&mut self, member_id: &str, generation_id: i32) -> ErrorCode {
        let committer = Committer { member_id, instance_id: None, generation_id };
        self.group.handle_commit(self.now, committer).err().unwrap_or(ErrorCode::None)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.handle_timeout(self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            let actions = self.group.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                match action {
                    Action::Reply(id, reply) => assert_eq!(self.replies.insert(id, reply), None, "answered twice"),
                    Action::Write(metadata, written) => {
                        self.written = Some(metadata);
                        if self.writes_are_safe {
                            self.group.handle_written(self.now, written);
                        } else {
                            self.unsafe_writes.push(written);
                        }
                    }
                }
            }
        }
    }

    fn joined(&mut self, reply: ReplyId) -> JoinGroupResponse {
        match self.replies.remove(&reply) {
            Some(Reply::Join(response)) => response,
            other => panic!("no answer to a JoinGroup but {other:?}"),
        }
    }

    fn synced(&mut self, reply: ReplyId) -> SyncGroupResponse {
        match self.replies.remove(&reply) {
            Some(Reply::Sync(response)) => response,
            other => panic!("no answer to a SyncGroup but {other:?}"),
        }
    }

    fn waits(&self, reply: ReplyId) -> bool {
        !self.replies.contains_key(&reply)
    }

    fn member_ids(&self) -> Vec<&str> {
        self.group.members.keys().map(String::as_str).collect()
    }
}

fn protocols(names: &[&str]) -> Vec<JoinGroupRequestProtocol> {
    let protocol = |name: &&str| JoinGroupRequestProtocol {
        name: (*name).to_owned(),
        metadata: Bytes::from_static(b"subscription"),
    };
    names.iter().map(protocol).collect()
}

/// A millisecond less.
fn just_under(time: Duration) -> Duration {
    time.saturating_sub(MILLISECOND)
}
