//! Reading: what each client wrote with each codec, all of it, by every client.

use std::pin::Pin;

use ottla::Compression;
use protocol_tests::kafka::{JavaPeer, Signal};
use protocol_tests::record::PlainRecord;
use protocol_tests::suite::send_all;

use crate::client::{CLIENTS, CODECS, Client};
use crate::letter::{Letter, counts, in_order, letters, read_by_ottla};
use crate::shared::{PATIENCE, Setting};

/// The topic that all write to.
pub(crate) const TOPIC: &str = "of-all";

/// How many records each writes with each codec.
const RECORDS: usize = 40;

/// Has Ottla and every client that is there write to the topic, and gives what it holds then, in order.
pub(crate) async fn write(setting: &Setting) -> Vec<Letter> {
    setting.create_topic(TOPIC).await;
    let mut written = written_by_ottla(setting).await;
    if setting.others.is_some() {
        for client in CLIENTS {
            written.extend(client.produce(setting, TOPIC, RECORDS, &CODECS).await);
        }
    }
    if setting.java.is_some() {
        written.extend(written_by_java(setting).await);
    }
    let written = in_order(written);
    for (partition, count) in counts(&written) {
        let last = written.iter().rev().find(|letter| letter.partition == partition).unwrap();
        assert_eq!(last.offset + 1, count as i64, "there is nothing between the records");
    }
    written
}

fn records(writer: &str, codec: &str) -> Vec<PlainRecord> {
    let record = |number| {
        let value = format!("letter {number} of {writer}, {codec}: {}", "Dear Ottla, ".repeat(8));
        PlainRecord::new(format!("{codec}-{}", number % 10), value)
    };
    (0..RECORDS).map(record).collect()
}

fn at(records: Vec<PlainRecord>, places: impl IntoIterator<Item = (i32, i64)>) -> impl Iterator<Item = Letter> {
    records.into_iter().zip(places).map(|(record, (partition, offset))| {
        Letter::from_record(&PlainRecord { offset: Some(offset), ..record.to_partition(partition) })
    })
}

async fn written_by_ottla(setting: &Setting) -> Vec<Letter> {
    let mut written = Vec::new();
    for codec in CODECS {
        let producer = setting.client().producer().compression(codec.parse::<Compression>().unwrap()).build().unwrap();
        let records = records("Ottla", codec);
        let told = send_all(&producer, TOPIC, &records).await;
        written.extend(at(records, told.iter().map(|told| (told.topic_partition.partition, told.offset.unwrap()))));
    }
    written
}

async fn written_by_java(setting: &Setting) -> Vec<Letter> {
    let toolbox = setting.java.as_ref().expect("Java is there");
    let mut peer = JavaPeer::start(toolbox).unwrap();
    let mut written = Vec::new();
    for codec in CODECS {
        let records = records("Java", codec);
        let settings = [("compression.type", codec)];
        let places = peer.produce(&setting.bootstrap_servers, TOPIC, &settings, &records).await.unwrap();
        assert_eq!(places.len(), records.len());
        written.extend(at(records, places));
    }
    peer.end().await.unwrap();
    written
}

pub(crate) fn reads_what_all_others_wrote((setting, client): (Setting, Client)) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let written = setting.letters().await;
        let member = client.consume(&setting, TOPIC, &format!("{}-reads-all", client.name)).await;
        let what = format!("{} records", written.len());
        let read = member
            .wait_for(&what, PATIENCE, |events| Some(letters(events)).filter(|read| read.len() >= written.len()))
            .await;
        assert_eq!(in_order(read), written);
        member.signal(Signal::Terminate).unwrap();
        let ended = member.ended(PATIENCE).await.unwrap();
        assert!(ended.status.success(), "{ended:?}");
    })
}

pub(crate) fn ottla_reads_what_all_others_wrote(setting: Setting) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let written = setting.letters().await;
        assert_eq!(read_by_ottla(&setting.client(), TOPIC, written).await, written);
    })
}
