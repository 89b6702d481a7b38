use bytes::Bytes;
use ottla_wire::NodeId;
use ottla_wire::messages::DivergingEpoch;

use super::*;

/// The sessions of a node with the time in hand.
struct Fixture {
    sessions: FetchSessions,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        Self::with_slots(10)
    }

    fn with_slots(slots: usize) -> Self {
        // Any origin will do: sessions read no clock.
        #[allow(clippy::disallowed_methods, reason = "a test's origin of time")]
        let now = Instant::now();
        Self { sessions: FetchSessions::new(slots, 0), now }
    }

    fn open(&mut self, session_id: i32, session_epoch: i32, partitions: &[i32]) -> Result<Opened, ErrorCode> {
        self.open_and_forget(session_id, session_epoch, partitions, &[])
    }

    fn open_and_forget(
        &mut self,
        session_id: i32,
        session_epoch: i32,
        partitions: &[i32],
        forgotten: &[i32],
    ) -> Result<Opened, ErrorCode> {
        let partitions = partitions.iter().map(|index| (name(*index), asked(*index, 0))).collect();
        let forgotten = forgotten.iter().map(|index| name(*index)).collect();
        self.sessions.open(self.now, SessionRequest { session_id, session_epoch, by_id: true, partitions, forgotten })
    }

    /// Begins a session over partitions that are all empty.
    fn begin(&mut self, partitions: &[i32]) -> i32 {
        let opened = self.open(0, 0, partitions).unwrap();
        assert_eq!(opened.session, SessionUse::Begins { by_id: true, at: self.now });
        let data = empty();
        let answered = opened.partitions.iter().map(|(name, asked)| (name, asked, &data));
        self.sessions.begin(true, self.now, answered)
    }

    /// Goes on with a session, and says of which partitions the answers are news.
    fn go_on(&mut self, session_id: i32, epoch: i32, answers: &[(i32, FetchPartitionData)]) -> Vec<i32> {
        let opened = self.open(session_id, epoch, &[]).unwrap();
        let SessionUse::GoesOn { epoch, .. } = opened.session else { panic!("{opened:?}") };
        let answers: Vec<_> = answers.iter().map(|(index, data)| (name(*index), data.clone())).collect();
        let pairs = answers.iter().map(|(name, data)| (name, data));
        let news = self.sessions.select(session_id, epoch, pairs).unwrap();
        answers.iter().zip(news).filter(|(_, is_news)| *is_news).map(|((name, _), _)| name.index).collect()
    }

    fn is_known(&mut self, session_id: i32) -> bool {
        self.open(session_id, 77, &[]) != Err(ErrorCode::FetchSessionIdNotFound)
    }
}

fn name(index: i32) -> PartitionName {
    PartitionName { topic: "".into(), topic_id: TopicId([7; 16]), index }
}

fn asked(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition { partition, fetch_offset, ..Default::default() }
}

/// A partition that has nothing to be read.
fn empty() -> FetchPartitionData {
    FetchPartitionData { high_watermark: 5, log_start_offset: 0, records: Some(Bytes::new()), ..Default::default() }
}

fn with_records() -> FetchPartitionData {
    FetchPartitionData { records: Some(Bytes::from_static(b"batch")), ..empty() }
}

fn order(opened: &Opened) -> Vec<i32> {
    opened.partitions.iter().map(|(name, _)| name.index).collect()
}

#[test]
fn a_full_request_without_a_session_is_answered_as_it_stands() {
    let mut fixture = Fixture::new();
    let opened = fixture.open(0, -1, &[2, 0, 1]).unwrap();
    assert_eq!((order(&opened), opened.session), (vec![2, 0, 1], SessionUse::None));
}

#[test]
fn a_session_goes_on_with_the_partitions_that_it_began_with() {
    let mut fixture = Fixture::new();
    let id = fixture.begin(&[2, 0, 1]);
    assert!(id > 0);
    let opened = fixture.open(id, 1, &[]).unwrap();
    assert_eq!((order(&opened), opened.session), (vec![2, 0, 1], SessionUse::GoesOn { session_id: id, epoch: 2 }));
}

#[test]
fn what_is_asked_anew_is_added_or_changed_and_what_is_forgotten_is_gone() {
    let mut fixture = Fixture::new();
    let id = fixture.begin(&[0, 1]);
    let opened = fixture.open_and_forget(id, 1, &[5], &[0]).unwrap();
    assert_eq!(order(&opened), [1, 5]);
    let moved = SessionRequest {
        session_id: id,
        session_epoch: 2,
        by_id: true,
        partitions: vec![(name(1), asked(1, 42))],
        forgotten: vec![name(9)],
    };
    let opened = fixture.sessions.open(fixture.now, moved).unwrap();
    assert_eq!(opened.partitions, [(name(1), asked(1, 42)), (name(5), asked(5, 0))]);
}

#[test]
fn a_session_from_which_everything_is_forgotten_ends() {
    let mut fixture = Fixture::new();
    let id = fixture.begin(&[0]);
    let opened = fixture.open_and_forget(id, 1, &[], &[0]).unwrap();
    assert_eq!(opened, Opened { partitions: Vec::new(), session: SessionUse::None });
    assert!(!fixture.is_known(id));
}

#[test]
fn only_news_are_answered() {
    let mut fixture = Fixture::new();
    let id = fixture.begin(&[0, 1, 2, 3, 4, 5]);
    assert!(fixture.go_on(id, 1, &[(0, empty()), (1, empty())]).is_empty());
    let parted = DivergingEpoch { end_offset: 3, ..Default::default() };
    let answers = [
        (0, empty()),
        (1, with_records()),
        (2, FetchPartitionData { high_watermark: 6, ..empty() }),
        (3, FetchPartitionData { log_start_offset: 1, ..empty() }),
        (4, FetchPartitionData { preferred_read_replica: NodeId(2), ..empty() }),
        (5, FetchPartitionData { diverging_epoch: parted, ..empty() }),
    ];
    assert_eq!(fixture.go_on(id, 2, &answers), [1, 2, 3, 4, 5]);
    // Where a partition stands is told once; records, and where else to read, for as long as they are there.
    assert_eq!(fixture.go_on(id, 3, &answers), [1, 4, 5]);
}

#[test]
fn an_error_is_told_every_time_and_its_end_too() {
    let mut fixture = Fixture::new();
    let id = fixture.begin(&[0]);
    let failed = FetchPartitionData { error_code: ErrorCode::NotLeaderOrFollower, ..empty() };
    assert_eq!(fixture.go_on(id, 1, &[(0, failed.clone())]), [0]);
    assert_eq!(fixture.go_on(id, 2, &[(0, failed)]), [0]);
    assert_eq!(fixture.go_on(id, 3, &[(0, empty())]), [0]);
    assert!(fixture.go_on(id, 4, &[(0, empty())]).is_empty());
}

#[test]
fn a_partition_that_gave_records_is_last_next_time() {
    let mut fixture = Fixture::new();
    let id = fixture.begin(&[0, 1, 2]);
    fixture.go_on(id, 1, &[(0, with_records()), (1, empty()), (2, empty())]);
    assert_eq!(order(&fixture.open(id, 2, &[]).unwrap()), [1, 2, 0]);
}

#[test]
fn epochs_tell_what_was_overtaken() {
    let mut fixture = Fixture::new();
    let id = fixture.begin(&[0]);
    assert_eq!(fixture.open(id, 2, &[]), Err(ErrorCode::InvalidFetchSessionEpoch));
    let first = fixture.open(id, 1, &[]).unwrap();
    // Sent again, because the client has given the first up.
    assert_eq!(fixture.open(id, 1, &[]), Err(ErrorCode::InvalidFetchSessionEpoch));
    fixture.open(id, 2, &[]).unwrap();
    let SessionUse::GoesOn { session_id, epoch } = first.session else { panic!("{first:?}") };
    let late = fixture.sessions.select(session_id, epoch, std::iter::empty());
    assert_eq!(late, Err(ErrorCode::InvalidFetchSessionEpoch));
}

#[test]
fn after_the_last_epoch_comes_1() {
    let mut fixture = Fixture::new();
    let id = fixture.begin(&[0]);
    let now = fixture.now;
    let session = fixture.sessions.sessions.get_mut(&id).unwrap();
    session.epoch = i32::MAX - 1;
    assert_eq!((session.next_epoch(now), session.next_epoch(now)), (i32::MAX, 1));
}

#[test]
fn a_session_that_is_not_known_is_told_as_such() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.open(9, 1, &[]), Err(ErrorCode::FetchSessionIdNotFound));
    let id = fixture.begin(&[0]);
    fixture.sessions.clear();
    assert_eq!(fixture.open(id, 1, &[]), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(fixture.sessions.select(id, 2, std::iter::empty()), Err(ErrorCode::FetchSessionIdNotFound));
}

#[test]
fn a_full_request_ends_the_session_that_it_names() {
    let mut fixture = Fixture::new();
    for epoch in [0, -1] {
        let id = fixture.begin(&[0]);
        let opened = fixture.open(id, epoch, &[3]).unwrap();
        assert_eq!(order(&opened), [3]);
        assert!(!fixture.is_known(id), "epoch {epoch}");
    }
}

#[test]
fn topics_are_named_throughout_a_session_as_they_were_at_first() {
    let mut fixture = Fixture::new();
    let session_id = fixture.begin(&[0]);
    let (partitions, forgotten) = (Vec::new(), Vec::new());
    let by_name = SessionRequest { session_id, session_epoch: 1, by_id: false, partitions, forgotten };
    assert_eq!(fixture.sessions.open(fixture.now, by_name), Err(ErrorCode::FetchSessionTopicIdError));
}

#[test]
fn where_every_session_is_young_and_in_use_there_is_no_room_for_another() {
    let mut fixture = Fixture::with_slots(2);
    let (first, second) = (fixture.begin(&[0]), fixture.begin(&[0, 1]));
    assert_eq!(fixture.begin(&[0, 1, 2]), NO_SESSION);
    assert!(fixture.is_known(first) && fixture.is_known(second));
    assert_eq!(Fixture::with_slots(0).begin(&[0]), NO_SESSION);
}

#[test]
fn the_session_that_is_not_used_any_more_makes_room() {
    let mut fixture = Fixture::with_slots(2);
    let (first, second) = (fixture.begin(&[0, 1, 2]), fixture.begin(&[0]));
    fixture.now += EVICTION_TIME;
    assert_eq!(fixture.begin(&[0]), NO_SESSION);
    fixture.open(second, 1, &[]).unwrap();
    fixture.now += Duration::from_millis(1);
    assert_ne!(fixture.begin(&[0]), NO_SESSION);
    assert!(!fixture.is_known(first) && fixture.is_known(second));
}

#[test]
fn an_old_session_makes_room_for_a_larger_one() {
    let mut fixture = Fixture::with_slots(2);
    let (small, large) = (fixture.begin(&[0, 1]), fixture.begin(&[0, 1, 2]));
    fixture.now += EVICTION_TIME + Duration::from_millis(1);
    for id in [small, large] {
        fixture.open(id, 1, &[]).unwrap();
    }
    assert_eq!(fixture.begin(&[5, 6]), NO_SESSION, "it is not larger");
    assert_ne!(fixture.begin(&[5, 6, 7]), NO_SESSION);
    assert!(!fixture.is_known(small) && fixture.is_known(large));
}
