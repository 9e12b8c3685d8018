//! Agents of another home: registered here under the identity, uuid, keys, tag and priority that they have there.

use super::register::{commit_new, manifest, prepare_new};
use super::{InstallError, Site, StagedAgent, repair, store};
use crate::supervisor::installed::{InstalledAgent, Manifest, Runtime};

/// Registers an agent as it is installed `there`, in a home that is only read. Without an environment it has keys and no
/// program: whoever installs one under its identity completes it. Who may connect is left to the rules of the home.
pub fn adopt(site: &Site<'_>, staged: &StagedAgent, there: &InstalledAgent) -> Result<(), InstallError> {
    let _lock = site.lock()?;
    let manifest = match &staged.python {
        Some(_) => manifest(staged, store::store_program(site, staged)?),
        None => Manifest { runtime: Runtime::External, ..manifest(staged, String::new()) },
    };
    let (_, dir) = prepare_new(site, staged, &manifest, Some(there))?;
    commit_new(site, &dir, &there.identity)?;
    repair(site)
}
