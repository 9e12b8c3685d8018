//! Texts that several verbs share. Pure.

use std::fmt::Write;

use serde_json::{Map, Value};
use volttron_utils::json::{self, python};

use super::AuthOpError;

/// Names separated by commas, blanks around them removed, empty ones left out.
pub fn comma_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// Capabilities as a person writes them: JSON (single quotes tolerated), or names separated by commas.
pub fn capabilities(text: &str) -> Result<Value, AuthOpError> {
    let text = text.trim();
    if !text.starts_with(['{', '[', '"']) {
        return Ok(comma_list(text).into());
    }
    let parsed = json::parse_commented::<Value>(text).or_else(|e| {
        if text.contains('\'') { json::parse_commented(&text.replace('\'', "\"")) } else { Err(e) }
    });
    parsed.map_err(|e| AuthOpError::Usage(format!("capabilities are not JSON: {e}")))
}

/// An entry as `list` shows it: an empty line, its index, its fields, each on a line.
pub fn indexed(index: i64, entry: &Value) -> String {
    format!("\nINDEX: {index}\n{}\n", json::to_indent(entry, 2).unwrap_or_default())
}

/// Two columns with headings and dashes under them, sorted by key.
pub fn two_columns(map: &Map<String, Value>, key_heading: &str, value_heading: &str) -> String {
    let mut rows: Vec<(&String, String)> = map.iter().map(|(key, value)| (key, cell(value))).collect();
    rows.sort();
    let width = rows.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0).max(key_heading.len()) + 2;
    let mut text = format!("{key_heading:<width$}{value_heading}\n");
    let _ = writeln!(text, "{:<width$}{}", "-".repeat(key_heading.len()), "-".repeat(value_heading.len()));
    for (key, value) in rows {
        let _ = writeln!(text, "{key:<width$}{value}");
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Names in order, as in the original.
        Value::Array(names) if names.iter().all(Value::is_string) => {
            let mut names = names.clone();
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            python::repr(&names.into())
        }
        other => python::repr(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn capabilities_as_people_write_them() {
        let table = [
            ("a, b", json!(["a", "b"])),
            ("", json!([])),
            (r#"{"a": {"p": "/x.*/"}, "b": null}"#, json!({"a": {"p": "/x.*/"}, "b": null})),
            ("{'a': null}", json!({"a": null})),
            (r#"["a", {"b": null}]"#, json!(["a", {"b": null}])),
        ];
        for (text, want) in table {
            assert_eq!(capabilities(text).unwrap(), want, "{text}");
        }
        assert!(capabilities("{a").is_err());
    }

    #[test]
    fn columns_line_up() {
        let map = serde_json::from_value(json!({"longer": ["x", "y"], "a": []})).unwrap();
        let want = "GROUPS  ROLES\n------  -----\na       []\nlonger  ['x', 'y']\n";
        assert_eq!(two_columns(&map, "GROUPS", "ROLES"), want);
    }
}
