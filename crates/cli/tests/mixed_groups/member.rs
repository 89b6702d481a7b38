//! The members: a process each, of whichever client.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use protocol_tests::clients::OtherClients;
use protocol_tests::kafka::Toolbox;
use protocol_tests::verifiable::Program;

use crate::rules::Strategy;

/// Whose consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Ours,
    Java,
    Librdkafka,
    Franz,
}

impl Client {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Java => "java",
            Self::Librdkafka => "librdkafka",
            Self::Franz => "franz",
        }
    }

    /// The assignors that it has in common with ours.
    pub(crate) fn strategies(self) -> &'static [Strategy] {
        use Strategy::{CooperativeSticky, Range, RoundRobin, Sticky};
        match self {
            // librdkafka's only sticky one is cooperative.
            Self::Librdkafka => &[Range, RoundRobin, CooperativeSticky],
            Self::Ours | Self::Java | Self::Franz => &[Range, RoundRobin, Sticky, CooperativeSticky],
        }
    }
}

/// What a member is to be.
#[derive(Debug)]
pub(crate) struct Membership<'a> {
    pub(crate) bootstrap_servers: &'a str,
    pub(crate) group: &'a str,
    pub(crate) topics: &'a [String],
    pub(crate) strategy: Strategy,
    pub(crate) session_timeout: Duration,
    /// Whether it is a static member, by its label.
    pub(crate) is_static: bool,
}

/// What no option of `VerifiableConsumer` says.
const SETTINGS: &str = "heartbeat.interval.ms=500\n";

/// How to start a member of each client.
#[derive(Debug)]
pub(crate) struct Programs {
    toolbox: Toolbox,
    others: Option<OtherClients>,
    folder: PathBuf,
}

impl Programs {
    /// Makes them ready.
    pub(crate) fn new(toolbox: Toolbox, others: Option<OtherClients>) -> std::io::Result<Self> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mixed_groups");
        fs::create_dir_all(&folder)?;
        toolbox.compile("Member", &folder)?;
        Ok(Self { toolbox, others, folder })
    }

    /// Starts a member. Its member id begins with `label`.
    pub(crate) async fn start(
        &self,
        client: Client,
        label: &str,
        membership: &Membership<'_>,
    ) -> std::io::Result<Program> {
        let settings = self.folder.join(format!("{}.{label}.properties", membership.group));
        fs::write(&settings, format!("client.id={label}\n{SETTINGS}"))?;
        let mut command = self.command(client);
        let strategy = match client {
            Client::Java => membership.strategy.java_class(),
            Client::Ours | Client::Librdkafka | Client::Franz => membership.strategy.name(),
        };
        command
            .args(["--bootstrap-server", membership.bootstrap_servers])
            .args(["--topic", &membership.topics.join(",")])
            .args(["--group-id", membership.group])
            .args(["--assignment-strategy", strategy])
            .args(["--reset-policy", "earliest"])
            .args(["--session-timeout", &membership.session_timeout.as_millis().to_string()])
            .arg("--command-config")
            .arg(&settings);
        if membership.is_static {
            command.args(["--group-instance-id", label]);
        }
        Program::start(format!("{} of {}", label, membership.group), &command).await
    }

    fn command(&self, client: Client) -> Command {
        let others = || self.others.as_ref().expect("only plans whose clients are there are run");
        match client {
            Client::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
                command.arg("verifiable-consumer");
                command
            }
            Client::Java => self.toolbox.program("Member", &self.folder),
            Client::Librdkafka => others().python("librdkafka_member"),
            Client::Franz => others().go("franz-member"),
        }
    }
}
