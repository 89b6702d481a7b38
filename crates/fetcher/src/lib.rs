//! The batched pull path of the Ottla Kafka client: positions, byte budget, zero-copy batches.
#![forbid(unsafe_code)]
