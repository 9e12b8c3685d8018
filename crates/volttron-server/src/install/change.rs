//! Several files of an agent's directory changed as one.
//!
//! The new files are written to `.next/`; renaming that to `.change/` is the moment from which the change is made, and what
//! follows (moving each file to its place) needs no space and is finished by whoever comes next, should this process end
//! in the middle. Before that moment nothing has changed.

use std::fs;
use std::path::{Path, PathBuf};

use volttron_utils::home::AgentDir;

use super::{InstallError, Site};

const NEXT: &str = ".next";
const CHANGE: &str = ".change";

/// A change that is written but not made.
#[derive(Debug)]
pub(super) struct Change {
    dir: PathBuf,
}

impl Change {
    /// Begins with no file.
    pub(super) fn begin(site: &Site<'_>, dir: &AgentDir) -> Result<Self, InstallError> {
        let change = Self { dir: dir.path().to_owned() };
        site.remove(&change.dir.join(NEXT))?;
        site.make_dir(&change.dir.join(NEXT))?;
        Ok(change)
    }

    /// Adds a file that is to take the place of the one at `path`.
    pub(super) fn put(
        &self,
        site: &Site<'_>,
        path: &Path,
        text: &str,
        mode: u32,
    ) -> Result<(), InstallError> {
        site.write(&self.dir.join(NEXT).join(path.file_name().unwrap_or_default()), text, mode)
    }

    /// Makes the change; [`finish`] moves the files.
    pub(super) fn commit(&self, site: &Site<'_>) -> Result<(), InstallError> {
        site.rename(&self.dir.join(NEXT), &self.dir.join(CHANGE))
    }

    /// Whether it is made, but not finished.
    pub(super) fn is_unfinished(&self) -> bool {
        self.dir.join(CHANGE).exists()
    }
}

/// Finishes a change that was made, and forgets one that was not.
pub(super) fn finish(site: &Site<'_>, dir: &Path) -> Result<(), InstallError> {
    let change = dir.join(CHANGE);
    for entry in fs::read_dir(&change).into_iter().flatten().flatten() {
        site.rename(&entry.path(), &dir.join(entry.file_name()))?;
    }
    for path in [change, dir.join(NEXT)] {
        if path.exists() {
            site.remove(&path)?;
        }
    }
    Ok(())
}
