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
