//! Against a real Kafka, which is started here and ends with this process.
//!
//! Without `java`, `javac` or the jars every case is listed as ignored and the reason is printed; with
//! `OTTLA_REQUIRE_KAFKA=1` that is a failure.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use protocol_tests::kafka::{self, JavaPeer, JavaRecord, KafkaCluster, Signal, Supervisor, Toolbox};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let toolbox = Toolbox::find(&kafka::version()).unwrap();
    let t = toolbox.clone();
    let trials = vec![Trial::test("a_cluster_of_three_brokers_starts", move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let at = std::time::Instant::now();
            let c = KafkaCluster::builder(t.clone()).nodes(3).start().await.unwrap();
            eprintln!("started {:?}", at.elapsed());
            let mut p = JavaPeer::start(&t).unwrap();
            let b = c.bootstrap_servers();
            p.create_topic(&b, "a", 3, 3, &[]).await.unwrap();
            eprintln!("topic {:?} {:?}", at.elapsed(), p.describe(&b, "a").await);
            let r = JavaRecord {
                key: Some(b"k".to_vec()),
                value: Some(b"v".to_vec()),
                headers: vec![("h".into(), None)],
                partition: Some(0),
                ..Default::default()
            };
            let x = p.produce(&b, "a", &[("compression.type", "lz4")], &[r]).await.unwrap();
            eprintln!("{x:?} {:?}", p.consume(&b, "a", 0, 0, 1).await.unwrap());
            eprintln!("{:?}", at.elapsed());
            p.move_leader(&b, "a", 0, 2).await.unwrap();
            eprintln!("moved {:?}", at.elapsed());
            p.move_leader(&b, "a", 0, 1).await.unwrap();
            eprintln!("moved {:?}", at.elapsed());
            c.kill_node(1).await.unwrap();
            eprintln!("killed {:?}", at.elapsed());
            c.start_node(1).await.unwrap();
            eprintln!("restarted {:?}", at.elapsed());
            c.stop_node(0).await.unwrap();
            eprintln!("stopped {:?}", at.elapsed());
            c.start_node(0).await.unwrap();
            eprintln!("restarted {:?}", at.elapsed());
            p.end().await.unwrap();
            c.end().unwrap();
            eprintln!("ended {:?}", at.elapsed());
        });
        Ok(())
    })];
    libtest_mimic::run(&arguments, trials).exit_code()
}
