//! The memory that answers are read into and batches decompressed to: one bound, and buffers that stay warm.
//!
//! Fresh memory costs a page fault every 4 KiB, as much as the copy out of the kernel. So buffers are `Vec<u8>`s that
//! stay initialised at full length; [`Bytes::from_owner`] gives one back when its last record is let go of, on
//! whichever thread that happens. Sizes are rounded up by at most an eighth, so that a buffer fits the next answer too.
//! An answer begins in the middle of a page: what the kernel copies from begins near the start of one, mostly, and where
//! both have the same place in their pages some CPUs take a load for one of what was just stored, and wait. Large
//! allocations do begin with a page. That cost a tenth of all a consumer does.
//!
//! Invariants: what is handed out never exceeds the bound, unless a single buffer does, and it waits until it is alone (and
//! but for one small answer of each connection, which has been read when it is counted);
//! what is kept for reuse never takes it beyond the bound. A batch that is decompressed takes memory as it grows, and is
//! refused what is not there: whoever opens it [makes room](crate::make_room) first. Waiting is in order of arrival, so that a large answer is
//! not overtaken for ever. The lock is held for a few steps, never over an await, and taken once per buffer.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use ottla_cluster::clock::now;
use ottla_connection::{ResponseBuffer, ResponseBuffers};
use tokio::sync::{Notify, oneshot};

/// Hands out buffers within the bound. Cloning it shares it.
#[derive(Clone, Debug)]
pub(crate) struct BufferPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    memory: Mutex<Memory>,
    /// Told when memory is given back.
    released: Notify,
}

#[derive(Debug)]
struct Memory {
    bound: usize,
    /// Bytes of the buffers that are handed out.
    used: usize,
    /// Of these, the bytes of buffers that answers are being read into.
    reading: usize,
    /// Of these, the bytes of answers of which some records wait to be handed out.
    waiting_to_be_handed_out: usize,
    /// Of these, the bytes of buffers that batches were decompressed into.
    decompressed: usize,
    /// Kept for answers, the one used last at the end.
    idle: Vec<Vec<u8>>,
    /// Kept for batches that are decompressed, the one used last at the end.
    idle_for_batches: Vec<Vec<u8>>,
    /// Bytes of both.
    idle_bytes: usize,
    /// Whether a batch waits for room: what is given back is for it.
    batch_waits: bool,
    /// Whether that one may go beyond the bound: it is alone.
    batch_is_alone: bool,
    waiting: VecDeque<Waiting>,
}

/// What the memory is used for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// All that is handed out.
    pub(crate) used: usize,
    /// Of these, what answers are being read into.
    pub(crate) reading: usize,
    /// Of these, answers of which some records wait to be handed out.
    pub(crate) buffered: usize,
    /// Of these, batches that were decompressed.
    pub(crate) decompressed: usize,
    /// What is kept for reuse, beside what is handed out.
    pub(crate) idle: usize,
    /// Whether an answer waits for memory.
    pub(crate) is_waited_for: bool,
}

impl Usage {
    /// What only records that were handed out keep.
    pub(crate) fn held(&self) -> usize {
        self.used.saturating_sub(self.reading).saturating_sub(self.buffered)
    }
}

/// Shows, as long as it lives, that some of an answer's records wait to be handed out. Whoever waits shares it. An answer that
/// is too small for a buffer of the pool counts as used for as long, so that no more than the bound can wait of
/// such ones either.
#[derive(Debug)]
pub(crate) struct WaitingAnswer {
    memory_bytes: usize,
    has_buffer: bool,
    shared: Arc<Shared>,
}

impl WaitingAnswer {
    /// Whether it is in a buffer of the pool, which is free when it has gone.
    pub(crate) fn has_buffer(&self) -> bool {
        self.has_buffer
    }
}

impl Drop for WaitingAnswer {
    fn drop(&mut self) {
        let mut memory = self.shared.memory();
        memory.waiting_to_be_handed_out = memory.waiting_to_be_handed_out.saturating_sub(self.memory_bytes);
        if !self.has_buffer {
            memory.used = memory.used.saturating_sub(self.memory_bytes);
            self.shared.serve(memory);
        }
    }
}

#[derive(Debug)]
struct Waiting {
    length: usize,
    ready: oneshot::Sender<PooledBuffer>,
}

impl BufferPool {
    pub(crate) fn new(bound: usize) -> Self {
        let memory = Memory {
            bound,
            used: 0,
            reading: 0,
            waiting_to_be_handed_out: 0,
            decompressed: 0,
            idle: Vec::new(),
            idle_for_batches: Vec::new(),
            idle_bytes: 0,
            batch_waits: false,
            batch_is_alone: false,
            waiting: VecDeque::new(),
        };
        Self { shared: Arc::new(Shared { memory: Mutex::new(memory), released: Notify::new() }) }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.shared.memory().used
    }

    pub(crate) fn bound(&self) -> usize {
        self.shared.memory().bound
    }

    /// For an answer whose buffer takes so much, if it has one.
    fn waiting_answer(&self, buffer_bytes: usize) -> WaitingAnswer {
        let has_buffer = buffer_bytes > 0;
        let memory_bytes = if has_buffer { buffer_bytes } else { SMALL_ANSWER_BYTES };
        let mut memory = self.shared.memory();
        memory.waiting_to_be_handed_out += memory_bytes;
        if !has_buffer {
            memory.make_room(memory_bytes);
            memory.used += memory_bytes;
        }
        WaitingAnswer { memory_bytes, has_buffer, shared: Arc::clone(&self.shared) }
    }

    /// What the memory is used for.
    pub(crate) fn usage(&self) -> Usage {
        let memory = self.shared.memory();
        Usage {
            used: memory.used,
            reading: memory.reading,
            buffered: memory.waiting_to_be_handed_out,
            decompressed: memory.decompressed,
            idle: memory.idle_bytes,
            is_waited_for: !memory.waiting.is_empty(),
        }
    }

    /// Completes when memory is given back after this call.
    pub(crate) fn released(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.released.notified()
    }

    /// Has those look again who wait for [`released`](Self::released): what had been promised to a Fetch is free.
    pub(crate) fn tell_released(&self) {
        self.shared.released.notify_waiters();
    }

    /// Memory for a batch to be decompressed into, of whatever length: where it is too short it [may
    /// grow](Self::may_grow). Without waiting, because this is for the application itself, and mostly only it could give memory
    /// back; [`Budget`](crate::budget::Budget) keeps room for it. To be followed by [`share`](Self::share).
    pub(crate) fn take_for_batch(&self) -> Vec<u8> {
        let mut memory = self.shared.memory();
        let vector = memory.idle_for_batches.pop().unwrap_or_default();
        memory.idle_bytes -= vector.len();
        memory.used += vector.len();
        memory.decompressed += vector.len();
        vector
    }

    /// Whether what [`take_for_batch`](Self::take_for_batch) gave may become longer by so many bytes, which are its from then
    /// on.
    pub(crate) fn may_grow(&self, bytes: usize) -> bool {
        let mut memory = self.shared.memory();
        let may_grow = memory.batch_is_alone || memory.used.saturating_add(bytes) <= memory.bound;
        if may_grow {
            memory.make_room(bytes);
            memory.used += bytes;
            memory.decompressed += bytes;
        }
        may_grow
    }

    /// The first `length` bytes of what [`take_for_batch`](Self::take_for_batch) gave. The memory comes back when the last
    /// share of it is dropped. A small batch does not keep a large buffer: it is copied out of it.
    pub(crate) fn share(&self, memory: Vec<u8>, length: usize) -> Bytes {
        if length == 0 {
            let mut pool = self.shared.memory();
            pool.give_back(memory, Purpose::Batch);
            let served = pool.serve_waiting(&self.shared);
            drop(pool);
            deliver(served);
            // Nobody else is told: whoever tries in vain would be woken by that, and try again.
            return Bytes::new();
        }
        let unused = memory.len().saturating_sub(length);
        let buffer = PooledBuffer::of_batch(memory, length, &self.shared);
        let is_copied = unused > MOST_UNUSED_BYTES && unused / 4 > length && self.may_grow(length);
        // It has been opened: what is opened next is not alone.
        self.shared.memory().batch_is_alone = false;
        if is_copied {
            return Bytes::from_owner(PooledBuffer::of_batch(buffer.as_ref().to_vec(), length, &self.shared));
        }
        Bytes::from_owner(buffer)
    }

    /// A batch waits for room: what is given back from now on is for it, until it [has been
    /// opened](Self::batch_was_opened).
    pub(crate) fn batch_waits(&self) {
        self.shared.memory().batch_waits = true;
    }

    /// There is nothing more to make room with: the batch may go beyond the bound.
    pub(crate) fn batch_is_alone(&self) {
        self.shared.memory().batch_is_alone = true;
    }

    /// The batch that waited for room has been opened, or is not wanted any more.
    pub(crate) fn batch_was_opened(&self) {
        let mut memory = self.shared.memory();
        (memory.batch_waits, memory.batch_is_alone) = (false, false);
        self.shared.serve(memory);
    }

    fn take(&self, length: usize) -> PooledBuffer {
        let memory = self.shared.memory().take(length);
        PooledBuffer::to_read_into(memory, length, &self.shared)
    }

    fn request(&self, length: usize) -> Result<PooledBuffer, oneshot::Receiver<PooledBuffer>> {
        let mut memory = self.shared.memory();
        if memory.waiting.is_empty() && memory.has_room(length) {
            let vector = memory.take(length);
            return Ok(PooledBuffer::to_read_into(vector, length, &self.shared));
        }
        let (ready, receiver) = oneshot::channel();
        memory.waiting.push_back(Waiting { length, ready });
        Err(receiver)
    }

    async fn acquire_buffer(&self, length: usize) -> PooledBuffer {
        match self.request(length) {
            Ok(buffer) => buffer,
            // The pool keeps the sender until it has served it, and lives as long as this call.
            Err(receiver) => match receiver.await {
                Ok(buffer) => buffer,
                Err(_) => self.take(length),
            },
        }
    }
}

/// The pool as one lane asks it for memory: it shows when an answer has begun to come.
#[derive(Debug)]
pub(crate) struct LaneBuffers {
    pool: BufferPool,
    begun_at: Mutex<Option<Instant>>,
    /// What the answer's buffer takes: of one answer at a time.
    memory_bytes: AtomicUsize,
}

impl LaneBuffers {
    pub(crate) fn new(pool: BufferPool) -> Self {
        Self { pool, begun_at: Mutex::new(None), memory_bytes: AtomicUsize::new(0) }
    }

    /// A request is about to be sent.
    pub(crate) fn expect_answer(&self) {
        *self.begun_at() = None;
        self.memory_bytes.store(0, Ordering::Relaxed);
    }

    /// For the answer that has come: its records wait to be handed out.
    pub(crate) fn waiting_answer(&self) -> Arc<WaitingAnswer> {
        Arc::new(self.pool.waiting_answer(self.memory_bytes.load(Ordering::Relaxed)))
    }

    /// When memory was asked for since, if it was, for an answer that is large.
    pub(crate) fn answer_begun_at(&self) -> Option<Instant> {
        *self.begun_at()
    }

    fn begun_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.begun_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResponseBuffers for LaneBuffers {
    fn acquire(&self, length: usize) -> Pin<Box<dyn Future<Output = Box<dyn ResponseBuffer>> + Send + '_>> {
        *self.begun_at() = Some(now());
        Box::pin(async move {
            let buffer = self.pool.acquire_buffer(length).await;
            self.memory_bytes.store(buffer.memory.len(), Ordering::Relaxed);
            Box::new(buffer) as Box<dyn ResponseBuffer>
        })
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(self: &Arc<Self>, vector: Vec<u8>, purpose: Purpose) {
        let mut memory = self.memory();
        memory.give_back(vector, purpose);
        self.serve(memory);
    }

    /// Some memory is free again.
    fn serve(self: &Arc<Self>, mut memory: MutexGuard<'_, Memory>) {
        let served = memory.serve_waiting(self);
        drop(memory);
        deliver(served);
        self.released.notify_waiters();
    }
}

/// Who waited for memory, and what there is for them now.
type Served = Vec<(oneshot::Sender<PooledBuffer>, PooledBuffer)>;

fn deliver(served: Served) {
    for (ready, buffer) in served {
        // One whose receiver has just gone drops its buffer here, outside the lock, and so gives it back.
        let _ = ready.send(buffer);
    }
}

impl Memory {
    fn serve_waiting(&mut self, shared: &Arc<Shared>) -> Served {
        let mut served = Vec::new();
        while let Some(first) = self.waiting.front() {
            if !first.ready.is_closed() && !self.has_room(first.length) {
                break;
            }
            let Some(Waiting { length, ready }) = self.waiting.pop_front() else { break };
            if !ready.is_closed() {
                let memory = self.take(length);
                served.push((ready, PooledBuffer::to_read_into(memory, length, shared)));
            }
        }
        served
    }

    fn has_room(&self, length: usize) -> bool {
        if self.batch_waits {
            return false;
        }
        self.used == 0 || self.used.saturating_add(rounded(length)) <= self.bound
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let vector = self.take_idle(length).unwrap_or_else(|| {
            let size = rounded(length);
            self.make_room(size);
            vec![0; size]
        });
        self.used += vector.len();
        self.reading += vector.len();
        vector
    }

    /// Idle memory makes way for what is needed: together they stay within the bound.
    fn make_room(&mut self, bytes: usize) {
        while self.used.saturating_add(self.idle_bytes).saturating_add(bytes) > self.bound {
            let idle = if self.idle.is_empty() { &mut self.idle_for_batches } else { &mut self.idle };
            if idle.is_empty() {
                return;
            }
            self.idle_bytes -= idle.remove(0).len();
        }
    }

    /// The idle buffer that fits best: large enough, and not so large that a small answer would pin much of the bound.
    fn take_idle(&mut self, length: usize) -> Option<Vec<u8>> {
        let least = length.saturating_add(PAGE_BYTES);
        let most = least.saturating_add(length / 4).saturating_add(PAGE_BYTES);
        let fitting = self.idle.iter().enumerate().filter(|(_, vector)| (least..=most).contains(&vector.len()));
        // The last of the equal ones: it was used last, and is the likeliest to be in a cache.
        let (place, _) = fitting.min_by_key(|(place, vector)| (vector.len(), usize::MAX - place))?;
        let vector = self.idle.remove(place);
        self.idle_bytes -= vector.len();
        Some(vector)
    }

    fn give_back(&mut self, vector: Vec<u8>, purpose: Purpose) {
        self.used = self.used.saturating_sub(vector.len());
        match purpose {
            Purpose::Reading => self.reading = self.reading.saturating_sub(vector.len()),
            Purpose::Answer => {}
            Purpose::Batch => self.decompressed = self.decompressed.saturating_sub(vector.len()),
        }
        if !vector.is_empty() && self.used + self.idle_bytes + vector.len() <= self.bound {
            self.idle_bytes += vector.len();
            let idle = if purpose == Purpose::Batch { &mut self.idle_for_batches } else { &mut self.idle };
            idle.push(vector);
        }
    }
}

/// A buffer of the pool, of `length` bytes. Goes back when dropped.
#[derive(Debug)]
pub(crate) struct PooledBuffer {
    /// Initialised at full length; `length` bytes from `start` on are in use.
    memory: Vec<u8>,
    start: usize,
    length: usize,
    purpose: Purpose,
    shared: Arc<Shared>,
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// An answer is being read into it.
    Reading,
    /// It holds an answer.
    Answer,
    /// It holds a batch that was decompressed.
    Batch,
}

impl PooledBuffer {
    /// For an answer, in memory that has a page more than that.
    fn to_read_into(memory: Vec<u8>, length: usize, shared: &Arc<Shared>) -> Self {
        let start = (memory.as_ptr().align_offset(PAGE_BYTES) + PAGE_BYTES / 2) % PAGE_BYTES;
        Self { memory, start, length, purpose: Purpose::Reading, shared: Arc::clone(shared) }
    }

    fn of_batch(memory: Vec<u8>, length: usize, shared: &Arc<Shared>) -> Self {
        Self { memory, start: 0, length, purpose: Purpose::Batch, shared: Arc::clone(shared) }
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        self.shared.give_back(std::mem::take(&mut self.memory), self.purpose);
    }
}

impl ResponseBuffer for PooledBuffer {
    fn memory(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }

    fn freeze(mut self: Box<Self>) -> Bytes {
        self.purpose = Purpose::Answer;
        let mut memory = self.shared.memory();
        memory.reading = memory.reading.saturating_sub(self.memory.len());
        drop(memory);
        Bytes::from_owner(*self)
    }
}

/// The longest answer whose buffer takes no more than `memory`; 0 where no buffer is that small.
pub(crate) fn longest_within(memory: usize) -> usize {
    (memory - memory % step(memory)).saturating_sub(PAGE_BYTES)
}

/// The memory that an answer's buffer takes: `length` and a page, so that it can begin where it is to, rounded up to a size
/// that others will need too, by no more than an eighth, or to whole pages.
pub(crate) fn rounded(length: usize) -> usize {
    let least = length.saturating_add(PAGE_BYTES);
    let step = step(least);
    least.div_ceil(step).saturating_mul(step)
}

/// What sizes up to the next power of two are multiples of.
fn step(size: usize) -> usize {
    (size.next_power_of_two() / 16).max(PAGE_BYTES)
}

const PAGE_BYTES: usize = 4096;
/// What an answer that is not worth a buffer of the pool may take while it waits: what the connection read it into, and what the
/// queue has of each of its partitions.
const SMALL_ANSWER_BYTES: usize = 2 * PAGE_BYTES;
/// How much of a buffer a batch need not fill.
const MOST_UNUSED_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn acquire(pool: &BufferPool, length: usize) -> Pin<Box<impl Future<Output = Box<PooledBuffer>> + '_>> {
        Box::pin(async move { Box::new(pool.acquire_buffer(length).await) })
    }

    #[test]
    fn the_longest_answer_within_some_memory_gets_a_buffer_within_it_and_one_byte_more_does_not() {
        let page = PAGE_BYTES;
        for memory in [2 * page, 2 * page + 1, 100 * KIB, 1000 * KIB, 5_592_405, 14 << 20, 16 << 20, (16 << 20) + page]
        {
            let longest = longest_within(memory);
            assert!(rounded(longest) <= memory && longest + memory / 8 + 2 * page >= memory, "{longest} in {memory}");
            assert!(rounded(longest + 1) > memory, "{longest} in {memory}");
        }
        assert_eq!(longest_within(page), 0);
    }

    fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn a_buffer_comes_back_when_its_last_slice_is_dropped_and_is_used_again() {
        let pool = BufferPool::new(1024 * KIB);
        let mut buffer = poll_once(&mut acquire(&pool, 100 * KIB)).unwrap();
        buffer.memory().fill(7);
        let address = buffer.memory().as_ptr();
        let bytes = buffer.freeze();
        assert_eq!((bytes.len(), bytes[100 * KIB - 1]), (100 * KIB, 7));
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(pool.used(), rounded(100 * KIB));
        drop(slice);
        assert_eq!(pool.used(), 0);
        let mut again = poll_once(&mut acquire(&pool, 99 * KIB)).unwrap();
        assert_eq!(again.memory().as_ptr(), address);
        assert_eq!(again.memory().len(), 99 * KIB);
    }

    #[test]
    fn an_answer_begins_in_the_middle_of_a_page_wherever_its_memory_does() {
        let pool = BufferPool::new(64 * 1024 * KIB);
        for length in [1, 5000, 100 * KIB, 13 * 1024 * KIB] {
            let mut buffer = poll_once(&mut acquire(&pool, length)).unwrap();
            assert_eq!(buffer.memory().len(), length);
            assert_eq!(buffer.memory().as_ptr().addr() % PAGE_BYTES, PAGE_BYTES / 2);
            buffer.memory().fill(7);
            let bytes = buffer.freeze();
            assert!(bytes.len() == length && bytes.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn a_buffer_beyond_the_bound_waits_until_it_is_alone_and_is_not_overtaken() {
        let pool = BufferPool::new(1024 * KIB);
        let first = poll_once(&mut acquire(&pool, 10 * KIB)).unwrap();
        let mut large = acquire(&pool, 5000 * KIB);
        assert!(poll_once(&mut large).is_none());
        let mut small = acquire(&pool, 1);
        assert!(poll_once(&mut small).is_none(), "a small one overtook");
        drop(first);
        let large = poll_once(&mut large).unwrap();
        assert!(poll_once(&mut small).is_none());
        assert!(pool.usage().is_waited_for);
        drop(large);
        assert!(poll_once(&mut small).is_some());
    }

    #[test]
    fn a_waiter_that_gave_up_keeps_nothing() {
        let pool = BufferPool::new(64 * KIB);
        let first = poll_once(&mut acquire(&pool, 60 * KIB)).unwrap();
        let mut dropped = acquire(&pool, 60 * KIB);
        assert!(poll_once(&mut dropped).is_none());
        let mut kept = acquire(&pool, 60 * KIB);
        assert!(poll_once(&mut kept).is_none());
        drop(dropped);
        drop(first);
        assert!(poll_once(&mut kept).is_some());
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn memory_kept_for_reuse_stays_within_the_bound_too() {
        let pool = BufferPool::new(1024 * KIB);
        for size in [100, 200, 300, 400, 500, 600] {
            drop(poll_once(&mut acquire(&pool, size * KIB)).unwrap());
            let memory = pool.shared.memory();
            assert!(memory.used + memory.idle_bytes <= memory.bound);
            assert_eq!(memory.idle.iter().map(Vec::len).sum::<usize>(), memory.idle_bytes);
        }
    }

    #[test]
    fn rounding_adds_an_eighth_at_most() {
        for length in [1, 4096, 4097, 70_000, 1_048_576, 1_048_577, 12_600_000] {
            let size = rounded(length);
            let least = length + PAGE_BYTES;
            assert!(size >= least && size <= least + least / 8 + PAGE_BYTES, "{length} became {size}");
        }
    }

    #[test]
    fn a_small_answer_counts_while_it_waits_and_who_waits_for_memory_is_served_after_it() {
        let pool = BufferPool::new(64 * KIB);
        let small = LaneBuffers::new(pool.clone()).waiting_answer();
        assert_eq!((pool.used(), pool.usage().buffered), (SMALL_ANSWER_BYTES, SMALL_ANSWER_BYTES));
        assert!(!small.has_buffer() && pool.usage().held() == 0);
        let mut waiting = acquire(&pool, 60 * KIB);
        assert!(poll_once(&mut waiting).is_none());
        drop(small);
        let buffer = poll_once(&mut waiting).unwrap();
        drop(buffer);
        assert_eq!((pool.used(), pool.usage().buffered), (0, 0));
    }

    #[test]
    fn only_one_batch_goes_beyond_the_bound_where_it_is_alone() {
        let pool = BufferPool::new(64 * KIB);
        pool.batch_waits();
        pool.batch_is_alone();
        assert!(pool.may_grow(100 * KIB));
        let alone = pool.share(vec![0; 100 * KIB], 100 * KIB);
        assert!(!pool.may_grow(1), "the next one is not");
        drop(alone);
        assert!(pool.may_grow(1));
    }

    #[test]
    fn memory_that_a_batch_did_not_need_serves_who_waits() {
        let pool = BufferPool::new(64 * KIB);
        assert!(pool.may_grow(60 * KIB));
        let mut waiting = acquire(&pool, 50 * KIB);
        assert!(poll_once(&mut waiting).is_none());
        assert!(pool.share(vec![0; 60 * KIB], 0).is_empty());
        assert!(poll_once(&mut waiting).is_some());
    }
}
