//! The way in: the bootstrap servers are asked one after the other until one describes the cluster.
//!
//! A bootstrap server is an address, not a node: it may be a load balancer, or a broker under another name. So its
//! connection is used for this one question, and closed.

use std::sync::Arc;

use fastrand::Rng;
use ottla_connection::{Connection, ConnectionConfig, Connector};
use ottla_wire::messages::{MetadataRequest, MetadataResponse};

use crate::{Address, BootstrapFailure, Error};

/// Asks each of `servers` in turn, in random order, so that not all clients burden the first.
pub(crate) async fn ask_bootstrap_servers(
    connector: &dyn Connector,
    config: &ConnectionConfig,
    servers: &[Address],
    mut random: Rng,
    request: &MetadataRequest,
) -> Result<MetadataResponse, Error> {
    let mut order: Vec<_> = servers.iter().collect();
    random.shuffle(&mut order);
    let mut failures = Vec::with_capacity(order.len());
    for address in order {
        match ask(connector, config, address, request).await {
            // A broker that is only starting knows of no brokers, not even of itself.
            Ok(response) if response.brokers.is_empty() => {
                tracing::debug!(%address, "bootstrap server knows of no brokers");
                failures.push(BootstrapFailure { address: address.clone(), source: None });
            }
            Ok(response) => return Ok(response),
            Err(source) => {
                tracing::debug!(%address, error = &source as &dyn std::error::Error, "bootstrap server does not answer");
                failures.push(BootstrapFailure { address: address.clone(), source: Some(source) });
            }
        }
    }
    // In the order of the configuration, whatever the order in which they were asked.
    failures.sort_by_key(|failure| servers.iter().position(|server| *server == failure.address));
    Err(Error::Bootstrap { failures: Arc::from(failures) })
}

async fn ask(
    connector: &dyn Connector,
    config: &ConnectionConfig,
    address: &Address,
    request: &MetadataRequest,
) -> Result<MetadataResponse, ottla_connection::Error> {
    let connection = Connection::open(connector, address, config.clone()).await?;
    connection.request(request).await
}
