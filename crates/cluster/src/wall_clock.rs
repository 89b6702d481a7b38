//! The time of day, injected: what stamps records, and what ages are counted back from.

use std::fmt;
use std::sync::Arc;

/// Tells milliseconds since 1970.
///
/// The default reads the system's clock; a test sets one of its own.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl WallClock {
    /// A clock that asks `milliseconds_since_1970`.
    pub fn new(milliseconds_since_1970: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(milliseconds_since_1970))
    }

    /// The system's clock.
    pub fn system() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is where wall-clock time is injected")]
        Self::new(|| {
            let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since_1970.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// What it says now.
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WallClock")
    }
}
