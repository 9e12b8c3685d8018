//! JSON values as YAML for people, which [`parse_yaml`](super::parse_yaml) reads back as they were.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::yaml::plain;

/// A document in block style. Texts are plain only where YAML 1.1 and 1.2 take them for texts, else in double quotes;
/// those of several lines are blocks.
///
/// A key `<<` cannot be written: readers take it for a merge, quoted or not.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        other => {
            scalar(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// The first line is begun already, by who calls.
fn mapping(out: &mut String, map: &Map<String, Value>, indent: usize) {
    for (at, (key, value)) in map.iter().enumerate() {
        if at > 0 {
            pad(out, indent);
        }
        text(out, key);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                pad(out, indent + 2);
                mapping(out, inner, indent + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                pad(out, indent + 2);
                sequence(out, items, indent + 2);
            }
            other => {
                out.push(' ');
                scalar(out, other, indent + 2);
                out.push('\n');
            }
        }
    }
}

/// The first line is begun already, by who calls.
fn sequence(out: &mut String, items: &[Value], indent: usize) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            pad(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => mapping(out, inner, indent + 2),
            Value::Array(inner) if !inner.is_empty() => sequence(out, inner, indent + 2),
            other => {
                scalar(out, other, indent + 2);
                out.push('\n');
            }
        }
    }
}

fn scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(lines) if is_block(lines) => block(out, lines, indent),
        Value::String(line) => text(out, line),
        // What is left is written as in JSON: numbers, null, true and false, and what is empty.
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

fn text(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if !is_printable(c) => {
                let _ = if u32::from(c) > 0xffff {
                    write!(out, "\\U{:08x}", u32::from(c))
                } else {
                    write!(out, "\\u{:04x}", u32::from(c))
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// What stands without quotes and is taken for a text by everybody.
fn is_plain(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.'));
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | '@' | '+' | ':');
    // `y` and `n` are words of YAML 1.1, `12:30` is a number there.
    let number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.') && !text.contains('/');
    first
        && !number
        && text.chars().all(inside)
        && !text.ends_with(':')
        && !matches!(text, "y" | "Y" | "n" | "N")
        && plain(text).is_string()
}

/// Several lines that can stand as they are.
fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && text.chars().all(|c| matches!(c, '\n' | '\t') || is_printable(c))
}

/// Without what a reader could take for a line end, or drop.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The lines, and a sign that tells how they end.
fn block(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    let ends = text.len() - body.len();
    out.push_str(match ends {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in body.split('\n').chain(std::iter::repeat_n("", ends.saturating_sub(1))) {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::parse_yaml;
    use super::*;

    #[test]
    fn documents_look_as_people_write_them() {
        let value = json!({
            "name": "campus-a", "port": 22916, "on": true, "yes": "yes", "empty": {}, "none": null, "list": [],
            "addresses": ["tcp://127.0.0.1:22916", "1:30"],
            "agents": {"a.b": {"text": "{\n  \"x\": 1\n}\n", "rows": [{"a": 1, "b": [1, [2]]}, "c d"]}},
        });
        let text = "name: campus-a\nport: 22916\n\"on\": true\n\"yes\": \"yes\"\nempty: {}\nnone: null\nlist: []\n\
                    addresses:\n  - tcp://127.0.0.1:22916\n  - \"1:30\"\nagents:\n  a.b:\n    text: |\n      {\n        \
                    \"x\": 1\n      }\n    rows:\n      - a: 1\n        b:\n          - 1\n          - - 2\n      - \
                    \"c d\"\n";
        assert_eq!(to_yaml(&value), text);
        assert_eq!(parse_yaml(text).unwrap(), value);
        assert_eq!(to_yaml(&json!({})), "{}\n");
    }

    fn values() -> impl Strategy<Value = Value> {
        let texts = prop_oneof![
            "[ -~]{0,8}",
            "[a-z \t\n:#|>'\"\\-]{0,12}",
            any::<String>(),
            Just("\u{2028}a\u{85}\n\u{7f}\u{1F600}".to_owned()),
            Just("no".to_owned()),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            texts.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            let keys = texts.clone().prop_filter("a merge", |key| key != "<<");
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((keys, inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in values()) {
            let text = to_yaml(&value);
            prop_assert_eq!(parse_yaml(&text).map_err(|e| e.to_string()), Ok(value), "{}", text);
        }
    }
}
