//! What the tests share: the broker's process, and what was written for all to read.

use std::future::Future;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ottla::Client;
use ottla::admin::NewTopic;
use protocol_tests::clients::OtherClients;
use protocol_tests::kafka::Toolbox;
use protocol_tests::verifiable::Program;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::letter::Letter;
use crate::reading;

/// A test, which has topics and groups of its own.
pub(crate) type Test = Box<dyn FnOnce(Setting) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// How long a test may take, on a machine that has other things to do.
const LIMIT: Duration = Duration::from_mins(3);

/// How long anything of it may be waited for.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How many partitions every topic has.
pub(crate) const PARTITIONS: i32 = 3;

pub(crate) struct Shared {
    runtime: Runtime,
    others: Option<OtherClients>,
    java: Option<Toolbox>,
    broker: Arc<OnceCell<Broker>>,
    letters: Arc<OnceCell<Vec<Letter>>>,
}

/// The broker's process.
struct Broker {
    process: Program,
    bootstrap_servers: String,
}

/// What a test works with.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) bootstrap_servers: String,
    pub(crate) others: Option<OtherClients>,
    pub(crate) java: Option<Toolbox>,
    letters: Arc<OnceCell<Vec<Letter>>>,
}

impl Shared {
    pub(crate) fn new(others: Option<OtherClients>, java: Option<Toolbox>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { runtime: runtime.expect("a runtime"), others, java, broker: Arc::default(), letters: Arc::default() }
    }

    pub(crate) fn run(&self, test: Test) {
        self.runtime.block_on(async {
            let broker = self.broker.get_or_init(Broker::start).await;
            let setting = Setting {
                bootstrap_servers: broker.bootstrap_servers.clone(),
                others: self.others.clone(),
                java: self.java.clone(),
                letters: self.letters.clone(),
            };
            tokio::time::timeout(LIMIT, test(setting)).await.expect("the test is done within its time");
        });
    }

    /// Ends the broker in good order, if a test started it.
    pub(crate) fn end(self: Arc<Self>) {
        let Some(broker) = Arc::into_inner(self).and_then(|shared| {
            let broker = Arc::into_inner(shared.broker)?.into_inner()?;
            Some((shared.runtime, broker))
        }) else {
            return;
        };
        let (runtime, Broker { process, .. }) = broker;
        runtime.block_on(async {
            process.signal(protocol_tests::kafka::Signal::Terminate).expect("it is told to end");
            let ended = process.ended(PATIENCE).await.expect("it ends");
            assert!(ended.status.success(), "{ended:?}");
        });
    }
}

impl Broker {
    async fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["broker", "--port", "0", "--nodes", "3"]);
        let process = Program::start("ottla broker", &command).await.expect("the broker starts");
        let first = |events: &[protocol_tests::verifiable::Event]| Some(events.first()?.line.clone());
        let line = process.wait_for("where it is", PATIENCE, first).await;
        let bootstrap_servers = line.strip_prefix("bootstrap ").expect("the line says where it is").to_owned();
        Self { process, bootstrap_servers }
    }
}

impl Setting {
    /// Ottla.
    pub(crate) fn client(&self) -> Client {
        Client::builder().bootstrap_servers(&self.bootstrap_servers).build().expect("the settings are valid")
    }

    /// Makes a topic on all nodes.
    pub(crate) async fn create_topic(&self, name: &str) {
        let topic = NewTopic::new(name, PARTITIONS, 3);
        self.client().admin().create_topics([topic]).await.expect("an answer").all().expect("the topic is made");
    }

    /// What all clients wrote to [`reading::TOPIC`]; whoever asks first has them do it.
    pub(crate) async fn letters(&self) -> &[Letter] {
        self.letters.get_or_init(|| reading::write(self)).await
    }
}
