//! What two programs said, for comparison.
//!
//! Left out is what differs from run to run, and what is each program's own: the time of a line, the throughput, the words of an
//! error (its class is compared), and the text of a line that is no event. Fields are compared by name: the order in which
//! Java writes them is its JVM's, which promises none. Names of topics are alike but for the side's name at their end.

use std::collections::BTreeMap;

use protocol_tests::verifiable::{Ended, Event};
use serde_json::{Value, json};

use crate::pair::{SIDES, Side};

/// Asserts that both said the same, line by line, and gives what that was.
pub(crate) fn assert_alike(ended: &[Ended; 2]) -> Vec<Value> {
    let [java, ours] = both(ended);
    assert_eq!(ours, java, "ours, and Java's\n{}\n{}", ended[1].errors, ended[0].errors);
    ours
}

/// What each said.
pub(crate) fn both(ended: &[Ended; 2]) -> [Vec<Value>; 2] {
    let [java, ours] = SIDES;
    [said(java, &ended[0].events), said(ours, &ended[1].events)]
}

fn said(side: Side, events: &[Event]) -> Vec<Value> {
    events.iter().map(|event| comparable(side, event)).collect()
}

fn comparable(side: Side, event: &Event) -> Value {
    let mut json = event.json.clone();
    let Some(fields) = json.as_object_mut() else { return json!("text") };
    assert!(event.line.starts_with("{\"timestamp\":"), "{}", event.line);
    assert!(fields.remove("timestamp").is_some_and(|timestamp| timestamp.is_i64()), "{}", event.line);
    if let Some(throughput) = fields.get_mut("avg_throughput") {
        *throughput = json!(throughput.as_f64().is_some_and(|throughput| throughput >= 0.0));
    }
    for words in ["error", "message"] {
        if let Some(words) = fields.get_mut(words) {
            *words = json!(words.as_str().is_some_and(|words| !words.is_empty()));
        }
    }
    without_side(side, &mut json);
    json
}

fn without_side(side: Side, json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(topic) if name == "topic" => {
                        if let Some(shared) = topic.strip_suffix(side.name()) {
                            *topic = shared.to_owned();
                        }
                    }
                    field => without_side(side, field),
                }
            }
        }
        Value::Array(elements) => {
            for element in elements.iter_mut() {
                without_side(side, element);
            }
            // Java's sets have no order.
            elements.sort_by_key(|element| element["partition"].as_i64());
        }
        _ => {}
    }
}

/// The events of that name.
pub(crate) fn named<'l>(lines: &'l [Value], name: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["name"] == name).collect()
}

/// The names of the events, in their order.
pub(crate) fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["name"].as_str().unwrap_or("text")).collect()
}

/// What a consumer of several partitions said: how records fall into polls differs from run to run. So between two other
/// events stands, by partition, how many were read, from where to where, and what was committed last.
pub(crate) fn story(lines: &[Value]) -> Vec<Value> {
    let mut story = Vec::new();
    let mut read = BTreeMap::new();
    for line in lines {
        match line["name"].as_str() {
            Some("records_consumed") => {
                let count: i64 =
                    partitions(line, "partitions").iter().map(|partition| number(partition, "count")).sum();
                assert_eq!(number(line, "count"), count, "{line}");
                for partition in partitions(line, "partitions") {
                    read.entry(number(partition, "partition")).or_insert_with(Read::new).read(partition);
                }
            }
            Some("offsets_committed") => {
                assert_eq!(line["success"], true, "{line}");
                for partition in partitions(line, "offsets") {
                    let read = read.get_mut(&number(partition, "partition")).expect("only what was read is committed");
                    read.committed = Some(number(partition, "offset"));
                }
            }
            _ => {
                let read = std::mem::take(&mut read).into_iter();
                story.extend(read.map(|(partition, read)| read.told(partition)));
                story.push(line.clone());
            }
        }
    }
    story
}

struct Read {
    count: i64,
    offsets: Option<(i64, i64)>,
    committed: Option<i64>,
}

impl Read {
    fn new() -> Self {
        Self { count: 0, offsets: None, committed: None }
    }

    fn read(&mut self, summary: &Value) {
        let (first, last) = (number(summary, "minOffset"), number(summary, "maxOffset"));
        self.count += number(summary, "count");
        self.offsets = Some((self.offsets.map_or(first, |(first, _)| first), last));
    }

    fn told(&self, partition: i64) -> Value {
        json!({"read": partition, "count": self.count, "offsets": self.offsets, "committed": self.committed})
    }
}

fn partitions<'l>(line: &'l Value, field: &str) -> &'l [Value] {
    line[field].as_array().unwrap_or_else(|| panic!("{field} of {line}"))
}

fn number(json: &Value, field: &str) -> i64 {
    json[field].as_i64().unwrap_or_else(|| panic!("{field} of {json}"))
}
