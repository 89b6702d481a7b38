use ottla_wire::messages::ApiVersion;
use ottla_wire::{RequestHeader, encode_response};

use super::*;

/// An API and its versions.
type Listed = (ApiKey, i16, i16);

fn handshake() -> Handshake {
    Handshake::new(&ConnectionConfig::default().client_id("me").client_software("my lib!", "1.0+x"))
}

/// What a step asks: the header, and the body where it is of a version that names the client.
fn asked(step: &Step) -> (RequestHeader, ApiVersionsRequest) {
    let Step::Send(frame) = step else { panic!("{step:?} sends nothing") };
    let bytes: Vec<u8> = frame.segments.iter().flatten().copied().collect();
    let mut reader = Reader::new(Bytes::from(bytes).slice(4..));
    let version = reader.clone().array::<4>().map(|start| i16::from_be_bytes([start[2], start[3]])).unwrap();
    let header = RequestHeader::read(&mut reader, version >= 3).unwrap();
    (header, ApiVersionsRequest::decode(&mut reader, version).unwrap())
}

fn answer(step: &Step, in_version: i16, response: &ApiVersionsResponse) -> Bytes {
    let (header, _) = asked(step);
    let frame = encode_response(response, in_version, header.correlation_id).unwrap();
    Bytes::from(frame.segments.concat()).slice(4..)
}

fn versions(ranges: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let api = |(api, min, max): &(ApiKey, i16, i16)| ApiVersion {
        api_key: api.number(),
        min_version: *min,
        max_version: *max,
    };
    ApiVersionsResponse { api_keys: ranges.iter().map(api).collect(), ..Default::default() }
}

fn refusal(ranges: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion, ..versions(ranges) }
}

#[test]
fn the_client_is_named_as_kip_511_allows() {
    let (header, request) = asked(&handshake().start());
    assert_eq!((header.api_key, header.api_version), (18, 3));
    assert_eq!(header.client_id.as_deref(), Some("me"));
    assert_eq!(request.client_software_name, "my-lib");
    assert_eq!(request.client_software_version, "1.0-x");
    assert_eq!(software_text("-.-"), "unknown");
}

#[test]
fn a_broker_that_speaks_version_3_is_ready_at_once() {
    let mut handshake = handshake();
    let step = handshake.start();
    let answer = answer(&step, 3, &versions(&[(ApiKey::Fetch, 4, 17)]));
    let Step::Ready(ready) = handshake.handle_response(answer) else { panic!("not ready") };
    assert_eq!(ready.range(ApiKey::Fetch), Some(VersionRange::new(4, 17)));
    assert_eq!(handshake.next_correlation_id(), asked(&step).0.correlation_id + 1);
}

#[test]
fn an_unsupported_version_is_followed_by_the_highest_that_is_listed() {
    // What is listed, and what is asked next.
    let table: [(&[Listed], i16); 5] = [
        (&[(ApiKey::ApiVersions, 0, 2)], 2),
        (&[(ApiKey::ApiVersions, 0, 1), (ApiKey::Fetch, 0, 11)], 1),
        (&[], 0),
        // Not what was just refused, whatever it says.
        (&[(ApiKey::ApiVersions, 0, 4)], 2),
        (&[(ApiKey::ApiVersions, 5, 6)], 0),
    ];
    for (listed, next) in table {
        let mut handshake = handshake();
        let first = handshake.start();
        let second = handshake.handle_response(answer(&first, 0, &refusal(listed)));
        assert_eq!(asked(&second).0.api_version, next, "{listed:?}");
        let ready = handshake.handle_response(answer(&second, next, &versions(&[(ApiKey::Fetch, 0, 11)])));
        assert!(matches!(ready, Step::Ready(_)), "{listed:?}");
    }
}

#[test]
fn a_broker_that_refuses_version_0_is_given_up() {
    let mut handshake = handshake();
    let mut step = handshake.start();
    for _ in 0..2 {
        step = handshake.handle_response(answer(&step, 0, &refusal(&[])));
    }
    let Step::Failed(HandshakeError::Refused { error_code }) = step else { panic!("{step:?}") };
    assert_eq!(error_code, ErrorCode::UnsupportedVersion);
}

#[test]
fn another_error_is_final() {
    let mut handshake = handshake();
    let step = handshake.start();
    let refused = ApiVersionsResponse { error_code: ErrorCode::InvalidRequest, ..Default::default() };
    let step = handshake.handle_response(answer(&step, 3, &refused));
    assert!(matches!(step, Step::Failed(HandshakeError::Refused { error_code: ErrorCode::InvalidRequest })));
}

#[test]
fn a_closed_connection_is_followed_by_the_same_on_another_and_then_by_version_0() {
    let mut handshake = handshake();
    let step = handshake.start();
    assert_eq!(asked(&step).0.api_version, 3);
    for version in [3, 0] {
        assert!(matches!(handshake.handle_closed(CloseCause::EndOfStream), Step::Reconnect));
        let step = handshake.start();
        assert_eq!(asked(&step).0.api_version, version);
    }
    let step = handshake.handle_closed(CloseCause::EndOfStream);
    assert!(matches!(step, Step::Failed(HandshakeError::Closed(CloseCause::EndOfStream))));
}

#[test]
fn an_answer_that_cannot_be_read_is_followed_by_version_0() {
    let mut handshake = handshake();
    let step = handshake.start();
    let mut broken = answer(&step, 3, &versions(&[(ApiKey::Fetch, 0, 11)])).to_vec();
    broken.truncate(broken.len() - 3);
    let step = handshake.handle_response(broken.into());
    assert_eq!(asked(&step).0.api_version, 0);
    let mut broken = answer(&step, 0, &versions(&[(ApiKey::Fetch, 0, 11)])).to_vec();
    broken.truncate(broken.len() - 3);
    let step = handshake.handle_response(broken.into());
    assert!(matches!(step, Step::Failed(HandshakeError::Decode { version: 0, .. })));
}

#[test]
fn an_answer_to_something_else_is_final() {
    let mut handshake = handshake();
    let first = handshake.start();
    let late = answer(&first, 3, &versions(&[]));
    handshake.handle_closed(CloseCause::EndOfStream);
    let second = handshake.start();
    let expected = asked(&second).0.correlation_id;
    let step = handshake.handle_response(late);
    let Step::Failed(HandshakeError::Closed(CloseCause::CorrelationMismatch { expected: Some(next), received })) = step
    else {
        panic!("{step:?}")
    };
    assert_eq!((next, received), (expected, expected - 1));
}
