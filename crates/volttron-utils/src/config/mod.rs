//! Configuration texts: the platform's option file, agents' configuration files, registry CSV.
//!
//! Readers and writers only. What an option means belongs to the program that has it.

mod csv;
mod locate;
mod options;
mod python;
mod yaml;
mod yaml_write;

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Map, Value};

pub use self::csv::{BadCsv, csv_to_json};
pub use self::locate::{RepeatedKey, line_of, place_of, repeated_keys};
pub use self::options::{BadFlag, Entry, OptionError, OptionFile, flag_value};
pub use self::python::{BadPython, parse_python};
pub use self::yaml::{BadYaml, parse_yaml};
pub use self::yaml_write::to_yaml;
use crate::json;

/// Why a configuration file cannot be used. Every text names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither JSON (with comments) nor YAML.
    #[error("configuration file {} is neither JSON nor YAML; as JSON: {json}; as YAML: {yaml}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why it is not JSON, with the position.
        json: String,
        /// Why it is not YAML, with the position.
        yaml: String,
    },
}

/// Reads an agent's configuration file; an empty one gives `{}` (agent-api.md section 9).
///
/// Python tries YAML first and JSON with comments second. A text that begins with `{` or `[` is tried as JSON
/// first here: YAML would take a `//` comment for the beginning of a key.
pub fn load_config(path: &Path) -> Result<Value, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
    parse_config(&text).map_err(|(json, yaml)| ConfigError::Syntax { path: path.to_owned(), json, yaml })
}

/// The text of a configuration file; on failure, why it is not JSON and why it is not YAML.
pub fn parse_config(text: &str) -> Result<Value, (String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let stripped = json::strip_comments(text);
    let looks_like_json = stripped.trim_start().starts_with(['{', '[']);
    let as_json = || json::parse_commented::<Value>(text).map_err(|e| e.to_string());
    let as_yaml = || parse_yaml(text).map_err(|e| e.to_string());
    let value = if looks_like_json {
        as_json().or_else(|json| as_yaml().map_err(|yaml| (json, yaml)))?
    } else {
        as_yaml().or_else(|yaml| as_json().map_err(|json| (json, yaml)))?
    };
    Ok(if value.is_null() { Value::Object(Map::new()) } else { value })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_with_comments_and_yaml_are_both_read() {
        for (text, expected) in [
            ("", json!({})),
            ("# only a comment\n", json!({})),
            ("{}", json!({})),
            (
                "{ // note\n  \"a\": 1, # x\n  \"b\": [1.0, null] /* y */\n}",
                json!({"a": 1, "b": [1.0, null]}),
            ),
            ("# hello\n{\"url\": \"tcp://x#y\"}", json!({"url": "tcp://x#y"})),
            ("a: 1\nb:\n  - x\n  - yes\n", json!({"a": 1, "b": ["x", true]})),
            ("\u{feff}a: 1", json!({"a": 1})),
            ("{a: 1, b: [x, 2]}", json!({"a": 1, "b": ["x", 2]})),
            ("[1, 2]", json!([1, 2])),
            ("just text", json!("just text")),
        ] {
            assert_eq!(parse_config(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_file_and_both_reasons() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.config");
        assert!(load_config(&path).unwrap_err().to_string().contains("bad.config"));
        fs::write(&path, "{\"a\": 1,, \n \"b\": [}").unwrap();
        let error = load_config(&path).unwrap_err().to_string();
        assert!(error.contains("bad.config") && error.contains("line 1 column 9"), "{error}");
    }
}
