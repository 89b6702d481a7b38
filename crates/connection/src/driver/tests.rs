//! The whole connection over the in-memory transport, against a peer that does what the test says.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::task::Waker;

use bytes::{BufMut, BytesMut};
use ottla_wire::messages::{
    ApiVersion, ApiVersionsResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
};
use ottla_wire::{Message, Reader, RequestHeader, encode_response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    Connection, ConnectionConfig, Error, HandshakeError, MemoryListener, MemoryNetwork, ResponseBuffer, ResponseBuffers,
};

const SECOND: Duration = Duration::from_secs(1);

fn address() -> Address {
    Address::new("broker", 9092)
}

/// The broker's end of a connection.
struct Peer {
    stream: BoxedStream,
}

impl Peer {
    async fn accept(listener: &mut MemoryListener) -> Self {
        Self { stream: listener.accept().await.unwrap() }
    }

    /// The next request's header; the body is read past.
    async fn next_request(&mut self) -> io::Result<RequestHeader> {
        let length = self.stream.read_u32().await?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await?;
        Ok(RequestHeader::read_fixed(&mut Reader::new(frame.into())).unwrap())
    }

    async fn answer<M: Message>(&mut self, request: &RequestHeader, response: &M) {
        let frame = encode_response(response, request.api_version, request.correlation_id).unwrap();
        self.stream.write_all(&frame.segments.concat()).await.unwrap();
    }

    /// Answers ApiVersions: FindCoordinator to version 2, Metadata to version 9.
    async fn shake_hands(&mut self) {
        let request = self.next_request().await.unwrap();
        assert_eq!(request.api_key, ApiKey::ApiVersions.number());
        let api = |api: ApiKey, max_version| ApiVersion { api_key: api.number(), min_version: 0, max_version };
        let api_keys = vec![api(ApiKey::FindCoordinator, 2), api(ApiKey::Metadata, 9)];
        self.answer(&request, &ApiVersionsResponse { api_keys, ..Default::default() }).await;
    }

    async fn answer_next(&mut self, node: i32) {
        let request = self.next_request().await.unwrap();
        self.answer(&request, &found(node)).await;
    }
}

fn found(node: i32) -> FindCoordinatorResponse {
    FindCoordinatorResponse { node_id: ottla_wire::NodeId(node), ..Default::default() }
}

fn find() -> FindCoordinatorRequest {
    FindCoordinatorRequest { key: "group".to_owned(), ..Default::default() }
}

async fn open(config: ConnectionConfig) -> (MemoryNetwork, Connection, Peer) {
    let network = MemoryNetwork::new();
    let mut listener = network.listen(address()).unwrap();
    let connector = network.connector();
    let (at, accepting) = (address(), async {
        let mut peer = Peer::accept(&mut listener).await;
        peer.shake_hands().await;
        peer
    });
    let (connection, peer) = tokio::join!(Connection::open(&*connector, &at, config), accepting);
    (network, connection.unwrap(), peer)
}

/// A cause and whether the request was written, of an error that must be `Closed`.
fn closed<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (CloseCause, bool) {
    match outcome {
        Err(Error::Closed { cause, written, .. }) => (cause, written),
        other => panic!("not closed: {other:?}"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause))).unwrap_or_default();
    format!("{error}{cause}")
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_the_order_of_the_calls() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let answers: Vec<_> = (0..20).map(|_| connection.send(&find(), SECOND)).collect();
    assert_eq!(connection.load(), 20);
    let peer = tokio::spawn(async move {
        for node in 0..20 {
            peer.answer_next(node).await;
        }
        peer
    });
    for (node, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().node_id.0, node as i32);
    }
    assert_eq!(connection.load(), 0);
    drop(peer.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_throttles_is_left_alone_for_as_long_as_it_asks() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let first = connection.send(&find(), SECOND * 60);
    let request = peer.next_request().await.unwrap();
    assert_eq!(request.api_version, 2, "from then on it is the client that waits");
    let throttled = FindCoordinatorResponse { throttle_time_ms: 20_000, ..found(1) };
    peer.answer(&request, &throttled).await;
    first.await.unwrap();
    let answered_at = tokio::time::Instant::now();
    // One whose time is shorter than that fails, and was not sent.
    let (short, long) = (connection.send(&find(), SECOND * 5), connection.send(&find(), SECOND * 60));
    let error = short.await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { written: false, .. }), "{error}");
    assert!(!connection.is_closed());
    peer.answer_next(2).await;
    assert_eq!(answered_at.elapsed(), SECOND * 20);
    assert_eq!(long.await.unwrap().node_id.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_throttles_from_its_first_answer_on_is_left_alone_too() {
    let network = MemoryNetwork::new();
    let mut listener = network.listen(address()).unwrap();
    let connector = network.connector();
    let (at, accepting) = (address(), async {
        let mut peer = Peer::accept(&mut listener).await;
        let request = peer.next_request().await.unwrap();
        let api = ApiVersion { api_key: ApiKey::FindCoordinator.number(), min_version: 0, max_version: 2 };
        let response = ApiVersionsResponse { api_keys: vec![api], throttle_time_ms: 20_000, ..Default::default() };
        peer.answer(&request, &response).await;
        peer
    });
    let (connection, mut peer) =
        tokio::join!(Connection::open(&*connector, &at, ConnectionConfig::default()), accepting);
    let (connection, opened_at) = (connection.unwrap(), tokio::time::Instant::now());
    let found = connection.send(&find(), SECOND * 60);
    peer.answer_next(2).await;
    assert_eq!(opened_at.elapsed(), SECOND * 20);
    assert_eq!(found.await.unwrap().node_id.0, 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_is_in_flight() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default().max_in_flight_requests(3)).await;
    let answers: Vec<_> = (0..4).map(|_| connection.send(&find(), SECOND * 60)).collect();
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(peer.next_request().await.unwrap());
    }
    assert!(tokio::time::timeout(SECOND, peer.next_request()).await.is_err(), "the fourth waits");
    peer.answer(&requests[0], &found(0)).await;
    requests.push(peer.next_request().await.unwrap());
    for request in &requests[1..] {
        peer.answer(request, &found(1)).await;
    }
    for answer in answers {
        answer.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_overdue_request_fails_all_in_flight_once_and_each_knows_whether_it_was_written() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default().max_in_flight_requests(2)).await;
    let first = connection.send(&find(), SECOND);
    let second = connection.send(&find(), SECOND * 60);
    let third = connection.send(&find(), SECOND * 60);
    let start = tokio::time::Instant::now();
    let error = first.await.unwrap_err();
    assert_eq!(start.elapsed(), SECOND);
    assert!(matches!(error, Error::TimedOut { api: ApiKey::FindCoordinator, timeout: SECOND, written: true, .. }));
    assert!(error.may_have_taken_effect() && error.is_retriable());
    assert!(connection.is_closed());
    let (cause, written) = closed(second.await);
    assert!(matches!(cause, CloseCause::Overdue { api: ApiKey::FindCoordinator, timeout: SECOND }) && written);
    let (cause, written) = closed(third.await);
    assert!(matches!(cause, CloseCause::Overdue { .. }) && !written, "it was over the limit");
    let (cause, written) = closed(connection.request(&find()).await);
    assert!(matches!(cause, CloseCause::Overdue { .. }) && !written, "it came too late");
    peer.next_request().await.unwrap();
    peer.next_request().await.unwrap();
    assert!(peer.next_request().await.is_err(), "the socket is closed, and the third never came");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_told_with_its_whole_cause() {
    let (network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let answer = connection.send(&find(), SECOND);
    peer.next_request().await.unwrap();
    network.cut(&address());
    let error = answer.await.unwrap_err();
    assert!(error.may_have_taken_effect());
    assert_eq!(
        chain(&error),
        "FindCoordinator to broker:9092 has no answer: the connection is closed: the transport failed: connection reset"
    );
    assert!(matches!(connection.closed().await, CloseCause::Transport(_)));
}

#[tokio::test(start_paused = true)]
async fn answers_that_came_before_the_end_are_delivered() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let answers: Vec<_> = (0..2).map(|_| connection.send(&find(), SECOND)).collect();
    peer.answer_next(7).await;
    peer.next_request().await.unwrap();
    drop(peer);
    let mut answers = answers.into_iter();
    assert_eq!(answers.next().unwrap().await.unwrap().node_id.0, 7);
    let (cause, written) = closed(answers.next().unwrap().await);
    assert!(matches!(cause, CloseCause::EndOfStream) && written);
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_closes() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default().max_frame_bytes(1000)).await;
    let answer = connection.send(&find(), SECOND);
    peer.next_request().await.unwrap();
    peer.stream.write_u32(1001).await.unwrap();
    let (cause, _) = closed(answer.await);
    let CloseCause::FrameTooLarge(too_large) = cause else { panic!("{cause:?}") };
    assert_eq!((too_large.length, too_large.limit), (1001, 1000));
}

#[tokio::test(start_paused = true)]
async fn a_negative_length_and_a_frame_without_header_close() {
    for bytes in [&[0xff; 4][..], &[0, 0, 0, 3, 1, 2, 3]] {
        let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
        let answer = connection.send(&find(), SECOND);
        peer.next_request().await.unwrap();
        peer.stream.write_all(bytes).await.unwrap();
        let (cause, _) = closed(answer.await);
        assert!(matches!(cause, CloseCause::FrameTooLarge(_) | CloseCause::MalformedHeader(_)), "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_request_closes() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let answer = connection.send(&find(), SECOND);
    let request = peer.next_request().await.unwrap();
    let other = RequestHeader { correlation_id: request.correlation_id + 1, ..request.clone() };
    peer.answer(&other, &found(1)).await;
    let (cause, written) = closed(answer.await);
    let CloseCause::CorrelationMismatch { expected, received } = cause else { panic!("{cause:?}") };
    assert_eq!((expected, received), (Some(request.correlation_id), other.correlation_id));
    assert!(written);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_decoded_leaves_the_connection_open() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let answer = connection.send(&find(), SECOND);
    let request = peer.next_request().await.unwrap();
    let mut frame = BytesMut::new();
    frame.put_i32(6);
    frame.put_i32(request.correlation_id);
    frame.put_i16(0);
    peer.stream.write_all(&frame).await.unwrap();
    assert!(matches!(answer.await, Err(Error::Decode { api: ApiKey::FindCoordinator, version: 2, .. })));
    let (answer, ()) = tokio::join!(connection.send(&find(), SECOND), peer.answer_next(3));
    assert_eq!(answer.unwrap().node_id.0, 3);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_request_at_any_poll_harms_no_other() {
    for polls in 0..6 {
        let (_network, connection, mut peer) = open(ConnectionConfig::default().max_in_flight_requests(2)).await;
        let peer = tokio::spawn(async move {
            // Answers whatever comes: a withdrawn request may or may not have been written.
            while let Ok(request) = peer.next_request().await {
                peer.answer(&request, &found(1)).await;
            }
        });
        let mut dropped = Box::pin(connection.send(&find(), SECOND));
        let kept = connection.send(&find(), SECOND);
        for _ in 0..polls {
            if dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        assert_eq!(kept.await.unwrap().node_id.0, 1, "dropped after {polls} polls");
        assert_eq!(connection.request(&find()).await.unwrap().node_id.0, 1);
        assert_eq!(connection.load(), 0);
        connection.close().await;
        peer.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_withdrawn_while_it_waits_is_never_written() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default().max_in_flight_requests(1)).await;
    let first = connection.send(&find(), SECOND);
    drop(connection.send(&MetadataRequest::all_topics(), SECOND));
    let third = connection.send(&find(), SECOND);
    peer.answer_next(1).await;
    let request = peer.next_request().await.unwrap();
    assert_eq!(request.api_key, ApiKey::FindCoordinator.number());
    peer.answer(&request, &found(3)).await;
    assert_eq!((first.await.unwrap().node_id.0, third.await.unwrap().node_id.0), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_closes_after_its_last_use() {
    let idle = Duration::from_mins(9);
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    tokio::time::sleep(SECOND * 100).await;
    let (answer, ()) = tokio::join!(connection.send(&find(), SECOND), peer.answer_next(1));
    answer.unwrap();
    let start = tokio::time::Instant::now();
    assert!(matches!(connection.closed().await, CloseCause::Idle));
    assert_eq!(start.elapsed(), idle);
    assert!(peer.next_request().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn closing_lets_what_is_in_flight_finish_and_takes_nothing_more() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let answer = connection.send(&find(), SECOND * 10);
    let closing = tokio::spawn({
        let connection = connection.clone();
        async move { connection.close().await }
    });
    let request = peer.next_request().await.unwrap();
    tokio::task::yield_now().await;
    assert!(connection.is_closed());
    let (cause, written) = closed(connection.request(&find()).await);
    assert!(matches!(cause, CloseCause::Closed) && !written);
    peer.answer(&request, &found(5)).await;
    assert_eq!(answer.await.unwrap().node_id.0, 5);
    closing.await.unwrap();
    assert!(peer.next_request().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn closing_waits_no_longer_than_the_request_timeout() {
    let (_network, connection, _peer) = open(ConnectionConfig::default().request_timeout(SECOND)).await;
    let answer = connection.send(&find(), SECOND * 3600);
    let start = tokio::time::Instant::now();
    connection.close().await;
    assert_eq!(start.elapsed(), SECOND);
    assert!(matches!(closed(answer.await), (CloseCause::Closed, true)));
}

#[tokio::test(start_paused = true)]
async fn aborting_fails_what_is_in_flight_at_once() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let answer = connection.send(&find(), SECOND);
    peer.next_request().await.unwrap();
    connection.abort();
    assert!(matches!(closed(answer.await), (CloseCause::Aborted, true)));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_after_what_is_in_flight() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let answer = connection.send(&find(), SECOND);
    drop(connection);
    peer.answer_next(1).await;
    assert_eq!(answer.await.unwrap().node_id.0, 1);
    assert!(peer.next_request().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_needs_no_answer_is_done_when_written_and_tolerates_one() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    connection.send_unanswered(&find()).await.unwrap();
    let unanswered = peer.next_request().await.unwrap();
    peer.answer(&unanswered, &found(1)).await;
    let (answer, ()) = tokio::join!(connection.send(&find(), SECOND), peer.answer_next(2));
    assert_eq!(answer.unwrap().node_id.0, 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_the_broker_does_not_have_fails_alone() {
    let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
    let request = ottla_wire::messages::ListOffsetsRequest::default();
    let error = connection.request(&request).await.unwrap_err();
    assert!(matches!(error, Error::UnsupportedVersion { .. }) && !error.may_have_taken_effect());
    let (answer, ()) = tokio::join!(connection.send(&find(), SECOND), peer.answer_next(2));
    answer.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_resets_over_api_versions_twice_is_asked_in_version_0_on_another_connection() {
    let network = MemoryNetwork::new();
    let mut listener = network.listen(address()).unwrap();
    let (connector, at) = (network.connector(), address());
    let (connection, versions) = tokio::join!(Connection::open(&*connector, &at, ConnectionConfig::default()), async {
        let mut versions = Vec::new();
        for _ in 0..2 {
            let mut peer = Peer::accept(&mut listener).await;
            versions.push(peer.next_request().await.unwrap().api_version);
            network.cut(&at);
        }
        let mut peer = Peer::accept(&mut listener).await;
        let request = peer.next_request().await.unwrap();
        versions.push(request.api_version);
        peer.answer(&request, &ApiVersionsResponse::default()).await;
        versions
    });
    assert_eq!(versions, [3, 3, 0]);
    assert_eq!(connection.unwrap().address(), &at);
}

#[tokio::test(start_paused = true)]
async fn opening_is_bounded_while_connecting_and_while_shaking_hands() {
    let network = MemoryNetwork::new();
    let (connector, at) = (network.connector(), address());
    let config = ConnectionConfig::default().connection_setup_timeout(SECOND).request_timeout(SECOND * 2);
    let error = Connection::open(&*connector, &at, config.clone()).await.unwrap_err();
    assert_eq!(chain(&error), "cannot connect to broker:9092: connection refused");
    let _listener = network.listen(address()).unwrap();
    let start = tokio::time::Instant::now();
    let error = Connection::open(&*connector, &at, config.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Handshake { source: HandshakeError::TimedOut { .. }, .. }));
    assert_eq!(start.elapsed(), SECOND * 2);
    network.black_hole(&at, true);
    let error = Connection::open(&*connector, &at, config).await.unwrap_err();
    assert!(matches!(error, Error::ConnectTimedOut { timeout: SECOND, .. }));
    assert_eq!(start.elapsed(), SECOND * 3);
}

/// Response buffers that give memory only while they are open.
#[derive(Debug, Default)]
struct Gate {
    is_open: AtomicBool,
    waker: Mutex<Option<Waker>>,
    lengths: Mutex<Vec<usize>>,
}

impl Gate {
    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }
}

impl ResponseBuffers for Gate {
    fn acquire(&self, length: usize) -> Pin<Box<dyn Future<Output = Box<dyn ResponseBuffer>> + Send + '_>> {
        self.lengths.lock().unwrap().push(length);
        Box::pin(poll_fn(move |context| {
            if self.is_open.load(Ordering::SeqCst) {
                return Poll::Ready(Box::new(Memory(vec![0xee; length])) as Box<dyn ResponseBuffer>);
            }
            *self.waker.lock().unwrap() = Some(context.waker().clone());
            Poll::Pending
        }))
    }
}

struct Memory(Vec<u8>);

impl ResponseBuffer for Memory {
    fn memory(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn freeze(self: Box<Self>) -> Bytes {
        self.0.into()
    }
}

/// An answer of `length` bytes in all, and its body, which asks for no quiet.
fn large_answer(request: &RequestHeader, length: usize) -> (Vec<u8>, Vec<u8>) {
    let mut body: Vec<u8> = (0..length - 4).map(|position| (position * 7) as u8).collect();
    body.iter_mut().take(4).for_each(|byte| *byte = 0);
    let mut frame = BytesMut::new();
    frame.put_i32(length as i32);
    frame.put_i32(request.correlation_id);
    frame.put_slice(&body);
    (frame.to_vec(), body)
}

#[tokio::test(start_paused = true)]
async fn bodies_of_any_size_arrive_whole_with_and_without_buffers() {
    for with_buffers in [false, true] {
        let gate = Arc::new(Gate::default());
        gate.open();
        let mut config = ConnectionConfig::default();
        if with_buffers {
            config = config.response_buffers(Arc::clone(&gate) as Arc<dyn ResponseBuffers>);
        }
        let (_network, connection, mut peer) = open(config).await;
        let lengths = [4, 5, 4092, 4096, 4097, 65_535, 65_536, 65_540, 1_048_576, 3_000_001, 10];
        let peer = tokio::spawn(async move {
            let mut bodies = Vec::new();
            for length in lengths {
                let request = peer.next_request().await.unwrap();
                let (frame, body) = large_answer(&request, length);
                peer.stream.write_all(&frame).await.unwrap();
                bodies.push(body);
            }
            bodies
        });
        let answers: Vec<_> = lengths.iter().map(|_| connection.send_raw(&find(), SECOND)).collect();
        let mut received = Vec::new();
        for answer in answers {
            received.push(answer.await.unwrap().body);
        }
        assert!(received == peer.await.unwrap());
        let large: Vec<_> = lengths.into_iter().filter(|length| with_buffers && *length > 4096).collect();
        assert_eq!(*gate.lengths.lock().unwrap(), large);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_memory_does_not_make_the_broker_overdue_but_waiting_requests_are() {
    let gate = Arc::new(Gate::default());
    let config = ConnectionConfig::default().response_buffers(gate.clone()).max_in_flight_requests(1);
    let (_network, connection, mut peer) = open(config).await;
    let answer = connection.send_raw(&find(), SECOND * 10);
    let waiting = connection.send_raw(&find(), SECOND * 20);
    let request = peer.next_request().await.unwrap();
    let (frame, body) = large_answer(&request, 100_000);
    let (_, ()) = tokio::join!(peer.stream.write_all(&frame), async {
        let error = waiting.await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { written: false, .. }));
        tokio::time::sleep(SECOND * 3600).await;
        assert!(!connection.is_closed());
        gate.open();
    });
    assert!(answer.await.unwrap().body == body);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_memory_can_be_aborted_and_closed() {
    for orderly in [false, true] {
        let gate = Arc::new(Gate::default());
        let config = ConnectionConfig::default().response_buffers(gate.clone()).request_timeout(SECOND);
        let (_network, connection, mut peer) = open(config).await;
        let answer = connection.send_raw(&find(), SECOND * 10);
        let request = peer.next_request().await.unwrap();
        peer.stream.write_all(&large_answer(&request, 100_000).0).await.unwrap();
        tokio::time::sleep(SECOND * 60).await;
        let start = tokio::time::Instant::now();
        if orderly {
            connection.close().await;
            assert_eq!(start.elapsed(), SECOND);
        } else {
            connection.abort();
            connection.closed().await;
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
        assert!(matches!(closed(answer.await), (CloseCause::Closed | CloseCause::Aborted, true)));
    }
}

#[test]
fn the_end_of_the_runtime_is_told_as_such() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let serving = runtime();
    let (connection, answer, peer) = serving.block_on(async {
        let (_network, connection, mut peer) = open(ConnectionConfig::default()).await;
        let answer = connection.send(&find(), SECOND);
        peer.next_request().await.unwrap();
        (connection, answer, peer)
    });
    drop(serving);
    runtime().block_on(async {
        assert!(matches!(closed(answer.await), (CloseCause::RuntimeEnded, true)));
        assert!(matches!(connection.closed().await, CloseCause::RuntimeEnded));
        assert!(connection.is_closed());
    });
    drop(peer);
}
