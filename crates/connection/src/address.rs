//! Where a broker listens: a host and a port, as brokers advertise them and users write them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A host name or IP address, and a port. Cloning it copies no text.
///
/// Parses from `host:port`; an IPv6 address stands in brackets (`[::1]:9092`). Kept as text: a name is resolved anew at
/// each connection, because what it stands for may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

impl Address {
    /// A host (a name, or an IP address without brackets) and a port.
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The host: a name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress { text: text.to_owned() };
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(invalid)?;
        // Brokers and Java's tools write `LISTENER://host:port` in places; the protocol there is not ours to guess.
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(invalid)?,
            None if host.contains([':', '/', ' ']) => return Err(invalid()),
            None => host,
        };
        let port = port.parse().map_err(|_| invalid())?;
        if host.is_empty() || port == 0 {
            return Err(invalid());
        }
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not host:port, with a port from 1 to 65535")]
#[non_exhaustive]
pub struct InvalidAddress {
    /// The text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_prints() {
        for text in ["localhost:9092", "127.0.0.1:1", "[::1]:9092", "[fe80::1%eth0]:65535", "b-1.msk.example:9098"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(" broker:9092 ".parse::<Address>().unwrap(), Address::new("broker", 9092));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_text() {
        for text in ["", "localhost", ":9092", "localhost:", "localhost:0", "localhost:65536", "::1:9092", "[::1:9092"]
        {
            assert_eq!(text.parse::<Address>(), Err(InvalidAddress { text: text.to_owned() }), "{text:?}");
        }
        assert!("PLAINTEXT://localhost:9092".parse::<Address>().is_err());
    }
}
