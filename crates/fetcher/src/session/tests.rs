use std::sync::Arc;

use super::*;

const ID: TopicId = TopicId([7; 16]);
const BY_ID: i16 = 13;
const BY_NAME: i16 = 12;

fn reading(offset: i64) -> Reading {
    Reading { offset, leader_epoch: LeaderEpoch(3), max_bytes: 100 }
}

fn read_topic(session: &mut Session, topic: &str, id: Option<TopicId>, partition: i32, offset: i64) {
    let name: Arc<str> = topic.into();
    let place = usize::try_from(partition).unwrap();
    session.read(TopicOf { name: &name, id }, partition, place, reading(offset));
}

fn read(session: &mut Session, partition: i32, offset: i64) {
    read_topic(session, "topic", Some(ID), partition, offset);
}

/// The id, the epoch, what is named and what is forgotten.
type Said = (i32, i32, Vec<(i32, i64)>, Vec<i32>);

fn said(session: &mut Session) -> Said {
    let request = session.request(|place| place as u64);
    let named = request.topics.iter().flat_map(|topic| &topic.partitions);
    let forgotten = request.forgotten.iter().flat_map(|topic| &topic.partitions);
    (
        request.session_id,
        request.session_epoch,
        named.map(|partition| (partition.partition, partition.fetch_offset)).collect(),
        forgotten.copied().collect(),
    )
}

fn answer(session: &mut Session, session_id: i32) {
    session.answered(SessionAnswer { version: BY_ID, error_code: ErrorCode::None, session_id, is_as_asked: true });
}

fn refuse(session: &mut Session, error_code: ErrorCode) {
    session.answered(SessionAnswer { version: BY_ID, error_code, session_id: 0, is_as_asked: true });
}

/// One with two partitions, whose session 5 has begun.
fn begun() -> Session {
    let mut session = Session::wanted();
    read(&mut session, 0, 10);
    read(&mut session, 1, 20);
    assert_eq!(said(&mut session), (0, 0, vec![(0, 10), (1, 20)], vec![]));
    answer(&mut session, 5);
    session
}

#[test]
fn a_session_begins_with_all_partitions_and_goes_on_with_what_has_changed() {
    let mut session = begun();
    assert_eq!(said(&mut session), (5, 1, vec![], vec![]), "nothing has changed");
    answer(&mut session, 5);
    read(&mut session, 0, 11);
    read(&mut session, 1, 20);
    read(&mut session, 2, 30);
    assert_eq!(said(&mut session), (5, 2, vec![(0, 11), (2, 30)], vec![]));
    answer(&mut session, 5);
    session.leave("topic", 1);
    session.leave("topic", 9);
    session.leave("other", 0);
    assert_eq!(said(&mut session), (5, 3, vec![], vec![1]));
    answer(&mut session, 5);
    assert_eq!(said(&mut session), (5, 4, vec![], vec![]), "it is told once");
}

#[test]
fn what_leaves_and_comes_back_before_the_broker_hears_of_it_is_named_and_not_forgotten() {
    let mut session = begun();
    session.leave("topic", 0);
    read(&mut session, 0, 10);
    read(&mut session, 2, 1);
    session.leave("topic", 2);
    read(&mut session, 1, 21);
    session.leave("topic", 1);
    assert_eq!(said(&mut session), (5, 1, vec![(0, 10)], vec![1, 2]));
    answer(&mut session, 5);
    assert_eq!(said(&mut session), (5, 2, vec![], vec![]));
}

#[test]
fn another_leader_epoch_is_a_change() {
    let mut session = begun();
    let name: Arc<str> = "topic".into();
    let reading = Reading { leader_epoch: LeaderEpoch(4), ..reading(10) };
    session.read(TopicOf { name: &name, id: Some(ID) }, 0, 0, reading);
    assert_eq!(said(&mut session), (5, 1, vec![(0, 10)], vec![]));
}

#[test]
fn epochs_count_the_requests_and_begin_again_at_1() {
    let mut session = begun();
    session.next = Next::GoesOn { id: SessionId(5), epoch: i32::MAX, by_id: true };
    assert_eq!(said(&mut session).1, i32::MAX);
    answer(&mut session, 5);
    assert_eq!(said(&mut session).1, 1);
}

#[test]
fn a_broker_that_gives_no_session_is_asked_in_full_each_time_in_the_order_of_turns() {
    let mut session = Session::wanted();
    for partition in 0..3 {
        read(&mut session, partition, 0);
    }
    for turns in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let request = session.request(|place| turns[place]);
        let order: Vec<_> = request.topics[0].partitions.iter().map(|partition| partition.partition).collect();
        let turn_of = |partition: &i32| turns[usize::try_from(*partition).unwrap()];
        assert!(order.is_sorted_by_key(turn_of), "{order:?}");
        assert_eq!((request.session_id, request.session_epoch, order.len()), (0, 0, 3));
        answer(&mut session, 0);
    }
}

#[test]
fn without_a_wish_for_a_session_none_is_asked_for_and_none_taken() {
    let mut session = Session::default();
    read(&mut session, 0, 10);
    assert_eq!(said(&mut session), (0, -1, vec![(0, 10)], vec![]));
    answer(&mut session, 5);
    session.reconnected();
    assert_eq!(said(&mut session), (0, -1, vec![(0, 10)], vec![]));
    assert_eq!(session.end(), None);
}

#[test]
fn each_error_of_a_session_leads_to_a_new_one() {
    // A session that the broker does not have need not be ended.
    for (error_code, over) in [
        (ErrorCode::FetchSessionIdNotFound, 0),
        (ErrorCode::InvalidFetchSessionEpoch, 5),
        (ErrorCode::FetchSessionTopicIdError, 5),
        (ErrorCode::InconsistentTopicId, 5),
        (ErrorCode::UnknownTopicId, 5),
        (ErrorCode::UnknownServerError, 5),
    ] {
        let mut session = begun();
        read(&mut session, 0, 11);
        session.leave("topic", 1);
        said(&mut session);
        refuse(&mut session, error_code);
        assert_eq!(said(&mut session), (over, 0, vec![(0, 11)], vec![]), "{error_code}");
        answer(&mut session, 6);
        assert_eq!(said(&mut session), (6, 1, vec![], vec![]));
    }
}

#[test]
fn a_request_that_is_lost_leads_to_a_new_session_that_ends_the_old() {
    let mut session = begun();
    read(&mut session, 0, 11);
    said(&mut session);
    session.begin_anew();
    assert_eq!(said(&mut session), (5, 0, vec![(0, 11), (1, 20)], vec![]));
    // That is lost as well, or refused: the broker may still have the old one.
    session.begin_anew();
    assert_eq!(said(&mut session), (5, 0, vec![(0, 11), (1, 20)], vec![]));
    refuse(&mut session, ErrorCode::UnknownServerError);
    assert_eq!(said(&mut session), (5, 0, vec![(0, 11), (1, 20)], vec![]));
}

#[test]
fn a_broker_that_ends_or_changes_the_session_in_an_answer_is_asked_in_full() {
    for (answered, over) in [(0, 0), (6, 5), (-1, 0)] {
        let mut session = begun();
        said(&mut session);
        answer(&mut session, answered);
        assert_eq!(said(&mut session), (over, 0, vec![(0, 10), (1, 20)], vec![]), "{answered}");
    }
}

#[test]
fn an_answer_that_is_not_as_asked_leads_to_a_new_session() {
    let not_as_asked = SessionAnswer { version: BY_ID, error_code: ErrorCode::None, session_id: 5, is_as_asked: false };
    let mut session = begun();
    said(&mut session);
    session.answered(not_as_asked);
    assert_eq!(said(&mut session), (5, 0, vec![(0, 10), (1, 20)], vec![]));
    session.answered(not_as_asked);
    assert_eq!(said(&mut session), (5, 0, vec![(0, 10), (1, 20)], vec![]), "the full one was not, either");
}

#[test]
fn a_broker_that_takes_its_sessions_away_each_time_is_not_asked_for_them_until_it_is_connected_to_anew() {
    let mut session = begun();
    for id in 6..9 {
        said(&mut session);
        refuse(&mut session, ErrorCode::FetchSessionIdNotFound);
        assert_eq!(said(&mut session).1, 0);
        answer(&mut session, id);
    }
    said(&mut session);
    refuse(&mut session, ErrorCode::FetchSessionIdNotFound);
    assert_eq!(said(&mut session), (0, -1, vec![(0, 10), (1, 20)], vec![]));
    answer(&mut session, 0);
    session.reconnected();
    assert_eq!(said(&mut session).1, 0);
}

#[test]
fn a_session_that_has_gone_on_is_not_short_lived() {
    let mut session = begun();
    for id in 6..20 {
        said(&mut session);
        answer(&mut session, id - 1);
        said(&mut session);
        refuse(&mut session, ErrorCode::FetchSessionIdNotFound);
        assert_eq!(said(&mut session).1, 0);
        answer(&mut session, id);
    }
}

#[test]
fn a_session_keeps_to_names_or_to_ids() {
    for (version, versions, range) in [
        (BY_ID, Versions::ById, VersionRange::new(13, i16::MAX)),
        (BY_NAME, Versions::ByName, VersionRange::new(7, 12)),
    ] {
        let mut session = Session::wanted();
        read(&mut session, 0, 10);
        assert_eq!(session.request(|_| 0).versions, Versions::Any);
        session.answered(SessionAnswer { version, error_code: ErrorCode::None, session_id: 5, is_as_asked: true });
        let request = session.request(|_| 0);
        assert_eq!((request.versions, request.versions.range()), (versions, range));
        assert_eq!(session.end().unwrap().versions, versions);
    }
}

#[test]
fn a_topic_without_an_id_ends_a_session_that_goes_by_ids_and_no_other() {
    let mut session = begun();
    read_topic(&mut session, "other", None, 0, 1);
    assert_eq!(said(&mut session), (5, 0, vec![(0, 10), (0, 1), (1, 20)], vec![]));
    session.answered(SessionAnswer { version: BY_NAME, error_code: ErrorCode::None, session_id: 6, is_as_asked: true });
    read_topic(&mut session, "third", None, 3, 1);
    assert_eq!(said(&mut session), (6, 1, vec![(3, 1)], vec![]));
}

#[test]
fn a_topic_with_another_id_ends_the_session() {
    let mut session = begun();
    let other = TopicId([8; 16]);
    read_topic(&mut session, "topic", Some(other), 0, 10);
    let request = session.request(|place| place as u64);
    assert_eq!((request.session_id, request.session_epoch), (5, 0));
    assert_eq!(request.topics[0].topic_id, other);
    assert!(session.topic("", Some(ID)).is_none());
    let slot = session.topic("", Some(other)).unwrap();
    assert_eq!(session.places_of([(Some(slot), 1)].into_iter()), [Some(1)]);
}

#[test]
fn an_answers_partitions_are_found_by_name_or_id_and_no_others() {
    let mut session = begun();
    read_topic(&mut session, "other", Some(TopicId([8; 16])), 4, 1);
    let by_name = session.topic("topic", None).unwrap();
    assert_eq!(session.topic("", Some(ID)), Some(by_name));
    assert_ne!(session.topic("other", None), Some(by_name));
    let places = |told: [i32; 6]| session.places_of(told.map(|partition| (Some(by_name), partition)).into_iter());
    assert_eq!(places([0, 1, 2, 4, 0, 1]), [Some(0), Some(1), None, None, Some(0), Some(1)]);
    assert_eq!(places([-1, 1, 0, 0, 1, 9]), [None, Some(1), Some(0), Some(0), Some(1), None]);
    assert_eq!(session.places_of([(None, 0)].into_iter()), [None], "a topic that is not read");
    assert_eq!(session.topic("third", None), None);
}

#[test]
fn topics_that_nothing_is_read_of_are_forgotten_with_the_partitions() {
    let mut session = begun();
    for generation in 0..100u8 {
        let (name, id) = (format!("topic-{generation}"), TopicId([generation + 10; 16]));
        read_topic(&mut session, &name, Some(id), 0, 1);
        said(&mut session);
        answer(&mut session, 5);
        session.leave(&name, 0);
        let request = session.request(|_| 0);
        assert_eq!((&*request.forgotten[0].topic, request.forgotten[0].topic_id), (&*name, id));
        answer(&mut session, 5);
    }
    let Extent { partitions, topics, topic_name_bytes } = session.extent();
    assert_eq!((partitions, topics, topic_name_bytes), (2, 1, "topic".len()));
}

#[test]
fn ending_tells_the_broker_once_whatever_state_it_is_in() {
    let mut session = begun();
    let end = session.end().unwrap();
    assert_eq!((end.session_id, end.session_epoch), (5, -1));
    assert!(end.topics.is_empty() && end.forgotten.is_empty());
    assert_eq!(session.end(), None);
    assert_eq!(said(&mut session), (0, 0, vec![(0, 10), (1, 20)], vec![]), "it can go on with another");

    let mut lost = begun();
    lost.begin_anew();
    assert_eq!(lost.end().map(|end| (end.session_id, end.session_epoch)), Some((5, -1)));
    assert_eq!(Session::wanted().end(), None);
}

#[test]
fn a_partitions_state_takes_64_bytes_at_most() {
    // What a map of entries in leaves of eleven takes at the least filling that it leaves behind rising keys.
    let entry = size_of::<Key>() + size_of::<Remembered>();
    assert!((11 * entry + 16).div_ceil(6) <= 64, "{entry}");
}
