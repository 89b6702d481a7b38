//! What Java's producer throws where ours has an error: harnesses tell failures apart by the class.

use ottla::ErrorCode;
use ottla::producer::Error;

/// The name of the class.
pub(super) fn class(error: &Error) -> String {
    match error {
        Error::TopicUnknown { .. } | Error::NoSuchPartition { .. } | Error::DeliveryTimedOut { .. } => {
            of_code(ErrorCode::RequestTimedOut)
        }
        Error::NoAnswer { .. } => of_code(ErrorCode::NetworkException),
        Error::RecordTooLarge { .. } => of_code(ErrorCode::MessageTooLarge),
        Error::BufferExhausted { .. } => "org.apache.kafka.clients.producer.BufferExhaustedException".to_owned(),
        Error::InvalidRecord { .. } => "java.lang.IllegalArgumentException".to_owned(),
        Error::Refused { code, .. } => of_code(*code),
        Error::Topic { source, .. } => source.error_code().map_or(KAFKA_EXCEPTION.to_owned(), of_code),
        // Among these are sound records of a batch that was refused.
        _ => KAFKA_EXCEPTION.to_owned(),
    }
}

/// What Java has no class of its own for.
const KAFKA_EXCEPTION: &str = "org.apache.kafka.common.KafkaException";

/// The class of a broker's error code: named like the code, but for some.
fn of_code(code: ErrorCode) -> String {
    let class = match code {
        ErrorCode::InvalidRecord => return "org.apache.kafka.common.InvalidRecordException".to_owned(),
        ErrorCode::CorruptMessage => "CorruptRecord".to_owned(),
        ErrorCode::MessageTooLarge => "RecordTooLarge".to_owned(),
        ErrorCode::RecordListTooLarge => "RecordBatchTooLarge".to_owned(),
        ErrorCode::RequestTimedOut => "Timeout".to_owned(),
        ErrorCode::Unknown(_) => "UnknownServer".to_owned(),
        code => camel_case(code.name()),
    };
    format!("org.apache.kafka.common.errors.{class}Exception")
}

/// Without a last word that says no more than `Exception` does.
fn camel_case(name: &str) -> String {
    let name = ["_EXCEPTION", "_ERROR", "_FAILED"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let capitalised = |word: &str| {
        let first = word.chars().take(1);
        first.chain(word.chars().skip(1).map(|letter| letter.to_ascii_lowercase())).collect::<String>()
    };
    name.split('_').map(capitalised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `org.apache.kafka.common.protocol.Errors` has them.
    #[test]
    fn codes_have_javas_classes() {
        for (code, class) in [
            (ErrorCode::NotEnoughReplicas, "errors.NotEnoughReplicasException"),
            (ErrorCode::NotEnoughReplicasAfterAppend, "errors.NotEnoughReplicasAfterAppendException"),
            (ErrorCode::NotLeaderOrFollower, "errors.NotLeaderOrFollowerException"),
            (ErrorCode::UnknownTopicOrPartition, "errors.UnknownTopicOrPartitionException"),
            (ErrorCode::InvalidTopicException, "errors.InvalidTopicException"),
            (ErrorCode::TopicAuthorizationFailed, "errors.TopicAuthorizationException"),
            (ErrorCode::NetworkException, "errors.NetworkException"),
            (ErrorCode::KafkaStorageError, "errors.KafkaStorageException"),
            (ErrorCode::UnknownServerError, "errors.UnknownServerException"),
            (ErrorCode::RequestTimedOut, "errors.TimeoutException"),
            (ErrorCode::CorruptMessage, "errors.CorruptRecordException"),
            (ErrorCode::MessageTooLarge, "errors.RecordTooLargeException"),
            (ErrorCode::RecordListTooLarge, "errors.RecordBatchTooLargeException"),
            (ErrorCode::InvalidTimestamp, "errors.InvalidTimestampException"),
            (ErrorCode::InvalidRequiredAcks, "errors.InvalidRequiredAcksException"),
            (ErrorCode::InvalidRecord, "InvalidRecordException"),
        ] {
            assert_eq!(of_code(code), format!("org.apache.kafka.common.{class}"));
        }
    }
}
