//! A global allocator that counts, so that a test can say how much memory a call may take.
//!
//! The workspace's promise is that no bytes from the network make us allocate without bound. [`measure`] runs a closure
//! and tells what the thread that ran it allocated meanwhile: how much at its peak beyond what it had before, and how
//! often. The counts are the thread's own, so tests that run side by side do not disturb each other; memory that
//! another thread frees or allocates for the closure is not seen, and the decoders start no threads.
//!
//! A binary counts only where it installs the allocator:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: allocation_counter::CountingAllocator = allocation_counter::CountingAllocator;
//!
//! let (vector, allocated) = allocation_counter::measure(|| vec![0u8; 1000]);
//! assert_eq!(allocated.peak_bytes, vector.len());
//! assert_eq!(allocated.allocations, 1);
//! ```
//!
//! This is the only crate of the workspace with `unsafe` in it: `GlobalAlloc` is an unsafe trait. It adds arithmetic
//! on thread-local cells to the system's allocator, and nothing else.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread has allocated since [`measure`] began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allocated {
    /// The most that was allocated at one time, beyond what the thread held before. While an allocation grows, its old
    /// and its new size count both: that is what moving it takes.
    pub peak_bytes: usize,
    /// What is still allocated: the closure's result, and what leaked. Zero where more was freed than allocated.
    pub kept_bytes: usize,
    /// How often memory was asked for, growing included.
    pub allocations: usize,
}

#[derive(Clone, Copy)]
struct Counts {
    // Signed: a thread may free what it held before, or what another thread allocated.
    held_bytes: isize,
    peak_bytes: isize,
    allocations: usize,
}

impl Counts {
    const ZERO: Self = Self { held_bytes: 0, peak_bytes: 0, allocations: 0 };
}

thread_local! {
    // Constant and without a destructor: reading it allocates nothing, at any time in a thread's life.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts::ZERO) };
}

/// The system's allocator, with a count of what each thread holds. Install it with `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a static has to name its value")]
pub struct CountingAllocator;

/// Runs `action` and tells what this thread allocated in it.
///
/// May be nested: the outer measure includes the inner. Panics where [`CountingAllocator`] is not the global
/// allocator, since every bound would then seem to hold.
pub fn measure<T>(action: impl FnOnce() -> T) -> (T, Allocated) {
    assert!(is_installed(), "allocation_counter::CountingAllocator is not this binary's global allocator");
    let before = COUNTS.replace(Counts::ZERO);
    let result = action();
    let counts = COUNTS.get();
    COUNTS.set(Counts {
        held_bytes: before.held_bytes + counts.held_bytes,
        peak_bytes: before.peak_bytes.max(before.held_bytes + counts.peak_bytes),
        allocations: before.allocations + counts.allocations,
    });
    let allocated = Allocated {
        peak_bytes: counts.peak_bytes.max(0).cast_unsigned(),
        kept_bytes: counts.held_bytes.max(0).cast_unsigned(),
        allocations: counts.allocations,
    };
    (result, allocated)
}

/// Whether allocations of this binary are counted.
fn is_installed() -> bool {
    let before = COUNTS.get().allocations;
    drop(std::hint::black_box(Box::new(0u8)));
    COUNTS.get().allocations != before
}

fn count(added: usize, removed: usize) {
    COUNTS.set({
        let mut counts = COUNTS.get();
        counts.held_bytes += added.cast_signed();
        counts.peak_bytes = counts.peak_bytes.max(counts.held_bytes);
        counts.held_bytes -= removed.cast_signed();
        counts.allocations += usize::from(added > 0);
        counts
    });
}

// SAFETY: every call is passed on to `System` with its arguments unchanged, and its answer is returned unchanged; so
// the contract of `GlobalAlloc` holds as far as it does for `System`. Counting does not allocate and does not unwind:
// it copies a thread-local value that needs neither initialisation nor destruction.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    #[test]
    fn the_peak_is_what_was_held_at_one_time() {
        let ((), allocated) = measure(|| {
            drop(std::hint::black_box(vec![1u8; 1000]));
            drop(std::hint::black_box(vec![1u8; 700]));
        });
        assert_eq!(allocated, Allocated { peak_bytes: 1000, kept_bytes: 0, allocations: 2 });
    }

    #[test]
    fn growing_counts_the_old_and_the_new_size() {
        let (vector, allocated) = measure(|| {
            let mut vector: Vec<u8> = Vec::with_capacity(1000);
            vector.reserve_exact(3000);
            vector
        });
        assert_eq!(allocated.peak_bytes, 4000);
        assert_eq!(allocated.kept_bytes, vector.capacity());
    }

    #[test]
    fn memory_freed_that_was_held_before_does_not_hide_what_is_allocated() {
        let before = vec![1u8; 5000];
        let ((), allocated) = measure(|| {
            drop(std::hint::black_box(vec![1u8; 1000]));
            drop(before);
        });
        assert_eq!(allocated.peak_bytes, 1000);
        assert_eq!(allocated.kept_bytes, 0);
    }

    #[test]
    fn the_outer_measure_includes_the_inner() {
        let ((), outer) = measure(|| {
            let held = std::hint::black_box(vec![1u8; 1000]);
            let ((), inner) = measure(|| drop(std::hint::black_box(vec![1u8; 500])));
            assert_eq!(inner.peak_bytes, 500);
            drop(held);
        });
        assert_eq!(outer.peak_bytes, 1500);
    }

    #[test]
    fn another_threads_allocations_do_not_count() {
        let ((), allocated) = measure(|| {
            #[allow(clippy::disallowed_methods, reason = "what is tested is another thread")]
            std::thread::scope(|scope| {
                scope.spawn(|| drop(std::hint::black_box(vec![1u8; 1 << 20])));
            });
        });
        assert!(allocated.peak_bytes < 1 << 16, "{allocated:?}");
    }
}
