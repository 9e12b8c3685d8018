//! The agent's copy of its configuration store, as a pure data structure (subsystems.md sections 11.5 and 11.8).
//!
//! Owns names, defaults, links between entries and what a change affects. Must never do IO or call anybody.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::Action;

/// Contents with all links replaced may have this many values, where each 64 bytes of text count as one more.
/// References that multiply (ten lists of ten links of ten links...) would otherwise fill the memory.
const MAX_RESOLVED_VALUES: usize = 1_000_000;
/// Contents with all links replaced may be nested this deep; Python's own limit is near it. Deeper ones could not even
/// be dropped.
const MAX_RESOLVED_LEVELS: usize = 1000;

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// The name as last written.
    name: String,
    contents: Value,
    /// Lower-cased names it links to, each once.
    links: Vec<String>,
}

impl Entry {
    fn new(name: &str, contents: Value) -> Self {
        let mut links = Vec::new();
        each_link(&contents, &mut |target| links.push(target));
        links.sort();
        links.dedup();
        Self { name: clean(name).to_owned(), contents, links }
    }
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
    /// Which entries (or defaults) link to a name. May hold entries that no longer do: what counts is the entry.
    referrers: HashMap<String, BTreeSet<String>>,
}

/// One write or deletion, as the store tells it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) action: Action,
    pub(crate) name: String,
    /// Null for a deletion.
    pub(crate) contents: Value,
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
        let (k, entry) = (key(name), Entry::new(name, contents));
        self.index(&k, &entry);
        self.defaults.insert(k, entry);
    }

    /// Takes over everything the store has. Returns what changed since before, for a second time: after a reconnection.
    pub(crate) fn initial_update(&mut self, configs: Map<String, Value>) -> Vec<Change> {
        let entries = configs.into_iter().map(|(name, contents)| (key(&name), Entry::new(&name, contents)));
        let before = std::mem::replace(&mut self.stored, entries.collect());
        self.initialized = true;
        self.index_all();
        let mut touched = BTreeMap::new();
        for (k, entry) in &self.stored {
            match before.get(k) {
                None if self.defaults.contains_key(k) => touched.insert(k.clone(), Action::Update),
                None => touched.insert(k.clone(), Action::New),
                Some(old) if old.contents != entry.contents => touched.insert(k.clone(), Action::Update),
                Some(_) => None,
            };
        }
        let mut gone = BTreeMap::new();
        for (k, old) in before {
            if !self.stored.contains_key(&k) {
                gone.insert(k.clone(), old.name);
                self.touch_removed(&mut touched, k);
            }
        }
        self.changes(touched, &gone)
    }

    /// NEW or UPDATE of one entry.
    #[cfg(test)]
    fn write(&mut self, action: Action, name: &str, contents: Value) -> Vec<Change> {
        self.apply(vec![Told { action, name: name.to_owned(), contents }])
    }

    /// DELETE of one entry; nothing if it is not there.
    #[cfg(test)]
    fn delete(&mut self, name: &str) -> Vec<Change> {
        self.apply(vec![Told { action: Action::Delete, name: name.to_owned(), contents: Value::Null }])
    }

    /// Writes and deletions that happened together. Each name is reported once, and what links to it once.
    pub(crate) fn apply(&mut self, all: Vec<Told>) -> Vec<Change> {
        let (mut touched, mut gone) = (BTreeMap::new(), BTreeMap::new());
        for told in all {
            let k = key(&told.name);
            if told.action == Action::Delete {
                let Some(old) = self.stored.remove(&k) else { continue };
                gone.insert(k.clone(), old.name);
                self.touch_removed(&mut touched, k);
                continue;
            }
            let action = if self.defaults.contains_key(&k) { Action::Update } else { told.action };
            let entry = Entry::new(&told.name, told.contents);
            self.index(&k, &entry);
            self.stored.insert(k.clone(), entry);
            touched.insert(k, action);
        }
        self.changes(touched, &gone)
    }

    /// DELETE_ALL: the whole store is gone; defaults remain.
    pub(crate) fn clear(&mut self) -> Vec<Change> {
        let gone = std::mem::take(&mut self.stored);
        let names = gone.iter().map(|(k, e)| (k.clone(), e.name.clone())).collect();
        self.index_all();
        let mut touched = BTreeMap::new();
        for k in gone.into_keys() {
            self.touch_removed(&mut touched, k);
        }
        self.changes(touched, &names)
    }

    fn index(&mut self, k: &str, entry: &Entry) {
        for target in &entry.links {
            self.referrers.entry(target.clone()).or_default().insert(k.to_owned());
        }
    }

    fn index_all(&mut self) {
        self.referrers.clear();
        let all = self.stored.iter().chain(&self.defaults);
        let links: Vec<(String, String)> =
            all.flat_map(|(k, entry)| entry.links.iter().map(|target| (target.clone(), k.clone()))).collect();
        for (target, k) in links {
            self.referrers.entry(target).or_default().insert(k);
        }
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
        let links = |own: &&String| self.entry(own).is_some_and(|e| e.links.iter().any(|l| l == k));
        self.referrers.get(k).into_iter().flatten().filter(links).cloned().collect()
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

    /// Contents of an entry or default, links replaced to any depth. Null stands for what is not there, for what would
    /// close a loop (the store refuses those), and for what would make the whole too large.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        let wanted = key(name);
        self.entry(&wanted)?;
        let mut ready: HashMap<&str, Resolved> = HashMap::new();
        let mut on_path: HashSet<&str> = HashSet::new();
        // What is linked to is resolved first. A path instead of recursion: chains may be long.
        let mut path: Vec<(&str, usize)> = vec![(&wanted, 0)];
        while let Some((k, followed)) = path.last_mut() {
            let k: &str = k;
            let Some(entry) = self.entry(k) else { break };
            on_path.insert(k);
            if let Some(link) = entry.links.get(*followed) {
                *followed += 1;
                let open = !ready.contains_key(link.as_str()) && !on_path.contains(link.as_str());
                if open && self.entry(link).is_some() {
                    path.push((link, 0));
                }
                continue;
            }
            let resolved = resolve_all(&entry.contents, &ready);
            on_path.remove(k);
            path.pop();
            ready.insert(k, resolved);
        }
        let resolved = ready.remove(wanted.as_str())?;
        drop(ready);
        Some(Rc::try_unwrap(resolved.value).unwrap_or_else(|shared| (*shared).clone()))
    }
}

/// Contents with links replaced.
struct Resolved {
    value: Rc<Value>,
    size: Size,
}

/// How large contents are.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Of how many values they consist; long texts count for more.
    values: usize,
    /// How deep they are nested.
    levels: usize,
}

fn resolve_all(contents: &Value, ready: &HashMap<&str, Resolved>) -> Resolved {
    let mut size = Size::default();
    // Text is a raw entry, which is never looked into.
    let value = match contents {
        Value::String(text) => {
            size.values = weight(text);
            contents.clone()
        }
        other => resolve(other, ready, 0, &mut size),
    };
    Resolved { value: Rc::new(value), size }
}

/// `level` is how many values enclose this one; `size` grows to that of the whole.
fn resolve(value: &Value, ready: &HashMap<&str, Resolved>, level: usize, size: &mut Size) -> Value {
    size.values += 1;
    size.levels = size.levels.max(level);
    match value {
        Value::String(text) => {
            if let Some(target) = link(text) {
                return linked(&target, ready, level, size);
            }
            size.values += weight(text);
            value.clone()
        }
        Value::Array(list) => list.iter().map(|v| resolve(v, ready, level + 1, size)).collect(),
        Value::Object(map) => {
            let member = |(k, v): (&String, &Value)| (k.clone(), resolve(v, ready, level + 1, size));
            Value::Object(map.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

/// What stands for a link to `target`; null if there is nothing or too much.
fn linked(target: &str, ready: &HashMap<&str, Resolved>, level: usize, size: &mut Size) -> Value {
    let Some(Resolved { value, size: found }) = ready.get(target) else { return Value::Null };
    if size.values + found.values > MAX_RESOLVED_VALUES || level + found.levels > MAX_RESOLVED_LEVELS {
        tracing::error!("configuration '{target}' is left out where it is linked to: too large");
        return Value::Null;
    }
    size.values += found.values;
    size.levels = size.levels.max(level + found.levels);
    (**value).clone()
}

/// As how many values a text counts.
fn weight(text: &str) -> usize {
    1 + text.len() / 64
}

/// The lower-cased name a text links to (`config://name`).
fn link(text: &str) -> Option<String> {
    text.strip_prefix("config://").map(key)
}

fn each_link(value: &Value, visit: &mut impl FnMut(String)) {
    // A raw entry is text at the top: not a link.
    match value {
        Value::Array(list) => list.iter().for_each(|v| each_nested_link(v, visit)),
        Value::Object(map) => map.values().for_each(|v| each_nested_link(v, visit)),
        _ => {}
    }
}

fn each_nested_link(value: &Value, visit: &mut impl FnMut(String)) {
    match value {
        Value::String(text) => {
            if let Some(target) = link(text) {
                visit(target);
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
    fn links_to_long_texts_and_through_deep_values_are_bounded() {
        let mut m = Mirror::default();
        let raw = [("raw".to_owned(), json!("x".repeat(1 << 20)))];
        let many = [("many".to_owned(), Value::Array(vec![json!("config://raw"); 1000]))];
        let nested =
            |n: usize| (0..50).fold(json!(format!("config://d{}", n + 1)), |inner, _| json!([inner]));
        let deep = (0..100).map(|n| (format!("d{n}"), nested(n)));
        m.initial_update(raw.into_iter().chain(many).chain(deep).collect());
        assert!(m.get("many").expect("there").to_string().len() < 70 * MAX_RESOLVED_VALUES);
        let (mut levels, whole) = (0, m.get("d0").expect("there"));
        let mut value = &whole;
        while let Some(inner) = value.get(0) {
            (value, levels) = (inner, levels + 1);
        }
        assert!(value.is_null() && levels <= MAX_RESOLVED_LEVELS, "{levels}");
    }

    #[test]
    fn chains_of_any_length_are_followed() {
        let mut m = Mirror::default();
        let link = |i: usize| (format!("n{i}"), json!([format!("config://N{}", i + 1)]));
        m.initial_update((0..300).map(link).chain([("n300".to_owned(), json!(["end"]))]).collect());
        let mut value = m.get("n0").expect("there");
        for _ in 0..300 {
            value = value[0].take();
        }
        assert_eq!(value, json!(["end"]));
        assert_eq!(m.write(Action::Update, "n300", json!([])).len(), 301);
    }

    #[test]
    fn references_that_multiply_are_cut_off() {
        let mut m = Mirror::default();
        let links = |i: usize| Value::Array(vec![json!(format!("config://n{}", i + 1)); 10]);
        m.initial_update((0..8).map(|i| (format!("n{i}"), links(i))).collect());
        assert!(m.get("n7").is_some() && m.get("n0").is_some());
    }

    #[test]
    fn what_happens_together_is_reported_once() {
        let mut m = Mirror::default();
        m.initial_update(map(json!({"dev/a": ["config://reg"], "dev/b": ["config://reg"], "old": []})));
        let told = |action, name: &str, contents| Told { action, name: name.to_owned(), contents };
        let changes = m.apply(vec![
            told(Action::New, "reg", json!([1])),
            told(Action::New, "Config", json!({})),
            told(Action::Update, "dev/a", json!(["config://reg", 2])),
            told(Action::Delete, "OLD", Value::Null),
            told(Action::Delete, "absent", Value::Null),
        ]);
        assert_eq!(
            shown(&changes),
            [
                ("Config".into(), Action::New),
                ("dev/a".into(), Action::Update),
                ("dev/b".into(), Action::Update),
                ("old".into(), Action::Delete),
                ("reg".into(), Action::New),
            ]
        );
        // A link that was taken out is not followed any more.
        m.write(Action::Update, "dev/a", json!([3]));
        let changes = m.write(Action::Update, "reg", json!([2]));
        assert_eq!(shown(&changes), [("dev/b".into(), Action::Update), ("reg".into(), Action::Update)]);
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
