//! What the process has cost so far.

/// Processor time, in seconds, and peak memory of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) user_seconds: f64,
    pub(crate) system_seconds: f64,
    pub(crate) max_resident_kib: i64,
}

impl Usage {
    /// As the operating system counts it, all threads together.
    #[cfg(unix)]
    pub(crate) fn now() -> Result<Self, std::io::Error> {
        use nix::sys::resource::{UsageWho, getrusage};

        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
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
    pub(crate) fn now() -> Result<Self, std::io::Error> {
        Ok(Self::default())
    }
}
