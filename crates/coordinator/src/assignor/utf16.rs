//! Java's order of strings: by UTF-16 code unit.
//!
//! Members of one group may run any client, and whichever leads must come to the same assignment, so names are compared
//! as Java compares them. That differs from the order of UTF-8 bytes in one place: in UTF-16 the characters from
//! U+10000 on begin with a surrogate, which is less than U+E000 to U+FFFF.

use std::cmp::Ordering;

/// The least first byte, in UTF-8, of U+E000 and above.
const FROM_E000: u8 = 0xee;
/// The least first byte, in UTF-8, of U+10000 and above.
const FROM_10000: u8 = 0xf0;

/// Compares as Java's `String.compareTo` does.
pub(super) fn by_utf16(one: &str, other: &str) -> Ordering {
    match one.bytes().zip(other.bytes()).find(|(one, other)| one != other) {
        None => one.len().cmp(&other.len()),
        // Bytes as high as these only begin a character, so both texts are alike up to here, character by character.
        Some((one, other)) if one >= FROM_E000 && other >= FROM_E000 => {
            (one < FROM_10000, one).cmp(&(other < FROM_10000, other))
        }
        Some((one, other)) => one.cmp(&other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_code_units() {
        let mut random = fastrand::Rng::with_seed(1);
        let alphabet = ['a', 'b', 'é', 'ж', '中', '\u{d7ff}', '\u{e000}', '\u{ff71}', '\u{ffff}', '\u{10000}', '😀'];
        let mut text = || (0..random.usize(..5)).map(|_| alphabet[random.usize(..alphabet.len())]).collect::<String>();
        for _ in 0..20_000 {
            let (one, other) = (text(), text());
            assert_eq!(by_utf16(&one, &other), one.encode_utf16().cmp(other.encode_utf16()), "{one:?} {other:?}");
        }
    }
}
