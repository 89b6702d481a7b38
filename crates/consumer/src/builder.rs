//! How a consumer is configured: by methods, or by Kafka's textual names.

use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::{Cluster, InvalidSetting, WallClock};
use ottla_coordinator::assignor::{Assignor, CooperativeStickyAssignor, RangeAssignor};
use ottla_coordinator::{Coordinator, GroupConfig};
use ottla_fetcher::{AutoOffsetReset, Fetcher, FetcherConfig, IsolationLevel, OnTruncation};

use crate::listener::{AnyListener, RebalanceListener};
use crate::shared::{Shared, Timeouts};
use crate::{Consumer, Error};

/// The settings of a [`Consumer`]. The names and defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    cluster: Cluster,
    pub(crate) fetcher: FetcherConfig,
    pub(crate) group: GroupConfig,
    pub(crate) default_api_timeout: Option<Duration>,
    pub(crate) enable_auto_commit: Option<bool>,
    pub(crate) auto_commit_interval: Duration,
    pub(crate) partition_drain_timeout: Duration,
    listener: Option<AnyListener>,
}

impl ConsumerBuilder {
    /// A consumer of `cluster`, with the default settings.
    pub fn new(cluster: Cluster) -> Self {
        let mut group = GroupConfig::new("");
        group.assignors = vec![Arc::new(RangeAssignor), Arc::new(CooperativeStickyAssignor)];
        Self {
            cluster,
            fetcher: FetcherConfig::default(),
            group,
            default_api_timeout: None,
            enable_auto_commit: None,
            auto_commit_interval: Duration::from_secs(5),
            partition_drain_timeout: Duration::from_secs(30),
            listener: None,
        }
    }

    /// `group.id`: the group whose members share the partitions of the topics that they subscribe to, and whose offsets
    /// are committed. Default none: partitions are assigned by the application, and nothing is committed.
    pub fn group_id(mut self, group_id: impl Into<String>) -> Self {
        self.group.group_id = group_id.into();
        self
    }

    /// `group.instance.id`: makes the consumer a static member (KIP-345), which keeps its partitions while it is away
    /// for less than the session timeout, and which closing does not take out of the group. Default none.
    pub fn group_instance_id(mut self, id: impl Into<String>) -> Self {
        self.group.group_instance_id = Some(id.into());
        self
    }

    /// `partition.assignment.strategy`: the assignors that the member can go by, the most wanted first; own ones, too. All members
    /// of a group need one in common. Default: range and cooperative-sticky, which goes by range until all members can
    /// do without.
    pub fn partition_assignment_strategy(mut self, assignors: impl IntoIterator<Item = Arc<dyn Assignor>>) -> Self {
        self.group.assignors = assignors.into_iter().collect();
        self
    }

    /// `session.timeout.ms`: the group removes a member of which it has not heard for so long. Default 45 s.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.group.session_timeout = timeout;
        self
    }

    /// `heartbeat.interval.ms`: how often the member shows that it is alive. Default 3 s.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.group.heartbeat_interval = interval;
        self
    }

    /// `max.poll.interval.ms`: a consumer that does not poll for so long leaves the group. Also how long members have
    /// to come back when the group rebalances. Default 5 minutes.
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.group.max_poll_interval = interval;
        self
    }

    /// `client.rack`: where the consumer stands: for assignors that mind (KIP-881), and to be sent to a replica there where the cluster
    /// chooses replicas by rack (KIP-392). Default none.
    pub fn client_rack(mut self, rack: impl Into<String>) -> Self {
        self.group.client_rack = Some(rack.into());
        self
    }

    /// `enable.auto.commit`: whether what the application has come back from is committed on the clock, before
    /// partitions are given up, and in `close`. Default true where there is a group.
    pub fn enable_auto_commit(mut self, enable: bool) -> Self {
        self.enable_auto_commit = Some(enable);
        self
    }

    /// `auto.commit.interval.ms`: how often. Default 5 s.
    pub fn auto_commit_interval(mut self, interval: Duration) -> Self {
        self.auto_commit_interval = interval;
        self
    }

    /// `partition.drain.timeout.ms`, Ottla's own: how long the readers of [partition
    /// streams](Consumer::into_partition_streams) have to end when their partitions are revoked. Default 30 s. The other
    /// members wait meanwhile, and so do the partitions that stay.
    pub fn partition_drain_timeout(mut self, timeout: Duration) -> Self {
        self.partition_drain_timeout = timeout;
        self
    }

    /// Who is told when partitions come and go.
    pub fn rebalance_listener(mut self, listener: impl RebalanceListener) -> Self {
        self.listener = Some(AnyListener::new(listener));
        self
    }

    /// `auto.offset.reset`: where to start where there is no position, or one that the log does not have. Default
    /// latest. Textually `earliest`, `latest`, `none`, or `by_duration:PT1H` with any ISO 8601 duration (KIP-1106).
    ///
    /// A topic that is deleted and made anew under its name is noticed by its id, where the cluster has ids (Kafka 2.8). What was
    /// received of the former one is handed out; then the new one is read from its start, whatever the policy says of a first start,
    /// because nobody has read it, and [`next_error`](crate::ConsumerHandle::next_error) tells. With `none`, poll tells
    /// ([`TopicRecreated`](ottla_fetcher::Error::TopicRecreated)) until the partition is sought. Offsets that a group has committed for the former topic
    /// go with it; but what is committed after it was made anew, and before its readers have noticed, stands for the new one.
    pub fn auto_offset_reset(mut self, policy: AutoOffsetReset) -> Self {
        self.fetcher.auto_offset_reset = policy;
        self
    }

    /// `on.truncation`, Ottla's own: what to do where the log was truncated before the position, so that records which were read
    /// are gone from it (KIP-320). Default: read on where the log parted from what was read, and tell by
    /// [`next_error`](crate::ConsumerHandle::next_error); where `auto.offset.reset` is none, poll tells instead.
    pub fn on_truncation(mut self, on_truncation: OnTruncation) -> Self {
        self.fetcher.on_truncation = on_truncation;
        self
    }

    /// What [`AutoOffsetReset::ByDuration`] and [`StartAt::Ago`](crate::StartAt::Ago) count back from. Default the system's clock.
    pub fn wall_clock(mut self, clock: WallClock) -> Self {
        self.fetcher.wall_clock = clock;
        self
    }

    /// `isolation.level`: whether records of open and aborted transactions are handed out. Default read_uncommitted:
    /// they are.
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.fetcher.isolation_level = level;
        self
    }

    /// `fetch.min.bytes`: a broker answers once it has this many bytes. Default 1.
    pub fn fetch_min_bytes(mut self, bytes: i32) -> Self {
        self.fetcher.fetch_min_bytes = bytes;
        self
    }

    /// `fetch.max.bytes`: the most that one answer is asked to hold. Default 50 MiB. A single batch may be larger. Less is asked
    /// for where more is not worth it: 2 MiB of a broker near by, as such answers stay in a CPU's cache.
    pub fn fetch_max_bytes(mut self, bytes: i32) -> Self {
        self.fetcher.fetch_max_bytes = bytes;
        self
    }

    /// `fetch.max.wait.ms`: how long a broker waits for `fetch_min_bytes`. Default 500 ms.
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.fetcher.fetch_max_wait = wait;
        self
    }

    /// `fetch.sessions`, Ottla's own: whether brokers are asked to remember what is read (KIP-227), so that requests and answers
    /// name only what has changed. Default true. A broker that remembers nothing is read all the same.
    pub fn fetch_sessions(mut self, are_wanted: bool) -> Self {
        self.fetcher.fetch_sessions = are_wanted;
        self
    }

    /// `max.partition.fetch.bytes`: the most that one answer is asked to hold of a partition, but for a single batch that is
    /// larger. Default 1 MiB, and up to half of `fetch.buffer.max.bytes` where batches are large and differ in size: a
    /// broker cuts the last one, which is fetched again, and so less than a hundredth is.
    pub fn max_partition_fetch_bytes(mut self, bytes: i32) -> Self {
        self.fetcher.max_partition_fetch_bytes = Some(bytes);
        self
    }

    /// `check.crcs`: whether the checksum of each batch is compared. Default true.
    pub fn check_crcs(mut self, check: bool) -> Self {
        self.fetcher.check_crcs = check;
        self
    }

    /// `fetch.buffer.max.bytes`, Ottla's own: the one bound on memory for data, over what is in flight, buffered,
    /// decompressed, and handed out and still held. Default 32 MiB, at least 64 KiB. A batch that is larger still gets
    /// through, alone.
    pub fn fetch_buffer_max_bytes(mut self, bytes: usize) -> Self {
        self.fetcher.fetch_buffer_max_bytes = bytes;
        self
    }

    /// `max.decompressed.batch.bytes`, Ottla's own: the most that one batch may decompress to. Default 128 MiB. A batch
    /// beyond it is an error of its partition.
    pub fn max_decompressed_batch_bytes(mut self, bytes: usize) -> Self {
        self.fetcher.max_decompressed_batch_bytes = bytes;
        self
    }

    /// `max.poll.bytes`, Ottla's own: about how many bytes of records one poll hands out. Default 512 KiB: few enough
    /// to stay in a CPU's cache until they are read.
    pub fn max_poll_bytes(mut self, bytes: usize) -> Self {
        self.fetcher.max_poll_bytes = bytes;
        self
    }

    /// `default.api.timeout.ms`: how long `beginning_offsets`, `end_offsets`, `offsets_for_times` and `position` try.
    /// Default: the client's.
    pub fn default_api_timeout(mut self, timeout: Duration) -> Self {
        self.default_api_timeout = Some(timeout);
        self
    }

    /// The consumer. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] names a setting that cannot be, or that contradicts another.
    pub fn build(mut self) -> Result<Consumer, Error> {
        let default_api = self.default_api_timeout.unwrap_or(self.cluster.config().default_api_timeout);
        let has_group = !self.group.group_id.is_empty();
        let interval = self.check_auto_commit(has_group)?;
        // As in Java: whoever reads only what is committed starts only at offsets that are.
        self.group.require_stable = true;
        self.fetcher.client_rack.clone_from(&self.group.client_rack);
        let max_poll_interval = self.group.max_poll_interval;
        let group = if has_group { Some(Coordinator::new(self.cluster.clone(), self.group)?) } else { None };
        let fetcher = Fetcher::new(self.cluster.clone(), self.fetcher)?;
        let timeouts = Timeouts { default_api, max_poll_interval, drain: self.partition_drain_timeout };
        let handle = group.as_ref().map(|group| group.handle().clone());
        let shared = Shared::new(self.cluster, fetcher.handle().clone(), handle, self.listener, timeouts, interval);
        Ok(Consumer::new(Arc::new(shared), fetcher, group))
    }

    /// The interval of automatic commits, if there are any.
    fn check_auto_commit(&self, has_group: bool) -> Result<Option<Duration>, Error> {
        let invalid = |setting, value: String, reason| Err(InvalidSetting::new(setting, value, reason).into());
        if self.enable_auto_commit == Some(true) && !has_group {
            return invalid("enable.auto.commit", "true".to_owned(), "which needs a group.id");
        }
        if self.group.group_instance_id.is_some() && !has_group {
            let id = self.group.group_instance_id.clone().unwrap_or_default();
            return invalid("group.instance.id", id, "which needs a group.id");
        }
        let interval = self.auto_commit_interval;
        if interval.is_zero() || interval > LONGEST_INTERVAL {
            let (setting, reason) = ("auto.commit.interval.ms", "which is not between 1 ms and 24 days");
            return Err(InvalidSetting::of_duration(setting, interval, reason).into());
        }
        if self.partition_drain_timeout > LONGEST_INTERVAL {
            let (setting, reason) = ("partition.drain.timeout.ms", "which is more than 24 days");
            return Err(InvalidSetting::of_duration(setting, self.partition_drain_timeout, reason).into());
        }
        Ok((has_group && self.enable_auto_commit.unwrap_or(true)).then_some(interval))
    }
}

/// What Kafka's settings can say: 2^31 milliseconds.
const LONGEST_INTERVAL: Duration = Duration::from_millis(i32::MAX as u64);
