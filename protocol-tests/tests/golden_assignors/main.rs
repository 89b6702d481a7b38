//! The assignors against Kafka's Java classes: every case of every file, by what Java's answer says about it.
//!
//! Where Java's answer depends on nothing but the input, ours has to be the same: in its order (`exact`), or but for
//! the order of each member's list (`set`). Where it depends on the order of a hash map (`invariant`), ours has to be
//! valid, no less even than the worst of Java's, and to keep no less of what members had than the worst of Java's.
//! Where Java failed or gave an answer that is not valid, those of its runs count that did better, if there are any
//! (`valid`); ours has to be valid in any case.

mod case;
mod check;

use std::collections::BTreeMap;

use case::Case;
use ottla_coordinator::assignor;
use protocol_tests::golden;

#[test]
fn range_assigns_as_in_java() {
    every_case("range", &["exact", "set"]);
}

#[test]
fn roundrobin_assigns_as_in_java() {
    every_case("roundrobin", &["exact"]);
}

#[test]
fn sticky_assigns_as_in_java() {
    every_case("sticky", &["exact", "invariant", "set", "valid"]);
}

#[test]
fn cooperative_sticky_assigns_as_in_java() {
    every_case("cooperative-sticky", &["exact", "invariant", "valid"]);
}

/// Runs all cases of one file and tells of all that failed. `checked` are the ways in which they have to be checked:
/// each of them happens.
fn every_case(name: &str, checked: &[&str]) {
    let file = format!("assignor_{}.jsonl.gz", name.replace('-', "_"));
    let lines = golden::lines(&file);
    let assignor = assignor::built_in(name).expect("it is built in");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for line in &lines {
        assert_eq!(line.text("assignor"), name, "{line}");
        let case = Case::read(line);
        match assignor.assign(&case.topics, &case.members) {
            Ok(assigned) => match check::check(line, &case, &assigned) {
                Ok(how) => *counts.entry(how).or_default() += 1,
                Err(failure) => failures.push(format!("{line}: {}: {failure}", line.text("id"))),
            },
            Err(error) => failures.push(format!("{line}: {}: {error}", line.text("id"))),
        }
    }
    println!("{name}: {counts:?}");
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), lines.len(), failures.join("\n"));
    assert_eq!(counts.values().sum::<usize>(), lines.len());
    assert_eq!(counts.into_keys().collect::<Vec<_>>(), checked, "the ways in which cases were checked");
}
