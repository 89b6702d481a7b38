//! A cluster of real brokers: configuration, start, faults and end.

use std::fmt::{Display, Write as _};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs};

use super::{Signal, Supervisor, Toolbox};

/// How long a broker may take until it serves. A JVM on a busy machine needs its time.
const START_TIMEOUT: Duration = Duration::from_mins(3);
/// How long an orderly stop may take before the broker is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Another process may take a port between our choice and the broker's bind.
const START_ATTEMPTS: usize = 3;

/// A running cluster. Dropping it kills the brokers and removes their data.
#[derive(Debug)]
pub struct KafkaCluster {
    toolbox: Toolbox,
    directory: PathBuf,
    ports: Vec<u16>,
    supervisor: Supervisor,
}

/// What [`KafkaCluster::builder`] collects.
#[derive(Debug, Clone)]
pub struct KafkaClusterBuilder {
    toolbox: Toolbox,
    nodes: usize,
    settings: Vec<(String, String)>,
}

impl KafkaClusterBuilder {
    /// How many brokers, 1 to 3. Default: 1.
    pub fn nodes(mut self, nodes: usize) -> Self {
        assert!((1..=3).contains(&nodes), "a test cluster has one to three brokers, not {nodes}");
        self.nodes = nodes;
        self
    }

    /// A broker setting by Kafka's name; the last one wins.
    pub fn setting(mut self, name: &str, value: impl Display) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts the cluster and waits until every broker serves.
    pub async fn start(self) -> io::Result<KafkaCluster> {
        let mut attempt = 1;
        loop {
            match self.try_start().await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < START_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_start(&self) -> io::Result<KafkaCluster> {
        let ports = free_ports(2 * self.nodes)?;
        let (ports, controller_ports) = ports.split_at(self.nodes);
        let directory = new_directory()?;
        let command = ["java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
            .into_iter()
            .map(str::to_owned)
            .chain(["-Dorg.slf4j.simpleLogger.defaultLogLevel=info".to_owned(), "-cp".to_owned()])
            .chain([self.toolbox.class_path(), "kafka.Kafka".to_owned()])
            .collect::<Vec<_>>();
        let cluster = KafkaCluster {
            toolbox: self.toolbox.clone(),
            supervisor: Supervisor::start(&directory, &command)?,
            ports: ports.to_vec(),
            directory,
        };
        for node in 0..self.nodes {
            let file = cluster.configuration_file(node);
            fs::write(&file, self.configuration(&cluster.directory, node, ports, controller_ports))?;
            format_storage(&cluster.directory, node)?;
            cluster.supervisor.start_server(node, &file)?;
        }
        for node in 0..self.nodes {
            cluster.wait_until_serving(node).await?;
        }
        Ok(cluster)
    }

    fn configuration(&self, directory: &Path, node: usize, ports: &[u16], controller_ports: &[u16]) -> String {
        let voters = controller_ports.iter().enumerate().map(|(node, port)| format!("{node}@127.0.0.1:{port}"));
        let voters = voters.collect::<Vec<_>>().join(",");
        let replicas = self.nodes;
        let (port, controller_port) = (ports[node], controller_ports[node]);
        // Nothing is too old to be kept: cases give records times of their own.
        let mut text = format!(
            "\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
broker.rack=rack-{node}
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
num.partitions=3
default.replication.factor={replicas}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=5
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
controlled.shutdown.max.retries=1
log.segment.delete.delay.ms=1000
log.retention.ms=-1
",
            data_directory(directory, node).display(),
        );
        for (name, value) in &self.settings {
            writeln!(text, "{name}={value}").expect("a String takes any text");
        }
        text
    }
}

impl KafkaCluster {
    /// A cluster of the toolbox's version, of one node unless told otherwise.
    pub fn builder(toolbox: Toolbox) -> KafkaClusterBuilder {
        KafkaClusterBuilder { toolbox, nodes: 1, settings: Vec::new() }
    }

    /// What the cluster runs on.
    pub fn toolbox(&self) -> &Toolbox {
        &self.toolbox
    }

    /// How many brokers it was started with.
    pub fn nodes(&self) -> usize {
        self.ports.len()
    }

    /// Every broker's address, as `bootstrap.servers` takes them.
    pub fn bootstrap_servers(&self) -> String {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// One broker's address.
    pub fn address(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.ports[node])
    }

    /// Stops a broker in an orderly way: it moves its leaders elsewhere first.
    pub async fn stop_node(&self, node: usize) -> io::Result<()> {
        self.supervisor.signal(node, Signal::Terminate)?;
        if !self.wait_until_gone(node, STOP_TIMEOUT).await? {
            self.kill_node(node).await?;
        }
        Ok(())
    }

    /// Kills a broker (SIGKILL).
    pub async fn kill_node(&self, node: usize) -> io::Result<()> {
        self.supervisor.signal(node, Signal::Kill)?;
        if self.wait_until_gone(node, STOP_TIMEOUT).await? {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("broker {node} survives SIGKILL")))
        }
    }

    /// Stops a broker in its tracks (SIGSTOP): its connections stay open and nothing is answered.
    pub fn pause_node(&self, node: usize) -> io::Result<()> {
        self.supervisor.signal(node, Signal::Stop).map(drop)
    }

    /// Lets a paused broker go on (SIGCONT).
    pub fn resume_node(&self, node: usize) -> io::Result<()> {
        self.supervisor.signal(node, Signal::Continue).map(drop)
    }

    /// Starts a broker that was stopped or killed, and waits until it serves.
    pub async fn start_node(&self, node: usize) -> io::Result<()> {
        self.supervisor.start_server(node, &self.configuration_file(node))?;
        self.wait_until_serving(node).await
    }

    /// Brings every broker back, whatever a test did to it. All start together: they wait for a majority of controllers.
    pub async fn heal(&self) -> io::Result<()> {
        for node in 0..self.nodes() {
            self.resume_node(node)?;
            if !self.supervisor.is_running(node)? {
                self.supervisor.start_server(node, &self.configuration_file(node))?;
            }
        }
        for node in 0..self.nodes() {
            self.wait_until_serving(node).await?;
        }
        Ok(())
    }

    /// Whether the broker's process is there.
    pub fn is_running(&self, node: usize) -> io::Result<bool> {
        self.supervisor.is_running(node)
    }

    /// What a broker has logged since it was started last, at the level INFO.
    pub fn log(&self, node: usize) -> io::Result<String> {
        fs::read_to_string(self.log_file(node))
    }

    /// Kills the brokers, removes their data and waits for both.
    pub fn end(mut self) -> io::Result<()> {
        self.supervisor.end()
    }

    fn configuration_file(&self, node: usize) -> PathBuf {
        self.directory.join(format!("server-{node}.properties"))
    }

    fn log_file(&self, node: usize) -> PathBuf {
        self.directory.join(format!("server-{node}.log"))
    }

    async fn wait_until_gone(&self, node: usize, timeout: Duration) -> io::Result<bool> {
        let deadline = tokio::time::Instant::now() + timeout;
        while self.supervisor.is_running(node)? {
            if tokio::time::Instant::now() > deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(true)
    }

    /// Waits for the line that a broker writes when it has registered, caught up and accepts connections. An open port alone
    /// comes earlier.
    async fn wait_until_serving(&self, node: usize) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        let path = self.log_file(node);
        loop {
            let log = fs::read_to_string(&path).unwrap_or_default();
            if log.contains("Kafka Server started") {
                break;
            }
            let failure = if self.supervisor.is_running(node)? {
                (tokio::time::Instant::now() > deadline).then_some(io::ErrorKind::TimedOut)
            } else if log.contains("Address already in use") {
                Some(io::ErrorKind::AddrInUse)
            } else {
                Some(io::ErrorKind::Other)
            };
            if let Some(kind) = failure {
                let tail = log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>();
                return Err(io::Error::new(kind, format!("broker {node} did not start:\n{}", tail.join("\n"))));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// What `kafka-storage format` leaves behind for a broker without SCRAM users: a JVM start less for each node.
fn format_storage(directory: &Path, node: usize) -> io::Result<()> {
    let data = data_directory(directory, node);
    fs::create_dir_all(&data)?;
    // Kafka's form of a UUID: 16 bytes in URL-safe base64 without padding. The directory's must differ between nodes.
    let directory_id = format!("b3R0bGEtZGlyZWN0b3J{node}AQ");
    fs::write(
        data.join("meta.properties"),
        format!("version=1\ncluster.id=b3R0bGEtdGVzdHMtMDAwMA\nnode.id={node}\ndirectory.id={directory_id}\n"),
    )
}

fn data_directory(directory: &Path, node: usize) -> PathBuf {
    directory.join(format!("data-{node}"))
}

/// Ports that were free a moment ago, all different.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listeners = (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<Vec<_>>>()?;
    listeners.iter().map(|listener| listener.local_addr().map(|address| address.port())).collect()
}

fn new_directory() -> io::Result<PathBuf> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("ottla-kafka-{}-{n}", std::process::id()));
    if directory.exists() {
        fs::remove_dir_all(&directory)?; // of an earlier process of this number
    }
    fs::create_dir_all(&directory)?;
    if env::var_os("OTTLA_KEEP_KAFKA").is_some() {
        fs::write(directory.join("keep"), "")?;
    }
    Ok(directory)
}
