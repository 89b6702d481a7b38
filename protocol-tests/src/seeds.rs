//! Where fuzzing starts: the golden vectors, as inputs of the properties in `untrusted_bytes`.

use bytes::Bytes;
use ottla_wire::compression::Compression;
use ottla_wire::guarded::any::Direction;
use ottla_wire::records::RecordBatches;

use crate::golden::{self, Line};

/// The size of the header of a batch of magic 2; its records, compressed or not, follow.
const BATCH_HEADER_BYTES: usize = 61;

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
    let seeds = vec![
        messages(),
        guarded(),
        fetch_responses(),
        record_batches(),
        batch_round_trips(),
        consumer_protocol(),
        assignors(),
        decompression(),
    ];
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

fn guarded() -> Seeds {
    let input = |line: &Line| {
        let direction = if line.text("dir") == "request" { Direction::Request } else { Direction::Response };
        let (api_key, version) = (line.integer("key") as i16, line.integer("version") as i16);
        untrusted_bytes::guarded::input(api_key, direction, version, &line.bytes("bytes"))
    };
    let inputs = golden::lines("wire_messages.jsonl.gz").iter().filter_map(input).collect();
    Seeds { property: "guarded", inputs, check: untrusted_bytes::guarded::check }
}

fn fetch_responses() -> Seeds {
    let responses = golden::lines("wire_messages.jsonl.gz").into_iter();
    let responses = responses.filter(|line| line.text("api") == "Fetch" && line.text("dir") == "response");
    let input =
        |line: Line| untrusted_bytes::fetch_responses::input(line.integer("version") as i16, &line.bytes("bytes"));
    let inputs = responses.filter_map(input).collect();
    Seeds { property: "fetch_responses", inputs, check: untrusted_bytes::fetch_responses::check }
}

/// Every batch vector: good ones, old ones, and what Java was given damaged.
fn record_batches() -> Seeds {
    Seeds { property: "record_batches", inputs: batch_vectors(), check: untrusted_bytes::record_batches::check }
}

/// What a batch is made from is no vector's: noise of several lengths.
fn batch_round_trips() -> Seeds {
    let mut random = fastrand::Rng::with_seed(0);
    let mut noise = |length: usize| -> Vec<u8> { (0..length).map(|_| random.u8(..)).collect() };
    let inputs = (0..200).map(|number| noise(20 + number * 5)).collect();
    Seeds { property: "batch_round_trips", inputs, check: untrusted_bytes::batch_round_trips::check }
}

fn consumer_protocol() -> Seeds {
    use untrusted_bytes::consumer_protocol::{Kind, check, input};

    let kind = |line: &Line| match line.text("type") {
        "subscription" | "subscription_corrupt" => Kind::Subscription,
        "assignment" | "assignment_corrupt" => Kind::Assignment,
        "sticky_user_data" => Kind::StickyUserData,
        "cooperative_user_data" => Kind::CooperativeUserData,
        other => panic!("{line}: type {other:?}"),
    };
    let lines = golden::lines("consumer_protocol.jsonl.gz");
    let inputs = lines.iter().map(|line| input(kind(line), &line.bytes("bytes"))).collect();
    Seeds { property: "consumer_protocol", inputs, check }
}

/// Subscriptions of the vectors, a few at a time as members of one group, for each assignor.
fn assignors() -> Seeds {
    use untrusted_bytes::assignors::{check, input};

    let lines = golden::lines("consumer_protocol.jsonl.gz");
    let subscriptions: Vec<Vec<u8>> = lines
        .iter()
        .filter(|line| line.text("type").starts_with("subscription"))
        .map(|line| line.bytes("bytes"))
        .collect();
    let groups = subscriptions.chunks(4).zip(0u8..=u8::MAX);
    let inputs =
        groups.flat_map(|(group, counts)| (0..4).map(move |kind| input(kind, counts, group.iter().map(Vec::as_slice))));
    Seeds { property: "assignors", inputs: inputs.collect(), check }
}

/// The compressed records of the batch vectors.
fn decompression() -> Seeds {
    let mut inputs = Vec::new();
    for bytes in batch_vectors() {
        for batch in RecordBatches::new(Bytes::from(bytes)).flatten() {
            let compressed = batch.bytes().get(BATCH_HEADER_BYTES..).unwrap_or_default();
            if batch.magic() == 2 && batch.compression() != Compression::None {
                inputs.push(untrusted_bytes::decompression::input(batch.compression(), compressed));
            }
        }
    }
    Seeds { property: "decompression", inputs, check: untrusted_bytes::decompression::check }
}

fn batch_vectors() -> Vec<Vec<u8>> {
    let files = ["record_batches.jsonl.gz", "record_batches_legacy.jsonl.gz", "record_batches_corrupt.jsonl.gz"];
    files.iter().flat_map(|file| golden::lines(file)).map(|line| line.bytes("bytes")).collect()
}
