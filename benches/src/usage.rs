//! What the process, or a thread of it, has cost so far.

use std::io;

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

/// The processor seconds of the thread that calls it, `None` where the system does not count them.
#[cfg(target_os = "linux")]
pub fn thread_seconds() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};

    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The processor seconds of the thread that calls it, `None` where the system does not count them.
#[cfg(not(target_os = "linux"))]
pub fn thread_seconds() -> Option<f64> {
    None
}

#[cfg(unix)]
fn seconds(time: nix::sys::time::TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}
