//! What a power cut, a kill or a full disk left half made is finished or undone: at the platform's start, before every
//! change, and after one that failed. The caller holds the lock.

use std::fs;
use std::path::{Path, PathBuf};

use volttron_utils::files::TEMP_PREFIX;
use volttron_utils::home::Home;
use volttron_utils::keys::{PublicKey, keystore};

use super::register::finish_new;
use super::{Admission, InstallError, NEW_PREFIX, Site, change, links, store};
use crate::supervisor::installed;

/// Begins the name of a directory that is being deleted together with its auth entry.
pub(super) const REMOVED: &str = ".removed-";
/// Begins the name of one whose auth entry stays.
pub(super) const REMOVED_KEEPING_AUTH: &str = ".removed+";

/// Repairs the home at the platform's start, if anything was ever installed in it.
pub fn repair_home(home: &Home, auth: &dyn Admission) -> Result<(), InstallError> {
    let site = Site::new(home, auth);
    if entries(&home.agents()).is_empty() && !home.bin().exists() {
        return Ok(());
    }
    let _lock = site.lock()?;
    repair(&site)
}

/// Repairs the home. An error leaves the rest for the next time.
pub(super) fn repair(site: &Site<'_>) -> Result<(), InstallError> {
    for (name, path) in entries(&site.home.agents()) {
        if name.starts_with(TEMP_PREFIX) {
            site.remove(&path)?;
        } else if name.starts_with(REMOVED) || name.starts_with(REMOVED_KEEPING_AUTH) {
            finish_removal(site, &path)?;
        } else if let Some(identity) = name.strip_prefix(NEW_PREFIX) {
            finish_new(site, &path, identity)?;
        }
    }
    for (_, path) in entries(&site.home.agents()) {
        change::finish(site, &path)?;
        // What an atomic write leaves when it is cut short.
        for (name, half) in entries(&path) {
            if name.starts_with(TEMP_PREFIX) {
                site.remove(&half)?;
            }
        }
    }
    let (agents, _) = installed::list(site.home);
    links::drop_dead(site, &agents)?;
    for agent in &agents {
        links::make(site, agent)?;
    }
    store::drop_unused(site)
}

/// Forgets the key of an agent that is being removed, unless another one has the same, and deletes what is left of it.
pub(super) fn finish_removal(site: &Site<'_>, path: &Path) -> Result<(), InstallError> {
    let keeps = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(REMOVED_KEEPING_AUTH));
    if !keeps && let Some(key) = key_in(path) {
        let (agents, _) = installed::list(site.home);
        let used = agents.iter().any(|a| keystore::load(&a.keystore()).is_ok_and(|keys| keys.public == key));
        if !used {
            site.auth.forget(key).map_err(InstallError::Auth)?;
        }
    }
    site.remove(path)
}

/// The public key of the agent in this directory, of whichever layout.
fn key_in(path: &Path) -> Option<PublicKey> {
    let mut places = vec![path.join("keystore.json")];
    for (name, inner) in entries(path) {
        places.push(inner.join(format!("{name}.dist-info")).join("keystore.json"));
    }
    places.iter().find_map(|place| keystore::load(place).ok()).map(|keys| keys.public)
}

fn entries(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path())).collect()
}
