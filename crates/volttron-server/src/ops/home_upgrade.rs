//! `volttron-upgrade`: a home that a Python platform wrote, brought up to date where it is (cli.md section 7). Three things
//! that later versions do otherwise: keys of agents and the identities in their auth entries, the caches of historians, and
//! a setting that got another name.
//!
//! [`look`] finds what there is to do, [`Upgrade::carry_out`] does it. Files are moved by renaming, and none is overwritten.
//! Must never work in a home whose platform runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use volttron_utils::config::OptionFile;
use volttron_utils::files;
use volttron_utils::home::Home;
use volttron_utils::keys::keystore;

use super::OpError;
use super::auth::AuthOpError;
use super::migrate::{MigrateError, in_use};
use crate::auth::entry::Entry;
use crate::auth::file::{AuthFile, EditError, List};
use crate::auth::store::AuthStore;
use crate::lock::HomeLock;
use crate::supervisor::installed::{self, InstalledAgent};

/// The setting, as it was called before 8.2 and since.
const RENAMED: (&str, &str) = ("secure-agent-users", "agent-isolation-mode");
/// What a historian has not stored yet, and what SQLite keeps beside it.
const CACHE: &str = "backup.sqlite";
const BESIDE_CACHE: [&str; 3] = ["backup.sqlite-wal", "backup.sqlite-shm", "backup.sqlite-journal"];
/// Deepest directory that is looked into.
const DEPTH: usize = 8;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The keys of an agent lie among its data.
    Keys {
        /// The file.
        from: PathBuf,
        /// Its place.
        to: PathBuf,
    },
    /// An auth entry has an agent's key and does not say whose it is.
    Identity {
        /// The public key.
        key: String,
        /// The agent.
        identity: String,
    },
    /// The cache of a historian lies where an upgrade of the agent would remove it.
    Cache {
        /// The file.
        from: PathBuf,
        /// Its place.
        to: PathBuf,
    },
    /// A setting has its former name.
    Setting,
}

/// What is to be done in a home.
#[derive(Debug)]
pub struct Upgrade {
    home: Home,
    /// In the order in which it is done.
    pub changes: Vec<Change>,
    /// What has to stay as it is, and why.
    pub left: Vec<String>,
    /// Nobody may start a platform meanwhile.
    _lock: HomeLock,
}

impl Change {
    /// Which of the steps it belongs to.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Keys { .. } => "keys",
            Self::Identity { .. } => "auth",
            Self::Cache { .. } => "cache",
            Self::Setting => "config",
        }
    }

    /// As a line for people; paths without that of the home.
    pub fn text(&self, home: &Home) -> String {
        let short = |path: &Path| path.strip_prefix(home.path()).unwrap_or(path).display().to_string();
        match self {
            Self::Keys { from, to } | Self::Cache { from, to } => {
                format!("{} to {}", short(from), short(to))
            }
            Self::Identity { key, identity } => {
                format!("the auth entry of {key} gets the identity {identity}")
            }
            Self::Setting => format!("{} becomes {}", RENAMED.0, RENAMED.1),
        }
    }
}

/// Looks at a home; takes its lock, so that no platform starts in it before the upgrade is dropped.
pub fn look(home: &Home) -> Result<Upgrade, OpError> {
    if !home.path().is_dir() {
        let text =
            format!("{} is no directory; name the home with --vhome or VOLTTRON_HOME", home.path().display());
        return Err(OpError::Usage(text));
    }
    let busy = |why: String| MigrateError::InUse { path: home.path().to_owned(), why };
    if let Some(why) = in_use(home, home.path()) {
        return Err(busy(why).into());
    }
    let lock = HomeLock::take(home, Duration::ZERO).map_err(|e| busy(e.to_string()))?;
    let mut upgrade = Upgrade { home: home.clone(), changes: Vec::new(), left: Vec::new(), _lock: lock };
    let (agents, skipped) = installed::list(home);
    upgrade.left.extend(skipped);
    let mut identities = BTreeMap::new();
    for agent in &agents {
        if let Some(key) = upgrade.keys(agent) {
            identities.insert(key, agent.identity.clone());
        }
    }
    upgrade.identities(identities)?;
    for agent in &agents {
        upgrade.caches(agent);
    }
    if settings(home)?.get(&["volttron"], RENAMED.0).is_some() {
        upgrade.changes.push(Change::Setting);
    }
    Ok(upgrade)
}

/// Where an agent writes.
fn data(home: &Home, agent: &InstalledAgent) -> PathBuf {
    match &agent.manifest {
        Some(_) => agent.dir.data(),
        None => agent.package_dir(home).join(format!("{}.agent-data", agent.name)),
    }
}

fn settings(home: &Home) -> Result<OptionFile, OpError> {
    OptionFile::load_or_empty(&home.config_file()).map_err(|e| OpError::Refused(e.to_string()))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpError {
    let what = path.display().to_string();
    move |source| OpError::File { what, source }
}

impl Upgrade {
    /// Looks after the keys of an agent; the public one.
    fn keys(&mut self, agent: &InstalledAgent) -> Option<String> {
        let (from, to) = (data(&self.home, agent).join("keystore.json"), agent.keystore());
        let (here, there) = (from.is_file(), to.is_file());
        if here && there {
            self.left.push(format!("{}: {} is there already, and is used", from.display(), to.display()));
        }
        let used = if there { &to } else { &from };
        if !here && !there {
            return None;
        }
        match keystore::load(used) {
            Ok(pair) => {
                if !there {
                    self.changes.push(Change::Keys { from, to });
                }
                Some(pair.public.to_string())
            }
            Err(error) => {
                self.left.push(error.to_string());
                None
            }
        }
    }

    /// Finds the entries with the key of an agent and no identity. An entry that names another one is somebody's wish.
    fn identities(&mut self, agents: BTreeMap<String, String>) -> Result<(), OpError> {
        let read = AuthStore::new(self.home.auth_file()).read_patiently();
        let Some(loaded) = read.map_err(AuthOpError::from)? else { return Ok(()) };
        let file = loaded.parsed.file;
        for (key, identity) in agents {
            if file.entries(List::Allow).any(|entry| lacks_identity(entry, &key)) {
                self.changes.push(Change::Identity { key, identity });
            }
        }
        Ok(())
    }

    fn caches(&mut self, agent: &InstalledAgent) {
        let (root, data) = (agent.package_dir(&self.home), data(&self.home, agent));
        let mut found = Vec::new();
        find_caches(&root, DEPTH, &mut found);
        for from in found {
            let Ok(below) = from.strip_prefix(&root) else { continue };
            let to = data.join(below);
            if to.exists() {
                let text = "has data not stored yet, and so has";
                self.left.push(format!("{} {text} {}", from.display(), to.display()));
                continue;
            }
            for name in BESIDE_CACHE {
                let beside = from.with_file_name(name);
                if beside.is_file() {
                    self.changes.push(Change::Cache { from: beside, to: to.with_file_name(name) });
                }
            }
            // Last, or an interruption would leave the others behind for good.
            self.changes.push(Change::Cache { from, to });
        }
    }

    /// Does it. What was done before a failure stays, and the rest can be done again.
    pub fn carry_out(&self) -> Result<(), OpError> {
        let mut identities = BTreeMap::new();
        for change in &self.changes {
            match change {
                Change::Keys { from, to } | Change::Cache { from, to } => {
                    if let Some(parent) = to.parent() {
                        files::create_dir(parent, 0o755).map_err(failed(parent))?;
                    }
                    files::rename(from, to).map_err(failed(from))?;
                }
                Change::Identity { key, identity } => {
                    identities.insert(key.as_str(), identity.as_str());
                }
                Change::Setting => self.rename_setting()?,
            }
        }
        self.name_owners(&identities)
    }

    fn name_owners(&self, identities: &BTreeMap<&str, &str>) -> Result<(), OpError> {
        if identities.is_empty() {
            return Ok(());
        }
        let changed = AuthStore::new(self.home.auth_file()).change(AuthFile::default(), |file| {
            file.for_each_allowed(|entry| {
                let owner = identities.iter().find(|(key, _)| lacks_identity(entry, key));
                if let Some((_, identity)) = owner {
                    entry.identity = Some((*identity).to_owned());
                }
            });
            Ok::<_, EditError>(())
        });
        Ok(changed.map(drop).map_err(AuthOpError::from)?)
    }

    /// A setting under its present name wins over the former one.
    fn rename_setting(&self) -> Result<(), OpError> {
        let (old, new) = RENAMED;
        let mut file = settings(&self.home)?;
        let value = file.get(&["volttron"], old).unwrap_or_default();
        file.remove("volttron", old);
        if file.get(&["volttron"], new).is_none() {
            file.set("volttron", new, &value);
        }
        file.save(&self.home.config_file()).map_err(|e| OpError::Refused(e.to_string()))
    }
}

fn lacks_identity(entry: &Entry, key: &str) -> bool {
    entry.identity.is_none() && entry.credentials.texts() == [key]
}

/// Caches below a package's directory, outside of its data. Links are not followed.
fn find_caches(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
        if kind.is_file() && name == CACHE {
            found.push(entry.path());
        } else if kind.is_dir() && depth > 0 && !name.to_string_lossy().ends_with(".agent-data") {
            find_caches(&entry.path(), depth - 1, found);
        }
    }
}
