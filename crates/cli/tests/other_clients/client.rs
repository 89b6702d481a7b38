//! The other clients, as a table: their programs, and what they do not have.

use std::process::Command;

use protocol_tests::verifiable::{Ended, Program};
use serde_json::Value;

use crate::letter::{Letter, letters};
use crate::shared::{PATIENCE, Setting};

/// A client by its program, which has the command line of `protocol-tests/clients/README.md`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    program: Source,
    /// The operations of administration that it does not have.
    pub(crate) lacks: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Python(&'static str),
    Go(&'static str),
}

pub(crate) const CLIENTS: &[Client] = &[
    Client { name: "librdkafka", program: Source::Python("librdkafka"), lacks: &["delete_group_offsets"] },
    Client { name: "kafka_python", program: Source::Python("kafka_python"), lacks: &[] },
    Client {
        name: "aiokafka",
        program: Source::Python("aiokafka_client"),
        lacks: &["delete_group_offsets", "delete_group"],
    },
    Client { name: "franz_go", program: Source::Go("franz-go-tool"), lacks: &[] },
    Client { name: "sarama", program: Source::Go("sarama-tool"), lacks: &[] },
];

/// Every codec; each client has them all.
pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

impl Client {
    /// Writes so many records with each codec, and gives them as the client was told of them.
    pub(crate) async fn produce(self, setting: &Setting, topic: &str, count: usize, options: &[&str]) -> Vec<Letter> {
        let count = count.to_string();
        let arguments = [&["produce", &setting.bootstrap_servers, topic, &count], options].concat();
        letters(&self.run(setting, &arguments).await.events)
    }

    /// Starts a member of a group.
    pub(crate) async fn consume(self, setting: &Setting, topic: &str, group: &str) -> Program {
        let command = self.command(setting, &["consume", &setting.bootstrap_servers, topic, group]);
        Program::start(format!("{} in group {group}", self.name), &command).await.expect("the program starts")
    }

    /// Asks for one thing after the other, and gives the answers.
    pub(crate) async fn administer(self, setting: &Setting, requests: &[Value]) -> Vec<Value> {
        let requests: Vec<_> = requests.iter().map(Value::to_string).collect();
        let mut arguments = vec!["admin", &setting.bootstrap_servers];
        arguments.extend(requests.iter().map(String::as_str));
        let ended = self.run(setting, &arguments).await;
        let answers: Vec<_> = ended.events.into_iter().map(|event| event.json).filter(|json| !json.is_null()).collect();
        assert_eq!(answers.len(), requests.len(), "{}: {answers:?}\n{}", self.name, ended.errors);
        answers
    }

    async fn run(self, setting: &Setting, arguments: &[&str]) -> Ended {
        let label = format!("{} {}", self.name, arguments[0]);
        let program = Program::start(label, &self.command(setting, arguments)).await.expect("the program starts");
        let ended = program.ended(PATIENCE).await.expect("the program ends");
        assert!(ended.status.success(), "{} {arguments:?}: {ended:?}", self.name);
        ended
    }

    fn command(self, setting: &Setting, arguments: &[&str]) -> Command {
        let others = setting.others.as_ref().expect("without the other clients the test is ignored");
        let mut command = match self.program {
            Source::Python(name) => others.python(name),
            Source::Go(name) => others.go(name),
        };
        command.args(arguments);
        command
    }
}
