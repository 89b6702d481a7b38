//! The one real cluster of this binary: started by the first test that needs it, shared by those that leave it whole, and
//! held alone by those that break it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use protocol_tests::kafka::{self, Toolbox};
use protocol_tests::suite::{Case, RealKafka, TestCluster};
use tokio::runtime::Runtime;

pub(crate) struct Shared {
    toolbox: Toolbox,
    runtime: Runtime,
    kafka: Mutex<Option<Arc<RealKafka>>>,
    /// Read by tests that leave every node alone, written by those that do not.
    nodes: RwLock<()>,
}

impl Shared {
    pub(crate) fn new(toolbox: Toolbox) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { toolbox, runtime: runtime.expect("a runtime"), kafka: Mutex::new(None), nodes: RwLock::new(()) }
    }

    pub(crate) fn run_case(&self, case: Case) {
        if case.breaks_nodes {
            let _alone = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
            let kafka = self.kafka();
            let cluster = TestCluster::kafka(case.name, kafka.clone());
            // Whatever the case left broken must not fail the next one.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(case.run(cluster))));
            self.runtime.block_on(kafka.heal()).expect("the brokers come back");
            outcome.unwrap_or_else(|panic| resume_unwind(panic));
        } else {
            let _shared = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            let cluster = TestCluster::kafka(case.name, self.kafka());
            self.runtime.block_on(case.run(cluster));
        }
    }

    pub(crate) fn run(&self, body: impl FnOnce(Arc<RealKafka>) -> Pin<Box<dyn Future<Output = ()>>>) {
        let _shared = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let kafka = self.kafka();
        self.runtime.block_on(body(kafka));
    }

    /// Ends the cluster, if a test started it.
    pub(crate) fn end(&self) {
        let kafka = self.kafka.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kafka) = kafka.and_then(Arc::into_inner) {
            self.runtime.block_on(kafka.end()).expect("the brokers end");
        }
    }

    fn kafka(&self) -> Arc<RealKafka> {
        let mut kafka = self.kafka.lock().unwrap_or_else(PoisonError::into_inner);
        kafka
            .get_or_insert_with(|| {
                let started = self.runtime.block_on(RealKafka::start(self.toolbox.clone(), kafka::brokers()));
                Arc::new(started.expect("the brokers start"))
            })
            .clone()
    }
}
