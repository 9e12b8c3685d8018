//! The half of an installation that runs in the platform: identity, keys, agent directory (home.md section 3).
//!
//! Two steps, so that the new program is stored beside the old one while that still runs: [`stage`] prepares everything,
//! [`Pending::commit`] puts it in place by one rename. An interruption before that leaves the former state, one after it
//! is finished by [`super::repair()`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use volttron_utils::files::{self, FileLock, TEMP_PREFIX};
use volttron_utils::home::{AgentDir, Home};
use volttron_utils::identity;
use volttron_utils::keys::keystore::{self, KeystoreError};
use volttron_utils::keys::{KeyPair, PublicKey};
use volttron_utils::time::format_timestamp;

use super::change::Change;
use super::history::{History, Outcome, Terms, What};
use super::repair::{REMOVED, REMOVED_KEEPING_AUTH, finish_removal};
use super::upgrade::prepare_upgrade;
use super::{InstallError, MANIFEST_FORMAT, NEW_PREFIX, Site, file, python, repair, store};
use crate::supervisor::installed::{self, InstalledAgent, Manifest, Runtime};

/// A program that is ready to become an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StagedAgent {
    /// The program.
    pub program: PathBuf,
    /// Package name.
    pub package: String,
    /// Package version.
    pub version: String,
    /// The identity asked for, perhaps with `{n}`.
    pub identity: Option<String>,
    /// The package's own default identity, perhaps with `{n}`.
    pub default_identity: Option<String>,
    /// Configuration text.
    pub config: Option<String>,
    /// Replace an agent of the same identity.
    pub force: bool,
    /// Where the program came from, for the ledger.
    pub source: Value,
    /// Additions to the environment.
    pub env: BTreeMap<String, String>,
    /// Identity that asks for it; the platform fills it in.
    #[serde(default)]
    pub installed_by: String,
    /// The environment, of a Python agent.
    #[serde(default)]
    pub python: Option<python::Staged>,
    /// Keys for a new agent; made up otherwise.
    #[serde(skip)]
    pub keys: Option<KeyPair>,
    /// What to do with it besides.
    #[serde(default)]
    pub then: Then,
}

/// What is done together with an installation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Then {
    /// Sets the tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// Sets the priority of autostart.
    #[serde(default)]
    pub priority: Option<String>,
    /// Starts an agent that took the place of another one, even if that did not run. A new agent is started by whoever
    /// asked.
    #[serde(default)]
    pub start: bool,
    /// Leaves an agent down that was up until then; whoever asked starts it.
    #[serde(default)]
    pub stay_down: bool,
    /// Leaves an agent alone that has this very program and configuration already.
    #[serde(default)]
    pub only_if_new: bool,
    /// What a version that took the place of another one has to show; without it there is no going back by itself.
    #[serde(default)]
    pub trial: Option<Terms>,
}

/// An agent that was installed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Installed {
    /// Its uuid.
    pub uuid: String,
    /// Its identity.
    pub identity: String,
    /// Its public key.
    pub public_key: PublicKey,
    /// It took the place of another version, and the platform has started it again.
    #[serde(default)]
    pub restarted: bool,
    /// Why that start failed.
    #[serde(default)]
    pub start_error: Option<String>,
    /// It took the place of this version, `<package>-<version>`.
    #[serde(default)]
    pub replaced: Option<String>,
    /// Nothing had to be changed: it is the same program with the same configuration.
    #[serde(default)]
    pub unchanged: bool,
}

/// The identity that an installation will have, and the agent it replaces, if any.
pub fn choose_identity(
    home: &Home,
    staged: &StagedAgent,
) -> Result<(String, Option<InstalledAgent>), InstallError> {
    let (agents, _) = installed::list(home);
    let default = format!("{}-{}_{{n}}", staged.package, staged.version);
    let template = staged.identity.as_deref().or(staged.default_identity.as_deref()).unwrap_or(&default);
    let taken = |candidate: &str| {
        agents.iter().any(|a| a.identity == candidate) || damaged(home, candidate).is_some()
    };
    let chosen = if template.contains("{n}") {
        // One number more than there are agents is enough for one of them to be free.
        let mut candidates = (1..=agents.len() + 1).map(|n| template.replace("{n}", &n.to_string()));
        candidates.find(|c| !taken(c)).unwrap_or_default()
    } else {
        template.to_owned()
    };
    let bad = |why: String| Err(InstallError::BadIdentity(why));
    let fits = identity::is_valid(&chosen) && chosen.len() <= installed::MAX_NAME_CHARS;
    if !fits || matches!(chosen.as_str(), "." | "..") {
        return bad(format!("'{chosen}' cannot be an identity: at most 64 of A-Z a-z 0-9 _ . -"));
    }
    if identity::reserved_for_install(&chosen) {
        return bad(format!("the identity '{chosen}' belongs to the platform"));
    }
    match (taken(&chosen), staged.force) {
        (true, false) if staged.identity.is_none() => Err(InstallError::DefaultTaken(chosen)),
        (true, false) => Err(InstallError::IdentityExists(chosen)),
        _ => {
            let existing = agents.into_iter().find(|a| a.identity == chosen);
            Ok((chosen, existing))
        }
    }
}

/// The directory that an agent of this identity would have, if one is there that is no agent (any more).
fn damaged(home: &Home, identity: &str) -> Option<AgentDir> {
    let dir = home.agent(identity);
    (dir.path().is_dir() && installed::read(dir.path()).is_err()).then_some(dir)
}

/// An installation that is prepared and not made. While it exists, nobody else installs in this home.
#[derive(Debug)]
pub struct Pending {
    identity: String,
    uuid: String,
    what: Prepared,
    replaced: Option<String>,
    /// The key of an agent whose entry may be missing, or have another one.
    admits: Option<PublicKey>,
    _lock: FileLock,
}

#[derive(Debug)]
enum Prepared {
    /// A directory for a new agent.
    New(PathBuf),
    /// Files for an agent that is there.
    Change(Change),
    /// It is there already, in every respect.
    Nothing,
}

/// Prepares an installation: stores the program and writes all files, none of them in its place yet. `starts` tells
/// whether a version that replaces another one is started then; only what is started can be on trial.
pub fn stage(
    site: &Site<'_>,
    staged: &StagedAgent,
    starts: impl FnOnce(&InstalledAgent) -> bool,
) -> Result<Pending, InstallError> {
    let lock = site.lock()?;
    repair(site)?;
    let prepared = prepare(site, staged, starts, lock);
    clear_up_after(site, &prepared);
    prepared
}

/// What cannot be cleared away now is cleared away before the next installation.
pub(super) fn clear_up_after<T>(site: &Site<'_>, prepared: &Result<T, InstallError>) {
    if prepared.is_err()
        && let Err(error) = repair(site)
    {
        tracing::warn!("clearing up after an installation that failed: {error}");
    }
}

fn prepare(
    site: &Site<'_>,
    staged: &StagedAgent,
    starts: impl FnOnce(&InstalledAgent) -> bool,
    lock: FileLock,
) -> Result<Pending, InstallError> {
    let (identity, existing) = choose_identity(site.home, staged)?;
    let mut manifest = manifest(staged, store::store_program(site, staged)?);
    let replaced = existing.as_ref().filter(|a| a.manifest.is_some()).map(|a| a.name.clone());
    let mut admits = None;
    let (uuid, what) = match (existing, damaged(site.home, &identity)) {
        (Some(agent), _) if agent.manifest.is_some() => {
            let starts = starts(&agent);
            let change = prepare_upgrade(site, &agent, staged, &mut manifest, starts)?;
            if let Some(change) = &change {
                admits = put_keys(site, change, &agent.dir, staged)?;
            }
            (agent.uuid, change.map_or(Prepared::Nothing, Prepared::Change))
        }
        (None, Some(dir)) => {
            let (uuid, change, key) = prepare_again(site, staged, &manifest, &dir)?;
            admits = key;
            (uuid, Prepared::Change(change))
        }
        (older, _) => {
            let (uuid, dir) = prepare_new(site, staged, &manifest, older.as_ref())?;
            (uuid, Prepared::New(dir))
        }
    };
    Ok(Pending { identity, uuid, what, replaced, admits, _lock: lock })
}

impl Pending {
    /// A change of an agent that is there.
    pub(super) fn change(agent: &InstalledAgent, change: Change, lock: FileLock) -> Self {
        Self {
            identity: agent.identity.clone(),
            uuid: agent.uuid.clone(),
            what: Prepared::Change(change),
            replaced: Some(agent.name.clone()),
            admits: None,
            _lock: lock,
        }
    }

    /// The uuid of the agent whose process must not run while this is made, if there is one.
    pub fn replaces(&self) -> Option<&str> {
        matches!(self.what, Prepared::Change(_)).then_some(&*self.uuid)
    }

    /// Makes it. What is not complete when this fails is undone, or finished later.
    pub fn commit(self, site: &Site<'_>) -> Result<Installed, InstallError> {
        if let Some(key) = self.admits {
            site.auth.admit(&self.identity, key).map_err(InstallError::Auth)?;
        }
        let made = match &self.what {
            Prepared::Nothing => Ok(()),
            Prepared::Change(change) => change.commit(site),
            Prepared::New(dir) => commit_new(site, dir, &self.identity),
        };
        // Files to their places, older paths, programs that nobody needs any more; and what went wrong.
        let repaired = repair(site);
        made?;
        match (repaired, &self.what) {
            (Err(error), Prepared::Change(change)) if change.is_unfinished() => return Err(error),
            (Err(error), _) => tracing::warn!("clearing up after installing {}: {error}", self.identity),
            _ => {}
        }
        let keys = keystore::load(&site.home.agent(&self.identity).keystore())?;
        Ok(Installed {
            uuid: self.uuid,
            identity: self.identity,
            public_key: keys.public,
            restarted: false,
            start_error: None,
            unchanged: matches!(self.what, Prepared::Nothing),
            replaced: self.replaced,
        })
    }

    /// Leaves it.
    pub fn abandon(self, site: &Site<'_>) {
        if let Err(error) = repair(site) {
            tracing::warn!("clearing up after an installation of {} that was left: {error}", self.identity);
        }
    }
}

pub(super) fn manifest(staged: &StagedAgent, exec: String) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT,
        package: staged.package.clone(),
        version: staged.version.clone(),
        source: staged.source.clone(),
        exec,
        args: staged.python.as_ref().map(|p| p.args.clone()).unwrap_or_default(),
        env: staged.env.clone(),
        runtime: if staged.python.is_some() { Runtime::Python } else { Runtime::Native },
        classic: staged.python.as_ref().is_some_and(|p| p.classic),
        for_11: staged.python.as_ref().is_some_and(|p| p.for_11),
        installed: format_timestamp(jiff::Timestamp::now()),
        installed_by: staged.installed_by.clone(),
        restart: None,
        max_restarts: None,
        after: Vec::new(),
        other: serde_json::Map::new(),
    }
}

/// Everything of a new agent, in a directory that does not look like one. An agent of the older layout passes on what it
/// has.
pub(super) fn prepare_new(
    site: &Site<'_>,
    staged: &StagedAgent,
    manifest: &Manifest,
    older: Option<&InstalledAgent>,
) -> Result<(String, PathBuf), InstallError> {
    let uuid = older.map_or_else(|| uuid::Uuid::new_v4().to_string(), |agent| agent.uuid.clone());
    let dir = AgentDir::at(site.home.agents().join(format!("{TEMP_PREFIX}{uuid}")));
    let keys = older.and_then(|agent| keystore::load(&agent.keystore()).ok()).or_else(|| staged.keys.clone());
    let keys = keys.unwrap_or_else(KeyPair::generate);
    let mut history = History::default();
    history.note(What::Install, manifest, &staged.installed_by, Outcome::Done, "");
    site.remove(dir.path())?;
    site.make_dir(&dir.data())?;
    site.write(&dir.keystore(), &keystore::render(&keys), 0o600)?;
    site.write(&dir.uuid(), &uuid, 0o644)?;
    site.write(&dir.name(), &name(manifest), 0o644)?;
    site.write(&dir.config(), staged.config.as_deref().unwrap_or("{}"), 0o644)?;
    site.write(&history_file(&dir), &history.to_text(), 0o600)?;
    let (tag, priority) = (older.and_then(|a| a.tag.as_ref()), older.and_then(|a| a.priority.as_ref()));
    for (path, text) in [
        (dir.tag(), staged.then.tag.as_ref().or(tag)),
        (dir.autostart(), staged.then.priority.as_ref().or(priority)),
    ] {
        if let Some(text) = text {
            site.write(&path, text, 0o644)?;
        }
    }
    site.write(&dir.launch(), &to_text(manifest), 0o644)?;
    Ok((uuid, dir.path().to_owned()))
}

/// What an agent whose directory is damaged needs to be one again. Its keys, data, configuration, tag and priority stay
/// where they are; its former versions are gone, because nothing could tell any more that they were needed.
fn prepare_again(
    site: &Site<'_>,
    staged: &StagedAgent,
    manifest: &Manifest,
    dir: &AgentDir,
) -> Result<(String, Change, Option<PublicKey>), InstallError> {
    let kept = fs::read_to_string(dir.uuid()).ok().and_then(|text| text.trim().parse::<uuid::Uuid>().ok());
    let uuid = kept.unwrap_or_else(uuid::Uuid::new_v4).to_string();
    let mut history = History::load(dir);
    (history.versions, history.trial) = (Vec::new(), None);
    history.note(What::Install, manifest, &staged.installed_by, Outcome::Done, "");
    site.make_dir(&dir.data())?;
    let change = Change::begin(site, dir)?;
    let new = put_keys(site, &change, dir, staged)?;
    let key = new.or_else(|| keystore::load(&dir.keystore()).ok().map(|keys| keys.public));
    let config = staged.config.as_deref().or_else(|| (!dir.config().exists()).then_some("{}"));
    for (path, text, mode) in [
        (dir.uuid(), Some(&*uuid), 0o644),
        (dir.name(), Some(&*name(manifest)), 0o644),
        (dir.config(), config, 0o644),
        (dir.tag(), staged.then.tag.as_deref(), 0o644),
        (dir.autostart(), staged.then.priority.as_deref(), 0o644),
        (history_file(dir), Some(&*history.to_text()), 0o600),
        (dir.launch(), Some(&*to_text(manifest)), 0o644),
    ] {
        if let Some(text) = text {
            change.put(site, &path, text, mode)?;
        }
    }
    Ok((uuid, change, key))
}

/// A new key for an agent whose keystore is missing or damaged; the damaged one is kept beside.
fn put_keys(
    site: &Site<'_>,
    change: &Change,
    dir: &AgentDir,
    staged: &StagedAgent,
) -> Result<Option<PublicKey>, InstallError> {
    let path = dir.keystore();
    match keystore::load(&path) {
        Err(KeystoreError::Missing(_)) => {}
        Err(KeystoreError::Damaged { .. }) => {
            let text = String::from_utf8_lossy(&file(&path, fs::read(&path))?).into_owned();
            change.put(site, &files::free_name(&path, "damaged"), &text, 0o600)?;
        }
        // What cannot be read may be good.
        Ok(_) | Err(_) => return Ok(None),
    }
    let keys = staged.keys.clone().unwrap_or_else(KeyPair::generate);
    change.put(site, &path, &keystore::render(&keys), 0o600)?;
    tracing::warn!("{} was not usable; the agent gets a new key", path.display());
    Ok(Some(keys.public))
}

/// The decisive rename, then the rest; undone where the rest cannot be.
pub(super) fn commit_new(site: &Site<'_>, dir: &Path, identity: &str) -> Result<(), InstallError> {
    let new = site.home.agents().join(format!("{NEW_PREFIX}{identity}"));
    site.rename(dir, &new)?;
    let finished = finish_new(site, &new, identity);
    if finished.is_err() && new.exists() {
        let _ = site.rename(&new, &site.home.agents().join(format!("{REMOVED}{identity}")));
    }
    finished
}

/// Lets a new agent in and puts its directory in place. What an agent of the older layout kept moves along; its
/// directory stays as a backup, out of sight.
pub(super) fn finish_new(site: &Site<'_>, new: &Path, identity: &str) -> Result<(), InstallError> {
    let dir = AgentDir::at(new);
    let uuid = file(&dir.uuid(), fs::read_to_string(dir.uuid()))?;
    let keys = keystore::load(&dir.keystore())?;
    site.auth.admit(identity, keys.public).map_err(InstallError::Auth)?;
    let older = site.home.agents().join(&uuid);
    let backup = site.home.backups().join(format!("{identity}-{uuid}"));
    if older.join("IDENTITY").exists() && !older.join("agent.link").exists() && !older.join("UUID").exists() {
        site.make_dir(&site.home.backups())?;
        site.rename(&older, &backup)?;
    }
    for entry in fs::read_dir(&backup).into_iter().flatten().flatten() {
        let data = entry.path().join(format!("{}.agent-data", entry.file_name().to_string_lossy()));
        if data.is_dir() {
            site.remove(&dir.data())?;
            site.rename(&data, &dir.data())?;
        }
    }
    site.rename(new, site.home.agent(identity).path())
}

/// What of an agent stays when it is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Its auth entry.
    pub auth: bool,
    /// Its data, among the home's backups.
    pub data: bool,
}

/// Removes an agent whose process has ended: its directory, and its auth entry. Gives the place of data that was kept.
pub fn remove(site: &Site<'_>, agent: &InstalledAgent, keep: Keep) -> Result<Option<PathBuf>, InstallError> {
    let _lock = site.lock()?;
    repair(site)?;
    // First: what is cut short here leaves an agent without data, and the data.
    let kept = if keep.data { keep_data(site, agent)? } else { None };
    let keep_auth = keep.auth;
    let prefix = if keep_auth { REMOVED_KEEPING_AUTH } else { REMOVED };
    let doomed = site.home.agents().join(format!("{prefix}{}", agent.uuid));
    // From here on it is not an agent any more.
    site.rename(agent.dir.path(), &doomed)?;
    finish_removal(site, &doomed)?;
    repair(site)?;
    Ok(kept)
}

/// Moves an agent's data out of its directory, if there is any.
fn keep_data(site: &Site<'_>, agent: &InstalledAgent) -> Result<Option<PathBuf>, InstallError> {
    let data = agent.dir.data();
    if !fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(None);
    }
    let backups = site.home.backups();
    site.make_dir(&backups)?;
    // An agent of a restored home has the uuid that it had, and may have been removed before.
    let names = (1..).map(|n| match n {
        1 => format!("{}-{}", agent.identity, agent.uuid),
        n => format!("{}-{}-{n}", agent.identity, agent.uuid),
    });
    let place = names.map(|name| backups.join(name)).find(|place| !place.exists()).unwrap_or(backups);
    site.rename(&data, &place)?;
    Ok(Some(place))
}

pub(super) fn name(manifest: &Manifest) -> String {
    format!("{}-{}", manifest.package, manifest.version)
}

pub(super) fn history_file(dir: &AgentDir) -> PathBuf {
    dir.path().join(super::history::FILE)
}

pub(super) fn to_text(manifest: &Manifest) -> String {
    volttron_utils::json::to_indent(manifest, 2).unwrap_or_default()
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
