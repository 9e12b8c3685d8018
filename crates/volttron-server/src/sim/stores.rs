//! What the configuration stores must hold, written down a second time and as simply as possible; and what their
//! files say. Shares no code with the product.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Name as written, type and text, by lower-cased name.
pub(super) type Contents = BTreeMap<String, (String, String, String)>;
/// By identity; empty ones are not there.
pub(super) type Stores = BTreeMap<String, Contents>;

/// One configuration to write: name, type, text.
pub(super) type Write = (String, String, String);

/// What happens to one store in a transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub set: Vec<Write>,
    pub delete: Vec<String>,
    pub prune: bool,
}

/// A change of stores.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Set(String, Write),
    Delete(String, String),
    Clear(String),
    Apply(String, BTreeMap<String, Part>),
}

fn good((_, kind, data): &Write) -> bool {
    match kind.as_str() {
        "raw" => true,
        "json" => serde_json::from_str::<Value>(data).is_ok_and(|v| v.is_object() || v.is_array()),
        _ => false,
    }
}

fn put(contents: &mut Contents, write: &Write) {
    contents.insert(write.0.to_lowercase(), write.clone());
}

/// Makes a change; false, and nothing changed, if it is not to be.
pub(super) fn change(stores: &mut Stores, change: &Change) -> bool {
    let mut after = stores.clone();
    match change {
        Change::Set(_, write) if !good(write) => return false,
        Change::Set(store, write) => put(after.entry(store.clone()).or_default(), write),
        Change::Delete(store, name) => {
            if after.get_mut(store).and_then(|c| c.remove(&name.to_lowercase())).is_none() {
                return false;
            }
        }
        Change::Clear(store) => drop(after.remove(store)),
        Change::Apply(only, parts) => {
            for (store, part) in parts {
                if !only.is_empty() && only != store || !part.set.iter().all(good) {
                    return false;
                }
                let contents = after.entry(store.clone()).or_default();
                for write in &part.set {
                    put(contents, write);
                }
                for name in &part.delete {
                    let set = part.set.iter().any(|w| w.0.to_lowercase() == name.to_lowercase());
                    if contents.remove(&name.to_lowercase()).is_none() || set {
                        return false;
                    }
                }
                if part.prune {
                    contents.retain(|name, _| part.set.iter().any(|w| w.0.to_lowercase() == *name));
                }
            }
        }
    }
    after.retain(|_, contents| !contents.is_empty());
    *stores = after;
    true
}

/// The transaction argument of `apply_configs`.
pub(super) fn transaction(parts: &BTreeMap<String, Part>) -> Value {
    let one = |part: &Part| {
        let set: serde_json::Map<String, Value> =
            part.set.iter().map(|(n, kind, data)| (n.clone(), json!({"type": kind, "data": data}))).collect();
        json!({"set": set, "delete": part.delete, "prune": part.prune})
    };
    Value::Object(parts.iter().map(|(store, part)| (store.clone(), one(part))).collect())
}

/// What the files say. A transaction is committed once its journal is there, and then its parts count, in place or
/// not. None if a file makes no sense.
pub(super) fn read(files: &BTreeMap<String, Vec<u8>>) -> Option<Stores> {
    let journal: Option<Value> = match files.get(".transaction") {
        Some(bytes) => Some(serde_json::from_slice(bytes).ok()?),
        None => None,
    };
    let listed = |member: &str, identity: &str| {
        let list = journal.as_ref().and_then(|j| j[member].as_array());
        list.is_some_and(|list| list.iter().any(|v| v == identity))
    };
    let mut stores = Stores::new();
    for (name, bytes) in files {
        if name == ".transaction" || name.contains(".bad-") {
            continue;
        }
        let (identity, waiting) = match (name.strip_suffix(".store.next"), name.strip_suffix(".store")) {
            (Some(identity), _) => (identity, true),
            (_, Some(identity)) => (identity, false),
            _ => return None,
        };
        let replaced = listed("replace", identity) && files.contains_key(&format!("{identity}.store.next"));
        if waiting != replaced || (!waiting && listed("remove", identity)) {
            continue;
        }
        let members: Value = serde_json::from_slice(bytes).ok()?;
        let mut contents = Contents::new();
        for (name, entry) in members.as_object()? {
            let text = |member: &str| Some(entry[member].as_str()?.to_owned());
            contents.insert(name.to_lowercase(), (name.clone(), text("type")?, text("data")?));
        }
        stores.insert(identity.to_owned(), contents);
    }
    Some(stores)
}
