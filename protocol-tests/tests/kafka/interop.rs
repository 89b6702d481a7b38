//! Java and we, over the same bytes: what one wrote the other reads, on a real Kafka and on the embedded broker.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, future::Future, pin::Pin};

use ottla::{Client, Compression};
use ottla_broker::{EmbeddedCluster, Transport};
use protocol_tests::kafka::{JavaTool, KafkaCluster, Supervisor, Toolbox};
use protocol_tests::record::{PlainRecord, assorted};
use protocol_tests::suite::{RealKafka, TestCluster, eventually, read_from_start, send_all};

pub(crate) type Test = fn(Arc<RealKafka>) -> Pin<Box<dyn Future<Output = ()>>>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("what_java_wrote_with_each_codec_we_read", |kafka| Box::pin(what_java_wrote_with_each_codec_we_read(kafka))),
    ("what_we_wrote_with_each_codec_java_reads", |kafka| Box::pin(what_we_wrote_with_each_codec_java_reads(kafka))),
    ("java_writes_and_reads_on_the_embedded_broker", |kafka| {
        Box::pin(java_writes_and_reads_on_the_embedded_broker(kafka))
    }),
    ("javas_console_tools_work_with_the_embedded_broker", |kafka| {
        Box::pin(javas_console_tools_work_with_the_embedded_broker(kafka))
    }),
    ("javas_console_tools_work_with_the_broker_command", |kafka| {
        Box::pin(javas_console_tools_work_with_the_broker_command(kafka))
    }),
];

/// Those that need a cluster of several brokers.
pub(crate) const TESTS_OF_SEVERAL: &[(&str, Test)] = &[("the_quickstart_runs_on_one_broker_and_on_three", |kafka| {
    Box::pin(the_quickstart_runs_on_one_broker_and_on_three(kafka))
})];

const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

/// Small ones that share a batch, and ones that fill several blocks of a codec's framing.
const SIZES: [usize; 9] = [0, 1, 100, 1000, 32_768, 65_536, 65_537, 200_000, 700_000];

/// Java gives a batch of what it has within this time.
const LINGER: (&str, &str) = ("linger.ms", "20");

async fn what_java_wrote_with_each_codec_we_read(kafka: Arc<RealKafka>) {
    let cluster = TestCluster::kafka("what_java_wrote", kafka.clone());
    let topic = cluster.topic("codecs", CODECS.len() as i32).await;
    for (partition, (codec, _)) in CODECS.into_iter().enumerate() {
        let records = assorted(partition as u64, partition as i32, &SIZES);
        let settings = [("compression.type", codec), LINGER];
        let written =
            kafka.peer().await.produce(&cluster.bootstrap_servers(), &topic, &settings, &records).await.unwrap();
        let read = read_from_start(&cluster.client(), &topic, partition as i32, records.len()).await;
        assert_eq!(read, with_offsets(&records, &written), "{codec}");
    }
}

async fn what_we_wrote_with_each_codec_java_reads(kafka: Arc<RealKafka>) {
    let cluster = TestCluster::kafka("what_we_wrote", kafka.clone());
    let topic = cluster.topic("codecs", CODECS.len() as i32).await;
    let bootstrap = cluster.bootstrap_servers();
    for (partition, (name, codec)) in CODECS.into_iter().enumerate() {
        let partition = partition as i32;
        let records = write(&cluster.client(), &topic, partition, codec).await;
        let read = kafka.peer().await.consume(&bootstrap, &topic, partition, 0, records.len()).await.unwrap();
        assert_eq!(read, records, "{name}");
    }
}

async fn java_writes_and_reads_on_the_embedded_broker(kafka: Arc<RealKafka>) {
    let cluster = TestCluster::embedded_over_tcp("java_on_embedded").await;
    let topic = cluster.topic("codecs", 2 * CODECS.len() as i32).await;
    let bootstrap = cluster.bootstrap_servers();
    for (i, (name, codec)) in CODECS.into_iter().enumerate() {
        let [javas, ours] = [2 * i as i32, 2 * i as i32 + 1];
        let records = assorted(i as u64, javas, &SIZES);
        let settings = [("compression.type", name), LINGER];
        let written = kafka.peer().await.produce(&bootstrap, &topic, &settings, &records).await.unwrap();
        let expected = with_offsets(&records, &written);
        assert_eq!(
            read_from_start(&cluster.client(), &topic, javas, records.len()).await,
            expected,
            "{name}: Java to us"
        );
        let read = kafka.peer().await.consume(&bootstrap, &topic, javas, 0, records.len()).await.unwrap();
        assert_eq!(read, expected, "{name}: Java to Java");
        let records = write(&cluster.client(), &topic, ours, codec).await;
        let read = kafka.peer().await.consume(&bootstrap, &topic, ours, 0, records.len()).await.unwrap();
        assert_eq!(read, records, "{name}: us to Java");
    }
}

async fn javas_console_tools_work_with_the_embedded_broker(kafka: Arc<RealKafka>) {
    let broker = EmbeddedCluster::builder().nodes(3).transport(Transport::Tcp { port: 0 }).start().await.unwrap();
    console_round(kafka.cluster().toolbox(), &broker.bootstrap_servers()).await;
    broker.shutdown().await;
}

async fn javas_console_tools_work_with_the_broker_command(kafka: Arc<RealKafka>) {
    let ottla = build(&["--package", "ottla-cli", "--bin", "ottla"]).await.join("ottla");
    let directory = env::temp_dir().join(format!("ottla-broker-command-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    // The supervisor takes care that the broker ends with the tests, and gives the port as the last argument.
    let command = [&*ottla.to_string_lossy(), "broker", "--nodes", "2", "--port"].map(str::to_owned);
    let supervisor = Supervisor::start(&directory, &command).unwrap();
    supervisor.start_server(0, Path::new("0")).unwrap();
    let bootstrap = eventually("the command says where its brokers are", async || {
        let output = fs::read_to_string(directory.join("server-0.log")).ok()?;
        assert!(supervisor.is_running(0).unwrap(), "`ottla broker` ended: {output}");
        let line = output.lines().find(|line| line.contains("127.0.0.1:"))?;
        line.split([' ', '=']).find(|word| word.contains("127.0.0.1:")).map(str::to_owned)
    })
    .await;
    console_round(kafka.cluster().toolbox(), &bootstrap).await;
}

/// `kafka-topics`, `kafka-console-producer` and `kafka-console-consumer --partition` in turn, and our client between them.
async fn console_round(toolbox: &Toolbox, bootstrap: &str) {
    let topic = "console";
    let create = ["--bootstrap-server", bootstrap, "--create", "--topic", topic, "--partitions", "1"];
    tool(toolbox, JavaTool::Topics, &create, b"").await;
    let lines = (0..200).map(|i| format!("key-{i}\tvalue {i} {}\n", "x".repeat(i))).collect::<String>();
    let produce = [
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
        "--compression-codec",
        "lz4",
        "--property",
        "parse.key=true",
    ];
    tool(toolbox, JavaTool::ConsoleProducer, &produce, lines.as_bytes()).await;

    let client = Client::builder().bootstrap_servers(bootstrap).build().unwrap();
    let read = read_from_start(&client, topic, 0, 200).await;
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    let ours =
        read.iter().map(|record| format!("{}\t{}\n", text(&record.key), text(&record.value))).collect::<String>();
    assert_eq!(ours, lines, "what the console producer wrote");

    let producer = client.producer().compression(Compression::Zstd).build().unwrap();
    send_all(&producer, topic, &[PlainRecord::new("from", "us")]).await;
    let consume = [
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--max-messages",
        "201",
        "--timeout-ms",
        "60000",
        "--property",
        "print.key=true",
    ];
    let output = tool(toolbox, JavaTool::ConsoleConsumer, &consume, b"").await;
    // Kafka 4 says on standard output that `--property` has a newer name, which Kafka 3 does not know.
    let output = output.lines().filter(|line| !line.starts_with("Option --property is deprecated"));
    let output = output.map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(output, format!("{lines}from\tus\n"), "what the console consumer read");
}

/// What one of Java's tools prints.
pub(crate) async fn tool(toolbox: &Toolbox, tool: JavaTool, arguments: &[&str], input: &[u8]) -> String {
    let output = toolbox.run(tool, arguments, input, Duration::from_mins(2)).await.unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool:?} ends with {}: {complaints}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

async fn the_quickstart_runs_on_one_broker_and_on_three(kafka: Arc<RealKafka>) {
    let quickstart = build(&["--package", "ottla", "--example", "quickstart"]).await.join("examples/quickstart");
    let alone = KafkaCluster::builder(kafka.cluster().toolbox().clone()).start().await.unwrap();
    let count_page_views = async |servers: String| {
        let run = tokio::process::Command::new(&quickstart)
            .args(["--bootstrap", &servers, "--records", "100000"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_mins(3), run).await.expect("it ends").unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("Nothing was lost"), "it says what it did: {text}");
    };
    let three = kafka.cluster().bootstrap_servers();
    tokio::join!(count_page_views(three), count_page_views(alone.bootstrap_servers()));
    alone.end().unwrap();
}

/// Builds one of the workspace's programs, which is nothing where the whole workspace was built already, and returns the
/// folder of programs.
async fn build(arguments: &[&str]) -> PathBuf {
    let programs = env::current_exe().unwrap();
    let programs = programs.parent().and_then(Path::parent).expect("tests stand in `deps` of the programs' folder");
    let target = programs.parent().expect("the profile's folder stands in the target folder");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = tokio::process::Command::new(cargo)
        .arg("build")
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"), "--target-dir"])
        .arg(target)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    programs.to_owned()
}

/// Writes assorted records with our producer, and returns them with their offsets.
async fn write(client: &Client, topic: &str, partition: i32, codec: Compression) -> Vec<PlainRecord> {
    let records = assorted(partition as u64, partition, &SIZES);
    let producer = client.producer().compression(codec).linger(Duration::from_millis(20)).build().unwrap();
    let metadata = send_all(&producer, topic, &records).await;
    let written = metadata
        .iter()
        .map(|metadata| (metadata.topic_partition.partition, metadata.offset.unwrap()))
        .collect::<Vec<_>>();
    with_offsets(&records, &written)
}

fn with_offsets(records: &[PlainRecord], written: &[(i32, i64)]) -> Vec<PlainRecord> {
    assert_eq!(records.len(), written.len(), "every record was acknowledged");
    records
        .iter()
        .zip(written)
        .map(|(record, &(partition, offset))| PlainRecord {
            partition: Some(partition),
            offset: Some(offset),
            ..record.clone()
        })
        .collect()
}
