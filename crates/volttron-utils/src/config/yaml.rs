//! YAML to JSON values, with the scalar rules of Python's safe loader (YAML 1.1: `yes` and `on` are true), so that
//! existing agent configurations mean the same.
//!
//! The parser crate delivers events; building values here keeps depth and alias expansion bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// Deepest nesting accepted.
const DEPTH_MAX: usize = 128;
/// Most nodes a document may have after its aliases are expanded.
const NODES_MAX: usize = 1_000_000;

/// Most bytes of text that aliases may add to a document.
const ALIAS_TEXT_MAX_BYTES: usize = 16 << 20;

/// A YAML text that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}: line {line} column {column}")]
pub struct BadYaml {
    /// What is wrong.
    pub why: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl BadYaml {
    fn at(mark: Marker, why: impl Into<String>) -> Self {
        Self { why: why.into(), line: mark.line(), column: mark.col() + 1 }
    }
}

/// Reads one document; an empty text is null. A second document is an error, as in Python.
pub fn parse_yaml(text: &str) -> Result<Value, BadYaml> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|e| BadYaml::at(*e.marker(), e.info()))?;
        builder.event(event, span.start)?;
    }
    Ok(builder.document.unwrap_or(Value::Null))
}

enum Open {
    Sequence(Vec<Value>),
    Mapping { map: Map<String, Value>, merged: Vec<Value>, key: Option<String> },
}

#[derive(Default)]
struct Builder {
    stack: Vec<(usize, Open)>,
    anchors: HashMap<usize, (Value, Size)>,
    document: Option<Value>,
    nodes: usize,
    alias_text_bytes: usize,
}

/// What a value takes.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text_bytes: usize,
    depth: usize,
}

impl Size {
    fn of(value: &Value) -> Self {
        let all = |inner: &mut dyn Iterator<Item = &Value>, keys: usize| {
            inner.map(Self::of).fold(Self { nodes: 1, text_bytes: keys, depth: 1 }, |all, one| Self {
                nodes: all.nodes + one.nodes,
                text_bytes: all.text_bytes + one.text_bytes,
                depth: all.depth.max(1 + one.depth),
            })
        };
        match value {
            Value::Array(items) => all(&mut items.iter(), 0),
            Value::Object(map) => all(&mut map.values(), map.keys().map(String::len).sum()),
            Value::String(text) => Self { nodes: 1, text_bytes: text.len(), depth: 0 },
            _ => Self { nodes: 1, ..Self::default() },
        }
    }
}

impl Builder {
    fn event(&mut self, event: Event<'_>, mark: Marker) -> Result<(), BadYaml> {
        match event {
            Event::DocumentStart(_) if self.document.is_some() => {
                Err(BadYaml::at(mark, "a second document begins here"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, mark)?;
                let value = scalar(&text, style, tag.as_deref());
                // As a key, a scalar keeps its text: `1: x` has the key "1", and `yes: x` the key "yes".
                self.node(anchor, value, Some(&text), mark)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor);
                let size = known
                    .map(|(_, size)| *size)
                    .ok_or_else(|| BadYaml::at(mark, "an alias refers to a value that is not complete"))?;
                self.count_alias(size, mark)?;
                let value = self.anchors.get(&anchor).map(|(value, _)| value.clone()).unwrap_or_default();
                self.node(0, value, None, mark)
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, Open::Sequence(Vec::new()), mark),
            Event::MappingStart(anchor, _) => {
                self.open(anchor, Open::Mapping { map: Map::new(), merged: Vec::new(), key: None }, mark)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((anchor, open)) = self.stack.pop() else { return Ok(()) };
                let value = match open {
                    Open::Sequence(items) => Value::Array(items),
                    Open::Mapping { map, merged, .. } => Value::Object(merge(map, merged)),
                };
                self.node(anchor, value, None, mark)
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, mark: Marker) -> Result<(), BadYaml> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX { Err(BadYaml::at(mark, "the document is too large")) } else { Ok(()) }
    }

    /// Bounds what an alias stands for before it is copied.
    fn count_alias(&mut self, size: Size, mark: Marker) -> Result<(), BadYaml> {
        self.count(size.nodes, mark)?;
        self.alias_text_bytes += size.text_bytes;
        if self.alias_text_bytes > ALIAS_TEXT_MAX_BYTES {
            return Err(BadYaml::at(mark, "the document is too large"));
        }
        if self.stack.len() + size.depth > DEPTH_MAX {
            return Err(BadYaml::at(mark, "the document is nested too deeply"));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, open: Open, mark: Marker) -> Result<(), BadYaml> {
        self.count(1, mark)?;
        if self.stack.len() >= DEPTH_MAX {
            return Err(BadYaml::at(mark, "the document is nested too deeply"));
        }
        self.stack.push((anchor, open));
        Ok(())
    }

    /// Puts a finished node where it belongs. `text` is the source of a scalar, for its use as a key.
    fn node(&mut self, anchor: usize, value: Value, text: Option<&str>, mark: Marker) -> Result<(), BadYaml> {
        if anchor != 0 {
            let size = Size::of(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.stack.last_mut() {
            None => self.document = Some(value),
            Some((_, Open::Sequence(items))) => items.push(value),
            Some((_, Open::Mapping { map, merged, key })) => match key.take() {
                Some(name) if name == "<<" => merged.push(value),
                Some(name) => {
                    map.insert(name, value);
                }
                None => {
                    *key = Some(match (text, value) {
                        (Some(text), _) => text.to_owned(),
                        (None, Value::String(text)) => text,
                        (None, Value::Array(_) | Value::Object(_)) => {
                            return Err(BadYaml::at(mark, "a key must be a text"));
                        }
                        (None, other) => other.to_string(),
                    });
                }
            },
        }
        Ok(())
    }
}

/// `<<: *base` and `<<: [*a, *b]`: keys that are already there win.
fn merge(mut map: Map<String, Value>, merged: Vec<Value>) -> Map<String, Value> {
    for source in merged {
        let sources = match source {
            Value::Array(items) => items,
            other => vec![other],
        };
        for (key, value) in sources
            .into_iter()
            .filter_map(|s| if let Value::Object(m) = s { Some(m) } else { None })
            .flatten()
        {
            map.entry(key).or_insert(value);
        }
    }
    map
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    if let Some(tag) = tag {
        match tag.suffix.as_str() {
            "str" | "binary" | "timestamp" => return Value::from(text),
            "float" => {
                if let Some(float) = plain_float(text).or_else(|| text.parse().ok()) {
                    return Number::from_f64(float).map_or(Value::Null, Value::Number);
                }
            }
            "null" => return Value::Null,
            _ => {}
        }
    }
    if style == ScalarStyle::Plain { plain(text) } else { Value::from(text) }
}

/// YAML 1.1 resolution, plus JSON's exponent form without a dot (`1e5`), which Python leaves as text.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if let Some(number) = plain_integer(text) {
        return Value::Number(number);
    }
    match plain_float(text) {
        // JSON has no infinities; null as everywhere (topics-and-time.md section 6).
        Some(float) => Number::from_f64(float).map_or(Value::Null, Value::Number),
        None => Value::from(text),
    }
}

fn plain_integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let clean = digits.replace('_', "");
    let (radix, body) = if let Some(hex) = clean.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = clean.strip_prefix("0b") {
        (2, binary)
    } else if clean.len() > 1 && clean.starts_with('0') {
        (8, &clean[1..])
    } else {
        (10, clean.as_str())
    };
    if body.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(body, radix).ok()?;
    if !negative {
        return Some(Number::from(magnitude));
    }
    i64::try_from(-i128::from(magnitude)).ok().map(Number::from)
}

fn plain_float(text: &str) -> Option<f64> {
    match text.trim_start_matches(['+', '-']) {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-' | '_');
    let begins = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !begins
        || !text.chars().all(digits)
        || !text.contains(['.', 'e', 'E'])
        || !text.contains(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_as_python_resolves_them() {
        for (text, expected) in [
            ("1", json!(1)),
            ("-5", json!(-5)),
            ("+5", json!(5)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("010", json!(8)),
            ("1_000", json!(1000)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("1.0", json!(1.0)),
            ("1.5e+3", json!(1500.0)),
            ("1e5", json!(100_000.0)),
            (".5", json!(0.5)),
            (".inf", Value::Null),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("~", Value::Null),
            ("\"yes\"", json!("yes")),
            ("'1'", json!("1")),
            ("!!str 1", json!("1")),
            ("!!float 1", json!(1.0)),
            ("1.2.3", json!("1.2.3")),
            ("-", json!([null])),
            ("host:22", json!("host:22")),
            ("tcp://a:1", json!("tcp://a:1")),
            ("2026-03-04", json!("2026-03-04")),
            ("1-2", json!("1-2")),
            (".", json!(".")),
            ("089", json!("089")),
        ] {
            assert_eq!(parse_yaml(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn structures() {
        let text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nlist: [*b, 1]\n1: one\nyes: 2\ntext: |\n  a\n  b\n";
        assert_eq!(
            parse_yaml(text).unwrap(),
            json!({"base": {"x": 1, "y": 2}, "use": {"y": 3, "x": 1}, "list": [{"x": 1, "y": 2}, 1], "1": "one",
                "yes": 2, "text": "a\nb\n"})
        );
        assert_eq!(parse_yaml("").unwrap(), Value::Null);
        assert_eq!(parse_yaml("---\na: 1\n...\n").unwrap(), json!({"a": 1}));
    }

    #[test]
    fn bad_documents() {
        for text in ["a: [1", "a: 1\n---\nb: 2\n", "? [1]\n: 2\n", "*x", "a: &x [*x]", &"[".repeat(500)] {
            assert!(parse_yaml(text).is_err(), "{text}");
        }
        let bomb = (0..20).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |acc, i| {
            acc + &format!("a{}: &a{} [{}*a{i}]\n", i + 1, i + 1, format!("*a{i},").repeat(9))
        });
        assert!(parse_yaml(&bomb).unwrap_err().why.contains("too large"));
        assert_eq!(parse_yaml("a: 1\nb: ]\n").unwrap_err().line, 2);
    }

    #[test]
    fn aliases_cannot_make_a_document_large_or_deep() {
        let texts = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(1000));
        assert!(parse_yaml(&texts).unwrap_err().why.contains("too large"));
        let keys = format!("a: &a {{{}: 1}}\nb: [{}]\n", "x".repeat(1000), "*a,".repeat(100_000));
        assert!(parse_yaml(&keys).unwrap_err().why.contains("too large"));
        let deep: Vec<String> = (1..200).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
        assert!(
            parse_yaml(&format!("a0: &a0 [1]\n{}", deep.concat())).unwrap_err().why.contains("too deeply")
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-a:#&*!|>{}\\[\\]\"' \n1.é]{0,80}") {
            let _ = parse_yaml(&text);
        }
    }
}
