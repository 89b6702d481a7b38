//! Durations as Java writes and reads them (ISO 8601, `java.time.Duration.parse`): `PT1H`, `P1DT12H`, `PT0.5S`.

use std::time::Duration;

/// What the text says; `None` where Java would not read it, or where it says less than nothing.
///
/// Days, hours, minutes and seconds in this order, each at most once; a day has 24 hours. Any part, and the whole, may have a
/// sign; only seconds have a fraction, of at most nine digits. In any case.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_uppercase();
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let text = text.strip_prefix('P')?;
    let (days, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text, ""),
    };
    let mut nanos: i128 = 0;
    let mut parts = 0;
    for (mut rest, units) in [(days, DAYS), (time, TIMES)] {
        for (unit, seconds) in units {
            let Some((number, behind)) = rest.split_once(*unit) else { continue };
            nanos = nanos.checked_add(whole_and_fraction(number, *unit == 'S')?.checked_mul(*seconds)?)?;
            parts += 1;
            rest = behind;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    if parts == 0 {
        return None;
    }
    let nanos = u128::try_from(if is_negative { -nanos } else { nanos }).ok()?;
    let seconds = u64::try_from(nanos / NANOS).ok()?;
    // What Java has room for.
    i64::try_from(seconds).ok()?;
    Some(Duration::new(seconds, (nanos % NANOS) as u32))
}

/// A number in billionths.
fn whole_and_fraction(number: &str, may_have_fraction: bool) -> Option<i128> {
    let (is_negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = match digits.split_once(['.', ',']) {
        Some((whole, fraction)) if may_have_fraction && fraction.len() <= 9 => (whole, fraction),
        Some(_) => return None,
        None => (digits, ""),
    };
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let nanos =
        i128::from(whole.parse::<i64>().ok()?) * NANOS as i128 + format!("{fraction:0<9}").parse::<i128>().ok()?;
    Some(if is_negative { -nanos } else { nanos })
}

const NANOS: u128 = 1_000_000_000;
const DAYS: &[(char, i128)] = &[('D', 86_400)];
const TIMES: &[(char, i128)] = &[('H', 3600), ('M', 60), ('S', 1)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_java_reads_is_read() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            ("PT1H", seconds(3600)),
            ("pt15m", seconds(900)),
            ("P2D", seconds(2 * 86_400)),
            ("P2DT3H4M", seconds(2 * 86_400 + 3 * 3600 + 4 * 60)),
            ("PT20.345S", Duration::from_millis(20_345)),
            ("PT0.000000001S", Duration::from_nanos(1)),
            ("PT1,5S", Duration::from_millis(1500)),
            ("PT6H-3M", seconds(6 * 3600 - 180)),
            ("-PT-6H", seconds(6 * 3600)),
            ("+PT1.S", seconds(1)),
            ("PT0S", Duration::ZERO),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_java_does_not_read_is_not_read() {
        for text in [
            "",
            "P",
            "PT",
            "P1DT",
            "1H",
            "T1H",
            "PT1",
            "P1H",
            "PT1D",
            "PT1M1H",
            "PT1H1H",
            "PT1.5H",
            "PT.5S",
            "PT1X",
            "P1Y",
            "P1W",
            "PT1.1234567890S",
            "P1D T1H",
            "PT--1S",
            "PTS",
            "PT9999999999999999999S",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_less_than_nothing_is_refused() {
        for text in ["-PT1H", "PT-1S", "PT1M-61S"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
