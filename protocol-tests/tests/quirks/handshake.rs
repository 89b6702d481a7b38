//! Connections that end over ApiVersions.

use std::time::Duration;

use ottla_broker::Fault;
use ottla_wire::ApiKey;

use crate::setup::{Setup, live_through};

/// Azure Event Hubs resets a connection over a version of ApiVersions that it does not know, instead of saying so.
#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_over_new_versions_of_api_versions_is_asked_in_version_0() {
    let setup = Setup::start().await;
    let closing = Fault::close_connection().on_api(ApiKey::ApiVersions).from_version(3).always();
    let fault = setup.cluster.faults().inject(closing);
    live_through(&setup).await;
    let (closed, all) = (u64::from(setup.cluster.faults().hits(fault)), setup.requests(ApiKey::ApiVersions));
    assert_eq!(closed, 2 * (all - closed), "each connection asks twice as usual, then in version 0");
    // A broker that was upgraded meanwhile is asked as usual: nothing is remembered of what it was.
    setup.cluster.faults().withdraw(fault);
    let watched = Fault::delay(Duration::ZERO).on_api(ApiKey::ApiVersions);
    let usual = setup.cluster.faults().inject(watched.from_version(3).always());
    setup.nodes().for_each(|node| setup.network.cut(setup.cluster.address(node).unwrap()));
    live_on(&setup).await;
    assert_eq!(setup.requests(ApiKey::ApiVersions) - all, u64::from(setup.cluster.faults().hits(usual)));
}

/// Any broker that is about to stop closes connections, whatever it was asked: that says nothing about versions.
#[tokio::test(start_paused = true)]
async fn a_connection_that_closes_once_over_api_versions_is_asked_again_as_before() {
    let setup = Setup::start().await;
    let fault = setup.cluster.faults().inject(Fault::close_connection().on_api(ApiKey::ApiVersions));
    let watched = Fault::delay(Duration::ZERO).on_api(ApiKey::ApiVersions);
    let usual = setup.cluster.faults().inject(watched.from_version(3).always());
    live_through(&setup).await;
    let faults = setup.cluster.faults();
    assert_eq!(faults.hits(fault), 1);
    assert_eq!(u64::from(faults.hits(fault) + faults.hits(usual)), setup.requests(ApiKey::ApiVersions));
}

/// The life of another group's member, over connections that are made anew.
async fn live_on(setup: &Setup) {
    let before = setup.requests(ApiKey::ApiVersions);
    setup.produce(1).await;
    assert!(setup.requests(ApiKey::ApiVersions) > before);
}
