//! See `untrusted_bytes::assignors`.
#![no_main]

#[global_allocator]
static ALLOCATOR: allocation_counter::CountingAllocator = allocation_counter::CountingAllocator;

libfuzzer_sys::fuzz_target!(|input: &[u8]| untrusted_bytes::assignors::check(input));
