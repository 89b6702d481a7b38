//! The messages written by hand, an API a file: fields in the schema's order, the versions that carry each visible.
//!
//! Field names are Kafka's, in Rust's case. Values stand as they do on the wire (-1 for "none"), so that every message
//! reads back byte for byte; the crates above turn them into `Option`s. The files are tables: see [`macros`] for how
//! to read one.

pub(crate) mod macros;

mod api_versions;
mod find_coordinator;

pub use api_versions::*;
pub use find_coordinator::*;
