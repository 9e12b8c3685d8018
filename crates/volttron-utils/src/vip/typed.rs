//! The values Python peers read out of frames (vip.md section 3).
//!
//! Python decodes every frame as Latin-1 text and then as JSON if that works; on sending it writes numbers and
//! booleans as raw bytes. A reader therefore accepts both forms. Nothing here changes a frame.

use std::borrow::Cow;

use serde_json::Value;

use crate::json;

/// A boolean: `true`/`false` text or one raw byte 0/1.
pub fn as_bool(frame: &[u8]) -> Option<bool> {
    match frame {
        [0] | b"false" => Some(false),
        [1] | b"true" => Some(true),
        _ => None,
    }
}

/// An unsigned integer: decimal text, or four raw little-endian bytes.
///
/// Four ASCII digits are text: a raw count would have to be above 808 million to look like them.
pub fn as_uint(frame: &[u8]) -> Option<u64> {
    let text = frame.trim_ascii();
    if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    Some(u64::from(u32::from_le_bytes(frame.try_into().ok()?)))
}

/// A float: JSON number text, or four (9.x, 10.x) or eight (11.x) raw little-endian bytes. Text wins.
pub fn as_float(frame: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(frame).ok().map(str::trim);
    if let Some(number) = text.filter(|text| looks_numeric(text)).and_then(|text| text.parse().ok()) {
        return Some(number);
    }
    if let Ok(single) = <[u8; 4]>::try_from(frame) {
        return Some(f64::from(f32::from_le_bytes(single)));
    }
    <[u8; 8]>::try_from(frame).ok().map(f64::from_le_bytes)
}

fn looks_numeric(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}

/// The JSON value a Python receiver would see, `None` if it would see text.
pub fn as_json(frame: &[u8]) -> Option<Value> {
    if frame.is_empty() {
        return None;
    }
    json::from_latin1(frame).ok()
}

/// The frame as Latin-1 text; borrowed when it is ASCII.
pub fn text(frame: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(frame) {
        Ok(ascii) if frame.is_ascii() => Cow::Borrowed(ascii),
        _ => Cow::Owned(frame.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// Text as Latin-1 bytes; `None` if a character is above U+00FF (Python senders raise there).
pub fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// Text as Latin-1 bytes, `?` for what cannot be represented. For texts meant for people only.
pub fn latin1_lossy(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// Whether a Python hop would read this text as a JSON value and so change it (vip.md section 3.4, rule 3).
/// Identities, topics, message ids and operations must not be like that.
pub fn is_json_like(text: &str) -> bool {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    let Some(first) = trimmed.bytes().next() else { return false };
    match first {
        b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I' => {
            json::is_json(trimmed.as_bytes())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_in_both_forms() {
        for (frame, value) in [
            (&[1u8][..], Some(true)),
            (&[0], Some(false)),
            (b"true", Some(true)),
            (b"false", Some(false)),
            (b"", None),
            (b"1", None),
            (&[2], None),
        ] {
            assert_eq!(as_bool(frame), value, "{frame:?}");
        }
    }

    #[test]
    fn integers_in_both_forms() {
        for (frame, value) in [
            (&b"200"[..], Some(200)),
            (&[200, 0, 0, 0], Some(200)),
            (b"1234", Some(1234)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"-5", None),
            (b"", None),
            (b"12x", None),
        ] {
            assert_eq!(as_uint(frame), value, "{frame:?}");
        }
    }

    #[test]
    fn floats_in_three_forms() {
        assert_eq!(as_float(b"1.5"), Some(1.5));
        assert_eq!(as_float(b"1.0"), Some(1.0));
        assert_eq!(as_float(&[0, 0, 0x80, 0x3f]), Some(1.0));
        assert_eq!(as_float(&1.5f64.to_le_bytes()), Some(1.5));
        assert_eq!(as_float(b"nan"), None);
    }

    #[test]
    fn json_is_what_python_sees() {
        assert_eq!(as_json(b"1422573492"), Some(Value::from(1_422_573_492)));
        assert_eq!(as_json(b"\"quoted\""), Some(Value::from("quoted")));
        assert_eq!(as_json(b"\"\xc3\xa9\""), Some(Value::from("\u{c3}\u{a9}")));
        assert_eq!(as_json(b"0001"), None);
        assert_eq!(as_json(b""), None);
    }

    #[test]
    fn texts_a_python_hop_would_change() {
        for text in ["123", "true", "null", "1.5", "\"x\"", "[1]", "{}", " 7 ", "NaN", "-Infinity", "-1"] {
            assert!(is_json_like(text), "{text}");
        }
        for text in ["", "0001", "alice", "true.agent", "1795.0.1", "nan", "-", "[1", "x1", "\u{a0}1"] {
            assert!(!is_json_like(text), "{text}");
        }
    }

    #[test]
    fn latin1_both_ways() {
        assert_eq!(text(b"caf\xe9"), "café");
        assert_eq!(latin1("café"), Some(b"caf\xe9".to_vec()));
        assert_eq!(latin1("\u{100}"), None);
        assert_eq!(latin1_lossy("a\u{100}"), b"a?");
    }
}
