//! Where an installation works before anything of it counts: a directory of its own below `cache/stage`, gone when it is
//! over. One that a killed process left behind goes with the next installation.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use volttron_utils::files::FileLock;
use volttron_utils::home::Home;

use super::{InstallError, file};

/// The name of a lock file ends like this; its directory is called the same without it.
const LOCK: &str = "lock";

/// A directory to work in, closed to other users, which goes with this value.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    lock: FileLock,
}

impl Stage {
    /// A new one; clears away what was abandoned.
    pub fn open(home: &Home) -> Result<Self, InstallError> {
        let parent = home.cache().join("stage");
        file(&parent, fs::create_dir_all(&parent))?;
        clear_abandoned(&parent);
        loop {
            let dir = parent.join(uuid::Uuid::new_v4().to_string());
            let path = dir.with_extension(LOCK);
            let lock = file(&path, FileLock::acquire(&path))?;
            // Somebody who clears away may have seen the file before it was locked.
            if path.exists() {
                file(&dir, fs::DirBuilder::new().mode(0o700).create(&dir))?;
                return Ok(Self { dir, lock });
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        remove(&self.dir, self.lock.path());
    }
}

/// What nobody has locked belongs to nobody any more.
fn clear_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_lock = path.extension().is_some_and(|e| e == LOCK);
        if is_lock && let Ok(Some(_held)) = FileLock::try_acquire(&path) {
            remove(&path.with_extension(""), &path);
        }
    }
}

/// Disposable; what stays behind costs only space, and goes the next time.
fn remove(dir: &Path, lock: &Path) {
    let _ = fs::remove_dir_all(dir);
    if !dir.exists() {
        let _ = fs::remove_file(lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(home: &Home) -> usize {
        fs::read_dir(home.cache().join("stage")).unwrap().count()
    }

    #[test]
    fn what_was_abandoned_goes_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let used = Stage::open(&home).unwrap();
        fs::write(used.path().join("x"), "x").unwrap();
        // As a killed process leaves it: a directory and a lock file that nobody holds.
        let left = home.cache().join("stage/left");
        fs::create_dir_all(left.join("bin")).unwrap();
        fs::write(left.with_extension(LOCK), "").unwrap();
        let other = Stage::open(&home).unwrap();
        assert!(!left.exists() && used.path().join("x").exists() && other.path() != used.path());
        assert_eq!(names(&home), 4);
        drop(used);
        drop(other);
        assert_eq!(names(&home), 0);
    }
}
