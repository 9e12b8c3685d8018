//! The configurations of one agent: names without regard to case, no cycles of links. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::entry::{BadEntry, Entry, Kind, links, parse};

/// One configuration with the name as it was last written.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    lower: String,
    links: Vec<String>,
    entry: Arc<Entry>,
}

/// All configurations of one agent, in order of first writing.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    configs: Vec<Named>,
}

/// What a write did, for the push to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    New,
    Updated,
}

/// Entries that were left out while loading, each with the reason.
pub(super) type Rejected = Vec<(String, Value, String)>;

impl Store {
    /// Builds a store from the members of a file. What cannot be kept is given back, so that it can be put aside.
    pub(super) fn load(members: serde_json::Map<String, Value>) -> (Self, Rejected) {
        let mut rejected = Rejected::new();
        let mut good: Vec<Named> = Vec::new();
        for (name, value) in members {
            let candidate = Entry::deserialize_value(&value).and_then(|entry| {
                parse(entry.kind, &entry.data).map(|c| (entry, c)).map_err(|e| e.to_string())
            });
            match candidate {
                Ok((entry, contents)) => {
                    let links = links(entry.kind, &contents);
                    good.push(Named { lower: name.to_lowercase(), name, links, entry: Arc::new(entry) });
                }
                Err(why) => rejected.push((name, value, why)),
            }
        }
        let mut store = Self::default();
        let mut put_aside = |named: Named, why: &str| {
            let value = serde_json::to_value(&*named.entry).unwrap_or_default();
            rejected.push((named.name, value, why.to_owned()));
        };
        for named in good {
            // Two spellings of one name: the one written last counts (subsystems.md section 11.9).
            if let Some(other) = store.configs.iter_mut().find(|o| o.lower == named.lower) {
                let newer = named.entry.modified >= other.entry.modified;
                let loser = if newer { std::mem::replace(other, named) } else { named };
                put_aside(loser, "another spelling of this name was written later");
            } else {
                store.configs.push(named);
            }
        }
        while let Some(at) = store.configs.iter().position(|c| store.reaches(&c.links, &c.lower)) {
            put_aside(store.configs.remove(at), &BadEntry::Cycle.to_string());
        }
        (store, rejected)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.configs.is_empty()
    }

    /// Names in sorted order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.configs.iter().map(|c| c.name.clone()).collect();
        names.sort();
        names
    }

    /// A configuration by its (stripped) name in any case.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        let lower = name.to_lowercase();
        self.configs.iter().find(|c| c.lower == lower).map(|c| &c.entry)
    }

    /// Writes a configuration, unless it would close a cycle. `name` is stripped already.
    pub(super) fn set(&mut self, name: &str, entry: Entry, contents: &Value) -> Result<Written, BadEntry> {
        let lower = name.to_lowercase();
        let links = links(entry.kind, contents);
        if self.reaches(&links, &lower) {
            return Err(BadEntry::Cycle);
        }
        let named = Named { name: name.to_owned(), lower, links, entry: Arc::new(entry) };
        if let Some(existing) = self.configs.iter_mut().find(|c| c.lower == named.lower) {
            *existing = named;
            return Ok(Written::Updated);
        }
        self.configs.push(named);
        Ok(Written::New)
    }

    /// Removes a configuration. Returns whether it was there.
    pub(super) fn delete(&mut self, name: &str) -> bool {
        let lower = name.to_lowercase();
        let before = self.configs.len();
        self.configs.retain(|c| c.lower != lower);
        self.configs.len() < before
    }

    /// Parsed contents of everything, for an agent that starts.
    pub(super) fn all(&self) -> Vec<(String, Arc<Entry>)> {
        self.configs.iter().map(|c| (c.name.clone(), c.entry.clone())).collect()
    }

    /// The file's text: compact JSON in Python's spelling. `None` when there is nothing to keep.
    pub(super) fn render(&self) -> Option<Result<String, serde_json::Error>> {
        if self.is_empty() {
            return None;
        }
        let members: Result<serde_json::Map<String, Value>, _> =
            self.configs.iter().map(|c| Ok((c.name.clone(), serde_json::to_value(&*c.entry)?))).collect();
        Some(members.and_then(|m| volttron_utils::json::to_compact(&m)))
    }

    /// Whether following links from `from` leads to `target`.
    fn reaches(&self, from: &[String], target: &str) -> bool {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open: Vec<&str> = from.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if name == target {
                return true;
            }
            if seen.insert(name)
                && let Some(config) = self.configs.iter().find(|c| c.lower == name)
            {
                open.extend(config.links.iter().map(String::as_str));
            }
        }
        false
    }
}

impl Entry {
    /// An entry of a file; the error says what is wrong with it.
    fn deserialize_value(value: &Value) -> Result<Self, String> {
        let kind = value.get("type").and_then(Value::as_str).ok_or("it has no type")?;
        let kind = Kind::parse(kind).ok_or_else(|| BadEntry::Kind.to_string())?;
        let data = value.get("data").and_then(Value::as_str).ok_or("it has no data text")?;
        let modified = value.get("modified").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { kind, modified, data: data.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(store: &mut Store, name: &str, data: &str) -> Result<Written, BadEntry> {
        let contents = parse(Kind::Json, data)?;
        let entry = Entry { kind: Kind::Json, modified: Some("m".to_owned()), data: data.to_owned() };
        store.set(name, entry, &contents)
    }

    #[test]
    fn names_ignore_case_and_keep_the_last_spelling() {
        let mut store = Store::default();
        assert_eq!(put(&mut store, "Config", "{}"), Ok(Written::New));
        assert_eq!(put(&mut store, "CONFIG", "[1]"), Ok(Written::Updated));
        assert_eq!(store.names(), ["CONFIG"]);
        assert_eq!(store.get("config").unwrap().data, "[1]");
        assert_eq!(
            store.render().unwrap().unwrap(),
            r#"{"CONFIG":{"type":"json","modified":"m","data":"[1]"}}"#
        );
        assert!(store.delete("cOnFiG") && !store.delete("config"));
        assert!(store.render().is_none());
    }

    #[test]
    fn cycles_are_refused_in_any_spelling() {
        let mut store = Store::default();
        assert_eq!(put(&mut store, "A", "[\"config://a\"]"), Err(BadEntry::Cycle));
        put(&mut store, "A", "[\"config://B\"]").unwrap();
        put(&mut store, "b", "{\"x\": \"config:///c/\"}").unwrap();
        assert_eq!(put(&mut store, "C", "[\"config://a\"]"), Err(BadEntry::Cycle));
        put(&mut store, "C", "[\"config://missing\"]").unwrap();
        // Shared references are no cycle.
        put(&mut store, "top", "[\"config://a\", \"config://b\", \"config://c\"]").unwrap();
    }

    #[test]
    fn bad_entries_are_given_back() {
        let file = json!({
            "good": {"type": "json", "modified": "2", "data": "{\"a\": \"config://gone\"}"},
            "old": {"type": "raw", "data": "x"},
            "bad": {"type": "json", "modified": "1", "data": "{"},
            "kind": {"type": "pickle", "modified": "1", "data": ""},
            "loop": {"type": "json", "modified": "1", "data": "[\"config://LOOP\"]"},
            "GOOD": {"type": "raw", "modified": "1", "data": "older"},
            "notes": 5,
        });
        let Value::Object(members) = file else { unreachable!() };
        let (store, rejected) = Store::load(members);
        assert_eq!(store.names(), ["good", "old"]);
        let mut names: Vec<_> = rejected.iter().map(|(n, _, _)| n.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["GOOD", "bad", "kind", "loop", "notes"]);
        assert_eq!(rejected.iter().find(|(n, ..)| n == "GOOD").unwrap().1["data"], "older");
    }
}
