//! Text forms that end up in databases: canonical time stamps and Python-style JSON.

use jiff::Timestamp;
use serde_json::Value;
use volttron_utils::time::{Parsed, format_timestamp, parse_timestamp};

/// Canonical stored form of a time: UTC, six fraction digits, `+00:00` (topics-and-time.md 4). Databases
/// compare these texts, so every stored stamp must have exactly this shape.
pub fn stamp(ts: Timestamp) -> String {
    format_timestamp(ts)
}

/// True when `text` already is a canonical stamp, so that the common case needs no parsing.
pub fn is_stamp(text: &str) -> bool {
    let b = text.as_bytes();
    b.len() == 32
        && b.ends_with(b"+00:00")
        && b.iter().take(26).enumerate().all(|(i, c)| match i {
            4 | 7 => *c == b'-',
            10 => *c == b'T',
            13 | 16 => *c == b':',
            19 => *c == b'.',
            _ => c.is_ascii_digit(),
        })
}

/// Any stored or received time text to a time; without zone it means UTC.
pub fn parse_stamp(text: &str) -> Result<Timestamp, String> {
    parse_timestamp(text).map(Parsed::or_utc).map_err(|e| e.to_string())
}

/// JSON as Python's `dumps` writes it.
pub fn dumps<T: serde::Serialize + ?Sized>(value: &T) -> String {
    // Serialising maps with text keys and plain values cannot fail; `null` keeps the row instead of a panic.
    volttron_utils::json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// Text of a JSON value for people and keys: strings without quotes.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => dumps(other),
    }
}
