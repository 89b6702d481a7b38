//! What Java's producer throws where ours has an error: harnesses tell failures by the classes.

use ottla::ErrorCode;
use ottla::producer::{Error, SendFailure};

/// The name of the class.
pub(super) fn class(error: &Error) -> String {
    match error {
        Error::TopicUnknown { .. } | Error::NoSuchPartition { .. } | Error::DeliveryTimedOut { .. } => {
            of_code(ErrorCode::RequestTimedOut)
        }
        Error::RecordTooLarge { .. } => of_code(ErrorCode::MessageTooLarge),
        Error::BufferExhausted { .. } => "org.apache.kafka.clients.producer.BufferExhaustedException".to_owned(),
        Error::InvalidRecord { .. } => "java.lang.IllegalArgumentException".to_owned(),
        Error::NoAnswer { source: SendFailure::Connection(_), .. } => of_code(ErrorCode::NetworkException),
        error => match error.error_code() {
            // Sound records of a batch that was refused.
            Some(code) if !matches!(error, Error::RefusedWithBatch { .. }) => of_code(code),
            _ => "org.apache.kafka.common.KafkaException".to_owned(),
        },
    }
}

/// The class of a broker's error code.
fn of_code(code: ErrorCode) -> String {
    let class = match code {
        ErrorCode::InvalidRecord => return "org.apache.kafka.common.InvalidRecordException".to_owned(),
        ErrorCode::CorruptMessage => "CorruptRecordException".to_owned(),
        ErrorCode::RequestTimedOut => "TimeoutException".to_owned(),
        ErrorCode::MessageTooLarge => "RecordTooLargeException".to_owned(),
        ErrorCode::RecordListTooLarge => "RecordBatchTooLargeException".to_owned(),
        ErrorCode::Unknown(_) => "UnknownServerException".to_owned(),
        // Of the others, which have a rule, these are two words short of it.
        code => {
            camel_case(code.name().trim_end_matches("_EXCEPTION")).replace("AuthorizationFailed", "Authorization")
                + "Exception"
        }
    };
    format!("org.apache.kafka.common.errors.{class}")
}

fn camel_case(name: &str) -> String {
    let capitalised = |word: &str| {
        let (first, rest) = word.split_at(1);
        format!("{first}{}", rest.to_ascii_lowercase())
    };
    name.split('_').filter(|word| !word.is_empty()).map(capitalised).collect()
}
