//! Groups: two members share the partitions, commit and leave; another goes on from there; the group is shown and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use ottla::{OffsetAndMetadata, TopicPartition};
use protocol_tests::kafka::Signal;
use protocol_tests::record::PlainRecord;
use protocol_tests::suite::{eventually, send_all};
use protocol_tests::verifiable::{Event, Program};
use serde_json::json;

use crate::administration::Conversation;
use crate::client::Client;
use crate::letter::{Letter, in_order, letters};
use crate::shared::{PARTITIONS, PATIENCE, Setting};

/// How many records each partition is given before the members leave, and how many after.
const BEFORE: i64 = 100;
const AFTER: i64 = 10;

const NON_EMPTY_GROUP: i16 = 68;
const GROUP_ID_NOT_FOUND: i16 = 69;

pub(crate) fn shares_a_group((setting, client): (Setting, Client)) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let topic = format!("{}-shared", client.name);
        let group = &*topic;
        setting.create_topic(&topic).await;
        let one = client.consume(&setting, &topic, group).await;
        let two = client.consume(&setting, &topic, group).await;
        let shares = eventually("each has a share of the partitions", async || shares([&one, &two])).await;
        let written = write(&setting, &topic, 0..BEFORE).await;
        let mut read = Vec::new();
        for (member, share) in [&one, &two].into_iter().zip(&shares) {
            let of_member = read_by(member, share.len() * BEFORE as usize).await;
            assert!(of_member.iter().all(|letter| share.contains(&letter.partition)), "{share:?} {of_member:?}");
            read.extend(of_member);
        }
        assert_eq!(in_order(read), written);

        let members = in_turn(&shares);
        Conversation::default()
            .ok("describe_group", json!({"group": group}), json!({"state": "stable", "members": members}))
            .refused("delete_group", json!({"group": group}), NON_EMPTY_GROUP)
            .hold(&setting, client)
            .await;
        has_committed(&setting, &topic, BEFORE).await;
        leave([one, two]).await;

        let written = write(&setting, &topic, BEFORE..BEFORE + AFTER).await;
        let returned = client.consume(&setting, &topic, group).await;
        assert_eq!(in_order(read_by(&returned, written.len()).await), written, "what is new, and no more");
        has_committed(&setting, &topic, BEFORE + AFTER).await;
        leave([returned]).await;
        end(&setting, client, &topic).await;
    })
}

/// Shows and deletes a group that has read everything and has no members any more.
async fn end(setting: &Setting, client: Client, topic: &str) {
    let group = topic;
    assert!(is_listed(setting, client, group).await);
    let offsets = |partitions: &[i32]| {
        let offsets: BTreeMap<_, _> = partitions.iter().map(|index| (index.to_string(), BEFORE + AFTER)).collect();
        json!(offsets)
    };
    Conversation::default()
        .ok("describe_group", json!({"group": group}), json!({"state": "empty", "members": []}))
        .ok("group_offsets", json!({"group": group, "topic": topic}), offsets(&[0, 1, 2]))
        .ok("delete_group_offsets", json!({"group": group, "topic": topic, "partitions": [1]}), json!(null))
        .hold(setting, client)
        .await;
    let left: &[i32] = if client.lacks.contains(&"delete_group_offsets") { &[0, 1, 2] } else { &[0, 2] };
    Conversation::default()
        .ok("group_offsets", json!({"group": group, "topic": topic}), offsets(left))
        .ok("delete_group", json!({"group": group}), json!(null))
        .refused("delete_group", json!({"group": group}), GROUP_ID_NOT_FOUND)
        .hold(setting, client)
        .await;
    assert_eq!(is_listed(setting, client, group).await, client.lacks.contains(&"delete_group"));
}

async fn is_listed(setting: &Setting, client: Client, group: &str) -> bool {
    let listed = client.administer(setting, &[json!({"op": "list_groups"})]).await.remove(0);
    let groups = listed["ok"].as_array().unwrap_or_else(|| panic!("{}: no groups but {listed}", client.name));
    groups.contains(&json!(group))
}

/// The partitions of each member, once they share all of them.
fn shares(members: [&Program; 2]) -> Option<Vec<BTreeSet<i32>>> {
    let shares = members.map(|member| assigned(&member.events()));
    let [one, two] = shares.each_ref();
    let is_complete = one.union(two).count() == PARTITIONS as usize;
    (is_complete && one.is_disjoint(two) && !one.is_empty() && !two.is_empty()).then(|| shares.to_vec())
}

/// What a member said last of its partitions.
fn assigned(events: &[Event]) -> BTreeSet<i32> {
    let last = events.iter().rev().find_map(|event| event.json["assigned"].as_array());
    last.into_iter().flatten().filter_map(|partition| i32::try_from(partition.as_i64()?).ok()).collect()
}

/// Shares as programs of administration tell them.
fn in_turn(shares: &[BTreeSet<i32>]) -> Vec<Vec<i32>> {
    let mut members: Vec<Vec<_>> = shares.iter().map(|share| share.iter().copied().collect()).collect();
    members.sort();
    members
}

/// Has Ottla write a record at each of the offsets of each partition.
async fn write(setting: &Setting, topic: &str, offsets: std::ops::Range<i64>) -> Vec<Letter> {
    let places = (0..PARTITIONS).flat_map(|partition| offsets.clone().map(move |offset| (partition, offset)));
    let letter = |(partition, offset): (i32, i64)| {
        let (key, value) = (format!("key-{offset}"), format!("letter {offset} of partition {partition}"));
        Letter { partition, offset, key, value }
    };
    let letters: Vec<_> = places.map(letter).collect();
    let record = |letter: &Letter| PlainRecord::new(&*letter.key, &*letter.value).to_partition(letter.partition);
    let records: Vec<_> = letters.iter().map(record).collect();
    let producer = setting.client().producer().build().unwrap();
    let told = send_all(&producer, topic, &records).await;
    assert!(letters.iter().zip(&told).all(|(letter, told)| told.offset == Some(letter.offset)), "{told:?}");
    letters
}

/// What a member has read, once it has so many records.
async fn read_by(member: &Program, count: usize) -> Vec<Letter> {
    let enough = |events: &[Event]| Some(letters(events)).filter(|read| read.len() >= count);
    member.wait_for(&format!("{count} records"), PATIENCE, enough).await
}

/// Has all members commit, leave and end.
async fn leave(members: impl IntoIterator<Item = Program>) {
    let members: Vec<_> = members.into_iter().collect();
    for member in &members {
        member.signal(Signal::Terminate).unwrap();
    }
    for member in members {
        let ended = member.ended(PATIENCE).await.unwrap();
        assert!(ended.status.success(), "{ended:?}");
    }
}

/// Waits until the group of the topic's name has committed that offset of each partition, as Ottla looks it up.
async fn has_committed(setting: &Setting, topic: &str, offset: i64) {
    let reader = setting.client().consumer().group_id(topic).build().unwrap();
    let partitions = || (0..PARTITIONS).map(|index| TopicPartition::new(topic, index));
    eventually(&format!("{offset} is committed for each partition"), async || {
        let committed = reader.committed(partitions()).await.unwrap();
        let is_there = |committed: Option<OffsetAndMetadata>| committed.is_some_and(|found| found.offset == offset);
        committed.into_values().all(is_there).then_some(())
    })
    .await;
    reader.close().await.unwrap();
}
