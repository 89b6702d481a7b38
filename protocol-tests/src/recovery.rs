//! How long a group stood still because of a fault, and two clients compared in that.
//!
//! Of a fault two figures are taken, both of what is read for the first time: the longest silence of *all* partitions together, after which
//! something came again, and the longest silence of *any* of them, after which everything flowed again. A silence counts
//! from the fault on, and from its own beginning where that is later: what was on its way comes in spite of the fault, and a rebalance
//! some time after it stops everything, too.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

/// How long a group stood still because of one fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The longest time in which nobody read anything.
    pub anything: Duration,
    /// The longest time in which some partition was not read.
    pub everything: Duration,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s and {:.2} s", self.anything.as_secs_f64(), self.everything.as_secs_f64())
    }
}

/// What became of a group within `window`, which begins with a fault and ends with the next. A silence that the next
/// fault found is cut off there: what follows is the next one's.
pub fn recovery(first_reads: &BTreeMap<i32, Vec<(Instant, u64)>>, window: &Range<Instant>) -> Recovery {
    let times = |reads: &[(Instant, u64)]| reads.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    let partitions = first_reads.values().map(|reads| longest_silence(times(reads), window));
    let everything = partitions.max().unwrap_or(window.end - window.start);
    let mut all = first_reads.values().flat_map(|reads| times(reads)).collect::<Vec<_>>();
    all.sort();
    Recovery { anything: longest_silence(all, window), everything }
}

fn longest_silence(times: Vec<Instant>, window: &Range<Instant>) -> Duration {
    let within = times.into_iter().filter(|at| window.contains(at)).chain([window.end]);
    let silences = within.scan(window.start, |since, at| Some(at - std::mem::replace(since, at)));
    silences.max().unwrap_or_default()
}

/// What two clients made of the same faults, by kind of fault.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    samples: BTreeMap<String, [Vec<Recovery>; 2]>,
}

impl Comparison {
    /// Takes in what a fault did to Java's group and to ours.
    pub fn add(&mut self, kind: impl Into<String>, java: Recovery, ours: Recovery) {
        let [javas, all_ours] = self.samples.entry(kind.into()).or_default();
        javas.push(java);
        all_ours.push(ours);
    }
}

impl Comparison {
    /// The kinds of fault after which we stood still longer than Java, by medians and beyond what chance explains.
    ///
    /// `noise` is by how much two clients that do the same may differ in one fault. Of several, a median strays by less: by
    /// the root of how many there are.
    pub fn slower_than_java(&self, noise: Duration) -> Vec<String> {
        let mut slower = Vec::new();
        for (kind, [javas, ours]) in &self.samples {
            let margin = noise.div_f64((ours.len().max(1) as f64).sqrt());
            for (what, figure) in FIGURES {
                let [java, ours] = [javas, ours].map(|side| Spread::of(side.iter().map(figure)));
                if ours.median > java.median + margin {
                    slower.push(format!("{kind}, until {what} came again: {ours}, Java {java}, margin {margin:.2?}"));
                }
            }
        }
        slower
    }
}

/// What is taken of a recovery, and what came again then.
type Figure = fn(&Recovery) -> Duration;
const FIGURES: [(&str, Figure); 2] =
    [("anything", |recovery| recovery.anything), ("everything", |recovery| recovery.everything)];

impl fmt::Display for Comparison {
    /// As a table in Markdown, in seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | times | anything: Ottla | Java | everything: Ottla | Java |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|")?;
        for (kind, [javas, ours]) in &self.samples {
            write!(f, "| {kind} | {} |", ours.len())?;
            for (_, figure) in FIGURES {
                for side in [ours, javas] {
                    write!(f, " {} |", Spread::of(side.iter().map(figure)))?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The middle of some durations, and the ends.
struct Spread {
    least: Duration,
    median: Duration,
    most: Duration,
}

impl Spread {
    fn of(durations: impl Iterator<Item = Duration>) -> Self {
        let mut durations: Vec<Duration> = durations.collect();
        durations.sort();
        let at = |place: usize| durations.get(place).copied().unwrap_or_default();
        let last = durations.len().saturating_sub(1);
        Self { least: at(0), median: (at(last / 2) + at(last.div_ceil(2))) / 2, most: at(last) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, median, most] = [self.least, self.median, self.most].map(|duration| duration.as_secs_f64());
        if self.least == self.most {
            write!(f, "{median:.2}")
        } else {
            write!(f, "{median:.2} ({least:.2} to {most:.2})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(start: Instant, by_partition: &[&[u64]]) -> BTreeMap<i32, Vec<(Instant, u64)>> {
        let at = |ms: &u64| (start + Duration::from_millis(*ms), *ms);
        (0..).zip(by_partition.iter().map(|times| times.iter().map(at).collect())).collect()
    }

    fn window(start: Instant, from: u64, to: u64) -> Range<Instant> {
        start + Duration::from_millis(from)..start + Duration::from_millis(to)
    }

    fn of(anything: u64, everything: u64) -> Recovery {
        let [anything, everything] = [anything, everything].map(Duration::from_millis);
        Recovery { anything, everything }
    }

    #[test]
    fn the_longest_silence_of_all_and_of_any() {
        let start = Instant::now();
        let reads = reads(start, &[&[90, 110, 130, 150, 210], &[80, 180, 190, 220]]);
        assert_eq!(recovery(&reads, &window(start, 100, 200)), of(30, 80));
    }

    #[test]
    fn a_silence_begins_with_the_fault_and_ends_with_the_next() {
        let start = Instant::now();
        assert_eq!(recovery(&reads(start, &[&[10, 150, 400]]), &window(start, 100, 200)), of(50, 50));
        assert_eq!(recovery(&reads(start, &[&[10, 120, 400]]), &window(start, 100, 200)), of(80, 80));
        assert_eq!(recovery(&reads(start, &[&[150], &[]]), &window(start, 100, 200)), of(50, 100));
    }

    #[test]
    fn slower_is_what_chance_does_not_explain() {
        let with = |faults: usize, java: u64, ours: u64| {
            let mut comparison = Comparison::default();
            for _ in 0..faults {
                comparison.add("broker killed", of(0, java), of(0, ours));
            }
            comparison.slower_than_java(Duration::from_secs(2)).len()
        };
        assert_eq!([with(1, 4000, 6000), with(1, 4000, 6001)], [0, 1]);
        assert_eq!([with(4, 4000, 5000), with(4, 4000, 5001)], [0, 1]);
        assert_eq!([with(4, 30_000, 4000), with(0, 0, 0)], [0, 0]);
    }

    #[test]
    fn a_table_shows_medians_and_spreads() {
        let mut comparison = Comparison::default();
        comparison.add("broker killed", of(10, 4000), of(20, 3000));
        comparison.add("broker killed", of(10, 5000), of(40, 3500));
        let table = comparison.to_string();
        let row = "| broker killed | 2 | 0.03 (0.02 to 0.04) | 0.01 | 3.25 (3.00 to 3.50) | 4.50 (4.00 to 5.00) |";
        assert_eq!(table.lines().last(), Some(row), "{table}");
    }
}
