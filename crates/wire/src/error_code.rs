//! Kafka's error codes, each with its number, and what it means for whoever asked.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $retriable:ident;)*) => {
        /// An error code of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that is not known here. Treated as retriable, with back-off.
            Unknown(i16),
        }

        impl From<i16> for ErrorCode {
            fn from(number: i16) -> Self {
                match number { $($number => Self::$name,)* _ => Self::Unknown(number) }
            }
        }

        impl From<ErrorCode> for i16 {
            fn from(code: ErrorCode) -> Self {
                match code { $(ErrorCode::$name => $number,)* ErrorCode::Unknown(number) => number }
            }
        }

        impl ErrorCode {
            /// Kafka's name for it, as its documentation writes it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown(_) => "UNKNOWN" }
            }

            /// Whether the same request may succeed later, as Java's `RetriableException` has it.
            pub fn is_retriable(self) -> bool {
                match self { $(Self::$name => $retriable,)* Self::Unknown(_) => true }
            }
        }
    };
}

error_codes! {
    /// An error that the broker has no code for.
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", false;
    /// No error.
    None = 0, "NONE", false;
}

impl Default for ErrorCode {
    fn default() -> Self {
        Self::None
    }
}

impl ErrorCode {
    /// `Err` with the code, unless it is [`None`](Self::None).
    pub fn into_result(self) -> Result<(), Self> {
        if self == Self::None { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name(), i16::from(*self))
    }
}
