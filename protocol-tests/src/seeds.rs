//! Where fuzzing starts: the golden vectors, as inputs of the properties in `untrusted_bytes`.

use crate::golden::{self, Line};

/// Inputs of one property.
#[derive(Debug)]
pub struct Seeds {
    /// The property's module, which is also its fuzz target's name.
    pub property: &'static str,
    /// The inputs.
    pub inputs: Vec<Vec<u8>>,
    /// What checks them.
    pub check: fn(&[u8]),
}

/// Seeds of every property. Panics where a file of vectors gives none.
pub fn all() -> Vec<Seeds> {
    let seeds = vec![messages()];
    for seeds in &seeds {
        assert!(!seeds.inputs.is_empty(), "no seeds for {}", seeds.property);
    }
    seeds
}

fn messages() -> Seeds {
    let input = |line: &Line| {
        let direction = if line.text("dir") == "request" { "Request" } else { "Response" };
        let name = format!("{}{direction}", line.text("api"));
        untrusted_bytes::messages::input(&name, line.integer("version") as i16, &line.bytes("bytes"))
    };
    let inputs = golden::lines("wire_messages.jsonl.gz").iter().filter_map(input).collect();
    Seeds { property: "messages", inputs, check: untrusted_bytes::messages::check }
}
