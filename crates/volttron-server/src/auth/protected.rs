//! `protected_topics.json`: which topics need which capabilities to publish. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;
use volttron_utils::json;

use super::entry::regex_body;
use super::file::ParseError;
use super::pattern;

/// Capabilities a publisher needs, all of them.
type Required = Arc<[String]>;

/// The compiled document.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    exact: HashMap<String, Required>,
    /// In file order: the first prefix that fits decides.
    prefixes: Vec<(String, Required)>,
    regexes: Vec<(Regex, Required)>,
}

impl Protected {
    /// Reads the document. An empty text protects nothing. One bad entry spoils the whole: half a protection would
    /// be taken for the whole of it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut this = Self::default();
        for (topic, capabilities) in entries(text)? {
            let required: Required = capabilities.into();
            if let Some(body) = regex_body(&topic) {
                let regex = pattern::compile(body)
                    .map_err(|reason| shape(&format!("{topic} is not a regular expression: {reason}")))?;
                this.regexes.push((regex, required));
            } else {
                this.prefixes.push((topic.clone(), required.clone()));
                this.exact.insert(topic, required);
            }
        }
        Ok(this)
    }

    /// The capabilities a publisher to `topic` needs: of the exact entry, else the first that is a prefix, else the
    /// first regular expression that matches. `None` when the topic is free.
    pub fn required(&self, topic: &str) -> Option<&[String]> {
        self.exact
            .get(topic)
            .or_else(|| self.prefixes.iter().find(|(p, _)| topic.starts_with(p.as_str())).map(|(_, r)| r))
            .or_else(|| self.regexes.iter().find(|(r, _)| r.is_match(topic)).map(|(_, r)| r))
            .map(|r| &**r)
    }

    /// Whether nothing is protected.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.regexes.is_empty()
    }
}

fn shape(what: &str) -> ParseError {
    ParseError::Shape(what.to_owned())
}

/// The topics of a document with the capabilities each needs, as they are written there; a topic that is there twice needs
/// those of both.
pub fn entries(text: &str) -> Result<Vec<(String, Vec<String>)>, ParseError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let Value::Object(top) = json::parse_commented::<Value>(text)? else {
        return Err(shape("the document must be an object"));
    };
    let entries = match top.get("write-protect") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(shape("`write-protect` must be a list")),
    };
    let mut topics: Vec<(String, Vec<String>)> = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let (topic, capabilities) = read_entry(entry).ok_or_else(|| {
            shape(&format!("entry {i} needs a `topic` and `capabilities`, a name or a list of names"))
        })?;
        match topics.iter_mut().find(|(t, _)| *t == topic) {
            Some((_, all)) => all.extend(capabilities),
            None => topics.push((topic, capabilities)),
        }
    }
    Ok(topics)
}

fn read_entry(entry: &Value) -> Option<(String, Vec<String>)> {
    let topic = entry.get("topic")?.as_str()?.to_owned();
    let capabilities = match entry.get("capabilities")? {
        Value::String(name) => vec![name.clone()],
        Value::Array(list) => list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        _ => return None,
    };
    Some((topic, capabilities))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_then_prefix_then_regex() {
        let doc = r#"{ # comment
            "write-protect": [
                {"topic": "a/b", "capabilities": ["long"]},
                {"topic": "a", "capabilities": "short"},
                {"topic": "a/b/c", "capabilities": ["exact", "two"]},
                {"topic": "/.*x/", "capabilities": ["rx"]},
                {"topic": "a/b/c", "capabilities": ["three"]}]}"#;
        let p = Protected::parse(doc).unwrap();
        let table: &[(&str, Option<&[&str]>)] = &[
            ("a/b/c", Some(&["exact", "two", "three"])),
            ("a/b/cd", Some(&["long"])),
            ("a/bc", Some(&["long"])),
            ("ab", Some(&["short"])),
            ("bx", Some(&["rx"])),
            ("bxy", None),
            ("x\n", None),
            ("", None),
        ];
        for (topic, want) in table {
            assert_eq!(
                p.required(topic).map(<[String]>::to_vec),
                want.map(|w| w.iter().map(|s| (*s).to_owned()).collect()),
                "{topic:?}"
            );
        }
    }

    #[test]
    fn bad_documents_are_refused_as_a_whole() {
        for bad in [
            "[]",
            "{",
            r#"{"write-protect": {}}"#,
            r#"{"write-protect": [{"topic": "a"}]}"#,
            r#"{"write-protect": [{"topic": 1, "capabilities": "x"}]}"#,
            r#"{"write-protect": [{"topic": "a", "capabilities": [1]}]}"#,
            r#"{"write-protect": [{"topic": "/(/", "capabilities": "x"}]}"#,
        ] {
            assert!(Protected::parse(bad).is_err(), "{bad}");
        }
        for empty in ["", "  \n", "{}", r#"{"write-protect": []}"#, r#"{"write-protect": null}"#] {
            assert!(Protected::parse(empty).unwrap().is_empty(), "{empty}");
        }
    }

    #[test]
    fn a_topic_without_capabilities_is_open_to_known_users_only() {
        let p = Protected::parse(r#"{"write-protect": [{"topic": "a", "capabilities": []}]}"#).unwrap();
        assert_eq!(p.required("a"), Some(&[][..]));
    }
}
