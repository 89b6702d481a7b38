//! What must hold whatever bytes arrive: one property a module, each a function of a byte string that panics where the
//! property does not hold.
//!
//! The promise behind them: no bytes from the network make the library panic, hang, or allocate without bound. Fuzz
//! targets call these functions with what libFuzzer finds; a test on stable Rust calls them with the golden vectors
//! and with [mutations](mutation) of them. The first bytes of an input choose what the rest is taken for (which
//! message, which version, which codec), so every byte string is a valid input.
//!
//! Memory is counted by [`allocation_counter`]: a binary that calls these functions installs its allocator, and they
//! panic in one that does not.
#![forbid(unsafe_code)]

pub mod assignors;
pub mod batch_round_trips;
pub mod consumer_protocol;
pub mod decompression;
pub mod fetch_responses;
pub mod guarded;
pub mod messages;
pub mod mutation;
pub mod record_batches;
