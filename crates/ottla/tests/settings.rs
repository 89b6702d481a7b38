//! Settings by Kafka's names: what is taken, and what is refused by name.

use std::error::Error;

use ottla::{Address, Client};

#[test]
fn bootstrap_servers_come_as_one_text_or_as_a_list() {
    let servers =
        |client: Result<Client, ottla::BuildError>| client.unwrap().cluster().config().bootstrap_servers.clone();
    let expected = [Address::new("one", 9092), Address::new("two", 9093)];
    assert_eq!(servers(Client::builder().bootstrap_servers("one:9092, two:9093").build()), expected);
    assert_eq!(servers(Client::builder().bootstrap_servers(["one:9092", "two:9093"]).build()), expected);
    assert_eq!(servers(Client::builder().bootstrap_servers(expected.to_vec()).build()), expected);
}

#[test]
fn a_client_without_servers_or_with_unreadable_ones_is_refused() {
    let error = Client::builder().build().unwrap_err();
    assert!(error.source().is_some_and(|cause| cause.to_string().contains("bootstrap.servers")), "{error:?}");
    let error = Client::builder().bootstrap_servers("one").build().unwrap_err();
    assert!(error.to_string().contains("bootstrap.servers"), "{error}");
}

#[test]
fn properties_of_the_client_its_producers_and_its_consumers_stand_together() {
    let client = Client::from_properties([
        ("bootstrap.servers", "one:9092"),
        ("client.id", "me"),
        ("retry.backoff.ms", "7"),
        ("linger.ms", "20"),
        ("auto.offset.reset", "earliest"),
        ("group.id", "readers"),
    ]);
    let client = client.unwrap();
    assert_eq!(client.cluster().config().retry_backoff.as_millis(), 7);
    assert!(format!("{:?}", client.producer()).contains("linger: 20ms"));
    let consumer = format!("{:?}", client.consumer());
    assert!(consumer.contains("Earliest") && consumer.contains(r#"group_id: "readers""#), "{consumer}");
}

#[test]
fn every_name_that_the_client_lists_is_taken() {
    for name in ottla::ClientBuilder::PROPERTIES {
        let value = match *name {
            "allow.auto.create.topics" => "True",
            "bootstrap.servers" => "one:9092",
            "metadata.recovery.strategy" => "none",
            _ => "1",
        };
        assert!(Client::builder().property(name, value).is_ok(), "{name}");
    }
}

#[test]
fn a_name_that_nobody_knows_is_refused_by_name() {
    let error = Client::from_properties([("bootstrap.server", "one:9092")]).unwrap_err();
    assert_eq!(error.to_string(), "there is no setting \"bootstrap.server\"");
}

#[test]
fn a_name_of_kafkas_that_is_not_supported_is_refused_as_such() {
    for name in [
        "group.remote.assignor",
        "security.protocol",
        "sasl.jaas.config",
        "ssl.truststore.location",
        "max.poll.records",
    ] {
        let error = Client::from_properties([(name, "x")]).unwrap_err();
        assert_eq!(error.to_string(), format!("Kafka's setting {name:?} is not supported"));
    }
}

#[test]
fn a_value_that_cannot_be_is_refused_where_it_is_set_with_its_name() {
    for (name, value) in [
        ("retry.backoff.ms", "soon"),
        ("metadata.recovery.strategy", "hope"),
        ("linger.ms", "-1"),
        ("auto.offset.reset", "middle"),
        ("bootstrap.servers", "nowhere"),
    ] {
        let error = Client::from_properties([(name, value)]).unwrap_err();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        assert!(text.contains(name), "{text}");
    }
}
