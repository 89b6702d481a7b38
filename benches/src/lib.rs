//! What the benchmarks share: the values that are written and read, a server that replays them, and what a run costs.
//!
//! `benches/` has the criterion benches, `src/bin/` the programs, and the scripts beside this crate's manifest make tables
//! and plots of what the programs print.
#![forbid(unsafe_code)]

mod command_line;
mod payload;
mod reader;
mod replay;
mod usage;

pub use command_line::{Failure, Setting, with_causes};
pub use payload::{PAYLOAD_SEED, Payload};
pub use reader::{Read, Reader};
pub use replay::{ReplayServer, ReplayShape, ReplayTopic};
pub use usage::{Usage, timed};
