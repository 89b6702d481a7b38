//! The `ottla` command.
#![forbid(unsafe_code)]
fn main() {}
