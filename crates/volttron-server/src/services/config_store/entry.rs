//! One configuration: its type, its parsed contents, what it links to. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use volttron_utils::jsonrpc::RpcError;
use volttron_utils::{config, json};

/// Scheme of links between configurations of one store.
const LINK: &str = "config://";

/// How a configuration's text is parsed (subsystems.md section 11.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Not at all.
    Raw,
    /// JSON with comments; an object or a list.
    Json,
    /// Header row and text cells.
    Csv,
}

impl Kind {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "raw" => Self::Raw,
            "json" => Self::Json,
            "csv" => Self::Csv,
            _ => return None,
        })
    }
}

/// A stored configuration, field order as on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    /// Canonical time text; null in files of old releases.
    #[serde(default)]
    pub(super) modified: Option<String>,
    /// The text as it was supplied.
    pub(super) data: String,
}

/// Why a text cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadEntry {
    #[error("Unsupported configuration type.")]
    Kind,
    #[error("{0}")]
    Json(String),
    #[error("Configuration must be a list or object.")]
    Scalar,
    #[error("{0}")]
    Csv(String),
    /// The first sentence is the original's, which programs look for; the names are ours.
    #[error("Recursive configuration references detected. {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl From<BadEntry> for RpcError {
    fn from(error: BadEntry) -> Self {
        let text = error.to_string();
        match error {
            BadEntry::Json(_) => Self::exception("json.decoder.JSONDecodeError", text),
            BadEntry::Csv(_) => Self::exception("_csv.Error", text),
            BadEntry::Kind | BadEntry::Scalar | BadEntry::Cycle(_) => Self::value_error(text),
        }
    }
}

/// The contents that agents get. Links are left as they are; agents resolve them.
pub(super) fn parse(kind: Kind, data: &str) -> Result<Value, BadEntry> {
    match kind {
        Kind::Raw => Ok(Value::from(data)),
        Kind::Json => {
            let value: Value = json::parse_commented(data).map_err(|e| BadEntry::Json(e.to_string()))?;
            if value.is_object() || value.is_array() { Ok(value) } else { Err(BadEntry::Scalar) }
        }
        Kind::Csv => {
            let rows = config::csv_to_json(data).map_err(|e| BadEntry::Csv(e.to_string()))?;
            Ok(rows.into_iter().map(Value::Object).collect())
        }
    }
}

/// Removes white space and slashes of both kinds from the ends of a name.
pub(super) fn strip_name(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '/' | '\\'))
}

/// Lower-cased names that a configuration refers to. Raw text is never looked into.
pub(super) fn links(kind: Kind, contents: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if kind != Kind::Raw {
        collect(contents, &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let scheme = text.get(..LINK.len()).is_some_and(|head| head.eq_ignore_ascii_case(LINK));
            if scheme {
                let name = strip_name(&text[LINK.len()..]).to_lowercase();
                if !found.contains(&name) {
                    found.push(name);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|v| collect(v, found)),
        Value::Object(map) => map.values().for_each(|v| collect(v, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_stripped() {
        for (name, expected) in [(" /a/b\\ ", "a/b"), ("a b", "a b"), ("///", ""), ("\\x\t", "x")] {
            assert_eq!(strip_name(name), expected);
        }
    }

    #[test]
    fn contents_and_errors() {
        assert_eq!(parse(Kind::Json, "{\"a\": 1, # c\n \"l\": [2.0]}").unwrap(), json!({"a": 1, "l": [2.0]}));
        assert_eq!(
            parse(Kind::Csv, "P,U\nA,F\nB\n").unwrap(),
            json!([{"P": "A", "U": "F"}, {"P": "B", "U": null}])
        );
        assert_eq!(parse(Kind::Raw, "{").unwrap(), json!("{"));
        assert_eq!(parse(Kind::Json, "5").unwrap_err(), BadEntry::Scalar);
        let error = RpcError::from(parse(Kind::Json, "{x").unwrap_err());
        assert_eq!(error.exc_type(), Some("json.decoder.JSONDecodeError"));
        let text = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)";
        assert_eq!(error.detail(), Some(text));
    }

    #[test]
    fn links_are_found_in_values_only() {
        let value = json!({"config://key": 1, "a": ["config:///X.csv ", "CONFIG://y", "config://y", "no config://z"]});
        assert_eq!(links(Kind::Json, &value), ["x.csv", "y"]);
        assert!(links(Kind::Raw, &json!("config://x")).is_empty());
    }
}
