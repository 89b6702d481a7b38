//! A conversation with a client's program of administration: what is asked, and what is to be answered.

use serde_json::{Value, json};

use crate::client::Client;
use crate::shared::Setting;

/// Questions, each with its answer.
#[derive(Default)]
pub(crate) struct Conversation(Vec<(Value, Value)>);

impl Conversation {
    /// `op` is asked, and answered with `answer`.
    pub(crate) fn ok(mut self, op: &str, fields: Value, answer: Value) -> Self {
        let mut expected = json!({});
        expected["ok"] = answer;
        self.0.push((request(op, fields), expected));
        self
    }

    /// `op` is asked, and refused with a code.
    pub(crate) fn refused(mut self, op: &str, fields: Value, code: i16) -> Self {
        self.0.push((request(op, fields), json!({"error": code})));
        self
    }

    /// Holds it with a client. What the client does not have, it has to say so.
    pub(crate) async fn hold(self, setting: &Setting, client: Client) {
        let requests: Vec<_> = self.0.iter().map(|(request, _)| request.clone()).collect();
        let answers = client.administer(setting, &requests).await;
        for ((request, expected), answer) in self.0.into_iter().zip(answers) {
            let lacks = client.lacks.contains(&request["op"].as_str().unwrap_or_default());
            let expected = if lacks { json!({"unsupported": true}) } else { expected };
            assert_eq!(comparable(&answer), expected, "{}: {request} was answered with {answer}", client.name);
        }
    }
}

fn request(op: &str, mut fields: Value) -> Value {
    fields["op"] = json!(op);
    fields
}

/// Without the words of an error, and with a group's state as Kafka writes it.
fn comparable(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("text");
    }
    if let Some(state) = answer["ok"].get("state").and_then(Value::as_str) {
        answer["ok"]["state"] = json!(state.to_lowercase());
    }
    answer
}
