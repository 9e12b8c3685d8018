//! The document `auth.json`: reading every version, the rules of changing it, writing version 1.4.
//!
//! Pure: text in, text out; [`store`](super::store) does the files. The document is what the file says, with its
//! order and its unknown fields; groups and roles are expanded only in the compiled [`table`](super::table).

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use volttron_utils::json;

use super::entry::{Entry, EntryError};
use super::upgrade::{self, CURRENT, Version};

/// Which of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Entries that admit.
    Allow,
    /// Entries that refuse.
    Deny,
}

impl From<bool> for List {
    /// The `is_allow` argument of the RPC methods.
    fn from(is_allow: bool) -> Self {
        if is_allow { Self::Allow } else { Self::Deny }
    }
}

/// Why a text is not an auth file.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, even with comments removed.
    #[error("not JSON: {0}")]
    Json(#[from] json::JsonError),
    /// JSON of the wrong shape.
    #[error("{0}")]
    Shape(String),
    /// Written by a program with a newer major version.
    #[error(
        "version {0} is newer than this program reads (1.4); use the program that wrote it, or restore a backup"
    )]
    Newer(Version),
}

/// Why a change of the document is refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum EditError {
    /// Another entry has that user id.
    #[error("user_id {user_id} is already in use at index [{index}]")]
    UserIdInUse {
        /// The user id.
        user_id: String,
        /// Index of the other entry.
        index: usize,
    },
    /// Another entry accepts the same connections.
    #[error("entry matches domain, address and credentials at index [{index}]")]
    EntryExists {
        /// Index of the other entry.
        index: usize,
    },
    /// No entry has these indices.
    #[error("Invalid {}: {:?}", if .0.len() == 1 { "index" } else { "indices" }, .0)]
    Index(Vec<i64>),
    /// The entry itself is wrong.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A groups or roles argument of the wrong shape.
    #[error("{0}")]
    Value(String),
}

/// An element of a list: understood, or kept as found.
#[derive(Clone, Debug, PartialEq)]
enum Slot {
    Valid(Box<Entry>),
    Kept(Value),
}

impl Slot {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Valid(entry) => Some(entry),
            Self::Kept(_) => None,
        }
    }
}

/// The document. Indices everywhere count the valid entries of a list only.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthFile {
    allow: Vec<Slot>,
    deny: Vec<Slot>,
    groups: Map<String, Value>,
    roles: Map<String, Value>,
    version: Version,
    extra: Map<String, Value>,
}

impl Default for AuthFile {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            groups: Map::new(),
            roles: Map::new(),
            version: CURRENT,
            extra: Map::new(),
        }
    }
}

/// A document as read.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The document, upgraded to the current version.
    pub file: AuthFile,
    /// The version the text had; 0.0 for an empty one.
    pub from: Version,
    /// What was not understood, for the log.
    pub warnings: Vec<String>,
}

impl Parsed {
    /// Whether writing the document changes its version, so that a backup is due.
    pub fn upgraded(&self) -> bool {
        self.from < CURRENT
    }
}

impl AuthFile {
    /// Reads a document of any version up to 1.x. An empty text is an empty document of version 0.0.
    pub fn parse(text: &str) -> Result<Parsed, ParseError> {
        if text.trim().is_empty() {
            return Ok(Parsed { file: Self::default(), from: Version::ZERO, warnings: Vec::new() });
        }
        let Value::Object(mut top) = json::parse_commented::<Value>(text)? else {
            return Err(ParseError::Shape("the document must be an object".to_owned()));
        };
        let mut warnings = Vec::new();
        let from = Version::read(top.shift_remove("version").as_ref())?;
        let mut take_list = |name: &str| match top.shift_remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(ParseError::Shape(format!("`{name}` must be a list"))),
        };
        let (allow, deny) = (take_list("allow")?, take_list("deny")?);
        let mut take_map = |name: &str| match top.shift_remove(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(ParseError::Shape(format!("`{name}` must be an object"))),
        };
        let (groups, roles) = (take_map("groups")?, take_map("roles")?);
        let allow = upgrade::allow_list(allow, from, &mut warnings);
        let file = Self {
            allow: slots("allow", allow, &mut warnings),
            deny: slots("deny", deny, &mut warnings),
            groups,
            roles,
            // A later minor version keeps its number: everything of it that we do not know is written back.
            version: from.max(CURRENT),
            extra: top,
        };
        Ok(Parsed { file, from, warnings })
    }

    /// The text of the document: 2-space indent, the fixed order of keys, a newline at the end.
    pub fn to_text(&self) -> String {
        let list = |slots: &[Slot]| -> Value {
            slots
                .iter()
                .map(|slot| match slot {
                    Slot::Valid(entry) => entry.to_value(),
                    Slot::Kept(value) => value.clone(),
                })
                .collect()
        };
        let mut top = Map::new();
        top.insert("allow".into(), list(&self.allow));
        top.insert("deny".into(), list(&self.deny));
        top.insert("groups".into(), Value::Object(self.groups.clone()));
        top.insert("roles".into(), Value::Object(self.roles.clone()));
        top.insert("version".into(), json!({"major": self.version.major, "minor": self.version.minor}));
        for (key, value) in &self.extra {
            top.insert(key.clone(), value.clone());
        }
        let mut text = json::to_indent(&Value::Object(top), 2).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The valid entries of a list, in file order.
    pub fn entries(&self, list: List) -> impl Iterator<Item = &Entry> {
        self.slots(list).iter().filter_map(Slot::entry)
    }

    /// Group name to its list of roles, as written.
    pub fn groups(&self) -> &Map<String, Value> {
        &self.groups
    }

    /// Role name to its list of capabilities, as written.
    pub fn roles(&self) -> &Map<String, Value> {
        &self.roles
    }

    /// The version the document is written with.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The result of `auth_file.read`.
    pub fn to_rpc(&self) -> Value {
        json!({
            "allow_list": self.entries(List::Allow).map(Entry::to_value).collect::<Vec<_>>(),
            "deny_list": self.entries(List::Deny).map(Entry::to_value).collect::<Vec<_>>(),
            "groups": self.groups,
            "roles": self.roles,
            "version": {"major": self.version.major, "minor": self.version.minor},
        })
    }

    fn slots(&self, list: List) -> &[Slot] {
        match list {
            List::Allow => &self.allow,
            List::Deny => &self.deny,
        }
    }

    fn slots_mut(&mut self, list: List) -> &mut Vec<Slot> {
        match list {
            List::Allow => &mut self.allow,
            List::Deny => &mut self.deny,
        }
    }

    /// Positions of the valid entries.
    fn positions(&self, list: List) -> Vec<usize> {
        let valid = |(i, slot): (usize, &Slot)| slot.entry().map(|_| i);
        self.slots(list).iter().enumerate().filter_map(valid).collect()
    }

    fn check_indices(&self, list: List, indices: &[i64]) -> Result<HashSet<usize>, EditError> {
        let positions = self.positions(list);
        let position = |i: i64| usize::try_from(i).ok().and_then(|i| positions.get(i)).copied();
        let wrong: Vec<i64> = indices.iter().copied().filter(|i| position(*i).is_none()).collect();
        if !wrong.is_empty() {
            return Err(EditError::Index(wrong));
        }
        Ok(indices.iter().filter_map(|i| position(*i)).collect())
    }

    /// Refuses an entry that collides with another one than that at `except`.
    fn check_collision(&self, list: List, entry: &Entry, except: Option<usize>) -> Result<(), EditError> {
        for (index, other) in self.entries(list).enumerate().filter(|(i, _)| Some(*i) != except) {
            if other.user_id == entry.user_id {
                return Err(EditError::UserIdInUse { user_id: entry.user_id.clone(), index });
            }
            if other.same_match(entry) {
                return Err(EditError::EntryExists { index });
            }
        }
        Ok(())
    }

    /// Appends an entry. One with the same user id, or for the same connections, is an error; with `overwrite` it
    /// is replaced instead, where it stands.
    pub fn add(&mut self, list: List, entry: Entry, overwrite: bool) -> Result<(), EditError> {
        entry.validate()?;
        match self.check_collision(list, &entry, None) {
            Ok(()) => self.slots_mut(list).push(Slot::Valid(Box::new(entry))),
            Err(EditError::UserIdInUse { index, .. } | EditError::EntryExists { index }) if overwrite => {
                let position = self.positions(list)[index];
                self.slots_mut(list)[position] = Slot::Valid(Box::new(entry));
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Puts `entry` in the place of the one with its user id, or at the end. Collisions of the credentials are not
    /// looked for: the platform's own entries share keys with their aliases. Returns whether anything changed.
    pub fn put_by_user_id(&mut self, entry: Entry) -> bool {
        let same = |slot: &Slot| slot.entry().is_some_and(|e| e.user_id == entry.user_id);
        match self.allow.iter().position(same) {
            Some(i) if self.allow[i].entry() == Some(&entry) => return false,
            Some(i) => self.allow[i] = Slot::Valid(Box::new(entry)),
            None => self.allow.push(Slot::Valid(Box::new(entry))),
        }
        true
    }

    /// Replaces the entry at `index`.
    pub fn update(&mut self, list: List, index: i64, entry: Entry) -> Result<(), EditError> {
        entry.validate()?;
        self.check_indices(list, &[index])?;
        let index = usize::try_from(index).unwrap_or_default();
        self.check_collision(list, &entry, Some(index))?;
        let position = self.positions(list)[index];
        self.slots_mut(list)[position] = Slot::Valid(Box::new(entry));
        Ok(())
    }

    /// Removes the entries at `indices`; all or none.
    pub fn remove(&mut self, list: List, indices: &[i64]) -> Result<(), EditError> {
        let gone = self.check_indices(list, indices)?;
        let mut position = 0;
        self.slots_mut(list).retain(|_| {
            position += 1;
            !gone.contains(&(position - 1))
        });
        Ok(())
    }

    /// The valid entries `keep` refuses are removed. Returns how many.
    pub fn retain(&mut self, list: List, mut keep: impl FnMut(&Entry) -> bool) -> usize {
        let slots = self.slots_mut(list);
        let before = slots.len();
        slots.retain(|slot| slot.entry().is_none_or(&mut keep));
        before - slots.len()
    }

    /// Removes every entry whose credentials name `credentials`. Returns how many.
    pub fn remove_by_credentials(&mut self, list: List, credentials: &str) -> usize {
        self.retain(list, |e| !e.credentials.texts().iter().any(|c| c == credentials))
    }

    /// Entries whose credentials name `credentials`, as a text, not by matching.
    pub fn find_by_credentials(&self, list: List, credentials: &str) -> Vec<&Entry> {
        self.entries(list).filter(|e| e.credentials.texts().iter().any(|c| c == credentials)).collect()
    }

    /// Calls `change` with every valid allow entry.
    pub fn for_each_allowed(&mut self, mut change: impl FnMut(&mut Entry)) {
        for slot in &mut self.allow {
            if let Slot::Valid(entry) = slot {
                change(entry);
            }
        }
    }

    /// Replaces the groups. Every role must be text.
    pub fn set_groups(&mut self, groups: &Value) -> Result<(), EditError> {
        self.groups = map_of_lists("groups", groups)?;
        Ok(())
    }

    /// Replaces the roles.
    pub fn set_roles(&mut self, roles: &Value) -> Result<(), EditError> {
        self.roles = map_of_lists("roles", roles)?;
        Ok(())
    }
}

fn map_of_lists(what: &str, value: &Value) -> Result<Map<String, Value>, EditError> {
    let map = value.as_object().ok_or_else(|| EditError::Value(format!("{what} parameter must be dict")))?;
    if !map.values().all(Value::is_array) {
        return Err(EditError::Value(format!("each value of the {what} dict must be a list")));
    }
    Ok(map.clone())
}

fn slots(list: &str, values: Vec<Value>, warnings: &mut Vec<String>) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(values.len());
    for (i, value) in values.into_iter().enumerate() {
        match Entry::from_value(&value) {
            Ok(entry) => slots.push(Slot::Valid(Box::new(entry))),
            Err(e) => {
                let who = ["user_id", "identity", "comments"]
                    .iter()
                    .find_map(|k| value.get(k).and_then(Value::as_str).map(|v| format!(" ({k} {v})")))
                    .unwrap_or_default();
                warnings.push(format!("{list} entry {i}{who} is ignored but kept: {e}"));
                slots.push(Slot::Kept(value));
            }
        }
    }
    slots
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
