//! Settings of Java's clients that Ottla has not, and can do without: they ask for what is so in any case, or for what only
//! Java has. Any other value of theirs is an error, since it would ask for something that does not happen.

use crate::settings::Kind;

/// Whether ignoring this setting changes nothing.
pub(crate) fn is_without_effect(kind: Kind, name: &str, value: &str) -> bool {
    // The programs here write and read text, as Java's do whatever serializers say. There are no transactions
    // (`transactional.id` is refused), no subscriptions by pattern, no assignors on the broker in the classic protocol, and
    // no metrics.
    const NEVER: [&str; 12] = [
        "auto.include.jmx.reporter",
        "exclude.internal.topics",
        "group.remote.assignor",
        "key.deserializer",
        "key.serializer",
        "metric.reporters",
        "metrics.num.samples",
        "metrics.recording.level",
        "metrics.sample.window.ms",
        "transaction.timeout.ms",
        "value.deserializer",
        "value.serializer",
    ];
    match name {
        _ if NEVER.contains(&name) => true,
        "config.providers" | "interceptor.classes" | "security.providers" => value.is_empty(),
        "client.dns.lookup" => value == "use_all_dns_ips",
        "enable.metrics.push" => value.eq_ignore_ascii_case("false"),
        "max.poll.records" => kind == Kind::Producer,
        "partitioner.class" => kind == Kind::Consumer || value.is_empty(),
        "partitioner.adaptive.partitioning.enable" => kind == Kind::Consumer || value.eq_ignore_ascii_case("false"),
        "partitioner.availability.timeout.ms" => kind == Kind::Consumer || value == "0",
        // The system's own sizes.
        "receive.buffer.bytes" | "send.buffer.bytes" => value == "-1",
        "security.protocol" => value.eq_ignore_ascii_case("PLAINTEXT"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_in_any_case_may_be_asked_for() {
        for (name, value) in [
            ("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer"),
            ("metric.reporters", ""),
            ("security.protocol", "plaintext"),
            ("client.dns.lookup", "use_all_dns_ips"),
        ] {
            assert!(is_without_effect(Kind::Consumer, name, value), "{name}={value}");
        }
    }

    #[test]
    fn what_would_not_happen_may_not() {
        for (name, value) in [
            ("security.protocol", "SSL"),
            ("interceptor.classes", "com.example.Audit"),
            ("client.dns.lookup", "resolve_canonical_bootstrap_servers_only"),
            ("enable.metrics.push", "true"),
            ("transactional.id", "a"),
            ("sasl.mechanism", "PLAIN"),
        ] {
            assert!(!is_without_effect(Kind::Producer, name, value), "{name}={value}");
        }
    }
}
