//! Written together with what it measures.

fn main() {}
