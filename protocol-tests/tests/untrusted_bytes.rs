//! What must hold whatever bytes arrive, on stable Rust: each property of `untrusted_bytes` over the golden vectors,
//! and over damaged ones, with every allocation counted. Fuzzing goes on from here with the same properties.
//!
//! `OTTLA_MUTATIONS` is how many damaged inputs each property gets (20,000 if it is not set), and `OTTLA_SEED` the seed
//! of the damage. A failure names the input as base64, so that it can become a test of its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use protocol_tests::golden::encode_base64;
use protocol_tests::seeds::{self, Seeds};

#[global_allocator]
static ALLOCATOR: allocation_counter::CountingAllocator = allocation_counter::CountingAllocator;

/// Inputs that are damaged are at most so long: large ones teach nothing that small ones do not.
const MAX_DAMAGED_BYTES: usize = 16 * 1024;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text}")))
}

fn check(seeds: &Seeds, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (seeds.check)(input))) {
        eprintln!("{} does not hold for the input {}", seeds.property, encode_base64(input));
        resume_unwind(panic);
    }
}

#[test]
fn every_property_holds_for_the_vectors() {
    for seeds in seeds::all() {
        for input in &seeds.inputs {
            check(&seeds, input);
        }
    }
}

#[test]
fn every_property_holds_for_damaged_vectors() {
    let (mutations, seed) = (number("OTTLA_MUTATIONS", 20_000), number("OTTLA_SEED", 1));
    for seeds in seeds::all() {
        let mut random = fastrand::Rng::with_seed(seed);
        let small: Vec<&Vec<u8>> = seeds.inputs.iter().filter(|input| input.len() <= MAX_DAMAGED_BYTES).collect();
        for _ in 0..mutations {
            let mut input = small[random.usize(0..small.len())].clone();
            untrusted_bytes::mutation::mutate(&mut input, &mut random);
            check(&seeds, &input);
        }
    }
}

#[test]
fn every_property_holds_for_noise_and_for_next_to_nothing() {
    let mut random = fastrand::Rng::with_seed(number("OTTLA_SEED", 1));
    for seeds in seeds::all() {
        for _ in 0..2_000 {
            let length = random.usize(0..=200);
            let input: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            check(&seeds, &input);
        }
    }
}
