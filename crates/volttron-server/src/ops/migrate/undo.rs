//! Taking the product of a migration away again.

use std::fs;
use std::path::{Path, PathBuf};

use volttron_utils::files::{self, FileLock};
use volttron_utils::home::Home;

use super::build::{clear_abandoned, new_name};
use super::record::Record;
use super::{MigrateError, running};
use crate::ops::backup::io_error;

/// Most changes that are told.
const TOLD: usize = 20;

/// A home that can go.
#[derive(Debug)]
pub struct Undoing {
    home: Home,
    place: PathBuf,
    /// The home it was made from.
    pub from: PathBuf,
    /// What has changed since.
    pub changes: Vec<String>,
    /// The old home is not there any more.
    pub only_copy: bool,
    lock: FileLock,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Undone {
    /// The home that is gone.
    pub home: PathBuf,
    /// The one that is left, as it was.
    pub from: PathBuf,
}

/// Looks whether a home came from a migration, nothing runs in it, and what has changed in it since.
pub fn prepare_undo(home: &Home) -> Result<Undoing, MigrateError> {
    let place = fs::canonicalize(home.path())
        .map_err(|e| MigrateError::NoRecord { path: home.path().to_owned(), why: e.to_string() })?;
    let record = Record::read(home)?;
    let busy = |why: String| MigrateError::InUse { path: home.path().to_owned(), why };
    if let Some(why) = running::in_use(home, home.path()) {
        return Err(busy(why));
    }
    let path = home.lock_file();
    let lock = FileLock::try_acquire(&path).map_err(io_error("lock", &path))?;
    let lock = lock.ok_or_else(|| busy("another command works in it; wait until it has ended".to_owned()))?;
    let changes = record.changes(&place)?;
    let from = PathBuf::from(&record.from);
    let only_copy = !from.is_dir();
    Ok(Undoing { home: home.clone(), place, from, changes, only_copy, lock })
}

impl Undoing {
    /// An error if something would be lost.
    pub fn check(&self) -> Result<(), MigrateError> {
        let mut changes: Vec<String> = self.changes.iter().take(TOLD).cloned().collect();
        if self.changes.len() > TOLD {
            changes.push(format!("... and {} files more", self.changes.len() - TOLD));
        }
        if self.only_copy {
            changes.push(format!("{} is gone: this is the only copy", self.from.display()));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let hint = "keep it with `vctl backup FILE`, or let it go with --force";
        Err(MigrateError::Changed { path: self.home.path().to_owned(), changes, hint })
    }

    /// Removes it: gone from its place at once, and from the disk after.
    pub fn remove(self) -> Result<Undone, MigrateError> {
        let doomed = new_name(&self.place, "undone");
        files::rename(&self.place, &doomed).map_err(io_error("rename", &self.place))?;
        fs::remove_dir_all(&doomed).map_err(io_error("remove", &doomed))?;
        drop(self.lock);
        clear_abandoned(&self.place);
        Ok(Undone { home: self.home.path().to_owned(), from: self.from })
    }
}

/// Whether a name beside a home is one that was going away.
pub(super) fn is_doomed(path: &Path, home: &Path) -> bool {
    let name = home.file_name().unwrap_or_default().to_string_lossy();
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!(".{name}.undone-")))
}
