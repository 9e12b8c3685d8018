//! Environments that an agent in the foreground runs from (`vctl run`): below `bin/` like those of installed agents, and
//! not deleted while it runs.
//!
//! A file `uses` in the run's directory names the process and the environments. One of a process that is gone counts for
//! nothing, so a run that was killed keeps nothing alive.

use std::fs;
use std::path::{Path, PathBuf};

use volttron_utils::files::{self, FileLock};
use volttron_utils::home::{Home, process_started};

use super::{Staged, store};
use crate::install::{InstallError, file};

/// Most bytes read of a file `uses`.
const MAX_FILE: u64 = 1 << 16;

/// Where runs keep what is theirs.
pub fn runs(home: &Home) -> PathBuf {
    home.cache().join("run")
}

/// Moves the environment below `bin/` and keeps it there as long as this process lives and `run`, a directory below
/// [`runs`], exists. Gives its place.
pub fn hold(home: &Home, staged: &Staged, run: &Path) -> Result<PathBuf, InstallError> {
    let _lock = lock(home)?;
    let mut text = std::process::id().to_string();
    for name in std::iter::once(&staged.name).chain(staged.runtime.as_ref().map(|shared| &shared.name)) {
        text.push('\n');
        text.push_str(name);
    }
    let path = run.join("uses");
    file(&path, files::write_atomic(&path, text.as_bytes(), 0o644))?;
    store(home, staged)
}

fn lock(home: &Home) -> Result<FileLock, InstallError> {
    let bin = home.bin();
    file(&bin, fs::create_dir_all(&bin))?;
    let lock = bin.join(".lock");
    file(&lock, FileLock::acquire(&lock))
}

/// Names below `bin/` that runs need at present.
pub fn held(home: &Home) -> Vec<String> {
    let mut names = Vec::new();
    for run in fs::read_dir(runs(home)).into_iter().flatten().flatten() {
        let Ok(text) = files::read_bounded(&run.path().join("uses"), MAX_FILE) else { continue };
        let mut lines = text.lines();
        let process = lines.next().and_then(|line| line.parse().ok());
        if process.is_some_and(|pid| process_started(pid).is_some()) {
            names.extend(lines.map(str::to_owned));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_living_runs_hold() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        for (run, process) in [("mine", std::process::id()), ("gone", u32::MAX)] {
            let run_dir = runs(&home).join(run);
            fs::create_dir_all(&run_dir).unwrap();
            fs::write(run_dir.join("uses"), format!("{process}\n{run}-1.0+0\nclient")).unwrap();
        }
        fs::create_dir_all(runs(&home).join("native")).unwrap();
        assert_eq!(held(&home), ["mine-1.0+0", "client"]);
    }
}
