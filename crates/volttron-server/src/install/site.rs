//! Where agents are installed: a home, its disk, and who lets their keys in.

use std::path::Path;

use volttron_utils::files::FileLock;
use volttron_utils::home::Home;
use volttron_utils::keys::PublicKey;

use super::disk::{Disk, RealDisk};
use super::{InstallError, file};
use crate::auth::AuthState;
use crate::auth::agents::{admit, forget};

/// Lets the keys of agents in, and forgets them.
pub trait Admission: Send + Sync {
    /// Lets an agent in; once is as good as twice.
    fn admit(&self, identity: &str, key: PublicKey) -> Result<(), String>;
    /// Forgets a key, if it is known.
    fn forget(&self, key: PublicKey) -> Result<(), String>;
}

impl Admission for AuthState {
    fn admit(&self, identity: &str, key: PublicKey) -> Result<(), String> {
        // Without authentication there is no auth file.
        if !self.options().enabled {
            return Ok(());
        }
        self.change(|auth| admit(auth, identity, key)).map(drop).map_err(|e| e.to_string())
    }

    fn forget(&self, key: PublicKey) -> Result<(), String> {
        if !self.options().enabled {
            return Ok(());
        }
        let change = self.change(|auth| {
            forget(auth, key);
            Ok::<(), std::convert::Infallible>(())
        });
        change.map(drop).map_err(|e| e.to_string())
    }
}

/// Where agents are installed.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The home.
    pub home: &'a Home,
    /// What changes its files.
    pub disk: &'a dyn Disk,
    /// The platform's rules.
    pub auth: &'a dyn Admission,
}

impl std::fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("home", &self.home).field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl<'a> Site<'a> {
    /// A home on the disk of this machine.
    pub fn new(home: &'a Home, auth: &'a dyn Admission) -> Self {
        Self { home, disk: &RealDisk, auth }
    }

    /// Keeps others that install out of the home until it is dropped.
    pub(super) fn lock(&self) -> Result<FileLock, InstallError> {
        self.make_dir(&self.home.bin())?;
        let lock = self.home.bin().join(".lock");
        file(&lock, FileLock::acquire(&lock))
    }

    pub(super) fn make_dir(&self, path: &Path) -> Result<(), InstallError> {
        file(path, self.disk.make_dir(path))
    }

    pub(super) fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), InstallError> {
        file(path, self.disk.write(path, text.as_bytes(), mode))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), InstallError> {
        file(to, self.disk.rename(from, to))
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), InstallError> {
        file(path, self.disk.remove(path))
    }
}
