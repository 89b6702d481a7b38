//! What simulations have in common: a seed decides what happens, a run of it leaves a [`History`], and a checker says which
//! [promises](Violation) it breaks.
//!
//! - [`run_alone`]: a run, on a paused runtime of its own, so that a seed replays exactly.
//! - [`seeds`]: which seeds are run, and what is said about those that fail.
//! - [`dropping`]: futures that are dropped half-way.

pub mod dropping;
mod history;
mod run;
pub mod seeds;

pub use self::history::{Entry, History, chain, digest, text};
pub use self::run::{Mishap, Run, Violation, run_alone};
