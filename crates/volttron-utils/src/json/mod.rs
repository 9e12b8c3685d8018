//! JSON as Python writes and reads it (vip.md section 3, subsystems.md sections 5, 6 and 11, topics-and-time.md 6).
//!
//! Owns: output that Python peers take byte for byte ([`to_string`] and relatives), input with Python's
//! extensions ([`from_slice`]), comments in configuration files, cutting an object into its members without
//! building a tree ([`split_object`]), and Python literals for texts ([`python`]). Must never fail on a document
//! Python accepts, except for nesting deeper than [`MAX_DEPTH`], and never recurse without a bound.

mod comments;
mod error;
mod parse;
pub mod python;
mod split;
mod write;

pub use comments::{parse_commented, strip_comments};
pub use error::{JsonError, Position};
pub use split::{Key, Members, SplitError, split_object, visit_object};
pub use write::{to_compact, to_indent, to_string, to_vec, write_str};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Deepest nesting accepted anywhere. Python stops near 1000; nothing on the bus comes close to either.
pub const MAX_DEPTH: usize = 512;

/// Reads a document.
///
/// What Python accepts beyond the standard is accepted: `NaN` and the infinities (as null), integers of any size
/// (beyond 64 bits as the nearest float), lone surrogate escapes (as U+FFFD), duplicate keys (last wins, first
/// position). Text that is not UTF-8 is taken as Latin-1. Syntax errors are worded as Python words them.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => from_lenient(text),
        Err(_) => from_lenient(&latin1(bytes)),
    }
}

/// Reads a document from text; as [`from_slice`].
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    serde_json::from_str(text).or_else(|_| from_lenient(text))
}

/// Reads a document as a Python peer reads a frame: every byte is one Latin-1 character (vip.md section 3.1).
/// Raw UTF-8 inside strings comes out as Python sees it, which is what topic prefixes are compared with.
pub fn from_latin1<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    if bytes.is_ascii() { from_slice(bytes) } else { from_str(&latin1(bytes)) }
}

/// Whether Python's parser accepts the bytes as a document. Checks by scanning, builds nothing.
pub fn is_json(bytes: &[u8]) -> bool {
    split::is_document(bytes)
}

fn from_lenient<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    let value: Value = parse::parse(text)?;
    serde_json::from_value(value).map_err(|error| JsonError::shape(&error))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        from_slice::<Value>(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn extensions_of_python_are_read() {
        for (text, value) in [
            ("NaN", Value::Null),
            ("[1, -Infinity, Infinity]", json!([1, null, null])),
            ("{\"a\": 1, \"b\": 2, \"a\": 3}", json!({"a": 3, "b": 2})),
            ("\"\\ud800\"", json!("\u{fffd}")),
            ("\"\\ud83d\\ude00\"", json!("\u{1f600}")),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
            ("[NaN, 18446744073709551616]", json!([null, 18_446_744_073_709_551_616.0])),
            ("1e400", Value::Null),
            (" [ ] ", json!([])),
        ] {
            assert_eq!(read(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn key_order_survives() {
        let value = read("{\"z\": NaN, \"a\": 1, \"m\": {}}").expect("valid");
        assert_eq!(to_string(&value).expect("plain"), "{\"z\": null, \"a\": 1, \"m\": {}}");
    }

    #[test]
    fn latin1_is_what_python_sees() {
        assert_eq!(from_slice::<Value>("\"é\"".as_bytes()).ok(), Some(json!("é")));
        assert_eq!(from_latin1::<Value>("\"é\"".as_bytes()).ok(), Some(json!("\u{c3}\u{a9}")));
        assert_eq!(from_slice::<Value>(b"\"\xe9\"").ok(), Some(json!("é")));
    }

    #[test]
    fn duplicate_keys_do_not_break_typed_reading() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Point {
            x: i32,
        }
        assert_eq!(from_slice(b"{\"x\": 1, \"x\": 2}").ok(), Some(Point { x: 2 }));
    }

    #[test]
    fn deep_documents_are_refused_not_overflowed() {
        let fine = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(read(&fine).is_ok());
        for deep in [1_000, 2_000_000] {
            let text = "[".repeat(deep);
            assert!(read(&text).unwrap_err().contains("nested"), "{deep}");
            assert!(!is_json(text.as_bytes()));
            let text = "{\"a\":".repeat(deep);
            assert!(read(&text).unwrap_err().contains("nested"), "{deep}");
        }
    }

    #[test]
    fn errors_speak_python() {
        for (text, message) in [
            ("", "Expecting value: line 1 column 1 (char 0)"),
            ("{a: 1}", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
            ("{\"a\" 1}", "Expecting ':' delimiter: line 1 column 6 (char 5)"),
            ("{\"a\": 1 \"b\"}", "Expecting ',' delimiter: line 1 column 9 (char 8)"),
            ("{\"a\": 1,}", "Expecting property name enclosed in double quotes: line 1 column 9 (char 8)"),
            ("[1\n, 2,]", "Expecting value: line 2 column 5 (char 7)"),
            ("[1 2]", "Expecting ',' delimiter: line 1 column 4 (char 3)"),
            ("01", "Extra data: line 1 column 2 (char 1)"),
            ("-", "Expecting value: line 1 column 1 (char 0)"),
            ("\"abc", "Unterminated string starting at: line 1 column 1 (char 0)"),
            ("\"a\nb\"", "Invalid control character at: line 1 column 3 (char 2)"),
            ("\"\\x\"", "Invalid \\escape: line 1 column 2 (char 1)"),
            ("\"\\u12\"", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"),
            ("[tru]", "Expecting value: line 1 column 2 (char 1)"),
            ("[\"é\", x]", "Expecting value: line 1 column 7 (char 6)"),
        ] {
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_wrong_shape_is_not_a_syntax_error() {
        let error = from_slice::<u32>(b"\"x\"").unwrap_err();
        assert_eq!(error.position(), None);
    }
}
