//! `migration.json` of a new home: where it came from, what became of each thing, and what its files were when it was done.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use volttron_utils::files;
use volttron_utils::home::Home;

use super::MigrateError;
use crate::ops::backup::io_error;
use crate::ops::passing::passes;

/// The file.
pub(super) const FILE: &str = "migration.json";
/// Version of its format.
const FORMAT: u32 = 1;
/// Most bytes that are read of it.
const MAX_BYTES: u64 = 1 << 30;
/// What can be made again, besides what passes.
const NOT_COUNTED: [&str; 3] = [FILE, "bin", "logs"];

/// What the file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Version of the format.
    pub format: u32,
    /// Version of the program that wrote it.
    pub version: String,
    /// When.
    pub when: String,
    /// The old home.
    pub from: String,
    /// The generation of its platform.
    pub generation: String,
    /// Each thing of it.
    pub items: Vec<Value>,
    /// Size and time of the last change, in nanoseconds, of each file.
    pub files: BTreeMap<String, (u64, i128)>,
}

impl Record {
    /// Of a home as it is now.
    pub fn of(home: &Path, from: &Path, generation: &str, items: Vec<Value>) -> Result<Self, MigrateError> {
        Ok(Self {
            format: FORMAT,
            version: crate::platform::VERSION.to_owned(),
            when: volttron_utils::time::format_timestamp(jiff::Timestamp::now()),
            from: from.display().to_string(),
            generation: generation.to_owned(),
            items,
            files: list(home)?,
        })
    }

    /// Writes it into the home.
    pub fn write(&self, home: &Path) -> Result<(), MigrateError> {
        let path = home.join(FILE);
        let text = serde_json::to_vec(self).map_err(|e| io_error("write", &path)(e.into()))?;
        Ok(files::write_atomic(&path, &text, 0o600).map_err(io_error("write", &path))?)
    }

    /// That of a home.
    pub fn read(home: &Home) -> Result<Self, MigrateError> {
        let path = home.path().join(FILE);
        let no = |why: String| MigrateError::NoRecord { path: home.path().to_owned(), why };
        let text = files::read_bounded(&path, MAX_BYTES).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => no(format!("it has no {FILE}")),
            _ => no(format!("{}: {e}", path.display())),
        })?;
        let record: Self =
            volttron_utils::json::from_str(&text).map_err(|e| no(format!("{}: {e}", path.display())))?;
        if record.format != FORMAT {
            return Err(no(format!(
                "its {FILE} was written by version {}, in a format that is not known here",
                record.version
            )));
        }
        Ok(record)
    }

    /// What is not as it was: new, changed and missing files, sorted.
    pub fn changes(&self, home: &Path) -> Result<Vec<String>, MigrateError> {
        let now = list(home)?;
        let mut changes = Vec::new();
        for (path, state) in &now {
            match self.files.get(path) {
                Some(was) if was == state => {}
                Some(_) => changes.push(format!("{path} has changed")),
                None => changes.push(format!("{path} is new")),
            }
        }
        // A record of an earlier version may name what passes.
        let missing = self.files.keys().filter(|path| !now.contains_key(*path) && !passes(path));
        changes.extend(missing.map(|path| format!("{path} is gone")));
        changes.sort();
        Ok(changes)
    }
}

fn list(home: &Path) -> Result<BTreeMap<String, (u64, i128)>, MigrateError> {
    let mut files = BTreeMap::new();
    walk(home, "", &mut files)?;
    Ok(files)
}

fn walk(dir: &Path, below: &str, files: &mut BTreeMap<String, (u64, i128)>) -> Result<(), MigrateError> {
    for entry in fs::read_dir(dir).map_err(io_error("read", dir))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if passes(&path) || NOT_COUNTED.contains(&path.as_str()) {
            continue;
        }
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        if meta.is_dir() {
            walk(&entry.path(), &path, files)?;
        } else {
            let at = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
            files.insert(path, (meta.len(), at));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_and_looking_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        fs::create_dir_all(home.path().join("a/b")).unwrap();
        for name in ["a/b/kept", "a/changed", "gone"] {
            fs::write(home.path().join(name), "x").unwrap();
        }
        assert!(matches!(Record::read(&home), Err(MigrateError::NoRecord { .. })));
        Record::of(home.path(), Path::new("/old"), "9.x", Vec::new()).unwrap().write(home.path()).unwrap();
        let record = Record::read(&home).unwrap();
        fs::write(home.lock_file(), "").unwrap();
        assert_eq!(record.changes(home.path()).unwrap(), Vec::<String>::new());
        fs::write(home.path().join("a/changed"), "xy").unwrap();
        fs::write(home.path().join("new"), "").unwrap();
        fs::remove_file(home.path().join("gone")).unwrap();
        assert_eq!(
            record.changes(home.path()).unwrap(),
            ["a/changed has changed", "gone is gone", "new is new"]
        );
        fs::write(home.path().join(FILE), "{\"format\": 1,").unwrap();
        assert!(Record::read(&home).unwrap_err().to_string().contains("line 1"));
    }
}
