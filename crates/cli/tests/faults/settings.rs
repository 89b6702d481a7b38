//! What both sides are told: the same options, and the same files of settings.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// So many records a second, with so many keys that each partition has some.
pub(crate) const PRODUCER_OPTIONS: [&str; 6] = ["--throughput", "120", "--repeating-keys", "60", "--acks", "-1"];
/// The brokers' shortest session, so that a dead member is missed within a test's patience.
pub(crate) const CONSUMER_OPTIONS: [&str; 3] = ["--verbose", "--session-timeout", "6000"];
/// The program by itself would not retry at all.
const PRODUCER_SETTINGS: &str = "retries=2147483647\n";
/// How long ago the last heartbeat was is the noise in the time until a dead member is missed.
const CONSUMER_SETTINGS: &str = "heartbeat.interval.ms=1000\n";

/// The files of one side. They go when this is dropped.
#[derive(Debug)]
pub(crate) struct SettingsFiles(PathBuf);

impl SettingsFiles {
    pub(crate) fn write(side: &str) -> Self {
        let folder = env::temp_dir().join(format!("ottla-faults-{}-{side}", std::process::id()));
        let files = Self(folder);
        fs::create_dir_all(&files.0).unwrap();
        fs::write(files.producer(), PRODUCER_SETTINGS).unwrap();
        fs::write(files.consumer(), CONSUMER_SETTINGS).unwrap();
        files
    }

    pub(crate) fn producer(&self) -> PathBuf {
        self.0.join("producer.properties")
    }

    pub(crate) fn consumer(&self) -> PathBuf {
        self.0.join("consumer.properties")
    }
}

impl Drop for SettingsFiles {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}
