//! Java's `.properties` format, as `java.util.Properties.load` reads it.
//!
//! A file is Latin-1. A line that begins with `#` or `!` is a comment. A name ends at the first `=`, `:` or white space; white
//! space around that is skipped, and at the end of a line belongs to the value. A backslash escapes one character, `\uXXXX`
//! is a UTF-16 code unit, and a backslash at the end of a line joins the next one to it, without its leading white space.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{0:?} has a \\u that four hexadecimal digits do not follow")]
    Escape(String),
    #[error("{0:?} has half of a surrogate pair")]
    Surrogate(String),
}

/// Reads a file. The last of several values of one name counts.
pub(crate) fn parse(file: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
    let text: String = file.iter().map(|byte| char::from(*byte)).collect();
    logical_lines(&text).iter().map(|line| property(line)).collect()
}

fn is_white_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

/// Lines joined where they are to be, without comments.
fn logical_lines(text: &str) -> Vec<String> {
    // `\r\n` ends a line, and then an empty one, which is skipped, or ends what was joined anyway.
    let unified = text.replace("\r\n", "\n");
    let mut natural = unified.split(['\n', '\r']).map(|line| line.trim_start_matches(is_white_space));
    let mut lines = Vec::new();
    while let Some(line) = natural.next() {
        if line.starts_with(['#', '!']) {
            continue;
        }
        let mut line = line.to_owned();
        while (line.len() - line.trim_end_matches('\\').len()) % 2 == 1 {
            line.pop();
            if line.is_empty() {
                break; // there is nothing to join to
            }
            let Some(next) = natural.next() else { break };
            line.push_str(next);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

fn property(line: &str) -> Result<(String, String), Malformed> {
    let mut rest = line.chars().peekable();
    let name = unescape(line, &mut rest, |character| matches!(character, '=' | ':') || is_white_space(character))?;
    let skip_white_space = |rest: &mut Peekable<Chars<'_>>| while rest.next_if(|c| is_white_space(*c)).is_some() {};
    skip_white_space(&mut rest);
    if rest.next_if(|character| matches!(character, '=' | ':')).is_some() {
        skip_white_space(&mut rest);
    }
    let value = unescape(line, &mut rest, |_| false)?;
    Ok((name, value))
}

/// Up to the first character that ends it and is not escaped.
fn unescape(line: &str, rest: &mut Peekable<Chars<'_>>, ends: impl Fn(char) -> bool) -> Result<String, Malformed> {
    let mut units = Vec::new();
    let push = |units: &mut Vec<u16>, character: char| units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
    while let Some(character) = rest.next_if(|character| !ends(*character)) {
        if character != '\\' {
            push(&mut units, character);
            continue;
        }
        match rest.next() {
            Some('u') => units.push(code_unit(rest).ok_or_else(|| Malformed::Escape(line.to_owned()))?),
            Some('t') => units.push(u16::from(b'\t')),
            Some('n') => units.push(u16::from(b'\n')),
            Some('r') => units.push(u16::from(b'\r')),
            Some('f') => units.push(0xc),
            Some(itself) => push(&mut units, itself),
            None => {}
        }
    }
    String::from_utf16(&units).map_err(|_| Malformed::Surrogate(line.to_owned()))
}

fn code_unit(rest: &mut Peekable<Chars<'_>>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit << 4 | rest.next()?.to_digit(16)? as u16;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(file: &str) -> Vec<(String, String)> {
        parse(file.as_bytes()).unwrap().into_iter().collect()
    }

    fn one(file: &str) -> (String, String) {
        let properties = parsed(file);
        assert_eq!(properties.len(), 1, "{file:?}: {properties:?}");
        properties.into_iter().next().unwrap()
    }

    fn property(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_name_ends_at_the_first_separator_and_white_space_around_that_is_skipped() {
        for line in ["a.b=c d", "a.b:c d", "a.b c d", "a.b\tc d", "  a.b = c d", "\u{c}a.b  :  c d", "a.b \t c d"] {
            assert_eq!(one(line), property("a.b", "c d"), "{line:?}");
        }
        assert_eq!(one("a==b"), property("a", "=b"));
        assert_eq!(one("a = : b"), property("a", ": b"));
        assert_eq!(one("a b=c"), property("a", "b=c"));
        assert_eq!(one("url=host:9092"), property("url", "host:9092"));
    }

    #[test]
    fn values_may_be_missing_and_so_may_names() {
        assert_eq!(one("a"), property("a", ""));
        assert_eq!(one("a="), property("a", ""));
        assert_eq!(one("=a"), property("", "a"));
    }

    #[test]
    fn white_space_at_the_end_belongs_to_the_value() {
        assert_eq!(one("a=b \t\n"), property("a", "b \t"));
    }

    #[test]
    fn comments_and_empty_lines_are_skipped() {
        let file = "# a=1\n  ! b=2\n\n \t \nc=3 # no comment\n#d=4\\\ne=5";
        assert_eq!(parsed(file), [property("c", "3 # no comment"), property("e", "5")]);
    }

    #[test]
    fn lines_end_as_on_any_system() {
        assert_eq!(parsed("a=1\nb=2\rc=3\r\nd=4").len(), 4);
    }

    #[test]
    fn a_backslash_at_the_end_joins_the_next_line() {
        assert_eq!(one("a=b,\\\n   c,\\\r\n\td"), property("a", "b,c,d"));
        assert_eq!(one("a\\\n=b"), property("a", "b"));
        // What is joined is no comment, and an empty line ends it.
        assert_eq!(one("a=b\\\n#c"), property("a", "b#c"));
        assert_eq!(parsed("a=b\\\n\nc=d"), [property("a", "b"), property("c", "d")]);
        assert_eq!(parsed("\\\n#a\nb=c"), [property("b", "c")]);
        // An escaped one joins nothing, and one at the end of the file has nothing to join.
        assert_eq!(parsed("a=b\\\\\nc=d"), [property("a", "b\\"), property("c", "d")]);
        assert_eq!(one("a=b\\"), property("a", "b"));
    }

    #[test]
    fn a_backslash_escapes() {
        assert_eq!(one(r"a\ b\:c\=d=e"), property("a b:c=d", "e"));
        assert_eq!(one(r"a=\tb\n\r\f\q\\"), property("a", "\tb\n\r\u{c}q\\"));
        assert_eq!(one(r"a=\ b"), property("a", " b"));
        assert_eq!(one(r"\#a=b"), property("#a", "b"));
        assert_eq!(one(r"a=\u00e9\u20AC\uD83D\uDE00"), property("a", "é€😀"));
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        assert_eq!(one("a=1\na=2"), property("a", "2"));
    }

    #[test]
    fn bytes_are_latin_1() {
        let properties = parse(b"a=\xe9").unwrap();
        assert_eq!(properties["a"], "é");
    }

    #[test]
    fn what_is_malformed_is_named() {
        let escape = |line: &str| Err(Malformed::Escape(line.to_owned()));
        for line in [r"a=\u12", r"a=\u12g4", r"a=\u"] {
            assert_eq!(parse(line.as_bytes()), escape(line));
        }
        assert_eq!(parse(br"a=\ud83d"), Err(Malformed::Surrogate(r"a=\ud83d".to_owned())));
    }
}
