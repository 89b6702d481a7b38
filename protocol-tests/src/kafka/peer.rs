//! The Java client as a process that answers questions (`java/Peer.java`).

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ottla::TopicPartition;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::{Toolbox, package_folder};
use crate::record::PlainRecord;
use crate::verifiable::topic_partition;

/// Longer than every timeout within the peer, so that its own answer says what went wrong.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);

/// A member of a group, as its coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// Its id, which the coordinator gave it.
    pub member_id: String,
    /// Its client's `client.id`.
    pub client_id: String,
    /// What the group's leader assigned to it.
    pub partitions: BTreeSet<TopicPartition>,
}

/// A running Java process. It ends when this is dropped.
#[derive(Debug)]
pub struct JavaPeer {
    process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl JavaPeer {
    /// Starts it; the first answer waits for the JVM.
    pub fn start(toolbox: &Toolbox) -> io::Result<Self> {
        let mut process = tokio::process::Command::new("java")
            .args([
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            ])
            .args(["-cp", &toolbox.class_path()])
            .arg(package_folder().join("java/Peer.java"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let requests = process.stdin.take().expect("standard input is piped");
        let answers = BufReader::new(process.stdout.take().expect("standard output is piped")).lines();
        Ok(Self { process, requests, answers })
    }

    /// Produces the records with Java's producer, `settings` being Kafka's own, and returns their partitions and offsets.
    pub async fn produce(
        &mut self,
        bootstrap: &str,
        topic: &str,
        settings: &[(&str, &str)],
        records: &[PlainRecord],
    ) -> io::Result<Vec<(i32, i64)>> {
        let records = records.iter().map(to_json).collect::<Vec<_>>();
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        let settings = Value::Object(settings.collect());
        let answer = self
            .ask(&json!({"op": "produce", "bootstrap": bootstrap, "topic": topic, "settings": settings, "records": records}))
            .await?;
        let metadata = answer.as_array().into_iter().flatten().filter_map(|metadata| {
            Some((i32::try_from(metadata["partition"].as_i64()?).ok()?, metadata["offset"].as_i64()?))
        });
        Ok(metadata.collect())
    }

    /// Reads `count` records of a partition with Java's consumer, from offset `from` on. Fewer come after a minute.
    pub async fn consume(
        &mut self,
        bootstrap: &str,
        topic: &str,
        partition: i32,
        from: i64,
        count: usize,
    ) -> io::Result<Vec<PlainRecord>> {
        let answer = self
            .ask(&json!({
                "op": "consume", "bootstrap": bootstrap, "topic": topic, "partition": partition, "from": from, "count": count,
            }))
            .await?;
        Ok(answer.as_array().into_iter().flatten().map(from_json).collect())
    }

    /// Creates a topic with settings of its own.
    pub async fn create_topic(
        &mut self,
        bootstrap: &str,
        topic: &str,
        partitions: i32,
        replication: i16,
        configs: &[(&str, &str)],
    ) -> io::Result<()> {
        let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        let configs = Value::Object(configs.collect());
        self.ask(&json!({
            "op": "create_topic", "bootstrap": bootstrap, "topic": topic, "partitions": partitions,
            "replication": replication, "configs": configs,
        }))
        .await
        .map(drop)
    }

    /// Per partition its leader (`None`: it has none) and how many replicas are in sync.
    pub async fn describe(&mut self, bootstrap: &str, topic: &str) -> io::Result<Vec<(Option<i32>, usize)>> {
        let answer = self.ask(&json!({"op": "describe", "bootstrap": bootstrap, "topic": topic})).await?;
        let partitions = answer.as_array().into_iter().flatten().map(|partition| {
            let leader = partition["leader"].as_i64().and_then(|id| i32::try_from(id).ok()).filter(|id| *id >= 0);
            (leader, partition["isr"].as_array().map_or(0, Vec::len))
        });
        Ok(partitions.collect())
    }

    /// The members of a group as its coordinator knows them. While they rebalance they have no partitions.
    pub async fn members(&mut self, bootstrap: &str, group: &str) -> io::Result<Vec<GroupMember>> {
        let answer = self.ask(&json!({"op": "members", "bootstrap": bootstrap, "group": group})).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let member = |member: &Value| GroupMember {
            member_id: text(&member["member_id"]),
            client_id: text(&member["client_id"]),
            partitions: member["partitions"].as_array().into_iter().flatten().filter_map(topic_partition).collect(),
        };
        Ok(answer.as_array().into_iter().flatten().map(member).collect())
    }

    /// Makes `node` lead the partition, and returns when it does.
    pub async fn move_leader(&mut self, bootstrap: &str, topic: &str, partition: i32, node: i32) -> io::Result<()> {
        self.ask(&json!({
            "op": "move_leader", "bootstrap": bootstrap, "topic": topic, "partition": partition, "node": node,
        }))
        .await
        .map(drop)
    }

    /// Makes the partition begin at `offset`, and returns when it does.
    pub async fn delete_records(
        &mut self,
        bootstrap: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> io::Result<()> {
        self.ask(&json!({
            "op": "delete_records", "bootstrap": bootstrap, "topic": topic, "partition": partition, "offset": offset,
        }))
        .await
        .map(drop)
    }

    /// Has any replica of the partition that is up lead it, in sync or not.
    pub async fn elect_uncleanly(&mut self, bootstrap: &str, topic: &str, partition: i32) -> io::Result<()> {
        let request = json!({"op": "elect_uncleanly", "bootstrap": bootstrap, "topic": topic, "partition": partition});
        self.ask(&request).await.map(drop)
    }

    /// Ends the process and waits for it.
    pub async fn end(mut self) -> io::Result<()> {
        drop(self.requests);
        self.process.wait().await.map(drop)
    }

    async fn ask(&mut self, request: &Value) -> io::Result<Value> {
        let answer = async {
            self.requests.write_all(format!("{request}\n").as_bytes()).await?;
            self.requests.flush().await?;
            let line = self.answers.next_line().await?;
            line.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the Java process ended"))
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer from Java to {}", request["op"]))
        })??;
        let mut answer: Value = serde_json::from_str(&answer)?;
        match answer.get("error") {
            Some(error) => Err(io::Error::other(format!("Java: {error}"))),
            None => Ok(answer["ok"].take()),
        }
    }
}

fn to_json(record: &PlainRecord) -> Value {
    let headers = record.headers.iter().map(|(key, value)| json!([key, encode_base64(value.as_deref())]));
    json!({
        "partition": record.partition,
        "timestamp": record.timestamp_ms,
        "key": encode_base64(record.key.as_deref()),
        "value": encode_base64(record.value.as_deref()),
        "headers": headers.collect::<Vec<_>>(),
    })
}

fn from_json(record: &Value) -> PlainRecord {
    let headers = record["headers"].as_array().into_iter().flatten();
    PlainRecord {
        partition: record["partition"].as_i64().and_then(|partition| i32::try_from(partition).ok()),
        offset: record["offset"].as_i64(),
        timestamp_ms: record["timestamp"].as_i64(),
        key: decode_base64(&record["key"]),
        value: decode_base64(&record["value"]),
        headers: headers
            .map(|header| (header[0].as_str().unwrap_or_default().to_owned(), decode_base64(&header[1])))
            .collect(),
    }
}

/// Bytes as base64 text; null stays null.
fn encode_base64(value: Option<&[u8]>) -> Value {
    value.map_or(Value::Null, |value| Value::String(STANDARD.encode(value)))
}

/// The bytes of a base64 text; null stays null.
fn decode_base64(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| STANDARD.decode(text).expect("base64 from the Java peer"))
}
