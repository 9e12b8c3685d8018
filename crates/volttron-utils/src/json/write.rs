//! Output as Python's `json.dumps` writes it.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// `json.dumps(v)`: ASCII only, separators `", "` and `": "`; non-finite numbers as null.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    to_vec(value).map(ascii)
}

/// [`to_string`] as bytes, for a frame.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    render(value, Wire { layout: Spaced })
}

/// `json.dumps(v, separators=(",", ":"))`: ASCII only, no blanks.
pub fn to_compact<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    render(value, Wire { layout: CompactFormatter }).map(ascii)
}

/// `json.dumps(v, indent=spaces)`: ASCII only, one member per line.
pub fn to_indent<T: Serialize + ?Sized>(value: &T, spaces: usize) -> Result<String, serde_json::Error> {
    let indent = vec![b' '; spaces];
    render(value, Wire { layout: PrettyFormatter::with_indent(&indent) }).map(ascii)
}

/// Appends a JSON string literal of `text` to `out`, as [`to_string`] would write it.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            ' '..='~' => out.push(c as u8),
            _ => push_escape(out, c),
        }
    }
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, c: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(b"\\u");
        out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(*unit >> shift) & 15]));
    }
}

fn render<T: Serialize + ?Sized>(value: &T, formatter: impl Formatter) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter))?;
    Ok(out)
}

fn ascii(bytes: Vec<u8>) -> String {
    // The writer emits ASCII only, but a pre-rendered `RawValue` passes through as it is, and that is UTF-8.
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Python's default layout: a blank after each comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// Python's spelling of strings and floats over any layout.
struct Wire<L> {
    layout: L,
}

macro_rules! delegate {
    ($($name:ident($($arg:ident: $type:ty),*));* $(;)?) => {$(
        fn $name<W: ?Sized + Write>(&mut self, out: &mut W $(, $arg: $type)*) -> io::Result<()> {
            self.layout.$name(out $(, $arg)*)
        }
    )*};
}

impl<L: Formatter> Formatter for Wire<L> {
    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        write_float(out, value)
    }
    fn write_f32<W: ?Sized + Write>(&mut self, out: &mut W, value: f32) -> io::Result<()> {
        // The shortest text that names this binary32 value, not the tail of its binary64 widening.
        let mut text = Short::default();
        CompactFormatter.write_f32(&mut text, value)?;
        spell(out, text.as_bytes(), || format!("{value:e}"))
    }

    /// The serialiser hands over runs without quotes, backslashes and control characters.
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.bytes().position(|byte| byte >= 0x7f) {
            out.write_all(&rest.as_bytes()[..at])?;
            let c = rest[at..].chars().next().unwrap_or('\u{7f}');
            let mut escaped = Vec::with_capacity(12);
            push_escape(&mut escaped, c);
            out.write_all(&escaped)?;
            rest = &rest[at + c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

/// Writes a finite float as Python's `repr` does: shortest digits, exponent form outside 1e-4 … 1e16.
pub(super) fn write_float<W: ?Sized + Write>(out: &mut W, value: f64) -> io::Result<()> {
    let mut text = Short::default();
    CompactFormatter.write_f64(&mut text, value)?;
    spell(out, text.as_bytes(), || format!("{value:e}"))
}

/// Text of one number; the longest has 24 bytes.
#[derive(Default)]
struct Short {
    bytes: [u8; 32],
    used: usize,
}

impl Short {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = (&mut self.bytes[self.used..]).write(bytes)?;
        self.used += taken;
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both writers find the same digits; they differ in where exponent form begins and in how it is spelled
/// (`1e+16`, `1e-05`).
fn spell<W: ?Sized + Write>(out: &mut W, text: &[u8], scientific: impl Fn() -> String) -> io::Result<()> {
    let tiny = text.strip_prefix(b"-").unwrap_or(text).starts_with(b"0.0000");
    let (digits, exponent) = match text.iter().position(|&byte| byte == b'e') {
        None if !tiny => return out.write_all(text),
        Some(at) => (text[..at].to_vec(), text[at + 1..].to_vec()),
        None => {
            let form = scientific();
            let Some((digits, exponent)) = form.split_once('e') else { return out.write_all(text) };
            (digits.as_bytes().to_vec(), exponent.as_bytes().to_vec())
        }
    };
    let digits = digits.strip_suffix(b".0").unwrap_or(&digits);
    let (sign, exponent) = match exponent.strip_prefix(b"-") {
        Some(rest) => (b'-', rest),
        None => (b'+', exponent.strip_prefix(b"+").unwrap_or(&exponent)),
    };
    out.write_all(digits)?;
    out.write_all(&[b'e', sign])?;
    if exponent.len() < 2 {
        out.write_all(b"0")?;
    }
    out.write_all(exponent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn three_layouts() {
        let value = json!({"a": [1, 2.5, "é\u{1f600}\u{7f}\n\u{1}"], "b": {}, "c": [], "d": null, "e": true});
        assert_eq!(
            to_string(&value).ok().as_deref(),
            Some(
                "{\"a\": [1, 2.5, \"\\u00e9\\ud83d\\ude00\\u007f\\n\\u0001\"], \"b\": {}, \"c\": [], \"d\": null, \"e\": true}"
            )
        );
        assert_eq!(to_compact(&json!({"a": [1, 2], "b": 1})).ok().as_deref(), Some("{\"a\":[1,2],\"b\":1}"));
        assert_eq!(
            to_indent(&json!({"a": [1], "b": {}, "c": []}), 2).ok().as_deref(),
            Some("{\n  \"a\": [\n    1\n  ],\n  \"b\": {},\n  \"c\": []\n}")
        );
    }

    #[test]
    fn floats_are_spelled_as_python_spells_them() {
        for (value, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.000_012_3, "1.23e-05"),
            (-0.000_012_3, "-1.23e-05"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (123_456_789.125, "123456789.125"),
        ] {
            assert_eq!(to_string(&value).ok().as_deref(), Some(text));
        }
        assert_eq!(to_string(&f64::NAN).ok().as_deref(), Some("null"));
        assert_eq!(to_string(&0.1f32).ok().as_deref(), Some("0.1"));
    }

    #[test]
    fn a_string_written_alone_looks_like_one_in_a_document() {
        for text in ["", "plain", "q\"\\/", "é\u{1f600}\u{7f}\u{0}\u{8}\u{c}\n\r\t"] {
            let mut alone = Vec::new();
            write_str(&mut alone, text);
            assert_eq!(Some(alone), to_vec(text).ok());
        }
    }
}
