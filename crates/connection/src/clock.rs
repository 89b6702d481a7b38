//! The runtime's time, which a test can pause: what drivers ask for, and machines are told.

use std::time::Instant;

/// What time it is.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits until that time; for ever, where there is none.
///
/// # Cancel safety
///
/// Waiting changes nothing.
pub async fn sleep_until(deadline: Option<impl Into<tokio::time::Instant>>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
