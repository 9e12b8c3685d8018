//! The store's files: read once at start, written durably after each change (home.md section 8).
//!
//! Blocking. Nothing is ever lost: what cannot be read is put aside under a name that tells so. A change of several
//! stores is committed by one file that lists them; whoever finds that file finishes the change.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use volttron_utils::{json, time};

use super::counters::Counters;
use super::store::{Rejected, Store};
use crate::files::Files;

const SUFFIX: &str = ".store";
/// What follows a store's file name while its next contents wait for the commit.
const NEXT: &str = ".next";
/// The commit of a change of several stores.
const JOURNAL: &str = ".transaction";

/// Why the store cannot be used or a change was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory or a file in it.
    #[error("cannot {action} {name}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A committed change that may not be in place yet.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Journal {
    /// Identities whose next contents replace the present ones.
    replace: Vec<String>,
    /// Identities whose stores are gone.
    remove: Vec<String>,
}

/// The files of all stores.
pub(super) struct Disk {
    files: Box<dyn Files>,
    /// The journal that is on disk, if any.
    journal: Mutex<Option<Journal>>,
}

fn file_of(identity: &str) -> String {
    format!("{identity}{SUFFIX}")
}

fn next_of(identity: &str) -> String {
    format!("{identity}{SUFFIX}{NEXT}")
}

impl Disk {
    /// Finishes what a crash interrupted and reads every store.
    pub(super) fn open(
        files: Box<dyn Files>,
        counters: &Counters,
    ) -> Result<(Self, BTreeMap<String, Store>), StoreError> {
        let disk = Self { files, journal: Mutex::new(None) };
        disk.recover(counters)?;
        let mut stores = BTreeMap::new();
        for name in disk.list()? {
            let Some(identity) = name.strip_suffix(SUFFIX) else { continue };
            let store = disk.load(&name, counters)?;
            if !store.is_empty() {
                stores.insert(identity.to_owned(), store);
            }
        }
        Ok((disk, stores))
    }

    /// Writes one store durably; an empty one has no file.
    pub(super) fn save(&self, identity: &str, store: &Store) -> Result<(), StoreError> {
        self.finish()?;
        let name = file_of(identity);
        match self.render(&name, store)? {
            Some(text) => self.failed("write", &name, self.files.replace(&name, text.as_bytes())),
            None => self.failed("remove", &name, self.files.remove(&name)),
        }
    }

    /// Writes several stores durably, all or none.
    pub(super) fn save_all(&self, stores: &[(String, Store)]) -> Result<(), StoreError> {
        if let [(identity, store)] = stores {
            return self.save(identity, store);
        }
        self.finish()?;
        let mut journal = Journal::default();
        for (identity, store) in stores {
            let name = next_of(identity);
            if let Some(text) = self.render(&name, store)? {
                self.failed("write", &name, self.files.replace(&name, text.as_bytes()))?;
                journal.replace.push(identity.clone());
            } else {
                journal.remove.push(identity.clone());
            }
        }
        let text = json::to_compact(&journal).map_err(|e| self.io("write", JOURNAL, e.into()))?;
        self.failed("write", JOURNAL, self.files.replace(JOURNAL, text.as_bytes()))?;
        *self.journal() = Some(journal);
        // Committed: whatever happens now, the next write or the next start puts it in place.
        if let Err(error) = self.finish() {
            tracing::error!("a committed transaction is not in place yet and will be tried again: {error}");
        }
        Ok(())
    }

    /// Puts a committed change in place. Until that has worked nothing else may be written, or the change would later
    /// undo it.
    fn finish(&self) -> Result<(), StoreError> {
        let mut pending = self.journal();
        let Some(journal) = pending.as_ref() else { return Ok(()) };
        let present = self.list()?;
        for identity in &journal.replace {
            let next = next_of(identity);
            if present.contains(&next) {
                self.failed("rename", &next, self.files.rename(&next, &file_of(identity)))?;
            }
        }
        for identity in &journal.remove {
            let name = file_of(identity);
            self.failed("remove", &name, self.files.remove(&name))?;
        }
        self.failed("remove", JOURNAL, self.files.remove(JOURNAL))?;
        *pending = None;
        Ok(())
    }

    fn recover(&self, counters: &Counters) -> Result<(), StoreError> {
        let present = self.list()?;
        if present.iter().any(|name| name == JOURNAL) {
            let bytes = self.failed("read", JOURNAL, self.files.read(JOURNAL))?;
            match json::from_slice::<Journal>(&bytes) {
                Ok(journal) => {
                    tracing::warn!("finishing a transaction of the configuration store that was interrupted");
                    *self.journal() = Some(journal);
                    self.finish()?;
                }
                // Written atomically, so this is not ours.
                Err(error) => self.put_file_aside(JOURNAL, &error.to_string(), counters)?,
            }
        }
        // Without a commit these count for nothing.
        for name in self.list()?.iter().filter(|name| name.ends_with(&format!("{SUFFIX}{NEXT}"))) {
            self.failed("remove", name, self.files.remove(name))?;
        }
        Ok(())
    }

    fn load(&self, name: &str, counters: &Counters) -> Result<Store, StoreError> {
        let bytes = match self.files.read(name) {
            Ok(bytes) => bytes,
            // Others must not suffer, and it must not be written over.
            Err(error) => {
                self.put_file_aside(name, &error.to_string(), counters)?;
                return Ok(Store::default());
            }
        };
        match json::from_slice::<Map<String, Value>>(&bytes) {
            Ok(members) => {
                let (store, rejected) = Store::load(members);
                if !rejected.is_empty() {
                    self.put_entries_aside(name, rejected, counters)?;
                    match self.render(name, &store)? {
                        Some(text) => {
                            self.failed("write", name, self.files.replace(name, text.as_bytes()))?;
                        }
                        None => self.failed("remove", name, self.files.remove(name))?,
                    }
                }
                Ok(store)
            }
            // Left behind by a crash of software that did not rename.
            Err(_) if bytes.is_empty() => Ok(Store::default()),
            Err(error) => {
                self.put_file_aside(name, &error.to_string(), counters)?;
                Ok(Store::default())
            }
        }
    }

    fn put_file_aside(&self, name: &str, why: &str, counters: &Counters) -> Result<(), StoreError> {
        let aside = self.aside(name)?;
        tracing::error!(
            "{} is not a readable configuration store ({why}); kept as {}",
            self.files.show(name),
            self.files.show(&aside)
        );
        counters.files_set_aside.fetch_add(1, Ordering::Relaxed);
        self.failed("rename", name, self.files.rename(name, &aside))
    }

    fn put_entries_aside(
        &self,
        name: &str,
        rejected: Rejected,
        counters: &Counters,
    ) -> Result<(), StoreError> {
        let aside = self.aside(name)?;
        let mut members = Map::new();
        for (entry, value, why) in rejected {
            tracing::error!(
                "configuration {entry:?} in {} is left out: {why}; kept in {}",
                self.files.show(name),
                self.files.show(&aside)
            );
            counters.entries_set_aside.fetch_add(1, Ordering::Relaxed);
            // Names that differ in blanks or slashes at their ends only become one here.
            let mut key = entry;
            while members.contains_key(&key) {
                key.push('\'');
            }
            members.insert(key, value);
        }
        let text = json::to_compact(&members).map_err(|e| self.io("write", &aside, e.into()))?;
        self.failed("write", &aside, self.files.replace(&aside, text.as_bytes()))
    }

    /// `<identity>.store.bad-<time>`, free of characters that need quoting, and not there yet.
    fn aside(&self, name: &str) -> Result<String, StoreError> {
        let stamp = time::format_timestamp(time::now_utc()).replace([':', '+'], "");
        let (base, present) = (format!("{name}.bad-{stamp}"), self.list()?);
        let numbered = (2..).map(|n| format!("{base}-{n}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|n| !present.contains(n));
        Ok(free.unwrap_or(base))
    }

    fn render(&self, name: &str, store: &Store) -> Result<Option<String>, StoreError> {
        store.render().transpose().map_err(|e| self.io("write", name, e.into()))
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        self.failed("list", "", self.files.list())
    }

    fn journal(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed<T>(&self, action: &'static str, name: &str, result: io::Result<T>) -> Result<T, StoreError> {
        result.map_err(|source| self.io(action, name, source))
    }

    fn io(&self, action: &'static str, name: &str, source: io::Error) -> StoreError {
        StoreError::Io { action, name: self.files.show(name), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::files::Directory;

    fn open(dir: &Path) -> (BTreeMap<String, Store>, Counters) {
        let counters = Counters::default();
        let files = Directory::open(dir.to_owned(), 0o644, u64::MAX).unwrap();
        (Disk::open(Box::new(files), &counters).unwrap().1, counters)
    }

    fn aside(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|n| n.contains(".bad-")).collect();
        names.sort();
        names
    }

    #[test]
    fn good_entries_stay_and_bad_ones_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("configuration_store");
        fs::create_dir(&dir).unwrap();
        let good = r#"{"type":"raw","modified":"x","data":"\u00e9"}"#;
        let bad = r#"{"type":"json","data":"{"}"#;
        fs::write(dir.join("a.b.store"), format!(r#"{{"ok":{good},"bad":{bad}}}"#)).unwrap();
        fs::write(dir.join("broken.store"), "{\"half").unwrap();
        fs::write(dir.join("empty.store"), "").unwrap();
        fs::write(dir.join("latin.store"), b"{\"a\":{\"type\":\"raw\",\"data\":\"\xe9\"}}").unwrap();
        // What is not a file cannot be read either.
        fs::create_dir(dir.join("odd.store")).unwrap();
        fs::write(dir.join(".tmp-Xy12"), "half").unwrap();
        let (stores, counters) = open(&dir);
        assert_eq!(stores.keys().collect::<Vec<_>>(), ["a.b", "latin"]);
        assert_eq!(stores["latin"].get("a").unwrap().data, "\u{e9}");
        assert_eq!(fs::read_to_string(dir.join("a.b.store")).unwrap(), format!(r#"{{"ok":{good}}}"#));
        let aside = aside(&dir);
        assert_eq!(aside.len(), 3, "{aside:?}");
        assert_eq!(fs::read_to_string(dir.join(&aside[0])).unwrap(), r#"{"bad":{"type":"json","data":"{"}}"#);
        assert!(!dir.join("broken.store").exists() && !dir.join(".tmp-Xy12").exists());
        assert_eq!(counters.snapshot()["entries_set_aside"], 1);
        assert_eq!(counters.snapshot()["files_set_aside"], 2);
        // The second start finds nothing to complain about.
        let (stores, counters) = open(&dir);
        assert_eq!(stores.len(), 2);
        assert_eq!(counters.snapshot()["entries_set_aside"], 0);
    }

    #[test]
    fn an_empty_store_has_no_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.store"), "{}").unwrap();
        let files = Directory::open(dir.path().to_owned(), 0o644, u64::MAX).unwrap();
        let (disk, _) = Disk::open(Box::new(files), &Counters::default()).unwrap();
        disk.save("a", &Store::default()).unwrap();
        assert!(!dir.path().join("a.store").exists());
        disk.save("a", &Store::default()).unwrap();
    }
}
