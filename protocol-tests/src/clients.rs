//! Programs over other Kafka clients (`clients/`): librdkafka, franz-go, sarama and Python's own.
//!
//! They come from their registries and are built on first use, by `clients/install`, into a cache. Nothing of them is part of
//! what Ottla's users build.

use std::env;

use crate::kafka::package_folder;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Whether missing clients are a failure rather than a reason to skip: `OTTLA_REQUIRE_CLIENTS=1`, as CI sets it.
pub fn is_required() -> bool {
    env::var("OTTLA_REQUIRE_CLIENTS").is_ok_and(|value| value == "1")
}

/// The programs, ready to be started.
#[derive(Debug, Clone)]
pub struct OtherClients {
    folder: PathBuf,
}

impl OtherClients {
    /// Looks for Python and Go, and makes the programs ready.
    ///
    /// # Errors
    /// A sentence that says what this machine lacks.
    pub fn find() -> Result<Self, String> {
        for (tool, argument) in [("bash", "--version"), ("python3", "--version"), ("go", "version")] {
            let found = Command::new(tool).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !found.is_ok_and(|status| status.success()) {
                return Err(format!("`{tool}` was not found"));
            }
        }
        let output = Command::new(sources().join("install"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("clients/install did not start: {error}"))?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("the other clients could not be made ready: {reason}"));
        }
        Ok(Self { folder: PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()) })
    }

    /// A command that runs `clients/python/<name>.py` with the packages that it needs.
    pub fn python(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join("python/bin/python"));
        command.arg(sources().join(format!("python/{name}.py")));
        command
    }

    /// A command that runs the program of `clients/go/<name>`.
    pub fn go(&self, name: &str) -> Command {
        Command::new(self.folder.join("go/bin").join(name))
    }
}

fn sources() -> PathBuf {
    package_folder().join("clients")
}
