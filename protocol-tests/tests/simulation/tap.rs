//! A connector that lets everything pass, and reads along what a member asks its coordinator and what it is answered.
//!
//! So the checker knows of every commit that leaves a client, at the moment it does, however short it stands at the broker;
//! and a history tells what the group protocol did. Of the rest only lengths are looked at.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ottla::{Address, Connector, ErrorCode, TopicId, TopicPartition};
use ottla_connection::{BoxedStream, ConnectFuture};
use ottla_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, SyncGroupRequest, SyncGroupResponse,
};
use ottla_wire::{ApiKey, Inspect, Message, Reader, RequestHeader, ResponseHeader, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::history::{Event, History, Name};

/// Names of topics by their ids, as commits may name only these.
pub(crate) type TopicNames = Arc<BTreeMap<TopicId, Arc<str>>>;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    pub(crate) inner: Arc<dyn Connector>,
    pub(crate) member: Name,
    pub(crate) history: History,
    pub(crate) names: TopicNames,
}

impl Connector for Tap {
    fn connect<'a>(&'a self, address: &'a Address) -> ConnectFuture<'a> {
        Box::pin(async move {
            let inner = self.inner.connect(address).await?;
            let stream = TappedStream {
                inner,
                tap: self.clone(),
                requests: Scanner::new(REQUEST_HEADER),
                responses: Scanner::new(RESPONSE_HEADER),
                unanswered: BTreeMap::new(),
            };
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

/// The length, then API, version and correlation id.
const REQUEST_HEADER: usize = 12;
/// The length, then the correlation id.
const RESPONSE_HEADER: usize = 8;

struct TappedStream {
    inner: BoxedStream,
    tap: Tap,
    requests: Scanner,
    responses: Scanner,
    /// Requests by their correlation ids.
    unanswered: BTreeMap<i32, Asked>,
}

/// A request: its API and version, and the offsets that it commits, if it does.
struct Asked {
    api: ApiKey,
    version: i16,
    offsets: Vec<(TopicPartition, i64)>,
}

/// The APIs that are read along.
const APIS: [ApiKey; 5] =
    [ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::Heartbeat, ApiKey::LeaveGroup, ApiKey::OffsetCommit];

impl TappedStream {
    fn sent(&mut self, frame: Bytes) {
        let RequestHeader { api_key, api_version: version, correlation_id, .. } =
            RequestHeader::read_fixed(&mut Reader::new(frame.clone())).unwrap();
        let api = APIS.into_iter().find(|api| api.number() == api_key).unwrap();
        let mut offsets = Vec::new();
        match api {
            ApiKey::JoinGroup => self.asked(api, &request::<JoinGroupRequest>(frame, version), version),
            ApiKey::SyncGroup => self.asked(api, &request::<SyncGroupRequest>(frame, version), version),
            ApiKey::Heartbeat => self.asked(api, &request::<HeartbeatRequest>(frame, version), version),
            ApiKey::LeaveGroup => self.asked(api, &request::<LeaveGroupRequest>(frame, version), version),
            _ => offsets = self.commit_sent(request::<OffsetCommitRequest>(frame, version)),
        }
        self.unanswered.insert(correlation_id, Asked { api, version, offsets });
    }

    fn asked(&self, api: ApiKey, request: &impl Inspect, version: i16) {
        let what = format!("{api:?} {}", short(&request.inspect(version)));
        self.tap.history.record(Event::Asked { member: self.tap.member, what });
    }

    fn commit_sent(&self, request: OffsetCommitRequest) -> Vec<(TopicPartition, i64)> {
        let mut offsets = Vec::new();
        for topic in request.topics {
            let name = self.tap.name(&topic.name, topic.topic_id);
            for partition in topic.partitions {
                let of = TopicPartition::new(Arc::clone(&name), partition.partition_index);
                offsets.push((of, partition.committed_offset));
            }
        }
        for (partition, offset) in offsets.iter().cloned() {
            let member = self.tap.member;
            self.tap.history.record(Event::CommitSent { member, partition, offset });
        }
        offsets
    }

    fn received(&mut self, frame: Bytes) {
        let correlation_id = i32::from_be_bytes(frame[..4].try_into().unwrap());
        let Some(Asked { api, version, offsets }) = self.unanswered.remove(&correlation_id) else { return };
        match api {
            ApiKey::JoinGroup => self.answered(api, &response::<JoinGroupResponse>(frame, version), version),
            ApiKey::SyncGroup => self.answered(api, &response::<SyncGroupResponse>(frame, version), version),
            ApiKey::Heartbeat => match response::<HeartbeatResponse>(frame, version) {
                HeartbeatResponse { error_code: ErrorCode::None, .. } => {
                    self.tap.history.record(Event::Alive { member: self.tap.member });
                }
                refusal => self.answered(api, &refusal, version),
            },
            ApiKey::LeaveGroup => self.answered(api, &response::<LeaveGroupResponse>(frame, version), version),
            _ => self.commit_answered(response::<OffsetCommitResponse>(frame, version), &offsets),
        }
    }

    fn answered(&self, api: ApiKey, response: &impl Inspect, version: i16) {
        let what = format!("{api:?} {}", short(&response.inspect(version)));
        self.tap.history.record(Event::Answered { member: self.tap.member, what });
    }

    fn commit_answered(&self, response: OffsetCommitResponse, asked: &[(TopicPartition, i64)]) {
        for topic in response.topics {
            let name = self.tap.name(&topic.name, topic.topic_id);
            for answered in topic.partitions {
                let (member, of) = (self.tap.member, TopicPartition::new(Arc::clone(&name), answered.partition_index));
                let Some((partition, offset)) = asked.iter().find(|(partition, _)| *partition == of).cloned() else {
                    continue;
                };
                let event = match answered.error_code {
                    ErrorCode::None => Event::CommitAcknowledged { member, partition, offset },
                    error => Event::Answered { member, what: format!("OffsetCommit of {partition}: {error}") },
                };
                self.tap.history.record(event);
            }
        }
    }
}

fn request<M: Message>(frame: Bytes, version: i16) -> M {
    let mut reader = Reader::new(frame);
    RequestHeader::read(&mut reader, M::encoding(version).flexible).unwrap();
    M::decode(&mut reader, version).unwrap()
}

fn response<M: Message>(frame: Bytes, version: i16) -> M {
    let mut reader = Reader::new(frame);
    ResponseHeader::read(&mut reader, ResponseHeader::is_flexible::<M>(version)).unwrap();
    M::decode(&mut reader, version).unwrap()
}

/// What tells in a message, in a few words: no bytes, nothing that is empty.
fn short(value: &Value) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(short).filter(|value| !value.is_empty()).collect();
            if values.is_empty() { String::new() } else { format!("[{}]", values.join(", ")) }
        }
        Value::Struct(fields) => {
            let fields = fields.iter().map(|(name, value)| (name, short(value)));
            let told = fields.filter(|(name, value)| !value.is_empty() && !UNTOLD.contains(name));
            told.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        }
        // Nothing, bytes, and whatever else does not tell in a few words.
        _ => String::new(),
    }
}

/// What is the same always.
const UNTOLD: [&str; 5] =
    ["group_id", "protocol_type", "session_timeout_ms", "rebalance_timeout_ms", "throttle_time_ms"];

impl Tap {
    fn name(&self, name: &str, id: TopicId) -> Arc<str> {
        if name.is_empty() { Arc::clone(&self.names[&id]) } else { name.into() }
    }
}

/// Finds frames in a stream of bytes, and keeps those that are wanted.
struct Scanner {
    header: usize,
    kept: Vec<u8>,
    /// The length of the frame that is kept, with its prefix, once it is known.
    wanted: Option<usize>,
    /// How much is left of one that is not.
    to_skip: usize,
}

impl Scanner {
    fn new(header: usize) -> Self {
        Self { header, kept: Vec::new(), wanted: None, to_skip: 0 }
    }

    /// The wanted frames, without their lengths, that these bytes complete.
    fn feed(&mut self, mut bytes: &[u8], wants: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let skipped = self.to_skip.min(bytes.len());
            self.to_skip -= skipped;
            bytes = &bytes[skipped..];
            let missing = self.wanted.unwrap_or(self.header) - self.kept.len();
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.kept.extend_from_slice(taken);
            bytes = rest;
            if self.wanted.is_none() && self.kept.len() == self.header {
                let length = 4 + u32::from_be_bytes(self.kept[..4].try_into().unwrap()) as usize;
                if wants(&self.kept[4..]) {
                    self.wanted = Some(length);
                } else {
                    self.to_skip = length - self.header;
                    self.kept.clear();
                }
            }
            if self.wanted == Some(self.kept.len()) {
                frames.push(Bytes::from(std::mem::take(&mut self.kept)).slice(4..));
                self.wanted = None;
            }
        }
        frames
    }
}

impl AsyncWrite for TappedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = &written {
            let is_read = |header: &[u8]| APIS.iter().any(|api| header[..2] == api.number().to_be_bytes());
            for frame in self.requests.feed(&bytes[..*written], is_read) {
                self.sent(frame);
            }
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl AsyncRead for TappedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        let this = &mut *self;
        let unanswered = &this.unanswered;
        let is_answer = |header: &[u8]| unanswered.contains_key(&i32::from_be_bytes(header[..4].try_into().unwrap()));
        for frame in this.responses.feed(&buffer.filled()[before..], is_answer) {
            this.received(frame);
        }
        read
    }
}
