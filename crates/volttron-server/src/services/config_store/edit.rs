//! What a caller wants changed in one agent's store, as data: from the arguments of a call to the changes the agent is
//! told about, in their order. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};
use volttron_utils::identity::Identity;
use volttron_utils::jsonrpc::RpcError;

use super::entry::{BadEntry, Entry, Kind, strip_name};
use super::store::Named;

/// The main configuration, which agents hear of before anything else.
const MAIN: &str = "config";

/// Changes to one store that happen together.
#[derive(Debug, Clone, Default)]
pub(super) struct Edit {
    /// Configurations to write.
    pub(super) writes: Vec<Arc<Named>>,
    /// Names to delete, in any spelling; each has to be there.
    pub(super) deletes: Vec<String>,
    /// Whether everything that is not written goes.
    pub(super) prune: bool,
    /// Whether a write that changes nothing is left out. A single write of 9.x always counts.
    pub(super) only_changes: bool,
}

/// Why an edit does not happen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    /// Text that cannot be stored, with its name.
    #[error("{1}")]
    Bad(String, BadEntry),
    /// Something to delete is not there.
    #[error("there is no configuration {0:?} to delete")]
    Missing(String),
    /// One name occurs twice, maybe in two spellings.
    #[error("{0:?} occurs twice in one transaction")]
    Twice(String),
}

/// What the agent is told about one configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// It was written.
    Set {
        /// NEW or UPDATE.
        action: &'static str,
        /// As written.
        name: String,
        /// What it is now.
        entry: Arc<Entry>,
    },
    /// It was deleted; the name as the deleter spelled it.
    Delete {
        /// Which.
        name: String,
    },
}

impl Change {
    /// `ACTION name`, parted.
    pub(super) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Set { action, name, .. } => (action, name),
            Self::Delete { name } => ("DELETE", name),
        }
    }

    #[cfg(test)]
    pub(super) fn words(&self) -> String {
        let (action, name) = self.parts();
        format!("{action} {name}")
    }
}

/// In which order an agent hears of several writes: what is referred to before what refers to it, and the main
/// configuration as early as that allows (subsystems.md section 11.8); else as they were given. Gives places.
pub(super) fn in_push_order<'a>(writes: impl Iterator<Item = &'a Named>) -> Vec<usize> {
    let all: Vec<&Named> = writes.collect();
    let places: HashMap<&str, usize> = all.iter().enumerate().map(|(at, w)| (w.lower.as_str(), at)).collect();
    let main = places.get(MAIN).copied();
    let (mut order, mut seen) = (Vec::with_capacity(all.len()), vec![false; all.len()]);
    for start in main.into_iter().chain(0..all.len()) {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        // Depth first without recursion: a place, and how many of its links were followed.
        let mut path = vec![(start, 0)];
        while let Some((at, followed)) = path.last_mut() {
            let Some(link) = all[*at].links.get(*followed) else {
                order.push(*at);
                path.pop();
                continue;
            };
            *followed += 1;
            if let Some(&target) = places.get(link.as_str())
                && !std::mem::replace(&mut seen[target], true)
            {
                path.push((target, 0));
            }
        }
    }
    order
}

/// Reads the transaction argument of `apply_configs`: identity to
/// `{"set": {name: {"type": .., "data": ..}}, "delete": [names], "prune": bool}`, every member optional.
pub(super) fn parse_transaction(value: Value, modified: &str) -> Result<BTreeMap<String, Edit>, RpcError> {
    let stores: Map<String, Value> =
        serde_json::from_value(value).map_err(|e| RpcError::type_error(format!("transaction: {e}")))?;
    let mut edits = BTreeMap::new();
    for (identity, wish) in stores {
        Identity::new(identity.as_str()).map_err(|e| RpcError::value_error(e.to_string()))?;
        let edit = parse_edit(&identity, wish, modified)?;
        edits.insert(identity, edit);
    }
    Ok(edits)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    delete: Vec<String>,
    #[serde(default)]
    prune: bool,
}

#[derive(serde::Deserialize)]
struct WishedEntry {
    #[serde(rename = "type")]
    kind: String,
    data: String,
}

fn parse_edit(identity: &str, wish: Value, modified: &str) -> Result<Edit, RpcError> {
    let wish: Wish =
        serde_json::from_value(wish).map_err(|e| RpcError::type_error(format!("{identity}: {e}")))?;
    let mut writes = Vec::with_capacity(wish.set.len());
    for (name, value) in wish.set {
        let entry: WishedEntry = serde_json::from_value(value)
            .map_err(|e| RpcError::type_error(format!("{identity}/{name}: {e}")))?;
        let named = match Kind::parse(&entry.kind) {
            Some(kind) => {
                let modified = Some(modified.to_owned());
                Named::new(&name, Entry { kind, modified, data: entry.data })
            }
            None => Err(BadEntry::Kind),
        };
        let named = named.map_err(|bad| in_place(&format!("{identity}/{name}"), &bad.into()))?;
        writes.push(Arc::new(named));
    }
    let deletes = wish.delete.iter().map(|name| strip_name(name).to_owned()).collect();
    Ok(Edit { writes, deletes, prune: wish.prune, only_changes: true })
}

/// The same error, its text led by the place it is about.
pub(super) fn in_place(place: &str, error: &RpcError) -> RpcError {
    let text = format!("{place}: {}", error.detail().unwrap_or_default());
    RpcError::exception(error.exc_type().unwrap_or("builtins.ValueError"), text)
}
