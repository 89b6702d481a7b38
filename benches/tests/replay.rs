//! A consumer over a broker that replays: every record, in order, lap after lap, over TCP and in memory.

use ottla::{AutoOffsetReset, Client, Compression};
use ottla_benches::{Payload, Reader, ReplayServer, ReplayShape, ReplayTopic};
use ottla_broker::{Replay, Transport};
use ottla_connection::MemoryNetwork;

const SHAPE: ReplayShape =
    ReplayShape { value_bytes: 64, batch_records: 7, compression: Compression::Lz4, lap_bytes: 3000 };

fn server(transport: Transport, partitions: i32, laps: u64) -> (ReplayServer, i64) {
    let replay = Replay::new(SHAPE.batches()).expect("batches of ours").laps(laps);
    let end = replay.end_offset();
    let topic = ReplayTopic { name: "t".to_owned(), partitions, replay };
    (ReplayServer::start(transport, 2, vec![topic]).expect("a server"), end)
}

#[test]
fn every_record_of_every_lap_is_read_once_and_in_order() {
    for transport in [Transport::Tcp { port: 0 }, Transport::Memory(MemoryNetwork::new())] {
        let (server, end) = server(transport, 3, 20);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = Client::builder().bootstrap_servers(server.bootstrap_servers()).connector(server.connector());
            let client = client.build().unwrap();
            let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
            consumer.assign_topic("t").await.unwrap();
            let lap = end / 20;
            let mut payload = Payload::new(64, 42);
            let values: Vec<Vec<u8>> = (0..lap).map(|_| payload.next_value().to_vec()).collect();
            let mut next = [0; 3];
            while next.iter().any(|offset| *offset < end) {
                let batches = consumer.poll(std::time::Duration::from_secs(30)).await.unwrap();
                assert!(!batches.is_empty());
                for batch in &batches {
                    for record in batch.records() {
                        let record = record.unwrap();
                        let next = &mut next[batch.partition() as usize];
                        assert_eq!(record.offset(), *next);
                        assert_eq!(record.value(), Some(&*values[(*next % lap) as usize]));
                        *next += 1;
                    }
                }
            }
            assert_eq!(next, [end; 3]);
            consumer.close().await.unwrap();
        });
    }
}

#[test]
fn two_consumers_read_the_same() {
    let (server, end) = server(Transport::Memory(MemoryNetwork::new()), 4, 5);
    let all = 4 * end as u64;
    let one = Reader::new(server.bootstrap_servers(), Some(server.connector()), "t", 1, &[]).read(all);
    let two = Reader::new(server.bootstrap_servers(), Some(server.connector()), "t", 2, &[]).read(2 * all);
    assert_eq!((one.records, one.bytes), (all, 64 * all));
    assert_eq!((two.records, two.bytes, two.last_bytes), (2 * all, 2 * 64 * all, 0));
}
