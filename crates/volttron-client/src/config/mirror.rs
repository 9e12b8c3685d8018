//! The agent's copy of its configuration store, as a pure data structure (subsystems.md sections 11.5 and 11.8).
//!
//! Owns names, defaults, links between entries and what a change affects. Must never do IO or call anybody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Action;

/// Links may be nested this deep; the store refuses loops, this guards against one that does not.
const MAX_LINK_DEPTH: usize = 64;

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// The name as last written.
    name: String,
    contents: Value,
}

/// A change to report: lower-cased name, name as written, action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) action: Action,
}

/// Entries and defaults by lower-cased name.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    initialized: bool,
    stored: BTreeMap<String, Entry>,
    defaults: BTreeMap<String, Entry>,
}

/// Strips blanks and slashes from the ends of a name (subsystems.md section 11.3).
pub(crate) fn clean(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || c == '/' || c == '\\')
}

fn key(name: &str) -> String {
    clean(name).to_lowercase()
}

impl Mirror {
    pub(crate) fn is_initialized(&self) -> bool {
        self.initialized
    }

    pub(crate) fn set_default(&mut self, name: &str, contents: Value) {
        self.defaults.insert(key(name), Entry { name: clean(name).to_owned(), contents });
    }

    /// Takes over everything the store has. Returns what changed since before, for a second time: after a reconnection.
    pub(crate) fn initial_update(&mut self, configs: Map<String, Value>) -> Vec<Change> {
        let entries = configs
            .into_iter()
            .map(|(name, contents)| (key(&name), Entry { name: clean(&name).to_owned(), contents }));
        let before = std::mem::replace(&mut self.stored, entries.collect());
        self.initialized = true;
        let mut touched = BTreeMap::new();
        for (k, entry) in &self.stored {
            match before.get(k) {
                None if self.defaults.contains_key(k) => touched.insert(k.clone(), Action::Update),
                None => touched.insert(k.clone(), Action::New),
                Some(old) if old.contents != entry.contents => touched.insert(k.clone(), Action::Update),
                Some(_) => None,
            };
        }
        for k in before.into_keys() {
            if !self.stored.contains_key(&k) {
                self.touch_removed(&mut touched, k);
            }
        }
        self.changes(touched, &BTreeMap::new())
    }

    /// NEW or UPDATE of one entry.
    pub(crate) fn write(&mut self, action: Action, name: &str, contents: Value) -> Vec<Change> {
        let k = key(name);
        let action = if self.defaults.contains_key(&k) { Action::Update } else { action };
        self.stored.insert(k.clone(), Entry { name: clean(name).to_owned(), contents });
        self.changes(BTreeMap::from([(k, action)]), &BTreeMap::new())
    }

    /// DELETE of one entry; nothing if it is not there.
    pub(crate) fn delete(&mut self, name: &str) -> Vec<Change> {
        let k = key(name);
        let Some(entry) = self.stored.remove(&k) else { return Vec::new() };
        let mut touched = BTreeMap::new();
        self.touch_removed(&mut touched, k.clone());
        self.changes(touched, &BTreeMap::from([(k, entry.name)]))
    }

    /// DELETE_ALL: the whole store is gone; defaults remain.
    pub(crate) fn clear(&mut self) -> Vec<Change> {
        let gone = std::mem::take(&mut self.stored);
        let names = gone.iter().map(|(k, e)| (k.clone(), e.name.clone())).collect();
        let mut touched = BTreeMap::new();
        for k in gone.into_keys() {
            self.touch_removed(&mut touched, k);
        }
        self.changes(touched, &names)
    }

    fn touch_removed(&self, touched: &mut BTreeMap<String, Action>, k: String) {
        let action = if self.defaults.contains_key(&k) { Action::Update } else { Action::Delete };
        touched.insert(k, action);
    }

    /// Adds everything that links to a touched entry, and orders: `config` first.
    fn changes(&self, mut touched: BTreeMap<String, Action>, gone: &BTreeMap<String, String>) -> Vec<Change> {
        let mut todo: Vec<String> = touched.keys().cloned().collect();
        while let Some(k) = todo.pop() {
            for referrer in self.referrers(&k) {
                if !touched.contains_key(&referrer) {
                    touched.insert(referrer.clone(), Action::Update);
                    todo.push(referrer);
                }
            }
        }
        Self::ordered(touched.into_iter().map(|(k, action)| {
            let name = self.entry(&k).map(|e| e.name.clone()).or_else(|| gone.get(&k).cloned());
            Change { name: name.unwrap_or_else(|| k.clone()), key: k, action }
        }))
    }

    fn ordered(changes: impl Iterator<Item = Change>) -> Vec<Change> {
        let mut all: Vec<Change> = changes.collect();
        // Stable: names stay sorted behind `config`.
        all.sort_by_key(|c| c.key != "config");
        all
    }

    fn entry(&self, k: &str) -> Option<&Entry> {
        self.stored.get(k).or_else(|| self.defaults.get(k))
    }

    fn keys(&self) -> BTreeSet<&String> {
        self.stored.keys().chain(self.defaults.keys()).collect()
    }

    /// Entries that link directly to `k`.
    fn referrers(&self, k: &str) -> Vec<String> {
        let links_to = |entry: &Entry| {
            let mut found = false;
            each_link(&entry.contents, &mut |target| found |= target == k);
            found
        };
        let keys = self.keys().into_iter();
        keys.filter(|own| self.entry(own).is_some_and(links_to)).cloned().collect()
    }

    /// Everything there is, as NEW: what an agent hears at its start.
    pub(crate) fn all_as_new(&self) -> Vec<Change> {
        Self::ordered(self.keys().into_iter().filter_map(|k| {
            let name = self.entry(k)?.name.clone();
            Some(Change { key: k.clone(), name, action: Action::New })
        }))
    }

    /// Names as written, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.keys().into_iter().filter_map(|k| Some(self.entry(k)?.name.clone())).collect()
    }

    /// Contents of an entry or default, links replaced.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.resolved(&key(name), 0)
    }

    fn resolved(&self, k: &str, depth: usize) -> Option<Value> {
        let contents = &self.entry(k)?.contents;
        // Text is a raw entry, which is never looked into.
        if contents.is_string() { Some(contents.clone()) } else { Some(self.resolve(contents, depth)) }
    }

    fn resolve(&self, value: &Value, depth: usize) -> Value {
        match value {
            Value::String(text) => match link(text) {
                Some(_) if depth >= MAX_LINK_DEPTH => Value::Null,
                Some(target) => self.resolved(&target, depth + 1).unwrap_or(Value::Null),
                None => value.clone(),
            },
            Value::Array(list) => list.iter().map(|v| self.resolve(v, depth)).collect(),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(k, v)| (k.clone(), self.resolve(v, depth))).collect())
            }
            other => other.clone(),
        }
    }
}

/// The lower-cased name a text links to (`config://name`).
fn link(text: &str) -> Option<String> {
    text.strip_prefix("config://").map(key)
}

fn each_link(value: &Value, visit: &mut impl FnMut(&str)) {
    // A raw entry is text at the top: not a link.
    match value {
        Value::Array(list) => list.iter().for_each(|v| each_nested_link(v, visit)),
        Value::Object(map) => map.values().for_each(|v| each_nested_link(v, visit)),
        _ => {}
    }
}

fn each_nested_link(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => {
            if let Some(target) = link(text) {
                visit(&target);
            }
        }
        nested => each_link(nested, visit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    fn shown(changes: &[Change]) -> Vec<(String, Action)> {
        changes.iter().map(|c| (c.name.clone(), c.action)).collect()
    }

    #[test]
    fn start_reports_everything_as_new_config_first() {
        let mut m = Mirror::default();
        m.set_default("zz", json!({"d": 1}));
        m.initial_update(map(json!({"a": 1, "Config": {"x": 1}, "devices/B": []})));
        let names: Vec<String> = m.all_as_new().into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["Config", "a", "devices/B", "zz"]);
        assert!(m.all_as_new().iter().all(|c| c.action == Action::New));
    }

    #[test]
    fn links_are_resolved_and_referrers_updated() {
        let mut m = Mirror::default();
        m.initial_update(map(json!({
            "dev": {"registry": "config://Reg.csv", "other": ["config://missing", "x"]},
            "reg.CSV": [{"a": "1"}],
            "top": {"dev": "config://dev"},
            "raw": "config://dev",
        })));
        assert_eq!(m.get("DEV"), Some(json!({"registry": [{"a": "1"}], "other": [null, "x"]})));
        assert_eq!(m.get("raw"), Some(json!("config://dev")), "raw entries are not looked into");
        let changes = m.write(Action::Update, "reg.csv", json!([{"a": "2"}]));
        assert_eq!(
            shown(&changes),
            [
                ("dev".into(), Action::Update),
                ("reg.csv".into(), Action::Update),
                ("top".into(), Action::Update)
            ]
        );
        assert_eq!(m.get("top"), Some(json!({"dev": {"registry": [{"a": "2"}], "other": [null, "x"]}})));
        let changes = m.delete("reg.csv");
        assert_eq!(changes[1].action, Action::Delete);
        assert_eq!(m.get("dev").expect("there")["registry"], Value::Null);
    }

    #[test]
    fn defaults_turn_new_and_delete_into_update() {
        let mut m = Mirror::default();
        m.set_default("config", json!({"d": 1}));
        m.initial_update(Map::new());
        assert_eq!(m.get("config"), Some(json!({"d": 1})));
        assert_eq!(
            shown(&m.write(Action::New, "config", json!({"d": 2}))),
            [("config".into(), Action::Update)]
        );
        assert_eq!(shown(&m.delete("config")), [("config".into(), Action::Update)]);
        assert_eq!(m.get("config"), Some(json!({"d": 1})));
        assert_eq!(shown(&m.delete("config")), []);
    }

    #[test]
    fn the_whole_store_can_go() {
        let mut m = Mirror::default();
        m.set_default("a", json!(1));
        m.initial_update(map(json!({"a": 2, "b": 3})));
        assert_eq!(shown(&m.clear()), [("a".into(), Action::Update), ("b".into(), Action::Delete)]);
        assert_eq!(m.names(), ["a"]);
    }

    #[test]
    fn a_second_full_push_reports_the_difference() {
        let mut m = Mirror::default();
        m.initial_update(map(json!({"a": 1, "b": 2, "c": 3})));
        let changes = m.initial_update(map(json!({"a": 1, "b": 5, "d": 4})));
        let mut got = shown(&changes);
        got.sort_by(|x, y| x.0.cmp(&y.0));
        assert_eq!(
            got,
            [("b".into(), Action::Update), ("c".into(), Action::Delete), ("d".into(), Action::New)]
        );
    }

    #[test]
    fn a_loop_ends() {
        let mut m = Mirror::default();
        m.initial_update(map(json!({"a": ["config://b"], "b": ["config://a"]})));
        assert!(m.get("a").is_some());
        assert_eq!(m.write(Action::Update, "a", json!(["config://b"])).len(), 2);
    }

    #[test]
    fn names_are_cleaned_at_the_ends_only() {
        assert_eq!(clean(" /devices/vav1.config\\/ "), "devices/vav1.config");
    }
}
