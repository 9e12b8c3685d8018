//! A platform as a description that [`super::file`] reads. Secrets are left out, and named.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value, json};
use volttron_utils::config::{csv_to_json, flag_value, parse_config, to_yaml};
use volttron_utils::home::Home;

use super::super::bugreport::secrets::{is_secret_name, secret_members, setting_in};
use super::super::{OpError, Session};
use super::plan::user;
use super::state::{Present, PresentAgent, Stores, gather};
use crate::auth::entry::{Entry, Mechanism};
use crate::options::managed;
use crate::services::auth::changes::is_own_user;
use crate::supervisor::installed::Runtime;

/// A description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// The document.
    pub document: Value,
    /// Its text.
    pub text: String,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// Describes everything; without what seems to hold a secret, unless `with_secrets`. Keys are never in it.
pub async fn export(home: &Home, session: Option<&Session>, with_secrets: bool) -> Result<Exported, OpError> {
    let present = gather(home, session, Stores::All).await?;
    Ok(describe(home, &present, with_secrets))
}

fn describe(home: &Home, present: &Present, with_secrets: bool) -> Exported {
    let mut writer = Writer { home, with_secrets, left_out: Vec::new() };
    let mut document = Map::new();
    document.insert("format".to_owned(), 1.into());
    document.insert("settings".to_owned(), settings(present));
    document.insert("agents".to_owned(), writer.agents(present));
    document.insert("config-store".to_owned(), writer.store(present));
    document.insert("auth".to_owned(), writer.auth(present));
    let topics = present.topics.iter();
    let topics: Vec<Value> =
        topics.map(|(topic, needed)| json!({"topic": topic, "capabilities": needed})).collect();
    document.insert("protected-topics".to_owned(), topics.into());
    let document = Value::Object(document);
    let mut head =
        "# A VOLTTRON platform, written by `vctl export`. `vctl apply -f` makes one like it.\n".to_owned();
    for line in &writer.left_out {
        let _ = writeln!(head, "# left out: {}", line.replace('\n', " "));
    }
    let mut text = head + &to_yaml(&document);
    // What YAML cannot say, such as a key `<<`, JSON can.
    if parse_config(&text).ok().as_ref() != Some(&document) {
        text = volttron_utils::json::to_indent(&document, 2).unwrap_or_default() + "\n";
    }
    Exported { document, text, left_out: writer.left_out }
}

fn settings(present: &Present) -> Value {
    let mut settings = Map::new();
    for setting in managed() {
        let ours = |section: Option<&str>| section.is_none_or(|s| s == "volttron");
        let entries = present.settings.entries().iter();
        let lines: Vec<String> = entries
            .filter(|e| e.key == setting.name && ours(e.section.as_deref()))
            .map(|e| if e.bare { "True".to_owned() } else { e.value() })
            .collect();
        let Some(last) = lines.last() else { continue };
        let value = if setting.is_list {
            lines.into()
        } else if let (true, Ok(on)) = (setting.is_flag, flag_value(last)) {
            on.into()
        } else {
            last.clone().into()
        };
        settings.insert(setting.name, value);
    }
    settings.into()
}

struct Writer<'a> {
    home: &'a Home,
    with_secrets: bool,
    left_out: Vec<String>,
}

/// The name of a member that seems to hold a secret.
fn secret_in(value: &Value) -> Option<String> {
    secret_below("", value)
}

fn secret_below(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Object(map) => map.iter().find_map(|(name, inner)| {
            let filled = match inner {
                Value::String(text) => !text.is_empty(),
                Value::Number(_) => true,
                _ => false,
            };
            if filled && is_secret_name(name) { Some(name.clone()) } else { secret_below(name, inner) }
        }),
        Value::Array(items) if secret_members(name, items).contains(&true) => {
            Some(if name.is_empty() { "list" } else { name }.to_owned())
        }
        Value::Array(items) => items.iter().find_map(secret_in),
        // Among them keys in addresses of other platforms.
        Value::String(text) => setting_in(text),
        _ => None,
    }
}

impl Writer<'_> {
    /// Whether something may be written; else it is noted down.
    fn may(&mut self, what: &str, value: &Value) -> bool {
        match secret_in(value).filter(|_| !self.with_secrets) {
            Some(name) => {
                self.left_out.push(format!("{what}, because its {name} may be a secret"));
                false
            }
            None => true,
        }
    }

    fn agents(&mut self, present: &Present) -> Value {
        let agents = present.agents.iter();
        agents
            .map(|(identity, agent)| (identity.clone(), self.agent(present, identity, agent)))
            .collect::<Map<_, _>>()
            .into()
    }

    fn agent(&mut self, present: &Present, identity: &str, of: &PresentAgent) -> Value {
        let mut fields = Map::new();
        let agent = &of.agent;
        if let Some(source) = self.source(of) {
            fields.insert("source".to_owned(), source.into());
        }
        if let Some(registry) = registry(of) {
            fields.insert("registry".to_owned(), registry.into());
        }
        fields.insert("version".to_owned(), agent.version().into());
        fields.insert("tag".to_owned(), json!(agent.tag));
        let priority = agent.priority.as_ref().and_then(|text| text.trim().parse::<u8>().ok());
        fields.insert("priority".to_owned(), json!(priority));
        if present.online {
            fields.insert("running".to_owned(), of.running.into());
        }
        if let Some(text) = &of.config {
            // What cannot be read is text, and looked through as such.
            let value = parse_config(text).unwrap_or_else(|_| text.clone().into());
            if self.may(&format!("configuration of the agent {identity}"), &value) {
                fields.insert("config".to_owned(), as_value(text, value));
            }
        }
        if let Some(manifest) = &agent.manifest {
            let env = manifest.env.iter().map(|(name, value)| (name.clone(), Value::from(value.clone())));
            let env = Value::Object(env.collect());
            if !manifest.env.is_empty() && self.may(&format!("environment of the agent {identity}"), &env) {
                fields.insert("env".to_owned(), env);
            }
            if let Some(restart) = &manifest.restart {
                fields.insert("restart".to_owned(), restart.clone().into());
            }
            if let Some(count) = manifest.max_restarts {
                fields.insert("max-restarts".to_owned(), count.into());
            }
            if !manifest.after.is_empty() {
                fields.insert("after".to_owned(), manifest.after.clone().into());
            }
        }
        fields.into()
    }

    /// Where the agent can be had from: where it came from, else what lies in this home.
    fn source(&self, of: &PresentAgent) -> Option<String> {
        let manifest = of.agent.manifest.as_ref()?;
        let text = |key: &str| manifest.source.get(key).and_then(Value::as_str);
        match text("kind") {
            Some("registry") => return Some(manifest.package.clone()),
            Some("pypi") => {
                let name = text("requirement")?;
                return Some(if name.starts_with("pypi:") {
                    name.to_owned()
                } else {
                    format!("pypi:{name}")
                });
            }
            _ => {}
        }
        if let Some(path) = text("path").filter(|path| Path::new(path).exists()) {
            return Some(path.to_owned());
        }
        let program = self.home.agent(&of.agent.identity).path().join(&manifest.exec);
        let program = program.canonicalize().ok().filter(|_| manifest.runtime == Runtime::Native);
        Some(program?.display().to_string())
    }

    fn store(&mut self, present: &Present) -> Value {
        let mut all = Map::new();
        for (identity, store) in &present.store {
            let mut entries = Map::new();
            for (name, item) in store {
                let text = || Value::from(item.data.clone());
                let value = match item.kind.as_str() {
                    "json" => parse_config(&item.data).unwrap_or_else(|_| text()),
                    _ => text(),
                };
                // The names of a table stand in its first row.
                let rows = (item.kind == "csv").then(|| csv_to_json(&item.data).ok()).flatten();
                let looked_at = rows.map_or_else(
                    || value.clone(),
                    |rows| rows.into_iter().map(Value::Object).collect::<Value>(),
                );
                if self.may(&format!("configuration {identity}/{name}"), &looked_at) {
                    let content = if item.kind == "json" {
                        as_value(&item.data, value)
                    } else {
                        item.data.clone().into()
                    };
                    entries.insert(name.clone(), json!({item.kind.as_str(): content}));
                }
            }
            if !entries.is_empty() {
                all.insert(identity.clone(), entries.into());
            }
        }
        all.into()
    }

    fn auth(&mut self, present: &Present) -> Value {
        let mut entries = Vec::new();
        let mut seen = BTreeSet::new();
        for value in &present.rules.allow {
            let Ok(entry) = Entry::from_value(value) else { continue };
            let Value::Object(fields) = entry.to_value() else { continue };
            let name = user(&fields).to_owned();
            if is_own_user(&entry.user_id) || !seen.insert(name.clone()) {
                continue;
            }
            if entry.mechanism == Mechanism::Plain {
                self.left_out.push(format!("auth entry {name}, because its credentials are a password"));
                continue;
            }
            let installed = present.agents.contains_key(&name);
            entries.push(Value::Object(said(fields, installed)));
        }
        json!({"entries": entries, "groups": present.rules.groups, "roles": present.rules.roles})
    }
}

/// What says something. The key of an installed agent is another one elsewhere.
fn said(fields: Map<String, Value>, installed: bool) -> Map<String, Value> {
    let known = crate::auth::entry::FIELDS;
    let says = |key: &str, value: &Value| match key {
        "credentials" if installed => false,
        // What may have been taken away from an agent has to be said.
        "capabilities" | "rpc_method_authorizations" | "groups" | "roles" if installed => true,
        "mechanism" => value != "CURVE",
        "enabled" => value == false,
        _ => match value {
            Value::Null => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        },
    };
    let fields = fields.into_iter().filter(|(key, value)| known.contains(&key.as_str()) && says(key, value));
    fields.collect()
}

/// The registry of a crate, if it is not the default one.
fn registry(of: &PresentAgent) -> Option<String> {
    let source = &of.agent.manifest.as_ref()?.source;
    let name = source.get("registry").and_then(Value::as_str)?;
    (name != "crates.io").then(|| name.to_owned())
}

/// The value, if writing it gives this very text; else the text.
fn as_value(text: &str, value: Value) -> Value {
    let same = volttron_utils::json::to_indent(&value, 2).is_ok_and(|written| written == text);
    if same && (value.is_object() || value.is_array()) { value } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_noticed() {
        for (value, name) in [
            (json!({"connection": {"params": {"user": "x", "password": "y"}}}), Some("password")),
            (json!([{"API-Key": "k"}]), Some("API-Key")),
            (json!({"secret_key": ""}), None),
            (json!({"address": "tcp://a:1?secretkey=abc"}), Some("secretkey")),
            (json!({"interval_s": 5, "keyword": "a"}), None),
            (json!("host: h\npassword: S1\n"), Some("password")),
            (json!({"db": "postgres://me:pa55@db/x"}), Some("password in an address")),
            (json!({"args": ["--api-key", "k"]}), Some("args")),
            (json!({"auth": ["me", "k"]}), Some("auth")),
        ] {
            assert_eq!(secret_in(&value).as_deref(), name, "{value}");
        }
    }
}
