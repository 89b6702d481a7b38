//! One suite of cases over any cluster.
//!
//! A [`Case`] is a name and a body that is given a [`TestCluster`]; the runners in `tests/` decide what that is. A body says
//! what must hold of the client whichever broker it talks to, and asks [`TestCluster::is_kafka`] only where the brokers
//! rightly differ.

mod cluster;
mod faults;
mod groups;
mod io;
mod limits;
mod member;
mod offsets;
mod positions;
mod records;
mod topics;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use cluster::{RealKafka, TestCluster, eventually};
pub use io::{read, read_from_start, send_all};

type Body = fn(TestCluster) -> Pin<Box<dyn Future<Output = ()>>>;

/// A case of the suite.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// A sentence: what holds.
    pub name: &'static str,
    /// Whether it breaks nodes, and so needs the cluster for itself.
    pub breaks_nodes: bool,
    /// Whether it says something of clusters of several nodes only: one takes over from another.
    pub several_nodes: bool,
    body: Body,
}

impl Case {
    /// Runs the case.
    ///
    /// # Panics
    /// When what its name says does not hold, or is not known after five minutes.
    pub async fn run(self, cluster: TestCluster) {
        let limit = Duration::from_mins(5) + fault_time();
        tokio::time::timeout(limit, (self.body)(cluster)).await.expect("the case ends within its time");
    }
}

/// How long a case goes on breaking and healing a real cluster: `OTTLA_FAULT_SECONDS`, by default 20.
pub fn fault_time() -> Duration {
    let seconds = std::env::var("OTTLA_FAULT_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

/// Every case.
pub fn cases() -> Vec<Case> {
    [records::CASES, offsets::CASES, positions::CASES, topics::CASES, limits::CASES, groups::CASES, faults::CASES]
        .concat()
}

/// A case of each named function: `case_table![sharing: a, b; breaking: c, #[several_nodes] d]`.
macro_rules! case_table {
    (
        sharing: $($(#[$of_sharing:ident])? $sharing:ident),* $(,)? ;
        breaking: $($(#[$of_breaking:ident])? $breaking:ident),* $(,)?
    ) => {
        pub(super) const CASES: &[$crate::suite::Case] = &[
            $($crate::suite::Case {
                name: stringify!($sharing),
                breaks_nodes: false,
                several_nodes: case_table!(@ $($of_sharing)?),
                body: |cluster| Box::pin($sharing(cluster)),
            },)*
            $($crate::suite::Case {
                name: stringify!($breaking),
                breaks_nodes: true,
                several_nodes: case_table!(@ $($of_breaking)?),
                body: |cluster| Box::pin($breaking(cluster)),
            },)*
        ];
    };
    (@) => { false };
    (@ several_nodes) => { true };
}
use case_table;
