//! Whether a configuration file is what the agent says it wants.

use std::fmt::Write;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;
use volttron_utils::config::{line_of, parse_config};

use super::InstallError;

/// How many faults one message shows.
const MAX_SHOWN: usize = 10;

/// Checks the text of a configuration file against the schema that `package` describes itself with; the error shows the
/// lines that do not fit.
pub(super) fn fits(text: &str, schema: &Value, package: &str) -> Result<(), InstallError> {
    // A text that cannot be read was refused before anything was built.
    let Ok(value) = parse_config(text) else { return Ok(()) };
    let validator = jsonschema::validator_for(schema).map_err(|e| {
        InstallError::Config(format!(
            "the configuration schema of {package} cannot be used: {e}; tell its author"
        ))
    })?;
    let faults: Vec<String> = validator.iter_errors(&value).map(|fault| show(text, &fault)).collect();
    if faults.is_empty() {
        return Ok(());
    }
    let mut message = format!("the configuration does not fit {package}:");
    for fault in faults.iter().take(MAX_SHOWN) {
        // Writing to a text does not fail.
        let _ = write!(message, "\n{fault}");
    }
    if faults.len() > MAX_SHOWN {
        let _ = write!(message, "\nand {} more", faults.len() - MAX_SHOWN);
    }
    Err(InstallError::Config(message))
}

/// The line, and what is wrong with it.
fn show(text: &str, fault: &ValidationError<'_>) -> String {
    let mut pointer = fault.instance_path().as_str().to_owned();
    // What is wrong is the key that should not be there, not all that surrounds it.
    if let ValidationErrorKind::AdditionalProperties { unexpected } = fault.kind()
        && let Some(key) = unexpected.first()
    {
        pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    }
    let place = line_of(text, &pointer).and_then(|line| Some((line, text.lines().nth(line - 1)?)));
    match place {
        Some((line, content)) => format!("  line {line}: {}\n    {fault}", content.trim()),
        None => format!("  {fault}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_lines_that_do_not_fit_are_shown() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["interval_s"],
            "properties": {"interval_s": {"type": "integer", "minimum": 1}, "points": {"items": {"type": "string"}}},
        });
        for (text, expected) in [
            ("{\"interval_s\": 5, \"points\": [\"a\"]}", ""),
            ("interval_s: 5\n", ""),
            (
                "{\n  \"interval_s\": \"soon\"\n}",
                "line 2: \"interval_s\": \"soon\"\n    \"soon\" is not of type \"integer\"",
            ),
            ("# how often\ninterval_s: 0\n", "line 2: interval_s: 0\n    0 is less than the minimum of 1"),
            ("interval_s: 1\npoints:\n- a\n- 5\n", "line 4: - 5\n"),
            ("interval_s: 1\nintervall: 2\n", "line 2: intervall: 2\n"),
            ("points: []\n", "line 1: points: []\n    \"interval_s\" is a required property"),
        ] {
            let result = fits(text, &schema, "pump").map_err(|e| e.to_string());
            match result {
                Ok(()) => assert_eq!(expected, "", "{text}"),
                Err(error) => assert!(!expected.is_empty() && error.contains(expected), "{text}: {error}"),
            }
        }
        let error = fits("a: 1", &json!({"type": "nonsense"}), "pump").unwrap_err().to_string();
        assert!(error.contains("tell its author"), "{error}");
    }
}
