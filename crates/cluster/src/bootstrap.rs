//! The way in: the bootstrap servers are asked one after the other, the next also when one is late, until one describes the
//! cluster.
//!
//! A bootstrap server is an address, not a node: it may be a load balancer, or a broker under another name. So its
//! connection is used for this one question, and closed.

use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;
use ottla_connection::{Connection, ConnectionConfig, Connector};
use ottla_wire::messages::{MetadataRequest, MetadataResponse};

use crate::first_answer::{Way, first_answer};
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
    let failures = Mutex::new(Vec::with_capacity(order.len()));
    let ask = async |address: &Address, _| {
        let source = match ask(connector, config, address, request).await {
            Ok(response) if !response.brokers.is_empty() => return Ok(response),
            // A broker that is only starting knows of no brokers, not even of itself.
            Ok(_) => None,
            Err(source) => Some(source),
        };
        let error = source.as_ref().map(|source| source as &dyn std::error::Error);
        tracing::debug!(%address, error, "bootstrap server tells of no brokers");
        failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(BootstrapFailure { address: address.clone(), source });
        Err(())
    };
    let late = |address: &Address| tracing::debug!(%address, "bootstrap server is late");
    if let Ok(response) = first_answer(order, Way::Anew, ask, late, |()| false).await {
        return Ok(response);
    }
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
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
