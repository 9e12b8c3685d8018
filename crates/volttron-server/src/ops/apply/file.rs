//! A description of a platform as it is wanted, from one file or all files of a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use volttron_utils::config::{parse_config, repeated_keys};
use volttron_utils::json;

use super::super::OpError;
use super::super::config;
use super::super::config::tree::{self, Item};
use super::schema::{Text, child, refuse};
use crate::auth::entry::Entry;
use crate::auth::protected::Protected;
use crate::install::Registry;
use crate::options::managed;
use crate::services::auth::changes::is_own_user;
use crate::services::config_store::Kind;

/// Endings of descriptions in a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What is wanted. A part that is none is not managed; what is left out within a part stays, unless it is pruned.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Settings with the texts of their lines; none takes them out.
    pub settings: Option<BTreeMap<String, Vec<String>>>,
    /// Agents by identity.
    pub agents: Option<BTreeMap<String, Agent>>,
    /// Configurations by identity and name.
    pub store: Option<BTreeMap<String, BTreeMap<String, Content>>>,
    /// Fields of auth entries.
    pub entries: Option<Vec<Map<String, Value>>>,
    /// Group to roles.
    pub groups: Option<Map<String, Value>>,
    /// Role to capabilities.
    pub roles: Option<Map<String, Value>>,
    /// Topic to capabilities.
    pub topics: Option<Vec<(String, Value)>>,
}

/// A wanted agent.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// What `vctl install` takes.
    pub source: Option<String>,
    /// Registry of a crate.
    pub registry: Option<Registry>,
    /// Version.
    pub version: Option<String>,
    /// Tag, or that there is none.
    pub tag: Option<Option<String>>,
    /// Priority, or that there is none.
    pub priority: Option<Option<String>>,
    /// Whether it runs.
    pub running: Option<bool>,
    /// Configuration file.
    pub config: Option<Content>,
    /// Additions to its environment.
    pub env: Option<BTreeMap<String, String>>,
    /// Restart policy.
    pub restart: Option<String>,
    /// Restarts in a row.
    pub max_restarts: Option<u32>,
    /// Start order.
    pub after: Option<Vec<String>>,
}

/// A configuration: what is stored if it is not there yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Type and text.
    pub item: Item,
    /// The value, if only that counts and not how it is written.
    pub value: Option<Value>,
}

impl Content {
    fn of(kind: &str, value: &Value) -> Self {
        let (data, value) = match value {
            Value::String(text) => (text.clone(), None),
            other => (json::to_indent(other, 2).unwrap_or_default(), Some(other.clone())),
        };
        Self { item: Item { kind: kind.to_owned(), data }, value }
    }

    /// Whether what is stored is what is wanted.
    pub fn is(&self, stored: &Item) -> bool {
        let same_value =
            |wanted: &Value| json::parse_commented::<Value>(&stored.data).is_ok_and(|v| v == *wanted);
        *stored == self.item || (stored.kind == self.item.kind && self.value.as_ref().is_some_and(same_value))
    }

    /// As [`Self::is`], for the configuration file of an agent, which may be YAML.
    pub fn is_text(&self, text: &str) -> bool {
        let same_value = |wanted: &Value| parse_config(text).is_ok_and(|v| v == *wanted);
        text == self.item.data || self.value.as_ref().is_some_and(same_value)
    }
}

/// Reads files, all descriptions in directories, and standard input for `-`: all of it together.
pub fn read(paths: &[PathBuf]) -> Result<Wanted, OpError> {
    let (mut wanted, mut faults) = (Wanted::default(), Vec::new());
    for path in paths {
        for file in files_of(path)? {
            // Whatever cannot be read, nothing has happened yet.
            let wrong = |error: OpError| OpError::Usage(format!("nothing was changed: {error}"));
            let is_input = file == Path::new("-");
            let text = config::read(Some(&*file).filter(|_| !is_input)).map_err(wrong)?;
            let path = if is_input { PathBuf::from("standard input") } else { file };
            let mut reader = Reader { text: Text { path, text }, faults: Vec::new() };
            reader.read(&mut wanted);
            faults.append(&mut reader.faults);
        }
    }
    if faults.is_empty() { Ok(wanted) } else { Err(refuse(&faults)) }
}

/// The file, or the descriptions in the directory.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, OpError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)
        .map_err(|e| OpError::Usage(format!("nothing was changed: {}: {e}", path.display())))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| {
        let fits = file.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDINGS.contains(&e));
        fits && file.is_file() && !file.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'))
    });
    files.sort();
    if files.is_empty() {
        let text = format!("{}: there is no file .yaml, .yml or .json here", path.display());
        return Err(OpError::Usage(text));
    }
    Ok(files)
}

/// A name from cargo's configuration, or the address of an index.
fn registry(text: String) -> Registry {
    if text.contains("://") { Registry::Index(text) } else { Registry::Name(text) }
}

/// One file.
struct Reader {
    text: Text,
    faults: Vec<String>,
}

/// Members of an object; nothing of anything else, which the schema has refused.
fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

impl Reader {
    fn fault(&mut self, pointer: &str, why: &str) {
        self.faults.push(self.text.at(pointer, why));
    }

    fn read(&mut self, wanted: &mut Wanted) {
        let value = match parse_config(&self.text.text) {
            Ok(value) => value,
            Err((json, yaml)) => {
                let looks_like_json = self.text.text.trim_start().starts_with(['{', '[']);
                let why = if looks_like_json { json } else { yaml };
                self.faults.push(format!("{}: {why}", self.text.path.display()));
                return;
            }
        };
        // Which of them counts, nobody who reads the file can tell.
        self.faults
            .extend(repeated_keys(&self.text.text).iter().map(|repeated| self.text.repeated(repeated)));
        self.faults.extend(self.text.faults(&value));
        if !self.faults.is_empty() {
            return;
        }
        self.settings(&value, wanted);
        self.agents(&value, wanted);
        self.store(&value, wanted);
        self.auth(&value, wanted);
        self.topics(&value, wanted);
    }

    fn settings(&mut self, value: &Value, wanted: &mut Wanted) {
        let known = managed();
        for (name, value) in members(value.get("settings")) {
            let Some(setting) = known.iter().find(|s| s.name == *name) else { continue };
            let texts = if value.is_null() { Vec::new() } else { setting.texts(value) };
            for text in &texts {
                if let Err(why) = setting.check(text) {
                    self.fault(&child("/settings", name), &why);
                }
            }
            if wanted.settings.get_or_insert_default().insert(name.clone(), texts).is_some() {
                self.fault(
                    &child("/settings", name),
                    "another file says something about this setting already",
                );
            }
        }
    }

    fn agents(&mut self, value: &Value, wanted: &mut Wanted) {
        for (identity, value) in members(value.get("agents")) {
            let pointer = child("/agents", identity);
            if volttron_utils::identity::reserved_for_install(identity) {
                self.fault(&pointer, "this identity belongs to the platform");
            }
            let agent = self.agent(&pointer, value);
            if wanted.agents.get_or_insert_default().insert(identity.clone(), agent).is_some() {
                self.fault(&pointer, "another file describes this agent already");
            }
        }
    }

    fn agent(&mut self, pointer: &str, value: &Value) -> Agent {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let config = match (value.get("config"), text("config-file")) {
            (Some(_), Some(_)) => {
                self.fault(&child(pointer, "config-file"), "there is a `config` already");
                None
            }
            (Some(config), None) => Some(Content::of("json", config)),
            (None, Some(file)) => {
                let data = self.beside(&child(pointer, "config-file"), &file);
                Some(Content { item: Item { kind: "json".to_owned(), data }, value: None })
            }
            (None, None) => None,
        };
        if let Some(Err((json, yaml))) = config.as_ref().map(|c| parse_config(&c.item.data)) {
            let key = if value.get("config").is_some() { "config" } else { "config-file" };
            self.fault(&child(pointer, key), &format!("neither JSON ({json}) nor YAML ({yaml})"));
        }
        let env = value.get("env").map(|env| {
            let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            members(Some(env)).map(|(name, value)| (name.clone(), text(value))).collect()
        });
        Agent {
            source: text("source").map(|source| self.source(&source)),
            registry: text("registry").map(registry),
            version: text("version"),
            tag: value.get("tag").map(|tag| tag.as_str().filter(|t| !t.is_empty()).map(str::to_owned)),
            priority: value.get("priority").map(|p| p.as_u64().map(|number| format!("{number:0>2}"))),
            running: value.get("running").and_then(Value::as_bool),
            config,
            env,
            restart: text("restart"),
            max_restarts: value.get("max-restarts").and_then(Value::as_u64).and_then(|n| n.try_into().ok()),
            after: value.get("after").map(|a| serde_json::from_value(a.clone()).unwrap_or_default()),
        }
    }

    fn directory(&self) -> PathBuf {
        self.text.path.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// A path beside this file if there is one, else what it says.
    fn source(&self, source: &str) -> String {
        let beside = self.directory().join(source);
        let is_path = source.starts_with('.') || source.contains('/');
        if is_path || beside.exists() { beside.display().to_string() } else { source.to_owned() }
    }

    fn beside(&mut self, pointer: &str, name: &str) -> String {
        let path = self.directory().join(name);
        config::read(Some(&path)).unwrap_or_else(|e| {
            self.fault(pointer, &e.to_string());
            String::new()
        })
    }

    fn store(&mut self, value: &Value, wanted: &mut Wanted) {
        if let Some(dir) = value.get("config-store-dir").and_then(Value::as_str) {
            match tree::read(&self.directory().join(dir)) {
                Ok(tree) => {
                    for (identity, store) in tree {
                        for (name, item) in store {
                            self.put(
                                wanted,
                                "/config-store-dir",
                                &identity,
                                &name,
                                Content { item, value: None },
                            );
                        }
                    }
                }
                Err(error) => self.fault("/config-store-dir", &error.to_string()),
            }
        }
        if value.get("config-store").is_some() {
            wanted.store.get_or_insert_default();
        }
        for (identity, store) in members(value.get("config-store")) {
            let pointer = child("/config-store", identity);
            wanted.store.get_or_insert_default().entry(identity.clone()).or_default();
            for (name, value) in members(Some(store)) {
                let pointer = child(&pointer, name);
                if let Some(content) = self.content(&pointer, value) {
                    self.put(wanted, &pointer, identity, name, content);
                }
            }
        }
    }

    fn content(&mut self, pointer: &str, value: &Value) -> Option<Content> {
        let object = value.as_object()?;
        let kinds: Vec<&str> =
            ["json", "csv", "raw", "file"].into_iter().filter(|kind| object.contains_key(*kind)).collect();
        let [kind] = kinds[..] else {
            self.fault(pointer, "exactly one of json, csv, raw and file says what is stored");
            return None;
        };
        let said = object.get("type").and_then(Value::as_str);
        if kind != "file" {
            if said.is_some() {
                self.fault(&child(pointer, "type"), "the type is for a `file`; here the key is the type");
            }
            return Some(Content::of(kind, &object[kind]));
        }
        let file = object["file"].as_str().unwrap_or_default().to_owned();
        let data = self.beside(&child(pointer, "file"), &file);
        let kind = said.unwrap_or_else(|| tree::kind_of(&file, &data)).to_owned();
        Some(Content { item: Item { kind, data }, value: None })
    }

    fn put(&mut self, wanted: &mut Wanted, pointer: &str, identity: &str, name: &str, content: Content) {
        let kind = Kind::parse(&content.item.kind).unwrap_or(Kind::Raw);
        if let Err(why) = crate::services::config_store::check(kind, &content.item.data) {
            self.fault(pointer, &format!("{identity}/{name}: {why}"));
        }
        let store = wanted.store.get_or_insert_default().entry(identity.to_owned()).or_default();
        if store.insert(name.to_owned(), content).is_some() {
            self.fault(pointer, &format!("{identity}/{name} is described twice"));
        }
    }

    fn auth(&mut self, value: &Value, wanted: &mut Wanted) {
        let Some(auth) = value.get("auth") else { return };
        for (at, entry) in auth.get("entries").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let pointer = format!("/auth/entries/{at}");
            let Some(fields) = entry.as_object() else { continue };
            let name = |key: &str| fields.get(key).and_then(Value::as_str).filter(|name| !name.is_empty());
            match name("identity").or(name("user_id")) {
                None => self.fault(&pointer, "an entry needs an identity or a user_id"),
                Some(user) if is_own_user(user) => self.fault(&pointer, "this user belongs to the platform"),
                Some(_) => {}
            }
            // Without credentials of its own it is checked when it meets the entry that is there.
            if fields.contains_key("credentials")
                && let Err(why) = Entry::from_value(entry)
            {
                self.fault(&pointer, &why.to_string());
            }
            wanted.entries.get_or_insert_default().push(fields.clone());
        }
        for (key, into) in [("groups", &mut wanted.groups), ("roles", &mut wanted.roles)] {
            if let Some(map) = auth.get(key).and_then(Value::as_object) {
                into.get_or_insert_default().extend(map.clone());
            }
        }
    }

    fn topics(&mut self, value: &Value, wanted: &mut Wanted) {
        let Some(list) = value.get("protected-topics").and_then(Value::as_array) else { return };
        let document = serde_json::json!({"write-protect": list}).to_string();
        if let Err(why) = Protected::parse(&document) {
            self.fault("/protected-topics", &why.to_string());
        }
        let topics = wanted.topics.get_or_insert_default();
        for entry in list {
            let topic = entry["topic"].as_str().unwrap_or_default();
            topics.push((topic.to_owned(), entry["capabilities"].clone()));
        }
    }
}
