//! The store's files: read once at start, written durably after each change (home.md section 8).
//!
//! Blocking. Nothing is ever lost: what cannot be read is put aside under a name that tells so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Map, Value};
use volttron_utils::{files, json, time};

use super::store::{Rejected, Store};

const SUFFIX: &str = ".store";

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory or a file in it.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// Reads every `*.store` file of a directory, which is made if it is missing.
pub(super) fn load_all(dir: &Path) -> Result<BTreeMap<String, Store>, StoreError> {
    files::create_dir(dir, 0o755).map_err(failed("create", dir))?;
    let mut stores = BTreeMap::new();
    for item in fs::read_dir(dir).map_err(failed("read", dir))? {
        let path = item.map_err(failed("read", dir))?.path();
        let Some(identity) = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(SUFFIX))
        else {
            continue;
        };
        let store = load_one(&path)?;
        if !store.is_empty() {
            stores.insert(identity.to_owned(), store);
        }
    }
    Ok(stores)
}

fn load_one(path: &Path) -> Result<Store, StoreError> {
    let bytes = fs::read(path).map_err(failed("read", path))?;
    match json::from_slice::<Map<String, Value>>(&bytes) {
        Ok(members) => {
            let (store, rejected) = Store::load(members);
            if !rejected.is_empty() {
                put_entries_aside(path, rejected)?;
                write(path, &store)?;
            }
            Ok(store)
        }
        // Left behind by a crash of software that did not rename.
        Err(_) if bytes.is_empty() => Ok(Store::default()),
        Err(error) => {
            let aside = aside(path);
            tracing::error!(
                "{} is not a configuration store ({error}); kept as {}",
                path.display(),
                aside.display()
            );
            fs::rename(path, &aside).map_err(failed("rename", path))?;
            Ok(Store::default())
        }
    }
}

/// `<identity>.store.bad-<time>`, free of characters that need quoting.
fn aside(path: &Path) -> PathBuf {
    let stamp = time::format_timestamp(time::now_utc()).replace([':', '+'], "");
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".bad-{stamp}"));
    PathBuf::from(name)
}

fn put_entries_aside(path: &Path, rejected: Rejected) -> Result<(), StoreError> {
    let aside = aside(path);
    let mut members = Map::new();
    for (name, value, why) in rejected {
        tracing::error!(
            "configuration {name:?} in {} is left out: {why}; kept in {}",
            path.display(),
            aside.display()
        );
        members.insert(name, value);
    }
    let text = json::to_compact(&members).unwrap_or_default();
    files::write_atomic(&aside, text.as_bytes(), 0o644).map_err(failed("write", &aside))
}

/// File of an agent's store.
pub(super) fn path_of(dir: &Path, identity: &str) -> PathBuf {
    dir.join(format!("{identity}{SUFFIX}"))
}

/// Writes a store durably; an empty one has no file.
pub(super) fn write(path: &Path, store: &Store) -> Result<(), StoreError> {
    write_text(path, render(store).map_err(failed("write", path))?)
}

/// The text to write, made while the store is locked.
pub(super) fn render(store: &Store) -> io::Result<Option<String>> {
    store.render().transpose().map_err(io::Error::other)
}

/// Writes a rendered store.
pub(super) fn write_text(path: &Path, text: Option<String>) -> Result<(), StoreError> {
    match text {
        Some(text) => files::write_atomic(path, text.as_bytes(), 0o644).map_err(failed("write", path)),
        None => files::remove(path).map_err(failed("remove", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_entries_stay_and_bad_ones_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("configuration_store");
        fs::create_dir(&dir).unwrap();
        let good = r#"{"type":"raw","modified":"x","data":"\u00e9"}"#;
        fs::write(path_of(&dir, "a.b"), format!(r#"{{"ok":{good},"bad":{{"type":"json","data":"{{"}}}}"#))
            .unwrap();
        fs::write(path_of(&dir, "broken"), "{\"half").unwrap();
        fs::write(path_of(&dir, "empty"), "").unwrap();
        fs::write(dir.join("a.b.store.tmp"), "junk").unwrap();
        let stores = load_all(&dir).unwrap();
        assert_eq!(stores.keys().collect::<Vec<_>>(), ["a.b"]);
        assert_eq!(fs::read_to_string(path_of(&dir, "a.b")).unwrap(), format!(r#"{{"ok":{good}}}"#));
        let aside: Vec<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n.contains(".store.bad-"))
            .collect();
        assert_eq!(aside.len(), 2, "{aside:?}");
        let entry = aside.iter().find(|n| n.starts_with("a.b")).unwrap();
        assert_eq!(fs::read_to_string(dir.join(entry)).unwrap(), r#"{"bad":{"type":"json","data":"{"}}"#);
        assert!(!path_of(&dir, "broken").exists());
        // The second start finds nothing to complain about.
        assert_eq!(load_all(&dir).unwrap().len(), 1);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 5);
    }

    #[test]
    fn an_empty_store_has_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), "a");
        fs::write(&path, "{}").unwrap();
        write(&path, &Store::default()).unwrap();
        assert!(!path.exists());
        write(&path, &Store::default()).unwrap();
    }
}
