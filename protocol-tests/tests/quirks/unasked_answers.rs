//! Answers that nobody asked for.

use ottla::{Acks, ProducerRecord};
use ottla_broker::Fault;
use ottla_wire::ApiKey;

use crate::setup::{LONG, PARTITIONS, Setup, TOPIC, in_time};

/// Azure Event Hubs answers a Produce also where acks are 0.
#[tokio::test(start_paused = true)]
async fn answers_to_produce_without_acks_harm_nobody() {
    let setup = Setup::start().await;
    let fault = setup.cluster.faults().inject(Fault::answer_unasked().on_api(ApiKey::Produce).always());
    // Both write over the same connections, so that answers of the two kinds come mixed.
    let forgetful = setup.client.producer().acks(Acks::None).build().unwrap();
    let careful = setup.client.producer().acks(Acks::All).build().unwrap();
    let to = |partition| ProducerRecord::new(TOPIC).partition(partition).value("value");
    let mut connections = None;
    for round in 0..20 {
        for partition in 0..PARTITIONS {
            let forgotten =
                [forgetful.enqueue(to(partition)).await.unwrap(), forgetful.enqueue(to(partition)).await.unwrap()];
            for delivery in forgotten {
                assert_eq!(in_time("sending", delivery).await.unwrap().offset, None);
            }
            let written = in_time("sending", careful.send(to(partition))).await.unwrap();
            assert_eq!(written.offset, Some(round * 3 + 2), "all before it are there");
        }
        assert_eq!(setup.connections(), *connections.get_or_insert(setup.connections()), "none was closed");
    }
    assert!(setup.cluster.faults().hits(fault) >= 20 * 2 * PARTITIONS as u32);
    forgetful.close(LONG).await;
    careful.close(LONG).await;
}
