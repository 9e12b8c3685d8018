//! Environments below `bin/`: their record, finding one that fits, moving a new one there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use volttron_utils::files;
use volttron_utils::home::Home;
use volttron_utils::time::format_timestamp;

use super::Staged;
use crate::install::{InstallError, file};

const MAX_LEDGER: u64 = 1 << 20;

/// `source.json` of an environment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ledger {
    /// Package.
    pub package: String,
    /// Version.
    pub version: String,
    /// Where it came from.
    pub source: Value,
    /// What decides whether another source would give the same.
    pub sha256: String,
    /// When it was made.
    pub when: String,
    /// Version of the interpreter.
    pub python: String,
    /// Arguments that start the agent.
    pub args: Vec<String>,
    /// Written for 9.x.
    pub classic: bool,
    /// Written for 11.x.
    pub for_11: bool,
    /// Default identity.
    pub identity: Option<String>,
    /// Configuration that came with the package.
    pub config: Option<String>,
    /// The shared environment it builds on.
    pub runtime: Option<String>,
}

impl Ledger {
    fn read(root: &Path) -> Option<Self> {
        serde_json::from_str(&files::read_bounded(&root.join("source.json"), MAX_LEDGER).ok()?).ok()
    }

    /// Writes it into an environment.
    pub fn write(mut self, root: &Path) -> io::Result<()> {
        self.when = format_timestamp(jiff::Timestamp::now());
        let text = volttron_utils::json::to_indent(&self, 2).unwrap_or_default();
        files::write_atomic(&root.join("source.json"), text.as_bytes(), 0o644)
    }
}

/// Whether this environment is complete, made from the same, and has an interpreter still.
pub(super) fn is_usable(root: &Path, key: &str) -> bool {
    Ledger::read(root).is_some_and(|ledger| ledger.sha256 == key) && root.join("bin/python").exists()
}

/// The interpreter that an environment, or the one it builds on, leads to and that is not there.
pub fn missing_interpreter(root: &Path) -> Option<PathBuf> {
    let shared = Ledger::read(root).and_then(|ledger| Some(root.parent()?.join(ledger.runtime?)));
    shared.iter().map(PathBuf::as_path).chain([root]).find_map(dangling)
}

/// Where `bin/python` of an environment leads to, if that is not there.
fn dangling(root: &Path) -> Option<PathBuf> {
    let mut path = root.join("bin/python");
    if path.exists() {
        return None;
    }
    // The name of the environment's own link tells nobody anything.
    while let (Ok(to), Some(dir)) = (fs::read_link(&path), path.parent()) {
        path = dir.join(to);
    }
    Some(path)
}

/// The environment made from the same source, if there is one.
pub(super) fn find(home: &Home, key: &str) -> Option<(PathBuf, Ledger)> {
    let entries = fs::read_dir(home.bin()).ok()?;
    let mut roots = entries.flatten().map(|e| e.path()).filter(|root| is_usable(root, key));
    roots.find_map(|root| {
        let ledger = Ledger::read(&root)?;
        let complete =
            ledger.runtime.as_ref().is_none_or(|name| home.bin().join(name).join("bin/python").exists());
        complete.then_some((root, ledger))
    })
}

/// Names below `bin/` of the shared environments that these programs of agents build on, the programs as in `agent.json`.
pub fn runtimes_of(home: &Home, programs: &[String]) -> Vec<String> {
    let names = programs.iter().filter_map(|program| program.strip_prefix("../../bin/")?.split('/').next());
    names.filter_map(|name| Ledger::read(&home.bin().join(name))?.runtime).collect()
}

/// Moves a staged environment, and the shared one it builds on, below `bin/`. Only under the lock of `bin/`.
pub fn store(home: &Home, staged: &Staged) -> Result<PathBuf, InstallError> {
    if let Some(shared) = &staged.runtime {
        place(home, &shared.name, shared.staged.as_deref())?;
    }
    let below_bin = staged.root.parent() == Some(&home.bin());
    place(home, &staged.name, (!below_bin).then_some(&*staged.root))
}

fn place(home: &Home, name: &str, staged: Option<&Path>) -> Result<PathBuf, InstallError> {
    let root = home.bin().join(name);
    if root.join("bin/python").exists() && root.join("source.json").exists() {
        // Another installation was faster, or it was there before.
        return Ok(root);
    }
    let Some(staged) = staged else {
        let gone = "another command removed it just now; install again".to_owned();
        return Err(InstallError::Unsupported { path: root.display().to_string(), why: gone });
    };
    if root.exists() {
        file(&root, fs::remove_dir_all(&root))?;
    }
    // Thousands of small files: one flush of the file system instead of one for each.
    let flushed = File::open(staged).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    file(staged, flushed)?;
    file(&root, files::rename(staged, &root))?;
    Ok(root)
}
