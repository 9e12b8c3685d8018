//! Where something large is made before it counts: a hidden directory beside its place, gone with its value. What a killed
//! process left of one is cleared away when the same thing is made the next time.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use volttron_utils::files::{FileLock, unnamed};

use super::{BackupError, io_error};

/// Held as long as somebody is at work there. It has the name of a platform's own lock: so no platform starts in a home
/// that is not complete.
const LOCK: &str = "volttron.lock";

/// A directory to work in, closed to other users.
#[derive(Debug)]
pub(in crate::ops) struct Workplace {
    dir: tempfile::TempDir,
    lock: FileLock,
}

impl Workplace {
    /// A new one for what is to be at `place`, which must have a directory; `doing` says in its name what is done there.
    pub fn open(place: &Path, doing: &str) -> Result<Self, BackupError> {
        clear_abandoned(place, doing);
        let beside = place.parent().unwrap_or(Path::new("/"));
        let dir = tempfile::Builder::new().prefix(&prefix(place, doing)).tempdir_in(beside);
        let dir = dir.map_err(unnamed).map_err(io_error("write in", beside))?;
        let path = dir.path().join(LOCK);
        let lock = FileLock::try_acquire(&path).map_err(io_error("lock", &path))?;
        let busy = || BackupError::InUse("another command clears up there; try again".to_owned());
        Ok(Self { dir, lock: lock.ok_or_else(busy)? })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the directory where it is, to be put in its place; the lock is held as long as its value.
    pub fn keep(self) -> (PathBuf, FileLock) {
        (self.dir.keep(), self.lock)
    }
}

/// Removes what killed processes left that were `doing` the same for `place`.
pub(in crate::ops) fn clear_abandoned(place: &Path, doing: &str) {
    let begins = prefix(place, doing);
    for path in beside(place) {
        let is_like_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begins));
        if is_like_ours && !is_planted(&path) {
            remove_if_abandoned(&path);
        }
    }
}

/// Whether it may have been made by somebody else, to lead us astray: everybody makes directories in `/tmp`.
fn is_planted(path: &Path) -> bool {
    let Ok(meta) = fs::symlink_metadata(path) else { return true };
    let is_shared =
        path.parent().is_none_or(|dir| fs::metadata(dir).is_ok_and(|dir| dir.mode() & 0o002 != 0));
    !meta.is_dir() || (is_shared && meta.uid() != rustix::process::geteuid().as_raw())
}

/// Removes a directory that nobody works in.
pub(in crate::ops) fn remove_if_abandoned(dir: &Path) {
    // Whoever is at work holds the lock.
    if let Ok(Some(_held)) = FileLock::try_acquire(&dir.join(LOCK)) {
        let _ = fs::remove_dir_all(dir);
    }
}

/// What lies in the directory of `place`.
pub(in crate::ops) fn beside(place: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(place.parent().unwrap_or(Path::new("/")));
    entries.into_iter().flatten().flatten().map(|entry| entry.path())
}

fn prefix(place: &Path, doing: &str) -> String {
    format!(".{}.{doing}-", place.file_name().unwrap_or(OsStr::new("home")).to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_may_have_planted_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x.tgz");
        let elsewhere = dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join(".x.tgz.writing-link")).unwrap();
        clear_abandoned(&place, "writing");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "no lock was made through a link");
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let planted = dir.path().join(".x.tgz.writing-planted");
        fs::create_dir(&planted).unwrap();
        std::os::unix::fs::chown(&planted, Some(65_534), None).unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
        clear_abandoned(&place, "writing");
        assert!(planted.exists() && fs::read_dir(&planted).unwrap().count() == 0);
    }

    #[test]
    fn what_was_abandoned_goes_and_what_is_in_use_or_something_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x.tgz");
        let used = Workplace::open(&place, "writing").unwrap();
        let left = dir.path().join(".x.tgz.writing-left");
        fs::create_dir(&left).unwrap();
        let others = [".x.tgz.reading-a", ".y.tgz.writing-b", "x.tgz.writing-c"].map(|n| dir.path().join(n));
        for path in &others {
            fs::create_dir(path).unwrap();
        }
        let second = Workplace::open(&place, "writing").unwrap();
        assert!(!left.exists() && used.path().exists() && others.iter().all(|path| path.exists()));
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
        let (kept, _lock) = used.keep();
        clear_abandoned(&place, "writing");
        assert!(kept.exists());
    }
}
