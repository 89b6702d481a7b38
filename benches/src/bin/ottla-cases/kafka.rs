//! Real brokers, for as long as a script wants them, near or, by a delaying proxy, far away.

use std::io::Write as _;
use std::time::Duration;

use protocol_tests::kafka::{self, KafkaCluster, Toolbox};
use tokio::net::TcpListener;

use ottla_benches::Failure;

use crate::delay;

/// Runs real brokers on loopback until standard input ends. Says `bootstrap HOST:PORT,...` when they serve.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many brokers, 1 to 3.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Puts the one broker so far away that an answer takes this long, whatever the bandwidth.
    #[arg(long)]
    round_trip_ms: Option<u64>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let toolbox = Toolbox::find(&kafka::version())?;
    let mut builder = KafkaCluster::builder(toolbox).nodes(arguments.nodes);
    let proxy = match arguments.round_trip_ms {
        None => None,
        Some(_) if arguments.nodes > 1 => return Err("only one broker can be far away".into()),
        Some(milliseconds) => {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let address = listener.local_addr()?.to_string();
            // So that clients come by the proxy for every connection, and not for the first only.
            builder = builder.setting("advertised.listeners", format!("PLAINTEXT://{address}"));
            Some((listener, address, Duration::from_millis(milliseconds) / 2))
        }
    };
    let cluster = builder.start().await?;
    let mut bootstrap = cluster.bootstrap_servers();
    let mut proxies = tokio::task::JoinSet::new();
    if let Some((listener, address, one_way)) = proxy {
        bootstrap = address;
        proxies.spawn(delay::run(listener, cluster.address(0), one_way));
    }
    println!("bootstrap {bootstrap}");
    std::io::stdout().flush()?;
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    cluster.end()?;
    Ok(())
}
