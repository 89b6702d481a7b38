//! Every answer in the table of the module's documentation, with exact times.

use std::task::{Context, Poll, Waker};

use fastrand::Rng;
use ottla_wire::messages::{BatchIndexAndErrorMessage, Refusal};
use ottla_wire::records::RecordBatches;

use super::*;
use crate::completion::Delivery;
use crate::{ProducerRecord, RecordMetadata};

const EXPIRES: Duration = Duration::from_mins(2);
const LATE_MS: u64 = LATE.as_millis() as u64;

/// The leader of every partition, by its number.
#[derive(Clone, Default)]
struct Led(BTreeMap<i32, i32>);

impl Leaders for Led {
    fn leader(&self, partition: &TopicPartition) -> Option<NodeId> {
        self.0.get(&partition.partition).map(|node| NodeId(*node))
    }
}

struct Bench {
    sender: Sender,
    leaders: Led,
    start: Instant,
    next_batch: BatchId,
    /// Batches that wait to be taken.
    waiting: BTreeMap<PartitionKey, VecDeque<Batch>>,
    deliveries: BTreeMap<i32, Vec<Delivery>>,
    /// Topics whose refresh was asked for, and partitions whose turn has ended.
    refreshes: usize,
    ended: Vec<i32>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ProducerConfig)) -> Self {
        let mut config = ProducerConfig::new(Duration::from_secs(30));
        change(&mut config);
        // Jitter of zero: the factor lies between 0.8 and 1.2, so tests look at ranges.
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), Rng::with_seed(1));
        #[allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]
        let start = Instant::now();
        Self {
            sender: Sender::new(&config, backoff),
            leaders: Led((0..8).map(|partition| (partition, partition % 2 + 1)).collect()),
            start,
            next_batch: BatchId::default(),
            waiting: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            refreshes: 0,
            ended: Vec::new(),
        }
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.start + Duration::from_millis(milliseconds)
    }

    /// A batch with so many records of 100 bytes waits for a partition.
    fn batch(&mut self, partition: i32, records: usize) {
        let completion = Arc::new(Completion::new(TopicPartition::new("t", partition)));
        let (id, expires) = (self.next_batch.take_next(), self.start + EXPIRES);
        let mut batch = Batch::open(id, Arc::clone(&completion), self.start, expires, 1 << 20);
        for number in 0..records {
            let value = vec![number as u8; 100];
            let index = batch.append(&ProducerRecord::new("t").value(&value), 1000).unwrap();
            self.deliveries.entry(partition).or_default().push(Delivery::new(Arc::clone(&completion), index, 1000));
        }
        self.waiting.entry(key(partition)).or_default().push_back(batch);
    }

    fn add(&mut self, at: u64, partition: i32) {
        let now = self.at(at);
        self.sender.add(now, key(partition), TopicPartition::new("t", partition), &self.leaders.clone());
        self.act();
    }

    fn add_batch(&mut self, partition: i32, records: usize) {
        self.batch(partition, records);
        self.add(0, partition);
    }

    /// All requests that may leave: node and partitions of each.
    fn requests(&mut self, at: u64) -> Vec<Outgoing> {
        let now = self.at(at);
        let waiting = &mut self.waiting;
        let mut take = |key: PartitionKey| waiting.get_mut(&key).and_then(VecDeque::pop_front);
        let mut requests = Vec::new();
        while let Some(request) = self.sender.next_request(now, &mut take) {
            requests.push(request);
        }
        self.act();
        requests
    }

    fn request(&mut self, at: u64) -> Outgoing {
        let mut requests = self.requests(at);
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    #[allow(clippy::needless_pass_by_value, reason = "each answer is made where it is given")]
    fn answer(&mut self, at: u64, request: &Outgoing, answer: ProducePartitionResponse) {
        let answers = request.batches.iter().map(|batch| (batch.key, answer.clone())).collect();
        self.answers(at, request, answers);
    }

    fn answers(&mut self, at: u64, request: &Outgoing, answers: BTreeMap<PartitionKey, ProducePartitionResponse>) {
        let now = self.at(at);
        self.sender.handle_response(now, request.id, Duration::ZERO, answers, &self.leaders.clone());
        self.act();
    }

    fn fail(&mut self, at: u64, request: &Outgoing, failure: &SendFailure) {
        let now = self.at(at);
        self.sender.handle_failure(now, request.id, failure, &self.leaders.clone());
        self.act();
    }

    fn time_passes(&mut self, to: u64) {
        let now = self.at(to);
        self.sender.handle_timeout(now, &self.leaders.clone());
        self.act();
    }

    /// Metadata has come, in which these nodes lead these partitions.
    fn metadata(&mut self, at: u64, leaders: &[(i32, i32)]) {
        self.leaders.0.extend(leaders.iter().copied());
        let now = self.at(at);
        self.sender.handle_metadata(now, &self.leaders.clone());
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.sender.next_action() {
            match action {
                Action::Answer { completion, records, outcome } => completion.answer(records, outcome),
                Action::TurnEnded { partition, .. } => self.ended.push(partition.partition),
                Action::Refresh { .. } => self.refreshes += 1,
            }
        }
    }

    fn delivered(&mut self, partition: i32, index: usize) -> Option<Result<RecordMetadata, Error>> {
        let delivery = &mut self.deliveries.get_mut(&partition).unwrap()[index];
        match std::pin::Pin::new(delivery).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    fn offsets(&mut self, partition: i32) -> Vec<Option<i64>> {
        let count = self.deliveries[&partition].len();
        (0..count).map(|index| self.delivered(partition, index)?.ok()?.offset).collect()
    }

    fn error(&mut self, partition: i32, index: usize) -> Error {
        self.delivered(partition, index).unwrap().unwrap_err()
    }
}

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic: 0, partition }
}

fn written(base_offset: i64) -> ProducePartitionResponse {
    ProducePartitionResponse { base_offset, ..Default::default() }
}

fn refused(error_code: ErrorCode) -> ProducePartitionResponse {
    ProducePartitionResponse { error_code, base_offset: -1, ..Default::default() }
}

fn partitions(request: &Outgoing) -> Vec<i32> {
    request.batches.iter().map(|batch| batch.key.partition).collect()
}

fn lost_connection(written: bool) -> SendFailure {
    SendFailure::Connection(ottla_connection::Error::Closed {
        api: ottla_wire::ApiKey::Produce,
        address: "broker:9092".parse().unwrap(),
        written,
        cause: ottla_connection::CloseCause::EndOfStream,
    })
}

#[test]
fn partitions_of_a_broker_share_a_request() {
    let mut bench = Bench::new();
    for partition in 0..4 {
        bench.add_batch(partition, 1);
    }
    let requests = bench.requests(0);
    let packed: Vec<(NodeId, Vec<i32>)> = requests.iter().map(|request| (request.node, partitions(request))).collect();
    assert_eq!(packed, [(NodeId(1), vec![0, 2]), (NodeId(2), vec![1, 3])]);
}

#[test]
fn a_written_batch_gives_each_record_its_offset_and_ends_the_turn() {
    let mut bench = Bench::new();
    bench.add_batch(0, 3);
    let request = bench.request(0);
    bench.answer(1, &request, written(40));
    assert_eq!(bench.offsets(0), [Some(40), Some(41), Some(42)]);
    assert_eq!(bench.ended, [0]);
    assert_eq!(bench.sender.next_deadline(), None);
}

#[test]
fn a_request_stays_within_its_size_but_carries_at_least_one_batch() {
    let mut bench = Bench::with(|config| config.max_request_size = 1000);
    for partition in [0, 2, 4] {
        bench.add_batch(partition, 4); // about 490 bytes each, and 50 around them
    }
    bench.add_batch(6, 20); // about 2,200 bytes
    let packed: Vec<Vec<i32>> = bench.requests(0).iter().map(partitions).collect();
    assert_eq!(packed, [[0].to_vec(), [2].to_vec(), [4].to_vec(), [6].to_vec()]);

    let mut bench = Bench::with(|config| config.max_request_size = 1200);
    for partition in [0, 2, 4] {
        bench.add_batch(partition, 4);
    }
    let packed: Vec<Vec<i32>> = bench.requests(0).iter().map(partitions).collect();
    assert_eq!(packed, [[0, 2].to_vec(), [4].to_vec()]);
}

#[test]
fn no_more_requests_are_in_flight_to_a_broker_than_allowed() {
    let mut bench = Bench::with(|config| {
        config.max_in_flight_requests_per_connection = 2;
        config.max_request_size = 100;
    });
    for partition in [0, 2, 4] {
        bench.add_batch(partition, 1);
    }
    let first = bench.requests(0);
    assert_eq!(first.iter().map(partitions).collect::<Vec<_>>(), [[0], [2]]);
    bench.answer(1, &first[1], written(0));
    assert_eq!(partitions(&bench.request(1)), [4]);
}

#[test]
fn a_retriable_code_is_sent_again_after_the_back_off_with_the_same_bytes() {
    let mut bench = Bench::new();
    bench.add_batch(0, 2);
    let first = bench.request(0);
    bench.answer(10, &first, refused(ErrorCode::NotEnoughReplicas));
    let due = bench.sender.next_deadline().unwrap() - bench.start;
    assert!((90..=130).contains(&due.as_millis()), "{due:?} is not 10 ms and 100 ms give or take a fifth");
    bench.time_passes(due.as_millis() as u64);
    assert!(bench.requests(due.as_millis() as u64).is_empty(), "not before it is due");
    bench.time_passes(due.as_millis() as u64 + 1);
    let second = bench.request(due.as_millis() as u64 + 1);
    assert_eq!(second.batches[0].records, first.batches[0].records);
    bench.answer(200, &second, written(7));
    assert_eq!(bench.offsets(0), [Some(7), Some(8)]);
}

#[test]
fn nothing_of_a_partition_overtakes_a_batch_that_is_sent_again() {
    let mut bench = Bench::new();
    bench.batch(0, 1);
    bench.batch(0, 1);
    bench.add(0, 0);
    let first = bench.request(0);
    bench.answer(1, &first, refused(ErrorCode::NotLeaderOrFollower));
    assert!(bench.requests(1).is_empty());
    assert!(bench.ended.is_empty(), "the turn lasts until the batch is settled");
    bench.time_passes(500);
    let again = bench.request(500);
    assert_eq!(again.batches[0].records, first.batches[0].records);
}

#[test]
fn codes_that_say_the_metadata_is_wrong_have_it_refreshed() {
    for code in [ErrorCode::NotLeaderOrFollower, ErrorCode::UnknownTopicOrPartition, ErrorCode::FencedLeaderEpoch] {
        let mut bench = Bench::new();
        bench.add_batch(0, 1);
        let request = bench.request(0);
        bench.answer(1, &request, refused(code));
        assert_eq!(bench.refreshes, 1, "{code}");
    }
}

#[test]
fn a_batch_follows_its_leader_without_waiting_for_the_back_off() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let request = bench.request(0);
    bench.answer(1, &request, refused(ErrorCode::NotLeaderOrFollower));
    bench.leaders.0.insert(0, 5);
    bench.sender.handle_metadata(bench.at(2), &bench.leaders.clone());
    assert_eq!(bench.request(2).node, NodeId(5));
}

#[test]
fn a_batch_that_waits_for_its_broker_moves_when_the_leader_does() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    bench.leaders.0.insert(0, 5);
    bench.sender.handle_metadata(bench.at(0), &bench.leaders.clone());
    let request = bench.request(0);
    assert_eq!((request.node, partitions(&request)), (NodeId(5), vec![0]));
}

#[test]
fn without_a_leader_it_is_asked_for_until_there_is_one() {
    let mut bench = Bench::new();
    bench.leaders.0.remove(&0);
    bench.add_batch(0, 1);
    assert_eq!(bench.refreshes, 1);
    assert!(bench.requests(0).is_empty());
    let again = bench.sender.next_deadline().unwrap();
    assert!(again - bench.start <= Duration::from_millis(120));
    bench.time_passes(121);
    assert_eq!(bench.refreshes, 2);
    bench.leaders.0.insert(0, 1);
    bench.sender.handle_metadata(bench.at(122), &bench.leaders.clone());
    assert_eq!(partitions(&bench.request(122)), [0]);
}

#[test]
fn a_code_that_no_retry_mends_is_told_to_every_record() {
    let mut bench = Bench::new();
    bench.add_batch(0, 2);
    let request = bench.request(0);
    bench.answer(1, &request, refused(ErrorCode::TopicAuthorizationFailed));
    for index in 0..2 {
        let error = bench.error(0, index);
        assert_eq!(error.error_code(), Some(ErrorCode::TopicAuthorizationFailed));
        assert!(!error.may_have_been_written() && !error.is_retriable());
    }
    assert_eq!(bench.ended, [0]);
}

#[test]
fn a_lost_connection_is_retried_and_remembered_as_a_possible_write() {
    let mut bench = Bench::with(|config| config.retries = 1);
    bench.add_batch(0, 1);
    let request = bench.request(0);
    bench.fail(1, &request, &lost_connection(true));
    assert_eq!(bench.refreshes, 1);
    bench.time_passes(200);
    let request = bench.request(200);
    bench.answer(201, &request, refused(ErrorCode::NotEnoughReplicas));
    let error = bench.error(0, 0);
    assert_eq!(error.error_code(), Some(ErrorCode::NotEnoughReplicas));
    assert!(error.may_have_been_written(), "the first attempt may have been");
}

#[test]
fn a_request_that_was_never_sent_is_no_possible_write_and_no_attempt() {
    let mut bench = Bench::with(|config| config.retries = 0);
    bench.add_batch(0, 1);
    let request = bench.request(0);
    let failure = SendFailure::NotConnected(Arc::new(ottla_cluster::Error::UnknownNode { node: NodeId(1) }));
    bench.fail(1, &request, &failure);
    bench.time_passes(200);
    let request = bench.request(200);
    bench.answer(201, &request, refused(ErrorCode::NotEnoughReplicas));
    assert!(!bench.error(0, 0).may_have_been_written());
}

#[test]
fn an_answer_that_leaves_a_partition_out_is_asked_again() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    bench.add_batch(2, 1);
    let request = bench.request(0);
    bench.answers(1, &request, BTreeMap::from([(key(0), written(3))]));
    assert_eq!(bench.offsets(0), [Some(3)]);
    assert!(bench.delivered(2, 0).is_none());
    bench.time_passes(200);
    assert_eq!(partitions(&bench.request(200)), [2]);
}

#[test]
fn the_delivery_timeout_ends_a_batch_that_is_retried_with_its_last_error() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let mut now = 0;
    let mut attempts = 0;
    let timeout = EXPIRES.as_millis() as u64;
    while now < timeout {
        if let Some(request) = bench.requests(now).pop() {
            attempts += 1;
            bench.answer(now, &request, refused(ErrorCode::RequestTimedOut));
        }
        assert!(bench.delivered(0, 0).is_none(), "given up at {now} ms");
        let deadline = bench.sender.next_deadline().unwrap() - bench.start;
        now = u64::try_from(deadline.as_micros().div_ceil(1000)).unwrap();
        bench.time_passes(now);
    }
    assert_eq!(now, timeout, "exactly then");
    let error = bench.error(0, 0);
    let Error::DeliveryTimedOut { attempts: told, may_have_been_written: true, source: Some(source), .. } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((*told, source.error_code()), (attempts, Some(ErrorCode::RequestTimedOut)));
    assert_eq!(bench.ended, [0]);
}

#[test]
fn a_batch_in_flight_expires_but_keeps_its_turn_until_the_request_ends() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let request = bench.request(0);
    assert_eq!(bench.sender.next_deadline(), Some(bench.start + LATE));
    bench.time_passes(LATE_MS);
    assert_eq!(bench.sender.next_deadline(), Some(bench.start + EXPIRES));
    let timeout = EXPIRES.as_millis() as u64;
    bench.time_passes(timeout);
    let error = bench.error(0, 0);
    assert!(matches!(error, Error::DeliveryTimedOut { attempts: 1, may_have_been_written: true, .. }), "{error:?}");
    assert!(bench.ended.is_empty(), "a later batch must not overtake it");
    assert_eq!(bench.sender.next_deadline(), None, "nothing to be done meanwhile");
    bench.answer(timeout + 1, &request, written(1));
    assert_eq!(bench.ended, [0]);
}

#[test]
fn a_late_answer_has_the_leader_doubted_until_there_is_another_which_gets_the_batch() {
    let mut bench = Bench::new();
    bench.add_batch(0, 2);
    let hung = bench.request(0);
    bench.time_passes(LATE_MS - 1);
    assert_eq!(bench.refreshes, 0);
    bench.time_passes(LATE_MS);
    assert_eq!(bench.refreshes, 1);
    bench.metadata(LATE_MS + 10, &[]);
    assert_eq!(bench.refreshes, 2, "nothing new: again, at the pace of the answers");
    assert!(bench.requests(LATE_MS + 10).is_empty(), "it is waited for: nobody else could have it");
    bench.metadata(LATE_MS + 20, &[(0, 2)]);
    let again = bench.request(LATE_MS + 20);
    assert_eq!((again.node, partitions(&again)), (NodeId(2), vec![0]));
    assert_eq!(again.batches[0].records, hung.batches[0].records);
    assert_eq!(bench.refreshes, 2, "the new leader is in no doubt");
    bench.answer(LATE_MS + 30, &hung, written(7));
    assert!(bench.delivered(0, 0).is_none(), "what the old leader has to say does not count any more");
    bench.answer(LATE_MS + 40, &again, written(9));
    assert_eq!(bench.offsets(0), [Some(9), Some(10)]);
}

#[test]
fn a_leader_that_has_moved_may_still_answer_in_time() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    bench.add_batch(2, 1);
    let request = bench.request(0);
    bench.metadata(10, &[(0, 2)]);
    assert!(bench.requests(10).is_empty());
    bench.time_passes(LATE_MS);
    let again = bench.request(LATE_MS);
    assert_eq!((again.node, partitions(&again)), (NodeId(2), vec![0]));
    bench.answer(LATE_MS + 1, &request, written(5));
    assert_eq!(bench.offsets(2), [Some(5)], "it leads the other partition all the same");
    assert!(bench.delivered(0, 0).is_none());
}

#[test]
fn one_that_was_not_waited_for_may_have_written_what_then_fails() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    bench.request(0);
    bench.time_passes(LATE_MS);
    bench.metadata(LATE_MS, &[(0, 2)]);
    let again = bench.request(LATE_MS);
    bench.answer(LATE_MS, &again, refused(ErrorCode::TopicAuthorizationFailed));
    assert!(bench.error(0, 0).may_have_been_written());
}

#[test]
fn a_node_that_cannot_be_reached_is_doubted_until_it_answers() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let request = bench.request(0);
    bench.fail(0, &request, &lost_connection(true));
    for refreshes in 1..4 {
        assert_eq!(bench.refreshes, refreshes);
        bench.metadata(0, &[]);
    }
    bench.time_passes(1000);
    let request = bench.request(1000);
    bench.answer(1001, &request, refused(ErrorCode::NotEnoughReplicas));
    let refreshes = bench.refreshes;
    bench.metadata(1002, &[]);
    assert_eq!(bench.refreshes, refreshes, "it is well, if not able");
}

#[test]
fn the_back_off_begins_anew_on_another_node() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let mut now = 0;
    for _ in 0..6 {
        let request = bench.request(now);
        bench.fail(now, &request, &lost_connection(false));
        now += 2000;
        bench.time_passes(now);
    }
    bench.metadata(now, &[(0, 2)]);
    let request = bench.request(now);
    assert_eq!(request.node, NodeId(2));
    bench.answer(now, &request, refused(ErrorCode::NotLeaderOrFollower));
    let wait = bench.sender.next_deadline().unwrap() - bench.at(now);
    assert!(wait <= Duration::from_millis(120), "the first that failed there: {wait:?}");
}

#[test]
fn a_batch_whose_leader_has_moved_when_the_attempt_fails_goes_there_at_once() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let request = bench.request(0);
    bench.metadata(1, &[(0, 2)]);
    bench.fail(2, &request, &SendFailure::LeaderMoved { was_sent: false });
    assert_eq!(bench.request(2).node, NodeId(2));
}

#[test]
fn an_attempt_that_fails_when_time_is_up_counts_once_and_writes_nothing() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let request = bench.request(0);
    let timeout = EXPIRES.as_millis() as u64;
    bench.answer(timeout, &request, refused(ErrorCode::NotLeaderOrFollower));
    let error = bench.error(0, 0);
    assert!(matches!(error, Error::DeliveryTimedOut { attempts: 1, may_have_been_written: false, .. }), "{error:?}");
    assert_eq!(bench.ended, [0]);
    assert_eq!(bench.sender.next_deadline(), None);
}

#[test]
fn nobody_asks_for_the_leader_of_a_partition_whose_records_have_expired() {
    let mut bench = Bench::new();
    bench.leaders.0.clear();
    bench.add_batch(0, 1);
    assert_eq!(bench.refreshes, 1);
    bench.waiting.clear(); // as the accumulator does with what has expired
    bench.sender.handle_expired(&TopicPartition::new("t", 0));
    bench.act();
    assert_eq!(bench.ended, [0]);
    bench.time_passes(10_000);
    assert_eq!((bench.refreshes, bench.sender.next_deadline()), (1, None));
}

#[test]
fn retries_are_counted() {
    let mut bench = Bench::with(|config| config.retries = 2);
    bench.add_batch(0, 1);
    for attempt in 0..3 {
        let now = attempt * 2000;
        bench.time_passes(now);
        let request = bench.request(now);
        assert!(bench.delivered(0, 0).is_none());
        bench.answer(now, &request, refused(ErrorCode::NotEnoughReplicas));
    }
    assert_eq!(bench.error(0, 0).error_code(), Some(ErrorCode::NotEnoughReplicas));
}

#[test]
fn a_batch_too_large_is_split_until_it_passes_and_stays_in_order() {
    let mut bench = Bench::new();
    bench.add_batch(0, 5);
    let whole = bench.request(0);
    bench.answer(1, &whole, refused(ErrorCode::MessageTooLarge));
    let first = bench.request(1);
    assert_eq!(values(&first), [0, 1], "the first half, at once");
    bench.answer(2, &first, written(10));
    let second = bench.request(2);
    assert_eq!(values(&second), [2, 3, 4]);
    bench.answer(3, &second, refused(ErrorCode::RecordListTooLarge));
    let third = bench.request(3);
    assert_eq!(values(&third), [2]);
    bench.answer(4, &third, written(12));
    let fourth = bench.request(4);
    bench.answer(5, &fourth, written(13));
    assert_eq!(bench.offsets(0), (10..15).map(Some).collect::<Vec<_>>());
    assert_eq!(bench.ended, [0], "one turn for all parts");
}

#[test]
fn a_single_record_too_large_is_refused() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let request = bench.request(0);
    bench.answer(1, &request, refused(ErrorCode::MessageTooLarge));
    assert_eq!(bench.error(0, 0).error_code(), Some(ErrorCode::MessageTooLarge));
}

#[test]
fn record_errors_blame_the_right_records() {
    let mut bench = Bench::new();
    bench.add_batch(0, 4);
    let request = bench.request(0);
    let named = |batch_index, text: Option<&str>| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: text.map(str::to_owned),
    };
    let record_errors = vec![named(1, Some("no key")), named(3, None), named(99, None), named(-1, None)];
    let answer = ProducePartitionResponse {
        refusal: Some(Box::new(Refusal {
            record_errors,
            error_message: Some("one or more records are invalid".to_owned()),
        })),
        ..refused(ErrorCode::InvalidRecord)
    };
    bench.answer(1, &request, answer);
    let message = |error: Error| match error {
        Error::Refused { message, code: ErrorCode::InvalidRecord, .. } => message.map(|text| text.to_string()),
        error => panic!("{error:?}"),
    };
    assert_eq!(message(bench.error(0, 1)).as_deref(), Some("no key"));
    assert_eq!(message(bench.error(0, 3)).as_deref(), Some("one or more records are invalid"));
    for sound in [0, 2] {
        let error = bench.error(0, sound);
        assert!(matches!(error, Error::RefusedWithBatch { refused: 2, .. }), "{error:?}");
        assert!(error.is_retriable() && !error.may_have_been_written());
    }
}

#[test]
fn a_part_of_a_split_batch_blames_records_by_their_place_in_it() {
    let mut bench = Bench::new();
    bench.add_batch(0, 4);
    let whole = bench.request(0);
    bench.answer(1, &whole, refused(ErrorCode::MessageTooLarge));
    let first = bench.request(1);
    bench.answer(2, &first, written(0));
    let second = bench.request(2);
    let record_errors = vec![BatchIndexAndErrorMessage { batch_index: 1, batch_index_error_message: None }];
    let refusal = Refusal { record_errors, error_message: None };
    bench.answer(
        3,
        &second,
        ProducePartitionResponse { refusal: Some(Box::new(refusal)), ..refused(ErrorCode::InvalidRecord) },
    );
    assert_eq!(bench.offsets(0)[..2], [Some(0), Some(1)]);
    assert!(matches!(bench.error(0, 2), Error::RefusedWithBatch { refused: 1, .. }));
    assert!(matches!(bench.error(0, 3), Error::Refused { .. }));
}

#[test]
fn without_acknowledgement_a_record_written_to_the_socket_has_no_offset() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let request = bench.request(0);
    bench.sender.handle_sent(bench.at(1), request.id, &bench.leaders.clone());
    bench.act();
    let metadata = bench.delivered(0, 0).unwrap().unwrap();
    assert_eq!((metadata.offset, metadata.timestamp_ms), (None, 1000));
}

#[test]
fn a_throttled_broker_is_left_alone_for_as_long_as_it_asked() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let request = bench.request(0);
    let answers = BTreeMap::from([(key(0), written(0))]);
    let now = bench.at(0);
    bench.sender.handle_response(now, request.id, Duration::from_millis(300), answers, &bench.leaders.clone());
    bench.act();
    bench.add_batch(2, 1);
    assert!(bench.requests(299).is_empty());
    assert_eq!(bench.sender.next_deadline(), Some(bench.at(300)));
    bench.time_passes(300);
    assert_eq!(partitions(&bench.request(300)), [2]);
}

#[test]
fn a_partition_whose_batches_have_expired_ends_its_turn() {
    let mut bench = Bench::new();
    bench.add(0, 0); // nothing waits for it any more
    assert!(bench.requests(0).is_empty());
    assert_eq!(bench.ended, [0]);
}

#[test]
fn what_is_abandoned_says_whether_it_was_in_flight() {
    let mut bench = Bench::new();
    bench.add_batch(0, 1);
    let _in_flight = bench.request(0);
    bench.add_batch(2, 1);
    bench.leaders.0.clear();
    let refusal = bench.at(0);
    bench.sender.handle_metadata(refusal, &bench.leaders.clone());
    bench.sender.abandon();
    bench.act();
    assert!(matches!(bench.error(0, 0), Error::Closed { may_have_been_written: true }));
    assert!(bench.delivered(2, 0).is_none(), "never taken: the accumulator answers for it");
    assert_eq!(bench.ended, [0, 2]);
}

/// The first byte of each record's value.
fn values(request: &Outgoing) -> Vec<u8> {
    let batch = RecordBatches::new(request.batches[0].records.clone()).next().unwrap().unwrap();
    let open = batch.open(&mut ottla_wire::compression::Decompressor::new(1 << 20)).unwrap();
    open.records().map(|record| record.unwrap().value().unwrap()[0]).collect()
}
