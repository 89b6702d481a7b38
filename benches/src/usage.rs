//! What the process, or a thread of it, has cost so far.

use std::io;
use std::time::{Duration, Instant};

/// Processor time, in seconds, and peak memory of this process.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "of these benchmarks only")]
pub struct Usage {
    /// Outside the kernel.
    pub user_seconds: f64,
    /// In the kernel.
    pub system_seconds: f64,
    /// The most that was resident at one time.
    pub max_resident_kib: i64,
}

impl Usage {
    /// As the operating system counts it, all threads together.
    #[cfg(unix)]
    pub fn now() -> io::Result<Self> {
        use nix::sys::resource::{UsageWho, getrusage};

        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        // macOS counts the resident size in bytes, the others in KiB.
        let unit = if cfg!(target_os = "macos") { 1024 } else { 1 };
        Ok(Self {
            user_seconds: seconds(usage.user_time()),
            system_seconds: seconds(usage.system_time()),
            max_resident_kib: usage.max_rss() / unit,
        })
    }

    /// Not counted here: the figures are all zero.
    #[cfg(not(unix))]
    pub fn now() -> io::Result<Self> {
        Ok(Self::default())
    }
}

/// Does something, and says what it has taken of this thread's processor time, which has the kernel's part in it. It is the time on the
/// clock where that is asked for, or where the system does not count threads.
#[allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
pub fn timed<T>(of_thread: bool, action: impl FnOnce() -> T) -> (T, Duration) {
    let (clock, thread) = (Instant::now(), thread_seconds().filter(|_| of_thread));
    let result = action();
    let taken = match (thread, thread_seconds()) {
        (Some(before), Some(after)) => Duration::from_secs_f64((after - before).max(0.0)),
        _ => clock.elapsed(),
    };
    // Criterion takes no iteration that takes no time.
    (result, taken.max(Duration::from_nanos(1)))
}

/// The processor seconds of the thread that calls it, `None` where the system does not count them.
#[cfg(target_os = "linux")]
fn thread_seconds() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};

    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The processor seconds of the thread that calls it, `None` where the system does not count them.
#[cfg(not(target_os = "linux"))]
fn thread_seconds() -> Option<f64> {
    None
}

#[cfg(unix)]
fn seconds(time: nix::sys::time::TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}
