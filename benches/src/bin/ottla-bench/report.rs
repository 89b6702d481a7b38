//! What a run counts, and the line of JSON that tells it.

use std::time::Instant;

use ottla_benches::Usage;
use serde_json::{Value, json};

use ottla_benches::Failure;

/// The messages of a run, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    bytes: u64,
    last_bytes: u8,
}

impl Tally {
    /// Counts one message: the lengths of its key and value, and its value's last byte.
    #[inline]
    pub(crate) fn add(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let value = value.unwrap_or_default();
        self.messages += 1;
        self.bytes += (key.map_or(0, <[u8]>::len) + value.len()) as u64;
        self.last_bytes ^= value.last().copied().unwrap_or_default();
    }

    fn checksum(self) -> u64 {
        self.bytes << 8 | u64::from(self.last_bytes)
    }
}

/// A run that has begun: made before the client is.
#[derive(Debug)]
pub(crate) struct Run {
    operation: &'static str,
    mode: String,
    usage: Usage,
    start: Instant,
    first: Option<(Instant, Usage)>,
    more: Vec<(&'static str, u64)>,
}

#[allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
impl Run {
    pub(crate) fn start(operation: &'static str, mode: impl Into<String>) -> Result<Self, Failure> {
        Ok(Self {
            operation,
            mode: mode.into(),
            usage: Usage::now()?,
            start: Instant::now(),
            first: None,
            more: Vec::new(),
        })
    }

    /// The first message is there. Later calls change nothing.
    #[inline]
    pub(crate) fn first(&mut self) -> Result<(), Failure> {
        if self.first.is_none() {
            self.first = Some((Instant::now(), Usage::now()?));
        }
        Ok(())
    }

    /// Has the line say one more thing, beyond those that all clients tell.
    pub(crate) fn tell(&mut self, name: &'static str, figure: u64) {
        self.more.push((name, figure));
    }

    /// The line of a run whose last message is there.
    pub(crate) fn finish(&self, tally: Tally, failures: u64) -> Result<String, Failure> {
        let (end, now) = (Instant::now(), Usage::now()?);
        let mut line = self.common(end, now);
        let (first, usage) = self.first.unwrap_or((self.start, self.usage));
        let from_first = end - first;
        line["cpu_user_from_first"] = json!(now.user_seconds - usage.user_seconds);
        line["cpu_sys_from_first"] = json!(now.system_seconds - usage.system_seconds);
        for (name, figure) in &self.more {
            line[*name] = json!(figure);
        }
        line["messages"] = json!(tally.messages);
        line["bytes"] = json!(tally.bytes);
        line["seconds_from_first"] = json!(from_first.as_secs_f64());
        line["checksum"] = json!(tally.checksum());
        line["failures"] = json!(failures);
        Ok(line.to_string())
    }

    /// The line of a latency run, whose latencies are in nanoseconds.
    pub(crate) fn finish_latency(&self, sent: u64, rate: u64, mut latencies: Vec<u64>) -> Result<String, Failure> {
        let mut line = self.common(Instant::now(), Usage::now()?);
        latencies.sort_unstable();
        line["rate"] = json!(rate);
        line["sent"] = json!(sent);
        line["messages"] = json!(latencies.len());
        for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)] {
            line[name] = json!(quantile(&latencies, share) / 1000);
        }
        Ok(line.to_string())
    }

    fn common(&self, end: Instant, usage: Usage) -> Value {
        json!({
            "peer": "ottla",
            "version": env!("CARGO_PKG_VERSION"),
            "op": self.operation,
            "mode": self.mode,
            "seconds": (end - self.start).as_secs_f64(),
            "cpu_user": usage.user_seconds - self.usage.user_seconds,
            "cpu_sys": usage.system_seconds - self.usage.system_seconds,
            "max_rss_kb": usage.max_resident_kib,
        })
    }
}

/// The smallest of `sorted` that no fewer than `share` of them do not exceed; 0 of none.
fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_bytes_and_the_last_bytes() {
        let mut tally = Tally::default();
        tally.add(Some(b"key"), Some(b"value\x0f"));
        tally.add(None, Some(b"\xf0"));
        tally.add(None, None);
        assert_eq!(tally.messages, 3);
        assert_eq!(tally.checksum(), 10 << 8 | 0xff);
    }

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let latencies: Vec<u64> = (1..=1000).collect();
        assert_eq!(quantile(&latencies, 0.5), 500);
        assert_eq!(quantile(&latencies, 0.999), 999);
        assert_eq!(quantile(&latencies, 1.0), 1000);
        assert_eq!(quantile(&[7], 0.5), 7);
        assert_eq!(quantile(&[], 0.5), 0);
    }

    #[test]
    fn a_line_has_every_field_of_the_comparison() {
        let mut run = Run::start("consume", "assign").unwrap();
        run.first().unwrap();
        let line: Value = serde_json::from_str(&run.finish(Tally::default(), 0).unwrap()).unwrap();
        for name in
            "peer version op mode messages bytes seconds seconds_from_first cpu_user cpu_sys max_rss_kb checksum failures"
                .split(' ')
        {
            assert!(!line[name].is_null(), "{name} is missing in {line}");
        }
        let line: Value = serde_json::from_str(&run.finish_latency(1, 1, vec![5000]).unwrap()).unwrap();
        assert_eq!(line["p50_us"], 5);
    }
}
