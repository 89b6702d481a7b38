//! The suite over the embedded broker.
fn main() {}
