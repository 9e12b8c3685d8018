//! The store of a platform that does not run, for `vctl` and `vcfg`: the same plans, written the same way. And what
//! `volttron --check-config` finds wrong with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};
use volttron_utils::home::Home;
use volttron_utils::jsonrpc::RpcError;
use volttron_utils::{files, json};

use super::store::Store;
use super::writer::{self, Wish};
use super::{ConfigStore, edit, metadata, now, report};

/// Largest store that is looked at.
const LOOK_MAX_BYTES: u64 = 256 << 20;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The files.
    #[error(transparent)]
    Store(#[from] super::StoreError),
    /// What was asked for.
    #[error("{0}")]
    Refused(RpcError),
}

/// Every configuration, by identity and name, as `export_configs` gives them. Blocks on files.
pub fn read(home: &Home) -> Result<BTreeMap<String, Value>, OfflineError> {
    if !home.configuration_store().is_dir() {
        return Ok(BTreeMap::new());
    }
    let store = ConfigStore::load(home)?;
    let state = store.shared.state();
    let members = |s: &Store| -> Map<String, Value> {
        s.all().into_iter().map(|(name, entry)| (name, metadata(&entry))).collect()
    };
    Ok(state.stores.iter().map(|(identity, s)| (identity.clone(), Value::Object(members(s)))).collect())
}

/// Carries out a transaction as `apply_configs` does. The caller owns the home. Blocks on files.
pub fn apply(home: &Home, transaction: Value) -> Result<Value, OfflineError> {
    let edits = edit::parse_transaction(transaction, &now()).map_err(OfflineError::Refused)?;
    let wished = edits.values().map(|edit| edit.writes.len()).sum();
    let wishes: BTreeMap<String, Wish> =
        edits.into_iter().map(|(identity, edit)| (identity, Wish::Edit(edit))).collect();
    let store = ConfigStore::load(home)?;
    let state = store.shared.state();
    let planned = writer::plan(|identity| state.stores.get(identity).cloned(), &wishes, false)
        .map_err(OfflineError::Refused)?;
    let (mut stores, mut news) = (Vec::new(), Vec::new());
    for (identity, next, what) in planned {
        stores.push((identity.clone(), next));
        news.push((identity, what));
    }
    if !stores.is_empty() {
        store.shared.disk.save_all(&stores)?;
    }
    Ok(report(&news, wished))
}

/// What of the stores a start would put aside, each with the file and the reason. Nothing is written.
pub fn unreadable(home: &Home) -> Vec<(PathBuf, String)> {
    let Ok(entries) = std::fs::read_dir(home.configuration_store()) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "store"));
    paths.sort();
    let mut bad = Vec::new();
    for path in paths {
        let members =
            files::read_bounded(&path, LOOK_MAX_BYTES).map_err(|e| e.to_string()).and_then(|text| {
                if text.is_empty() {
                    return Ok(Map::new());
                }
                json::from_slice::<Map<String, Value>>(text.as_bytes()).map_err(|e| e.to_string())
            });
        match members {
            Err(why) => bad.push((path, format!("this is not a readable configuration store: {why}"))),
            Ok(members) => {
                let rejected = Store::load(members).1;
                bad.extend(rejected.into_iter().map(|(name, _, why)| {
                    (path.clone(), format!("configuration {name:?} would be put aside: {why}"))
                }));
            }
        }
    }
    bad
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_transaction_is_made_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        assert!(read(&home).unwrap().is_empty());
        let item = |data: &str| json!({"type": "json", "data": data});
        let good = json!({"a": {"set": {"config": item("{}")}}, "b": {"set": {"x/y": item("[1]")}}});
        assert_eq!(apply(&home, good.clone()).unwrap()["changes"]["b"], json!([["NEW", "x/y"]]));
        assert_eq!(apply(&home, good).unwrap(), json!({"changes": {}, "unchanged": 2}));
        let bad = json!({"a": {"delete": ["config"]}, "b": {"set": {"z": item("{")}}});
        assert!(apply(&home, bad).is_err());
        let all = read(&home).unwrap();
        assert_eq!((&all["a"]["config"]["data"], &all["b"]["x/y"]["data"]), (&json!("{}"), &json!("[1]")));
        apply(&home, json!({"a": {"delete": ["Config"]}})).unwrap();
        assert_eq!(read(&home).unwrap().len(), 1);
    }
    #[test]
    fn what_a_start_would_put_aside_is_told_and_left() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        fs::create_dir(home.configuration_store()).unwrap();
        let file = |name: &str, text: &str| fs::write(home.configuration_store().join(name), text).unwrap();
        file("a.store", r#"{"x":{"type":"json","data":"{"},"y":{"type":"raw","data":""}}"#);
        file("b.store", "{");
        file("c.store", "");
        let bad = unreadable(&home);
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert!(bad[0].1.contains("\"x\"") && bad[1].0.ends_with("b.store"));
        assert!(home.configuration_store().join("b.store").exists());
    }
}
