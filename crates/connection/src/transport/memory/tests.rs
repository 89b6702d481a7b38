use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn address() -> Address {
    Address::new("broker", 9092)
}

async fn pair(network: &MemoryNetwork) -> (BoxedStream, BoxedStream) {
    let mut listener = network.listen(address()).unwrap();
    let client = network.connector().connect(&address()).await.unwrap();
    let server = listener.accept().await.unwrap();
    (client, server)
}

async fn kind_of_read(stream: &mut BoxedStream) -> Result<usize, io::ErrorKind> {
    stream.read(&mut [0; 64]).await.map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_in_order_and_whole() {
    let (mut client, mut server) = pair(&MemoryNetwork::new()).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    writing.await.unwrap();
    assert!(received == expected);
}

#[tokio::test(start_paused = true)]
async fn a_full_pipe_makes_the_writer_wait() {
    let (mut client, mut server) = pair(&MemoryNetwork::new()).await;
    let written = tokio::time::timeout(SECOND, client.write_all(&vec![0; PIPE_BYTES + 1])).await;
    assert!(written.is_err());
    let mut received = vec![0; PIPE_BYTES];
    server.read_exact(&mut received).await.unwrap();
    client.write_all(b"on it goes").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_listening_and_refusing_are_refusals() {
    let network = MemoryNetwork::new();
    let connect = async || network.connector().connect(&address()).await.map(drop).map_err(|error| error.kind());
    assert_eq!(connect().await, Err(io::ErrorKind::ConnectionRefused));
    let listener = network.listen(address()).unwrap();
    assert_eq!(network.listen(address()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert_eq!(connect().await, Ok(()));
    network.refuse(&address(), true);
    assert_eq!(connect().await, Err(io::ErrorKind::ConnectionRefused));
    network.refuse(&address(), false);
    assert_eq!(connect().await, Ok(()));
    drop(listener);
    assert_eq!(connect().await, Err(io::ErrorKind::ConnectionRefused));
    assert!(network.listen(address()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_closed_end_is_the_end_of_the_stream_after_what_was_sent() {
    let (mut client, mut server) = pair(&MemoryNetwork::new()).await;
    server.write_all(b"bye").await.unwrap();
    drop(server);
    assert_eq!(kind_of_read(&mut client).await, Ok(3));
    assert_eq!(kind_of_read(&mut client).await, Ok(0));
    assert_eq!(client.write(b"?").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn a_cut_link_resets_both_ends_at_once() {
    let network = MemoryNetwork::new();
    let (mut client, mut server) = pair(&network).await;
    assert_eq!(network.open_connections(&address()), 1);
    client.write_all(b"lost").await.unwrap();
    let reading = tokio::spawn(async move { kind_of_read(&mut client).await });
    tokio::task::yield_now().await;
    network.cut(&address());
    assert_eq!(reading.await.unwrap(), Err(io::ErrorKind::ConnectionReset));
    assert_eq!(kind_of_read(&mut server).await, Err(io::ErrorKind::ConnectionReset));
    assert_eq!(network.open_connections(&address()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_is_silent_until_it_is_healed() {
    let network = MemoryNetwork::new();
    let (mut client, mut server) = pair(&network).await;
    network.black_hole(&address(), true);
    client.write_all(b"hello").await.unwrap();
    assert!(tokio::time::timeout(SECOND, kind_of_read(&mut server)).await.is_err());
    let connector = network.connector();
    let at = address();
    assert!(tokio::time::timeout(SECOND, connector.connect(&at)).await.is_err());
    let reading = tokio::spawn(async move { kind_of_read(&mut server).await });
    let connecting = tokio::spawn(async move { connector.connect(&at).await.map(drop).map_err(|error| error.kind()) });
    tokio::task::yield_now().await;
    network.black_hole(&address(), false);
    assert_eq!(reading.await.unwrap(), Ok(5));
    // The listener went with `pair`: now that the address can be reached, it says so.
    assert_eq!(connecting.await.unwrap(), Err(io::ErrorKind::ConnectionRefused));
}

#[tokio::test(start_paused = true)]
async fn the_client_of_a_half_open_connection_does_not_learn_of_it() {
    let network = MemoryNetwork::new();
    let (mut client, mut server) = pair(&network).await;
    network.half_open(&address());
    assert_eq!(kind_of_read(&mut server).await, Err(io::ErrorKind::ConnectionReset));
    drop(server);
    client.write_all(b"anybody there?").await.unwrap();
    assert!(tokio::time::timeout(SECOND * 3600, kind_of_read(&mut client)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn latency_delays_every_byte_by_exactly_that() {
    let network = MemoryNetwork::new();
    network.set_latency(&address(), Duration::from_millis(10));
    let start = Instant::now();
    let (mut client, mut server) = pair(&network).await;
    assert_eq!(start.elapsed(), Duration::from_millis(20), "there and back");
    client.write_all(b"1").await.unwrap();
    assert_eq!(kind_of_read(&mut server).await, Ok(1));
    assert_eq!(start.elapsed(), Duration::from_millis(30));
    network.set_latency(&address(), Duration::ZERO);
    client.write_all(b"2").await.unwrap();
    assert_eq!(kind_of_read(&mut server).await, Ok(1));
    assert_eq!(start.elapsed(), Duration::from_millis(30));
}
