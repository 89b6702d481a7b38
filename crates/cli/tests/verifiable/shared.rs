//! The one broker that all tests share, started by the first.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol_tests::kafka::Toolbox;
use protocol_tests::suite::{RealKafka, TestCluster};
use tokio::runtime::Runtime;

/// A test, which has topics and groups of its own.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) body: fn(TestCluster) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// The tests of a module, by their functions.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::shared::Test] = &[
            $($crate::shared::Test { name: stringify!($name), body: |cluster| Box::pin($name(cluster)) },)*
        ];
    };
}
pub(crate) use tests;

/// How long a test may take: it starts several JVMs, on a machine that has others.
const LIMIT: Duration = Duration::from_mins(5);

pub(crate) struct Shared {
    toolbox: Toolbox,
    runtime: Runtime,
    kafka: Mutex<Option<Arc<RealKafka>>>,
}

impl Shared {
    pub(crate) fn new(toolbox: Toolbox) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { toolbox, runtime: runtime.expect("a runtime"), kafka: Mutex::new(None) }
    }

    pub(crate) fn run(&self, test: &Test) {
        let cluster = TestCluster::kafka(test.name, self.kafka());
        let body = async { tokio::time::timeout(LIMIT, (test.body)(cluster)).await };
        self.runtime.block_on(body).expect("the test is done within its time");
    }

    /// Ends the broker, if a test started it.
    pub(crate) fn end(&self) {
        let kafka = self.kafka.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kafka) = kafka.and_then(Arc::into_inner) {
            self.runtime.block_on(kafka.end()).expect("the broker ends");
        }
    }

    fn kafka(&self) -> Arc<RealKafka> {
        let mut kafka = self.kafka.lock().unwrap_or_else(PoisonError::into_inner);
        kafka
            .get_or_insert_with(|| {
                let started = self.runtime.block_on(RealKafka::start(self.toolbox.clone(), 1));
                Arc::new(started.expect("the broker starts"))
            })
            .clone()
    }
}
