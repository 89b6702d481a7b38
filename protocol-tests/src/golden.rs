//! Where the golden vectors are, and how they are read.
//!
//! The vectors are JSON lines that Kafka's Java classes produced (`golden/README.md`). The environment variable
//! `OTTLA_GOLDEN` names the folder; without it, it is the copy in this package. Every failure to read is a panic that
//! names file and line: a golden test that compares nothing must not pass.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// The folder of the vectors.
pub fn folder() -> PathBuf {
    match std::env::var_os("OTTLA_GOLDEN") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("golden"),
    }
}

/// One line of a file, which knows its place for messages.
#[derive(Debug)]
pub struct Line {
    /// The file's name.
    pub file: String,
    /// Its number, from 1.
    pub number: usize,
    /// What it says.
    pub value: Value,
}

impl Line {
    /// The member of that name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn get(&self, name: &str) -> &Value {
        self.value.get(name).unwrap_or_else(|| panic!("{self}: no member {name:?}"))
    }

    /// The member of that name, `None` where it is absent or null.
    pub fn find(&self, name: &str) -> Option<&Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// A member that is a string.
    ///
    /// # Panics
    /// Where it is not.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).as_str().unwrap_or_else(|| panic!("{self}: {name:?} is no string"))
    }

    /// A member that is an integer of the signed 64-bit range.
    ///
    /// # Panics
    /// Where it is not.
    pub fn integer(&self, name: &str) -> i64 {
        self.get(name).as_i64().unwrap_or_else(|| panic!("{self}: {name:?} is no integer"))
    }

    /// A member that is an array.
    ///
    /// # Panics
    /// Where it is not.
    pub fn array(&self, name: &str) -> &[Value] {
        self.get(name).as_array().unwrap_or_else(|| panic!("{self}: {name:?} is no array"))
    }

    /// A member that is base64.
    ///
    /// # Panics
    /// Where it is not.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        decode_base64(self.text(name)).unwrap_or_else(|| panic!("{self}: {name:?} is no base64"))
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.file, self.number)
    }
}

/// All lines of `file` (a name in [`folder`]), unpacked where it ends in `.gz`. As many as `MANIFEST.json` says.
///
/// # Panics
/// Where the file cannot be read, or does not have the lines that the manifest gives it.
pub fn lines(file: &str) -> Vec<Line> {
    let path = folder().join(file);
    let opened = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let content: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(MultiGzDecoder::new(opened))
    } else {
        Box::new(opened)
    };
    let parse = |(index, line): (usize, std::io::Result<String>)| {
        let number = index + 1;
        let line = line.unwrap_or_else(|error| panic!("{file}:{number}: {error}"));
        let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{file}:{number}: {error}"));
        Line { file: file.to_owned(), number, value }
    };
    let lines: Vec<Line> = BufReader::new(content).lines().enumerate().map(parse).collect();
    assert_eq!(Some(lines.len() as u64), listed_lines(file), "{file}: lines, against MANIFEST.json");
    lines
}

/// How many lines the manifest gives a file.
fn listed_lines(file: &str) -> Option<u64> {
    let path = folder().join("MANIFEST.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    manifest.get(file)?.get("lines")?.as_u64()
}

/// The bytes that standard base64 with padding stands for.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let groups = text.len() / 4;
    for (index, group) in text.chunks_exact(4).enumerate() {
        let padding = group.iter().rev().take_while(|&&letter| letter == b'=').count();
        if padding > 2 || (padding > 0 && index + 1 < groups) {
            return None;
        }
        let mut bits: u32 = 0;
        for &letter in &group[..4 - padding] {
            bits = bits << 6 | u32::from(base64_digit(letter)?);
        }
        bits <<= 6 * padding;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

/// Standard base64 with padding.
pub fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = if place <= group.len() { ALPHABET[(bits >> (18 - 6 * place)) as usize & 63] } else { b'=' };
            text.push(char::from(letter));
        }
    }
    text
}

fn base64_digit(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_reads_back_at_every_length() {
        for length in 0..40u8 {
            let bytes: Vec<u8> = (0..length).map(|index| index.wrapping_mul(67)).collect();
            assert_eq!(decode_base64(&encode_base64(&bytes)), Some(bytes));
        }
        assert_eq!(encode_base64(b"Kafka"), "S2Fma2E=");
    }

    #[test]
    fn malformed_base64_is_refused() {
        for text in ["A", "AAA", "A===", "AA=A", "AA==AAAA", "A-AA"] {
            assert_eq!(decode_base64(text), None, "{text}");
        }
    }

    #[test]
    fn every_listed_file_is_read_whole() {
        let path = folder().join("MANIFEST.json");
        let manifest: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for file in manifest.as_object().unwrap().keys() {
            assert!(!lines(file).is_empty(), "{file}");
        }
    }
}
