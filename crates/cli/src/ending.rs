//! How a program that runs until it is told to end is told: SIGINT and SIGTERM.

/// The signals that end the process.
pub(crate) struct Ending {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Ending {
    #[cfg(unix)]
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            biased; // either ends it, in whatever order they came
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, reason = "the signature is Unix's")]
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(crate) async fn told(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler, the system ends the process by itself.
            std::future::pending::<()>().await;
        }
    }
}
