//! The JSON schema of a description of a platform, and what does not fit it, with its place.

use std::fmt::Write;
use std::path::PathBuf;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Value, json};
use volttron_utils::config::{RepeatedKey, place_of};

use super::super::OpError;
use crate::nearest::nearest;
use crate::options::managed;

/// How many faults one message shows.
const MAX_SHOWN: usize = 10;

/// The schema; the settings are those the platform knows.
pub fn schema() -> Value {
    let mut schema: Value = serde_json::from_str(include_str!("schema.json")).unwrap_or_default();
    for setting in managed() {
        let types = match (setting.is_flag, setting.is_boolean, setting.is_list) {
            (true, ..) => json!(["boolean", "null"]),
            (_, true, _) => json!(["string", "boolean", "null"]),
            (.., true) => json!(["string", "array", "null"]),
            _ => json!(["string", "number", "null"]),
        };
        let mut property = json!({"type": types, "description": setting.help});
        if setting.is_list {
            property["items"] = json!({"type": "string"});
        }
        schema["properties"]["settings"]["properties"][setting.name] = property;
    }
    schema
}

/// A file and its text, for messages about places in it.
#[derive(Clone, Debug)]
pub struct Text {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

impl Text {
    /// A message about the value that a JSON pointer names.
    pub fn at(&self, pointer: &str, why: &str) -> String {
        self.with_place(place_of(&self.text, pointer), why)
    }

    /// A message about a key that stands twice.
    pub fn repeated(&self, repeated: &RepeatedKey) -> String {
        let why = format!("the key {} stands here twice", repeated.key);
        self.with_place(Some((repeated.line, repeated.column)), &why)
    }

    fn with_place(&self, place: Option<(usize, usize)>, why: &str) -> String {
        let path = self.path.display();
        let place = place.and_then(|(line, column)| Some((line, column, self.text.lines().nth(line - 1)?)));
        match place {
            Some((line, column, content)) => format!("{path}:{line}:{column}: {why}\n    {}", content.trim()),
            None => format!("{path}: {why}"),
        }
    }

    /// What does not fit the schema.
    pub fn faults(&self, value: &Value) -> Vec<String> {
        let schema = schema();
        match jsonschema::validator_for(&schema) {
            Ok(validator) => {
                validator.iter_errors(value).flat_map(|fault| self.explain(&schema, &fault)).collect()
            }
            Err(error) => vec![format!("the schema cannot be used: {error}")],
        }
    }

    fn explain(&self, schema: &Value, fault: &ValidationError<'_>) -> Vec<String> {
        let pointer = fault.instance_path().as_str();
        let ValidationErrorKind::AdditionalProperties { unexpected } = fault.kind() else {
            return vec![self.at(pointer, &fault.to_string())];
        };
        // The keys that were possible stand beside the rule that was broken.
        let rule = fault.schema_path().as_str();
        let place = rule.strip_suffix("/additionalProperties").unwrap_or(rule);
        let known = schema.pointer(&format!("{place}/properties")).and_then(Value::as_object);
        let names: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let explain = |key: &String| {
            let hint = match nearest(names.iter().copied(), key) {
                Some(near) => format!("; did you mean {near}?"),
                None if names.len() <= 12 => format!("; known are {}", names.join(", ")),
                None => String::new(),
            };
            self.at(&child(pointer, key), &format!("unknown key {key}{hint}"))
        };
        unexpected.iter().map(explain).collect()
    }
}

/// The pointer to a member of what `pointer` names.
pub fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The error with these faults.
pub fn refuse(faults: &[String]) -> OpError {
    let mut text = faults.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join("\n");
    if faults.len() > MAX_SHOWN {
        let _ = write!(text, "\nand {} more", faults.len() - MAX_SHOWN);
    }
    OpError::Usage(format!("nothing was changed:\n{text}"))
}

#[cfg(test)]
mod tests {
    use volttron_utils::config::parse_config;

    use super::*;

    fn faults(text: &str) -> String {
        let file = Text { path: "p.yaml".into(), text: text.to_owned() };
        file.faults(&parse_config(text).unwrap()).join("\n")
    }

    #[test]
    fn faults_have_places_and_hints() {
        for (text, expected) in [
            (
                "agents:\n  pump:\n    sorce: x\n",
                "p.yaml:3:5: unknown key sorce; did you mean source?\n    sorce: x",
            ),
            ("{\n\"agent\": {}}", "p.yaml:2:1: unknown key agent; did you mean agents?"),
            ("settings:\n  vip-adress: x\n", "2:3: unknown key vip-adress; did you mean vip-address?"),
            ("settings:\n  web-secret-key: x\n", "2:3: unknown key web-secret-key"),
            ("agents:\n  a: {priority: 100}\n", "2:7: 100 is greater than the maximum of 99"),
            ("agents:\n  a:\n    restart: no\n", "3:5: false is not one of"),
            ("auth:\n  entries:\n    - idendity: a\n", "3:7: unknown key idendity; did you mean identity?"),
            ("protected-topics:\n  - topic: a\n", "2:5: \"capabilities\" is a required property"),
            ("format: 2\n", "1:1: 1 was expected"),
        ] {
            let found = faults(text);
            assert!(found.contains(expected), "{text}: {found}");
        }
        assert_eq!(faults("settings: {autostart: false, vip-address: [a]}\nagents: {a: }\n"), "");
    }
}
