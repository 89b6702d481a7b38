//! Administration of topics, from their making to their end.

use std::pin::Pin;

use serde_json::json;

use crate::administration::Conversation;
use crate::client::Client;
use crate::shared::Setting;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_CONFIG: i16 = 40;

pub(crate) fn administers((setting, client): (Setting, Client)) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let topic = format!("{}-administered", client.name);
        let made = json!({"topic": topic, "partitions": 2, "replicas": 2, "config": {"retention.ms": "5000"}});
        let retention = json!({"topic": topic, "name": "retention.ms"});
        Conversation::default()
            .ok("describe_cluster", json!({}), json!([0, 1, 2]))
            .ok("create_topic", made.clone(), json!(null))
            .refused("create_topic", made, TOPIC_ALREADY_EXISTS)
            .ok("topic_config", retention.clone(), json!("5000"))
            .ok("set_topic_config", json!({"topic": topic, "name": "retention.ms", "value": "7000"}), json!(null))
            .refused("set_topic_config", json!({"topic": topic, "name": "flush.ms", "value": "soon"}), INVALID_CONFIG)
            .ok("topic_config", retention, json!("7000"))
            .ok("grow_topic", json!({"topic": topic, "partitions": 3}), json!(null))
            .hold(&setting, client)
            .await;

        let listing = [json!({"op": "list_topics"}), json!({"op": "describe_topic", "topic": topic})];
        let [listed, described]: [_; 2] = client.administer(&setting, &listing).await.try_into().unwrap();
        assert!(listed["ok"].as_array().unwrap().contains(&json!(topic)), "{listed}");
        let partitions = described["ok"].as_array().unwrap();
        assert_eq!(partitions.len(), 3, "{described}");
        for partition in partitions {
            assert_eq!(partition["replicas"].as_array().unwrap().len(), 2, "{described}");
            assert_eq!(partition["leader"], partition["replicas"][0], "{described}");
            assert_eq!(partition["in_sync"], partition["replicas"], "{described}");
        }

        let letters = client.produce(&setting, &topic, 100, &["none"]).await;
        let records = letters.iter().filter(|letter| letter.partition == 0).count();
        assert!(records > 1, "{records}");
        Conversation::default()
            .ok("delete_records", json!({"topic": topic, "partition": 0, "offset": 1}), json!(1))
            .ok("delete_topic", json!({"topic": topic}), json!(null))
            .refused("delete_topic", json!({"topic": topic}), UNKNOWN_TOPIC_OR_PARTITION)
            .hold(&setting, client)
            .await;
    })
}
