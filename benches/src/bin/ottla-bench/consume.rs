//! Reads a topic from its beginning, by manual assignment or as a member of a group, a borrowed record at a time.

use std::time::Duration;

use ottla::{AutoOffsetReset, Client};

use crate::arguments::Consume;
use crate::report::{Run, Tally};
use ottla_benches::Failure;

/// How long nothing may arrive before the run has failed.
const IDLE_LIMIT: Duration = Duration::from_mins(1);

/// The line of the run.
pub(crate) async fn run(arguments: &Consume) -> Result<String, Failure> {
    let mut run = Run::start("consume", if arguments.group.is_some() { "group" } else { "assign" })?;
    let client = Client::builder().bootstrap_servers(&arguments.target.brokers).client_id("ottla-bench").build()?;
    let settings = arguments.properties.iter().map(|property| (&*property.name, &*property.value));
    let consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).properties(settings)?;
    let mut consumer = match &arguments.group {
        Some(group) => consumer.group_id(group).build()?,
        None => consumer.build()?,
    };
    if arguments.group.is_some() {
        consumer.subscribe([&*arguments.target.topic])?;
    } else {
        consumer.assign_topic(&arguments.target.topic).await?;
    }

    let mut tally = Tally::default();
    while tally.messages < arguments.target.messages {
        let batches = consumer.poll(IDLE_LIMIT).await?;
        let before = tally.messages;
        for batch in &batches {
            for record in batch.records() {
                let record = record?;
                tally.add(record.key(), record.value());
            }
        }
        if tally.messages == before {
            let read = tally.messages;
            return Err(format!("nothing arrived for {IDLE_LIMIT:?} after {read} messages").into());
        }
        run.first()?;
        if let Some(rate) = arguments.rate {
            drop(batches); // as an application does that is done with them, and slow for other reasons
            tokio::time::sleep(Duration::from_secs_f64((tally.messages - before) as f64 / rate as f64)).await;
        }
    }
    let totals = consumer.fetch_metrics().totals;
    run.tell("fetches", totals.fetches);
    run.tell("fetched_bytes", totals.fetched_bytes);
    run.tell("delivered_bytes", totals.delivered_bytes);
    run.tell("discarded_bytes", totals.discarded_bytes());
    let line = run.finish(tally, 0)?;
    consumer.close().await?;
    Ok(line)
}
