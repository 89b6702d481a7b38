//! What the groups share: a real Kafka of one broker, the means to start members, and a bound on JVMs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol_tests::clients::OtherClients;
use protocol_tests::kafka::Toolbox;
use protocol_tests::suite::RealKafka;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::member::Programs;

/// How many members of Java's there are at a time.
const JVMS: usize = 4;

/// How long a group may take in all.
const LIMIT: Duration = Duration::from_mins(5);

pub(crate) struct Shared {
    toolbox: Toolbox,
    others: Option<OtherClients>,
    runtime: Runtime,
    means: Mutex<Option<Means>>,
    jvms: Semaphore,
}

/// What takes a while to start, and is started by the first group that needs it.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) kafka: Arc<RealKafka>,
    pub(crate) programs: Arc<Programs>,
}

impl Shared {
    pub(crate) fn new(toolbox: Toolbox, others: Option<OtherClients>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        Self { toolbox, others, runtime, means: Mutex::new(None), jvms: Semaphore::new(JVMS) }
    }

    /// Runs one group, which has so many JVMs at a time.
    ///
    /// # Panics
    /// When something is not as it should be.
    pub(crate) fn run(&self, jvms: usize, group: impl AsyncFnOnce(Means)) {
        let means = self.means();
        self.runtime.block_on(async {
            let permits = u32::try_from(jvms).expect("a group has three members at most");
            let _jvms = self.jvms.acquire_many(permits).await.expect("nobody closes the semaphore");
            tokio::time::timeout(LIMIT, group(means)).await.expect("the group is done within its time");
        });
    }

    /// Ends the broker, if it was started.
    pub(crate) fn end(&self) {
        let means = self.means.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kafka) = means.and_then(|means| Arc::into_inner(means.kafka)) {
            self.runtime.block_on(kafka.end()).expect("the broker ends");
        }
    }

    fn means(&self) -> Means {
        let mut means = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        means
            .get_or_insert_with(|| {
                let programs =
                    Programs::new(self.toolbox.clone(), self.others.clone()).expect("the programs are ready");
                let kafka =
                    self.runtime.block_on(RealKafka::start(self.toolbox.clone(), 1)).expect("the broker starts");
                Means { kafka: Arc::new(kafka), programs: Arc::new(programs) }
            })
            .clone()
    }
}
