//! A broker that answers from memory: what was prepared once, over and over.

use std::io::Write as _;

use ottla::Compression;
use ottla_benches::{ReplayServer, ReplayShape, ReplayTopic};
use ottla_broker::{Replay, Transport};

use crate::arguments::Serve;
use ottla_benches::Failure;

/// Serves until the process is killed.
#[allow(clippy::disallowed_methods, reason = "a process that only serves has nothing else to do")]
pub(crate) fn run(arguments: &Serve) -> Result<String, Failure> {
    let shape =
        ReplayShape::of_batches(arguments.size, arguments.batch_bytes, Compression::from(arguments.compression));
    let one_batch = ReplayShape { lap_bytes: 1, ..shape }.batches().len();
    let replay = Replay::new(shape.batches())?;
    let replay = arguments.laps.map_or_else(|| replay.clone().endless(), |laps| replay.clone().laps(laps));
    let topic = |topic: &crate::arguments::TopicArgument| ReplayTopic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replay: replay.clone(),
    };
    let topics = arguments.topics.iter().map(topic).collect();
    let server = ReplayServer::start(Transport::Tcp { port: arguments.port }, arguments.nodes, topics)?;
    let mut output = std::io::stdout();
    writeln!(output, "batch {one_batch} bytes of {} records", shape.batch_records)?;
    writeln!(output, "bootstrap {}", server.bootstrap_servers())?;
    output.flush()?;
    loop {
        std::thread::park();
    }
}
