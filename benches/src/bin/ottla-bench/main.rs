//! Written together with the client.

fn main() {}
