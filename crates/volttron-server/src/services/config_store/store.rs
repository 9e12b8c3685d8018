//! The configurations of one agent: names without regard to case, no cycles of links, changes that happen as a whole or
//! not at all. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::edit::{Change, Edit, Refused, in_push_order};
use super::entry::{BadEntry, Entry, Kind, links, parse, strip_name};

/// One configuration with the name as it was last written.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) lower: String,
    /// Lower-cased names that it refers to.
    pub(super) links: Vec<String>,
    pub(super) entry: Arc<Entry>,
}

/// All configurations of one agent, in order of first writing. Cheap to clone: entries are shared.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    configs: BTreeMap<u64, Arc<Named>>,
    /// Lower-cased name to place in `configs`.
    places: HashMap<String, u64>,
    next: u64,
}

/// Entries that were left out while loading, each with the reason.
pub(super) type Rejected = Vec<(String, Value, String)>;

impl Store {
    /// Builds a store from the members of a file. What cannot be kept is given back, so that it can be put aside.
    pub(super) fn load(members: Map<String, Value>) -> (Self, Rejected) {
        let mut rejected = Rejected::new();
        let mut store = Self::default();
        for (name, value) in members {
            match Named::from_file(&name, &value) {
                Ok(named) => {
                    // Two spellings of one name: the one written last counts (subsystems.md section 11.9).
                    let loser = match store.find(&named.lower) {
                        Some(other) if named.entry.modified < other.entry.modified => Arc::new(named),
                        Some(other) => {
                            let other = other.clone();
                            store.put(named);
                            other
                        }
                        None => {
                            store.put(named);
                            continue;
                        }
                    };
                    rejected.push(loser.back("another spelling of this name was written later"));
                }
                Err(why) => rejected.push((name, value, why)),
            }
        }
        let all: Vec<String> = store.configs.values().map(|c| c.lower.clone()).collect();
        // One entry of each cycle goes; the others then are none any more.
        while let Some(cycle) = store.cycle_through(&all) {
            let Some(named) = cycle.first().and_then(|name| store.remove(&name.to_lowercase())) else {
                break;
            };
            rejected.push(named.back(&BadEntry::Cycle(cycle).to_string()));
        }
        (store, rejected)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.configs.is_empty()
    }

    /// How many configurations there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.configs.len()
    }

    /// Names in sorted order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.configs.values().map(|c| c.name.clone()).collect();
        names.sort();
        names
    }

    /// A configuration by its (stripped) name in any case.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.find(&name.to_lowercase()).map(|named| &named.entry)
    }

    /// Everything with names as last written, in order of first writing.
    pub(super) fn all(&self) -> Vec<(String, Arc<Entry>)> {
        self.configs.values().map(|c| (c.name.clone(), c.entry.clone())).collect()
    }

    /// What the store is after an edit and what there is to tell the agent, in the order to tell it. Nothing happens to
    /// this store.
    pub(super) fn edit(&self, edit: &Edit) -> Result<(Self, Vec<Change>), Refused> {
        let (mut next, mut changes) = (self.clone(), Vec::new());
        let (mut written, mut gone) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for write in &edit.writes {
            if !seen.insert(write.lower.clone()) {
                return Err(Refused::Twice(write.name.clone()));
            }
            let old = self.find(&write.lower);
            if edit.only_changes && old.is_some_and(|old| old.same(write)) {
                continue;
            }
            written.push((write.clone(), old.is_none()));
            next.put_shared(write.clone());
        }
        for name in &edit.deletes {
            let lower = name.to_lowercase();
            if next.remove(&lower).is_none() || !seen.insert(lower) {
                return Err(Refused::Missing(name.clone()));
            }
            gone.push(name.clone());
        }
        if edit.prune {
            let kept: HashSet<&str> = edit.writes.iter().map(|w| w.lower.as_str()).collect();
            let extra = |c: &&Arc<Named>| !kept.contains(c.lower.as_str());
            let extra: Vec<Arc<Named>> = next.configs.values().filter(extra).cloned().collect();
            for named in extra {
                next.remove(&named.lower);
                gone.push(named.name.clone());
            }
        }
        let names: Vec<String> = written.iter().map(|(named, _)| named.lower.clone()).collect();
        if let Some(cycle) = next.cycle_through(&names) {
            return Err(Refused::Bad(cycle.first().cloned().unwrap_or_default(), BadEntry::Cycle(cycle)));
        }
        for at in in_push_order(written.iter().map(|(named, _)| named.as_ref())) {
            let (named, new) = &written[at];
            let action = if *new { "NEW" } else { "UPDATE" };
            changes.push(Change::Set { action, name: named.name.clone(), entry: named.entry.clone() });
        }
        changes.extend(gone.into_iter().map(|name| Change::Delete { name }));
        Ok((next, changes))
    }

    /// The file's text: compact JSON in Python's spelling. `None` when there is nothing to keep.
    pub(super) fn render(&self) -> Option<Result<String, serde_json::Error>> {
        if self.is_empty() {
            return None;
        }
        let members: Result<Map<String, Value>, _> =
            self.configs.values().map(|c| Ok((c.name.clone(), serde_json::to_value(&*c.entry)?))).collect();
        Some(members.and_then(|m| volttron_utils::json::to_compact(&m)))
    }

    fn find(&self, lower: &str) -> Option<&Arc<Named>> {
        self.places.get(lower).and_then(|place| self.configs.get(place))
    }

    fn put(&mut self, named: Named) {
        self.put_shared(Arc::new(named));
    }

    fn put_shared(&mut self, named: Arc<Named>) {
        let place = *self.places.entry(named.lower.clone()).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.configs.insert(place, named);
    }

    fn remove(&mut self, lower: &str) -> Option<Arc<Named>> {
        self.places.remove(lower).and_then(|place| self.configs.remove(&place))
    }

    /// A cycle of links that can be reached from these (lower-cased) names: each name on it, the first once more at the
    /// end. Each configuration is looked at once, however many there are, and without recursion.
    fn cycle_through(&self, starts: &[String]) -> Option<Vec<String>> {
        let mut done: HashSet<&str> = HashSet::new();
        for start in starts {
            // The path from the start, each with the number of its links that were followed.
            let mut path: Vec<(&Named, usize)> = Vec::new();
            let mut on_path: HashSet<&str> = HashSet::new();
            let mut next = self.find(start).filter(|named| !done.contains(named.lower.as_str()));
            loop {
                if let Some(named) = next.take() {
                    on_path.insert(&named.lower);
                    path.push((named, 0));
                }
                let Some((named, followed)) = path.last_mut() else { break };
                let Some(link) = named.links.get(*followed) else {
                    done.insert(&named.lower);
                    on_path.remove(named.lower.as_str());
                    path.pop();
                    continue;
                };
                *followed += 1;
                if on_path.contains(link.as_str()) {
                    let cycle = path.iter().skip_while(|(named, _)| named.lower != *link);
                    let mut names: Vec<String> = cycle.map(|(named, _)| named.name.clone()).collect();
                    names.extend(names.first().cloned());
                    return Some(names);
                }
                next = self.find(link).filter(|named| !done.contains(named.lower.as_str()));
            }
        }
        None
    }
}

impl Named {
    /// A configuration to write; `name` in any spelling.
    pub(super) fn new(name: &str, entry: Entry) -> Result<Self, BadEntry> {
        let contents = parse(entry.kind, &entry.data)?;
        let (name, links) = (strip_name(name).to_owned(), links(entry.kind, &contents));
        Ok(Self { lower: name.to_lowercase(), name, links, entry: Arc::new(entry) })
    }

    /// An entry of a file; the error says what is wrong with it.
    fn from_file(name: &str, value: &Value) -> Result<Self, String> {
        let kind = value.get("type").and_then(Value::as_str).ok_or("it has no type")?;
        let kind = Kind::parse(kind).ok_or_else(|| BadEntry::Kind.to_string())?;
        let data = value.get("data").and_then(Value::as_str).ok_or("it has no data text")?;
        let modified = value.get("modified").and_then(Value::as_str).map(str::to_owned);
        Self::new(name, Entry { kind, modified, data: data.to_owned() }).map_err(|e| e.to_string())
    }

    /// Whether writing `other` over this would change nothing but the time.
    fn same(&self, other: &Self) -> bool {
        self.name == other.name && self.entry.kind == other.entry.kind && self.entry.data == other.entry.data
    }

    fn back(&self, why: &str) -> (String, Value, String) {
        (self.name.clone(), serde_json::to_value(&*self.entry).unwrap_or_default(), why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json_entry(name: &str, data: &str) -> Arc<Named> {
        let entry = Entry { kind: Kind::Json, modified: Some("m".to_owned()), data: data.to_owned() };
        Arc::new(Named::new(name, entry).unwrap())
    }

    fn put(store: &mut Store, name: &str, data: &str) -> Result<Vec<Change>, Refused> {
        let edit = Edit { writes: vec![json_entry(name, data)], ..Edit::default() };
        let (next, changes) = store.edit(&edit)?;
        *store = next;
        Ok(changes)
    }

    fn words(changes: &[Change]) -> Vec<String> {
        changes.iter().map(Change::words).collect()
    }

    #[test]
    fn names_ignore_case_and_keep_the_last_spelling() {
        let mut store = Store::default();
        assert_eq!(words(&put(&mut store, "Config", "{}").unwrap()), ["NEW Config"]);
        assert_eq!(words(&put(&mut store, "CONFIG", "[1]").unwrap()), ["UPDATE CONFIG"]);
        assert_eq!(store.names(), ["CONFIG"]);
        assert_eq!(store.get("config").unwrap().data, "[1]");
        assert_eq!(
            store.render().unwrap().unwrap(),
            r#"{"CONFIG":{"type":"json","modified":"m","data":"[1]"}}"#
        );
        let edit = Edit { deletes: vec!["cOnFiG".to_owned()], ..Edit::default() };
        let (next, changes) = store.edit(&edit).unwrap();
        assert_eq!(words(&changes), ["DELETE cOnFiG"]);
        assert!(next.render().is_none() && next.edit(&edit).is_err());
        assert_eq!(store.len(), 1, "an edit leaves the store it starts from alone");
    }

    #[test]
    fn cycles_are_refused_in_any_spelling_and_named() {
        let mut store = Store::default();
        let text = |refused: Refused| refused.to_string();
        assert_eq!(
            text(put(&mut store, "A", "[\"config://a\"]").unwrap_err()),
            "Recursive configuration references detected. A -> A"
        );
        put(&mut store, "A", "[\"config://B\"]").unwrap();
        put(&mut store, "b", "{\"x\": \"config:///c/\"}").unwrap();
        assert_eq!(
            text(put(&mut store, "C", "[\"config://a\"]").unwrap_err()),
            "Recursive configuration references detected. C -> A -> b -> C"
        );
        put(&mut store, "C", "[\"config://missing\"]").unwrap();
        // Shared references are no cycle.
        put(&mut store, "top", "[\"config://a\", \"config://b\", \"config://c\"]").unwrap();
    }

    #[test]
    fn a_chain_of_any_length_is_followed() {
        let link = |i: usize| json_entry(&i.to_string(), &format!("[\"config://{}\"]", i + 1));
        let mut edit = Edit { writes: (0..20_000).map(link).collect(), ..Edit::default() };
        let (store, changes) = Store::default().edit(&edit).unwrap();
        assert_eq!((store.len(), changes[0].words()), (20_000, "NEW 19999".to_owned()));
        edit.writes.push(json_entry("20000", "[\"config://7\"]"));
        assert!(store.edit(&edit).unwrap_err().to_string().starts_with("Recursive"));
    }

    #[test]
    fn an_edit_happens_as_a_whole_or_not_at_all() {
        let mut store = Store::default();
        for name in ["config", "dev/a", "reg.csv", "old"] {
            put(&mut store, name, "{}").unwrap();
        }
        let mut edit = Edit {
            writes: vec![
                json_entry("dev/b", "[\"config://new.csv\"]"),
                json_entry("dev/a", "{}"),
                json_entry("config", "{\"r\": \"config://reg.csv\"}"),
                json_entry("reg.csv", "[1]"),
                json_entry("new.csv", "[]"),
            ],
            only_changes: true,
            prune: true,
            ..Edit::default()
        };
        let (next, changes) = store.edit(&edit).unwrap();
        // What `config` needs, `config`, what others need, the others; what is gone at last; unchanged ones never.
        assert_eq!(
            words(&changes),
            ["UPDATE reg.csv", "UPDATE config", "NEW new.csv", "NEW dev/b", "DELETE old"]
        );
        assert_eq!(next.names(), ["config", "dev/a", "dev/b", "new.csv", "reg.csv"]);
        edit.writes.push(json_entry("DEV/B", "{}"));
        assert!(matches!(store.edit(&edit), Err(Refused::Twice(name)) if name == "DEV/B"));
        edit.writes.pop();
        edit.deletes.push("absent".to_owned());
        assert!(matches!(store.edit(&edit), Err(Refused::Missing(name)) if name == "absent"));
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
