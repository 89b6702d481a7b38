//! Fetch responses, read in place and as structures.
//!
//! An input is the version, counted from the lowest, and the body.
//!
//! - The view accepts what the structure accepts, and both say the same. (The structure may run out of its memory
//!   allowance where the view does not.)
//! - Parsing in place keeps the bound of every message, and walking the partitions allocates nothing.

use bytes::Bytes;
use ottla_wire::messages::{FetchPartitionData, FetchResponse, FetchResponseView, FetchableTopicResponse};
use ottla_wire::{DecodeError, Message, Reader};

use crate::messages::memory_bound;

/// Checks an input.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let [version, body @ ..] = input else { return };
    let versions = FetchResponse::VERSIONS;
    let version = versions.min + i16::from(*version) % (versions.max - versions.min + 1);
    let body = Bytes::copy_from_slice(body);

    let (view, allocated) = allocation_counter::measure(|| FetchResponseView::parse(body.clone(), version));
    let (taken, bound) = (body.len() + allocated.peak_bytes, memory_bound(body.len()));
    assert!(taken <= bound, "version {version}: {taken} bytes for a body of {}, over {bound}", body.len());
    let structure = FetchResponse::decode(&mut Reader::new(body), version);
    let view = match (view, &structure) {
        (Ok(view), _) => view,
        (Err(_), Err(_)) => return,
        (Err(error), Ok(_)) => panic!("version {version}: only the view does not parse: {error}"),
    };
    check_walk(&view);
    match structure {
        Ok(structure) => check_same(&view, structure),
        Err(DecodeError::MemoryBeyondAllowance { .. }) => {}
        Err(error) => panic!("version {version}: only the structure does not decode: {error}"),
    }
}

/// The input that is `body` in `version`. `None` where there is no such version.
pub fn input(version: i16, body: &[u8]) -> Option<Vec<u8>> {
    if !FetchResponse::VERSIONS.contains(version) {
        return None;
    }
    let mut input = vec![(version - FetchResponse::VERSIONS.min) as u8];
    input.extend_from_slice(body);
    Some(input)
}

fn check_walk(view: &FetchResponseView) {
    let ((count, aborted), allocated) = allocation_counter::measure(|| {
        view.partitions().fold((0, 0), |(count, aborted), partition| {
            (count + 1, aborted + partition.aborted_transactions().map_or(0, Iterator::count))
        })
    });
    std::hint::black_box(aborted);
    assert_eq!(count, view.partition_count());
    assert_eq!(allocated.allocations, 0, "walking {count} partitions allocates");
}

fn check_same(view: &FetchResponseView, structure: FetchResponse) {
    assert_eq!(
        (view.throttle_time_ms, view.error_code, view.session_id, &view.node_endpoints),
        (structure.throttle_time_ms, structure.error_code, structure.session_id, &structure.node_endpoints)
    );
    let mut viewed = view.partitions();
    for topic in structure.responses {
        let FetchableTopicResponse { topic: name, topic_id, partitions } = topic;
        for partition in partitions {
            let Some(seen) = viewed.next() else { panic!("the view lacks {partition:?}") };
            assert_eq!((seen.topic.name, seen.topic.id), (name.as_str(), topic_id));
            let seen = FetchPartitionData {
                partition_index: seen.partition_index,
                error_code: seen.error_code,
                high_watermark: seen.high_watermark,
                last_stable_offset: seen.last_stable_offset,
                log_start_offset: seen.log_start_offset,
                aborted_transactions: seen.aborted_transactions().map(Iterator::collect),
                preferred_read_replica: seen.preferred_read_replica,
                records: seen.records.clone(),
                diverging_epoch: seen.diverging_epoch.clone(),
                current_leader: seen.current_leader.clone(),
                snapshot_id: seen.snapshot_id.clone(),
            };
            assert_eq!(seen, partition);
        }
    }
    assert!(viewed.next().is_none(), "the view has more partitions than the structure");
}
