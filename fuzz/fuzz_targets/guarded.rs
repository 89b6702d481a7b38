//! See `untrusted_bytes::guarded`.
#![no_main]

#[global_allocator]
static ALLOCATOR: allocation_counter::CountingAllocator = allocation_counter::CountingAllocator;

libfuzzer_sys::fuzz_target!(|input: &[u8]| untrusted_bytes::guarded::check(input));
