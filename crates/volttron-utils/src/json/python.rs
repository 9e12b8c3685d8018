//! Python literals, as they appear inside error texts (subsystems.md sections 5.5, 6.3 and 6.5).

use serde_json::Value;

use super::write::write_float;

/// `repr(v)`: `None`, `True`, `'x'`, `{'a': None}`, `[1, 2.0]`.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value);
    out
}

/// `repr(s)` of a string: single quotes, double ones if that saves escaping.
pub fn repr_str(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_str(&mut out, text);
    out
}

/// `type(v).__name__`: `NoneType`, `bool`, `int`, `float`, `str`, `list`, `dict`.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

fn push(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => {
                let mut text = Vec::new();
                let written = write_float(&mut text, float);
                debug_assert!(written.is_ok(), "a vector takes every byte");
                out.push_str(&String::from_utf8_lossy(&text));
            }
            None => out.push_str(&number.to_string()),
        },
        Value::String(text) => push_str(out, text),
        Value::Array(list) => {
            out.push('[');
            for (n, item) in list.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                push(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (n, (key, item)) in map.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                push_str(out, key);
                out.push_str(": ");
                push(out, item);
            }
            out.push('}');
        }
    }
}

fn push_str(out: &mut String, text: &str) {
    use std::fmt::Write as _;

    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ if is_printable(c) => out.push(c),
            _ => {
                let code = u32::from(c);
                let written = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
                debug_assert!(written.is_ok(), "a string takes every character");
            }
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable` for the characters that occur in practice: controls, separators, format characters
/// and private use are not printable.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || c.is_whitespace()
        || matches!(u32::from(c), 0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff
            | 0xfeff | 0xfff9..=0xfffb | 0xf_0000..))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals() {
        for (value, text) in [
            (json!(null), "None"),
            (json!([true, false, 1, 1.0, -2, 1e20]), "[True, False, 1, 1.0, -2, 1e+20]"),
            (json!({"foo": null, "b": {"c": []}}), "{'foo': None, 'b': {'c': []}}"),
            (json!("it's"), "\"it's\""),
            (json!("it's \"x\""), "'it\\'s \"x\"'"),
            (json!("a\\\n\u{1}é\u{a0}\u{200b}"), "'a\\\\\\n\\x01é\\xa0\\u200b'"),
        ] {
            assert_eq!(repr(&value), text);
        }
        assert_eq!(repr_str(""), "''");
        assert_eq!(type_name(&json!(1.0)), "float");
        assert_eq!(type_name(&json!(1)), "int");
    }
}
