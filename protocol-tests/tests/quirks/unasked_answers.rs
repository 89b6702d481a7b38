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
    let mut shaken_hands = None;
    for round in 1..=ROUNDS {
        for partition in 0..PARTITIONS {
            let forgotten =
                [forgetful.enqueue(to(partition)).await.unwrap(), forgetful.enqueue(to(partition)).await.unwrap()];
            let written = careful.enqueue(to(partition)).await.unwrap();
            for delivery in forgotten {
                assert_eq!(in_time("sending", delivery).await.unwrap().offset, None);
            }
            let offset = in_time("sending", written).await.unwrap().offset.unwrap();
            assert!((3 * (round - 1)..3 * round).contains(&offset), "{offset} in round {round}");
        }
        let now = setup.requests(ApiKey::ApiVersions);
        assert_eq!(now, *shaken_hands.get_or_insert(now), "no connection had to be made anew");
    }
    assert!(setup.cluster.faults().hits(fault) >= ROUNDS as u32 * PARTITIONS as u32);
    forgetful.close(LONG).await;
    careful.close(LONG).await;
    for partition in 0..PARTITIONS {
        let written = setup.cluster.describe_partition(TOPIC, partition).await.unwrap().log_end_offset;
        assert_eq!(written, 3 * ROUNDS, "each record once");
    }
}

const ROUNDS: i64 = 20;
