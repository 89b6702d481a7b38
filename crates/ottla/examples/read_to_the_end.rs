//! Reads all that a topic has now, tells how far it is, and ends: for exports, checks, and filling caches.
//!
//! ```text
//! cargo run --example read_to_the_end                                    # on an embedded cluster, with some letters
//! cargo run --example read_to_the_end -- HOST:PORT TOPIC                 # on a Kafka of yours
//! ```

use std::error::Error;

use ottla::admin::NewTopic;
use ottla::consumer::ReadRange;
use ottla::{Client, ProducerRecord};
use ottla_broker::EmbeddedCluster;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if let (Some(bootstrap_servers), Some(topic)) = (arguments.next(), arguments.next()) {
        let client = Client::builder().bootstrap_servers(bootstrap_servers.as_str()).build()?;
        return read(&client, &topic).await;
    }
    let cluster = EmbeddedCluster::builder().start().await?;
    let client = Client::builder().bootstrap_servers(cluster.bootstrap_servers()).build()?;
    client.admin().create_topics([NewTopic::new("letters", 3, 1)]).await?.all()?;
    let producer = client.producer().build()?;
    for number in 0..10_000 {
        let letter = format!("letter {number}");
        drop(producer.enqueue(ProducerRecord::new("letters").value(letter.as_bytes())).await?);
    }
    producer.flush().await?;
    read(&client, "letters").await?;
    cluster.shutdown().await;
    Ok(())
}

async fn read(client: &Client, topic: &str) -> Result<(), Box<dyn Error>> {
    let mut read = client.consumer().read_bounded(ReadRange::topic(topic)).await?;
    let mut value_bytes = 0;
    while let Some(batches) = read.next().await {
        for batch in &batches? {
            for record in batch.records() {
                value_bytes += record?.value().map_or(0, <[u8]>::len);
            }
        }
        let progress = read.progress();
        println!("{:3.0} %, {} records", 100.0 * progress.share_done(), progress.records());
    }
    println!("{value_bytes} bytes of values in all");
    read.close().await?;
    Ok(())
}
