//! The loop that most applications want: a task for each partition, for as long as it is assigned.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::TopicPartition;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{Consumer, Error, PartitionStream, PartitionStreams};

/// What a partition's handler returns.
pub type HandlerResult = Result<(), Box<dyn StdError + Send + Sync>>;

/// How a handler ended.
type Ended = (TopicPartition, HandlerResult);

impl Consumer {
    /// Runs `handler` for each partition that is assigned, each in a task of its own, until `cancel` is done; then ends
    /// their streams, waits for the handlers, commits, leaves the group and closes.
    ///
    /// A handler sets up, reads its stream to the end, and cleans up. It has the time that `partition.drain.timeout.ms`
    /// gives it after the end of its stream; after that it is given up on, and its partition is given up without it.
    ///
    /// ```no_run
    /// # async fn read(consumer: ottla_consumer::Consumer, shutdown: impl Future<Output = ()>) -> Result<(), ottla_consumer::Error> {
    /// consumer.subscribe(["letters"])?;
    /// consumer
    ///     .run(shutdown, |mut partition| async move {
    ///         while let Some(batch) = partition.next().await {
    ///             for record in batch?.records() {
    ///                 println!("{:?}", record?.value());
    ///             }
    ///         }
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Handler`] as soon as a handler fails: the others are ended as by `cancel`. What the consumer fails with, unless it
    /// can be tried again: then it is, and [`next_error`](crate::ConsumerHandle::next_error) tells. A handler that
    /// panics panics here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is dropping the consumer, and aborts the handlers.
    pub async fn run<H, F>(self, cancel: impl Future<Output = ()>, handler: H) -> Result<(), Error>
    where
        H: Fn(PartitionStream) -> F,
        F: Future<Output = HandlerResult> + Send + 'static,
    {
        let runtime = self.runtime()?;
        let mut streams = self.into_partition_streams();
        let mut handlers = JoinSet::new();
        tokio::pin!(cancel);
        let outcome = loop {
            tokio::select! {
                biased; // a request to stop goes before all else, and a failure before more work
                () = &mut cancel => break Ok(()),
                Some(ended) = handlers.join_next() => match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((partition, Err(source))) => break Err(Error::Handler { partition, source: Arc::from(source) }),
                    Err(failed) => resume_panic(failed),
                },
                stream = streams.next() => match stream {
                    Ok(stream) => {
                        let partition = stream.topic_partition().clone();
                        let handling = handler(stream);
                        handlers.spawn_on(async move { (partition, handling.await) }, &runtime);
                    }
                    Err(error) if error.is_retriable() => streams.handle().shared().errors.push(error),
                    Err(error) => break Err(error),
                },
            }
        };
        wind_up(streams, handlers, outcome).await
    }
}

/// The streams end with the consumer, and the handlers after their streams.
async fn wind_up(
    streams: PartitionStreams,
    mut handlers: JoinSet<Ended>,
    outcome: Result<(), Error>,
) -> Result<(), Error> {
    let patience = streams.handle().shared().timeouts.drain;
    let deadline = Instant::now() + patience;
    let mut closed = streams.close_within(patience + CLOSE_TIMEOUT).await;
    // A handler may have dropped its stream and be cleaning up. Whoever has not ended in time is given up on.
    while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, handlers.join_next()).await {
        match ended {
            Ok((partition, Err(source))) => {
                closed = closed.and(Err(Error::Handler { partition, source: Arc::from(source) }));
            }
            Ok((_, Ok(()))) => {}
            Err(failed) => resume_panic(failed),
        }
    }
    // Those that are left are aborted, and not waited for: one may be blocking its thread.
    drop(handlers);
    outcome.and(closed)
}

fn resume_panic(failed: tokio::task::JoinError) {
    if let Ok(panic) = failed.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// What closing may take beside waiting for the handlers.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
