//! Cutting an object into its members by scanning, without a tree and without an allocation per value.
//!
//! The router re-wraps every publish this way, so the scan is one pass, iterative, and checks the whole grammar:
//! a slice it hands out is a document Python accepts.

use std::borrow::Cow;

use smallvec::SmallVec;
use thiserror::Error;

use super::MAX_DEPTH;

/// Most members [`split_object`] collects; a bound on memory, far above any object of the protocol.
const MAX_MEMBERS: usize = 65_536;

/// Why bytes could not be cut.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SplitError {
    /// Valid or not, the document does not begin with `{`.
    #[error("not a JSON object")]
    NotObject,
    /// Not JSON, at this byte.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More members than are collected.
    #[error("more than {MAX_MEMBERS} members")]
    TooMany,
}

/// The members of an object as slices of the document, in document order, duplicates included.
#[derive(Clone, Debug, Default)]
pub struct Members<'a> {
    list: SmallVec<[(Key<'a>, &'a [u8]); 8]>,
}

impl<'a> Members<'a> {
    /// The value of `key`, exactly as written; the last one if the key is repeated.
    pub fn get(&self, key: &str) -> Option<&'a [u8]> {
        self.list.iter().rev().find(|(name, _)| name.is(key)).map(|&(_, value)| value)
    }

    /// Keys and values in document order.
    pub fn iter(&self) -> impl Iterator<Item = (Key<'a>, &'a [u8])> + '_ {
        self.list.iter().copied()
    }

    /// Number of members, duplicates counted.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the object is `{}`.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// A key as written between its quotes, escapes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    /// Whether the key spells `name`.
    pub fn is(&self, name: &str) -> bool {
        if self.0.contains(&b'\\') || !self.0.is_ascii() {
            return self.text() == name;
        }
        self.0 == name.as_bytes()
    }

    /// The key with escapes resolved.
    pub fn text(&self) -> Cow<'a, str> {
        if let (true, false, Ok(text)) =
            (self.0.is_ascii(), self.0.contains(&b'\\'), std::str::from_utf8(self.0))
        {
            return Cow::Borrowed(text);
        }
        let quoted: Vec<u8> = [b"\"", self.0, b"\""].concat();
        Cow::Owned(super::from_slice(&quoted).unwrap_or_default())
    }
}

/// Cuts an object into its top-level members.
pub fn split_object(bytes: &[u8]) -> Result<Members<'_>, SplitError> {
    let mut members = Members::default();
    let mut full = false;
    visit_object(bytes, |key, value| {
        if members.list.len() < MAX_MEMBERS {
            members.list.push((key, value));
        } else {
            full = true;
        }
    })?;
    if full { Err(SplitError::TooMany) } else { Ok(members) }
}

/// Calls `member` for each top-level member of an object, in document order and before the rest of the document
/// has been checked: an error after some calls means that nothing of it may be used.
pub fn visit_object<'a>(
    bytes: &'a [u8],
    mut member: impl FnMut(Key<'a>, &'a [u8]),
) -> Result<(), SplitError> {
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return Err(SplitError::NotObject);
    }
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return end_of_document(bytes, at + 1);
    }
    loop {
        if bytes.get(at) != Some(&b'"') {
            return Err(SplitError::Syntax(at));
        }
        let after_key = skip_string(bytes, at)?;
        let key = Key(&bytes[at + 1..after_key - 1]);
        at = skip_space(bytes, after_key);
        if bytes.get(at) != Some(&b':') {
            return Err(SplitError::Syntax(at));
        }
        let start = skip_space(bytes, at + 1);
        let end = skip_value(bytes, start, 1)?;
        member(key, &bytes[start..end]);
        at = skip_space(bytes, end);
        match bytes.get(at) {
            Some(b',') => at = skip_space(bytes, at + 1),
            Some(b'}') => return end_of_document(bytes, at + 1),
            _ => return Err(SplitError::Syntax(at)),
        }
    }
}

/// Whether the bytes are one document.
pub(super) fn is_document(bytes: &[u8]) -> bool {
    let start = skip_space(bytes, 0);
    skip_value(bytes, start, 0).and_then(|end| end_of_document(bytes, end)).is_ok()
}

fn end_of_document(bytes: &[u8], at: usize) -> Result<(), SplitError> {
    let at = skip_space(bytes, at);
    if at == bytes.len() { Ok(()) } else { Err(SplitError::Syntax(at)) }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Which kind of container is open at each level: one bit each, so that depth costs no memory.
struct Nesting {
    objects: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl Nesting {
    fn open(&mut self, object: bool) -> Result<(), SplitError> {
        if self.depth == MAX_DEPTH {
            return Err(SplitError::TooDeep);
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        if object {
            self.objects[word] |= bit;
        } else {
            self.objects[word] &= !bit;
        }
        self.depth += 1;
        Ok(())
    }

    fn in_object(&self) -> bool {
        let level = self.depth - 1;
        self.objects[level / 64] >> (level % 64) & 1 == 1
    }
}

/// The end of the value that starts at `start`, itself `outer` levels deep.
fn skip_value(bytes: &[u8], start: usize, outer: usize) -> Result<usize, SplitError> {
    let mut nesting = Nesting { objects: [0; MAX_DEPTH / 64], depth: outer };
    let mut at = start;
    loop {
        // A value begins at `at`.
        at = match bytes.get(at) {
            Some(b'"') => skip_string(bytes, at)?,
            Some(&open @ (b'{' | b'[')) => {
                nesting.open(open == b'{')?;
                let inside = skip_space(bytes, at + 1);
                let close = if open == b'{' { b'}' } else { b']' };
                if bytes.get(inside) == Some(&close) {
                    nesting.depth -= 1;
                    inside + 1
                } else {
                    at = if open == b'{' { skip_key(bytes, inside)? } else { inside };
                    continue;
                }
            }
            Some(b'-' | b'0'..=b'9') => skip_number(bytes, at)?,
            _ => skip_word(bytes, at)?,
        };
        // A value has ended at `at`: close containers until another value follows.
        loop {
            if nesting.depth == outer {
                return Ok(at);
            }
            at = skip_space(bytes, at);
            match bytes.get(at) {
                Some(b',') => {
                    at = skip_space(bytes, at + 1);
                    if nesting.in_object() {
                        at = skip_key(bytes, at)?;
                    }
                    break;
                }
                Some(b'}') if nesting.in_object() => {}
                Some(b']') if !nesting.in_object() => {}
                _ => return Err(SplitError::Syntax(at)),
            }
            nesting.depth -= 1;
            at += 1;
        }
    }
}

/// From a key to the beginning of its value.
fn skip_key(bytes: &[u8], at: usize) -> Result<usize, SplitError> {
    if bytes.get(at) != Some(&b'"') {
        return Err(SplitError::Syntax(at));
    }
    let at = skip_space(bytes, skip_string(bytes, at)?);
    if bytes.get(at) != Some(&b':') {
        return Err(SplitError::Syntax(at));
    }
    Ok(skip_space(bytes, at + 1))
}

fn skip_word(bytes: &[u8], at: usize) -> Result<usize, SplitError> {
    for word in [&b"null"[..], b"true", b"false", b"NaN", b"Infinity"] {
        if bytes.get(at..).is_some_and(|rest| rest.starts_with(word)) {
            return Ok(at + word.len());
        }
    }
    Err(SplitError::Syntax(at))
}

fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    at
}

fn skip_number(bytes: &[u8], start: usize) -> Result<usize, SplitError> {
    let mut at = start;
    if bytes[at] == b'-' {
        at += 1;
        if bytes[at..].starts_with(b"Infinity") {
            return Ok(at + 8);
        }
    }
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        Some(b'1'..=b'9') => skip_digits(bytes, at),
        _ => return Err(SplitError::Syntax(start)),
    };
    if bytes.get(at) == Some(&b'.') {
        let end = skip_digits(bytes, at + 1);
        if end == at + 1 {
            return Ok(at);
        }
        at = end;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let signed = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = skip_digits(bytes, at + 1 + signed);
        if end > at + 1 + signed {
            at = end;
        }
    }
    Ok(at)
}

/// The byte after the closing quote of the string whose opening quote is at `start`.
fn skip_string(bytes: &[u8], start: usize) -> Result<usize, SplitError> {
    let mut at = start + 1;
    loop {
        at = next_special(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => match bytes.get(at + 2..at + 6) {
                    Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => at += 6,
                    _ => return Err(SplitError::Syntax(at)),
                },
                _ => return Err(SplitError::Syntax(at)),
            },
            _ => return Err(SplitError::Syntax(at)),
        }
    }
}

/// The first quote, backslash or control character at or after `at`, or the end; eight bytes a step.
fn next_special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(chunk) = bytes.get(at..at + 8).and_then(|chunk| <[u8; 8]>::try_from(chunk).ok()) {
        let word = u64::from_le_bytes(chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let quote = zero_byte(word ^ (ONES * u64::from(b'"')));
        let backslash = zero_byte(word ^ (ONES * u64::from(b'\\')));
        // A borrow can only mark bytes above a true hit, so the lowest mark is always true.
        let marks = control | quote | backslash;
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::json::{self, parse};

    fn values(text: &str) -> Result<Vec<(String, String)>, SplitError> {
        let members = split_object(text.as_bytes())?;
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("input was text");
        Ok(members.iter().map(|(key, value)| (key.text().into_owned(), utf8(value))).collect())
    }

    #[test]
    fn slices_are_exactly_as_written() {
        let text = " { \"bus\":\"\" , \"headers\": { \"a\" : [1,2 , {}] },\"message\":  NaN,\"m\\u0065\": -1.5e+3 } ";
        assert_eq!(
            values(text),
            Ok([
                ("bus", "\"\""),
                ("headers", "{ \"a\" : [1,2 , {}] }"),
                ("message", "NaN"),
                ("me", "-1.5e+3")
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec())
        );
        let members = split_object(b"{\"a\": 1, \"b\": 2, \"\\u0061\": 3}").expect("valid");
        assert_eq!(members.get("a"), Some(&b"3"[..]));
        assert_eq!(members.get("c"), None);
        assert_eq!(members.len(), 3);
        assert!(split_object(b"{ }").expect("valid").is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (text, error) in [
            ("", SplitError::NotObject),
            ("[1]", SplitError::NotObject),
            ("text", SplitError::NotObject),
            ("{", SplitError::Syntax(1)),
            ("{\"a\"}", SplitError::Syntax(4)),
            ("{\"a\": }", SplitError::Syntax(6)),
            ("{\"a\": 1,}", SplitError::Syntax(8)),
            ("{\"a\": 1} x", SplitError::Syntax(9)),
            ("{\"a\": [1}", SplitError::Syntax(8)),
            ("{\"a\": {\"b\": 1]}", SplitError::Syntax(13)),
            ("{\"a\": \"\\x\"}", SplitError::Syntax(7)),
            ("{\"a\": \"\n\"}", SplitError::Syntax(7)),
            ("{\"a\": 01}", SplitError::Syntax(7)),
            ("{\"a\": \"open", SplitError::Syntax(11)),
        ] {
            assert_eq!(values(text), Err(error), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(values(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(values(&nested(MAX_DEPTH)), Err(SplitError::TooDeep));
        assert_eq!(values(&nested(1_000_000)), Err(SplitError::TooDeep));
    }

    #[test]
    fn members_are_bounded() {
        let many = format!("{{{}\"z\": 1}}", "\"a\": 1,".repeat(MAX_MEMBERS));
        assert_eq!(values(&many), Err(SplitError::TooMany));
    }

    proptest! {
        /// The scanner and the parser are two readings of one grammar.
        #[test]
        fn scanner_and_parser_agree(text in "[\\[\\]{}:,\"\\\\ 0-9a-fu.eE+\\-trulsNI]{0,24}") {
            let parsed = parse::parse(&text);
            prop_assert_eq!(json::is_json(text.as_bytes()), parsed.is_ok(), "{:?}", parsed);
        }

        #[test]
        fn special_bytes_are_found(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let plain = bytes.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(bytes.len());
            prop_assert_eq!(next_special(&bytes, 0), plain);
        }

        #[test]
        fn cutting_equals_parsing(entries in proptest::collection::vec(("[a-c\"\\\\é]{0,2}", value()), 0..6)) {
            let text = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", json::to_string(key).unwrap(), json::to_string(value).unwrap()))
                .collect::<Vec<_>>()
                .join(", ");
            let text = format!("{{{text}}}");
            let whole: Value = json::from_str(&text).unwrap();
            let members = split_object(text.as_bytes()).unwrap();
            for (key, value) in whole.as_object().unwrap() {
                let slice = members.get(key).expect("every key is found");
                prop_assert_eq!(&json::from_slice::<Value>(slice).unwrap(), value);
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|list| Value::Object(list.into_iter().collect())),
            ]
        })
    }
}
