//! The main job, from end to end: page views are written while a group of members reads and counts them. One member is
//! killed, another joins, a broker is stopped and comes back; offsets are committed, and nothing is lost.
//!
//! ```text
//! cargo run --release --example quickstart                               # on an embedded cluster of three nodes
//! cargo run --release --example quickstart -- --bootstrap HOST:PORT      # on a Kafka of yours
//! ```
//!
//! It exits with an error if a record is lost or a count is short.

mod arguments;
mod generations;
mod member;
mod page_views;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla::admin::NewTopic;
use ottla::{Client, Compression, Delivery, NodeId, ProducerRecord, TopicPartition};
use ottla_broker::EmbeddedCluster;
use ottla_cluster::Topics;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::generations::Generations;
use crate::member::{Group, Member, News};
use crate::page_views::{PageView, Tally};

/// Anything that can go wrong.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const PARTITIONS: i32 = 12;
/// The visitors' pace, so that members come and go while there is something to read.
const VIEWS_PER_SECOND: u64 = 100_000;
/// Longer than a session and a rebalance take, by far.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if let Some(servers) = &arguments.bootstrap {
        return count_page_views(servers, None, &arguments).await;
    }
    let cluster = EmbeddedCluster::builder().nodes(3).start().await?;
    println!("An embedded cluster of 3 nodes is up at {}.", cluster.bootstrap_servers());
    let counted = count_page_views(&cluster.bootstrap_servers(), Some(&cluster), &arguments).await;
    cluster.shutdown().await;
    counted
}

async fn count_page_views(
    bootstrap_servers: &str,
    embedded: Option<&EmbeddedCluster>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let client = Client::builder().bootstrap_servers(bootstrap_servers).client_id("quickstart").build()?;
    // On a cluster that others use, too, names of its own.
    let suffix = if embedded.is_some() { String::new() } else { format!("-{}", std::process::id()) };
    let (topic, group_id) = (format!("page-views{suffix}"), format!("page-view-counters{suffix}"));
    let replicas = make_topic(&client, &topic).await?;
    println!("Topic {topic}: {PARTITIONS} partitions, {replicas} replica(s) each. Group {group_id}.");

    let (news, received) = mpsc::unbounded_channel();
    let group = Group {
        bootstrap_servers: bootstrap_servers.to_owned(),
        topic,
        id: group_id,
        assignor: Arc::clone(&arguments.assignor),
        tally: Arc::new(Tally::new(arguments.records)),
        news,
    };
    let mut story = Story::new(&client, group, embedded, received, arguments.records);
    story.tell().await?;
    let outcome = story.report().await;
    if !arguments.keep {
        client.admin().delete_topics([&*story.group.topic]).await?.all()?;
    }
    client.close().await;
    outcome
}

/// As many replicas as the cluster has brokers for, up to three.
async fn make_topic(client: &Client, topic: &str) -> Result<i16, Failure> {
    client.cluster().refresh(Topics::None).await?;
    let replicas = i16::try_from(client.cluster().metadata().brokers().len().min(3))?;
    client.admin().create_topics([NewTopic::new(topic, PARTITIONS, replicas)]).await?.all()?;
    Ok(replicas)
}

/// What happens, and what is known of it.
struct Story<'s> {
    client: &'s Client,
    group: Group,
    embedded: Option<&'s EmbeddedCluster>,
    received: mpsc::UnboundedReceiver<News>,
    records: u64,
    started: Instant,
    members: BTreeMap<&'static str, Member>,
    generations: Generations,
    produced: Arc<AtomicU64>,
    /// The last line of progress: when, produced, consumed.
    progress: (Instant, u64, u64),
}

impl<'s> Story<'s> {
    fn new(
        client: &'s Client,
        group: Group,
        embedded: Option<&'s EmbeddedCluster>,
        received: mpsc::UnboundedReceiver<News>,
        records: u64,
    ) -> Self {
        let (members, generations) = (BTreeMap::new(), Generations::default());
        let (started, produced) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let progress = (started, 0, 0);
        Self { client, group, embedded, received, records, started, members, generations, produced, progress }
    }

    async fn tell(&mut self) -> Result<(), Failure> {
        for name in ["felice", "milena", "ottla"] {
            self.members.insert(name, Member::start(&self.group, name));
        }
        self.until("three members share the partitions", |story| story.is_shared_by(3)).await?;
        let producing = self.produce();

        let early = self.records / 10;
        self.until("a tenth is counted", |story| story.distinct() >= early).await?;
        self.say("milena is killed: her task and her sockets are gone, and she does not leave the group");
        self.generations.happened("milena", "was not heard of for 6 s");
        if let Some(milena) = self.members.remove("milena") {
            milena.kill().await;
        }
        self.until("two members share the partitions", |story| story.is_shared_by(2)).await?;

        self.say("dora joins");
        self.members.insert("dora", Member::start(&self.group, "dora"));
        self.until("three members share the partitions", |story| story.is_shared_by(3)).await?;
        if let Some(cluster) = self.embedded {
            self.stop_and_start_a_node(cluster).await?;
        }

        producing.await??;
        let all = self.records;
        self.until("all is counted", |story| story.distinct() >= all).await?;
        self.show_progress();
        for (name, member) in std::mem::take(&mut self.members) {
            self.generations.happened(name, "left");
            member.stop().await?;
        }
        Ok(())
    }

    /// The coordinator's node, so that the group has to find another one.
    async fn stop_and_start_a_node(&mut self, cluster: &EmbeddedCluster) -> Result<(), Failure> {
        let node: NodeId = cluster.coordinator(&self.group.id).await?;
        self.say(&format!("node {node}, the group's coordinator, is stopped"));
        cluster.stop_node(node).await?;
        let more = (self.distinct() + self.records / 10).min(self.records);
        self.until("counting goes on", |story| story.distinct() >= more).await?;
        self.say(&format!("node {node} comes back"));
        cluster.start_node(node).await?;
        Ok(())
    }

    /// Writes the page views at their pace, in the background.
    fn produce(&self) -> JoinHandle<Result<(), Failure>> {
        let (client, topic) = (self.client.clone(), self.group.topic.clone());
        let (records, count) = (self.records, Arc::clone(&self.produced));
        tokio::spawn(async move {
            let producer = client.producer().compression(Compression::Lz4).build()?;
            let (handles, written) = mpsc::channel(50_000);
            let acknowledged = tokio::spawn(count_acknowledged(written, count));
            let mut random = fastrand::Rng::with_seed(1883);
            let started = Instant::now();
            for id in 0..records {
                let due = started + Duration::from_micros(id * 1_000_000 / VIEWS_PER_SECOND);
                if id % 1_000 == 0 {
                    tokio::time::sleep_until(due).await;
                }
                let view = PageView::new(id, &mut random);
                let record = ProducerRecord::new(&topic).key(&view.page).value(&view.json);
                handles.send(producer.enqueue(record).await?).await?;
            }
            drop(handles);
            acknowledged.await??;
            producer.close(Duration::from_secs(30)).await;
            Ok(())
        })
    }

    fn distinct(&self) -> u64 {
        self.group.tally.counts().distinct
    }

    fn is_shared_by(&self, members: usize) -> bool {
        self.generations.settled(PARTITIONS as usize) == Some(members)
    }

    fn say(&self, what: &str) {
        println!("\n{:>5.1} s  {what}", self.started.elapsed().as_secs_f64());
    }

    /// Goes on until something is so, and shows what happens meanwhile.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while !is_so(self) {
            let ended = self.members.iter().find(|(_, member)| member.has_ended()).map(|(name, _)| *name);
            if let Some(name) = ended
                && let Some(member) = self.members.remove(name)
            {
                member.stop().await?;
                return Err(format!("{name} ended by itself").into());
            }
            if Instant::now() > deadline {
                return Err(format!("waited {PATIENCE:?} until {what}: {} of {}", self.distinct(), self.records).into());
            }
            tokio::select! {
                Some(news) = self.received.recv() => {
                    if let Some(table) = self.generations.table(news) {
                        print!("{table}");
                    }
                }
                _ = tick.tick() => {
                    if self.progress.0.elapsed() >= Duration::from_secs(1) {
                        self.show_progress();
                    }
                }
            }
        }
        Ok(())
    }

    fn show_progress(&mut self) {
        let (now, produced) = (Instant::now(), self.produced.load(Ordering::Relaxed));
        let consumed = self.group.tally.counts().consumed;
        let (before, produced_before, consumed_before) = self.progress;
        let seconds = (now - before).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        println!(
            "{:>5.1} s  produced {produced:>8} ({:>7.0}/s)   consumed {consumed:>8} ({:>7.0}/s)",
            self.started.elapsed().as_secs_f64(),
            rate(produced, produced_before),
            rate(consumed, consumed_before),
        );
        self.progress = (now, produced, consumed);
    }

    /// What came of it; an error where something is missing.
    async fn report(&self) -> Result<(), Failure> {
        let produced = self.produced.load(Ordering::Relaxed);
        let (consumed, duplicates, distinct, strange, mut views) = {
            let counts = self.group.tally.counts();
            let views: Vec<_> = counts.views.iter().map(|(page, views)| (*views, page.clone())).collect();
            (counts.consumed, counts.duplicates, counts.distinct, counts.strange, views)
        };
        println!("\n  produced {produced}, consumed {consumed}, of which {duplicates} twice: {distinct} page views");
        println!("\n  views  page");
        views.sort_by(|one, other| other.cmp(one));
        for (views, page) in views.iter().take(10) {
            println!("  {views:>5}  {page}");
        }
        let lag = self.show_offsets().await?;
        let counted: u64 = views.iter().map(|(views, _)| views).sum();
        if produced != self.records || distinct != produced || counted != produced || strange != 0 || lag != 0 {
            let short = format!("{produced} produced, {distinct} counted, {strange} strange, lag {lag}");
            return Err(format!("not all {} page views came through: {short}", self.records).into());
        }
        println!("\nNothing was lost, in {:.1} s.", self.started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Shows what the group has committed; gives what is left to read behind that.
    async fn show_offsets(&self) -> Result<i64, Failure> {
        let reader = self.client.consumer().group_id(&self.group.id).build()?;
        let partitions = (0..PARTITIONS).map(|index| TopicPartition::new(&*self.group.topic, index));
        let committed = reader.committed(partitions.clone()).await?;
        let ends = reader.end_offsets(partitions).await?;
        println!("\n  partition  committed        end   lag");
        let mut total = 0;
        for (partition, end) in &ends {
            let offset = committed.get(partition).and_then(Option::as_ref).map_or(0, |committed| committed.offset);
            println!("  {:>9}  {offset:>9}  {end:>9}  {:>4}", partition.partition, end - offset);
            total += end - offset;
        }
        reader.close().await?;
        Ok(total)
    }
}

/// Counts what the brokers have acknowledged.
async fn count_acknowledged(
    mut written: mpsc::Receiver<Delivery>,
    produced: Arc<AtomicU64>,
) -> Result<(), ottla::producer::Error> {
    while let Some(delivery) = written.recv().await {
        delivery.await?;
        produced.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
