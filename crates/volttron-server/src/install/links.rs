//! Paths of the older layout, for programs that know it, agents for 9.x among them: `agents/<uuid>/IDENTITY`,
//! `agents/<uuid>/<name>/<name>.dist-info/{config,keystore.json}` and the data directory
//! `agents/<uuid>/<name>/<name>.agent-data` (dropin.md, Files).

use std::fs;
use std::path::Path;

use volttron_utils::files::TEMP_PREFIX;

use super::{InstallError, Site, file};
use crate::supervisor::InstalledAgent;

/// Marks a directory that only serves these paths.
const MARK: &str = "agent.link";

/// Makes the paths of an agent, and takes those of its former versions away.
pub(super) fn make(site: &Site<'_>, agent: &InstalledAgent) -> Result<(), InstallError> {
    // The identity of an agent without one was its uuid; then the path is the agent's own directory.
    if agent.manifest.is_none() || agent.uuid == agent.identity {
        return Ok(());
    }
    let root = site.home.agents().join(&agent.uuid);
    if fs::read_to_string(root.join(MARK)).is_ok_and(|identity| identity == agent.identity) {
        return fill(site, agent, &root);
    }
    // An agent of the older layout whose uuid this one has taken over, and which is still to be put away.
    if root.join("IDENTITY").exists() && !root.join(MARK).exists() {
        return Ok(());
    }
    let new = site.home.agents().join(format!("{TEMP_PREFIX}{}", agent.uuid));
    site.remove(&new)?;
    site.make_dir(&new)?;
    site.write(&new.join(MARK), &agent.identity, 0o644)?;
    site.write(&new.join("IDENTITY"), &agent.identity, 0o644)?;
    fill(site, agent, &new)?;
    site.remove(&root)?;
    site.rename(&new, &root)
}

fn fill(site: &Site<'_>, agent: &InstalledAgent, root: &Path) -> Result<(), InstallError> {
    let package = root.join(&agent.name);
    let info = package.join(format!("{}.dist-info", agent.name));
    site.make_dir(&info)?;
    let data = package.join(format!("{}.agent-data", agent.name));
    for (link, up, name) in [
        (info.join("config"), "../../..", "config"),
        (info.join("keystore.json"), "../../..", "keystore.json"),
        (data, "../..", "data"),
    ] {
        if link.symlink_metadata().is_err() {
            let target = Path::new(up).join(&agent.identity).join(name);
            file(&link, site.disk.link(&target, &link))?;
        }
    }
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != agent.name && name != MARK && name != "IDENTITY" {
            take_over(site, &entry.path(), &name, &package)?;
        }
    }
    Ok(())
}

/// An agent for 9.x runs in its package directory, and may have written there: that passes to the present version.
fn take_over(site: &Site<'_>, former: &Path, name: &str, package: &Path) -> Result<(), InstallError> {
    let own = [format!("{name}.dist-info"), format!("{name}.agent-data")];
    for entry in fs::read_dir(former).into_iter().flatten().flatten() {
        let to = package.join(entry.file_name());
        if !own.iter().any(|n| entry.file_name().to_string_lossy() == **n) && to.symlink_metadata().is_err() {
            site.rename(&entry.path(), &to)?;
        }
    }
    site.remove(former)
}

/// Takes the paths away of agents that are not there any more.
pub(super) fn drop_dead(site: &Site<'_>, agents: &[InstalledAgent]) -> Result<(), InstallError> {
    for entry in fs::read_dir(site.home.agents()).into_iter().flatten().flatten() {
        let uuid = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let serves = path.join(MARK).exists() && !path.join("UUID").exists();
        if serves && !agents.iter().any(|a| a.uuid == uuid) {
            // Without its mark the rest would look like an agent, so it does not disappear piece by piece here.
            let doomed = site.home.agents().join(format!("{TEMP_PREFIX}{uuid}"));
            site.remove(&doomed)?;
            site.rename(&path, &doomed)?;
            site.remove(&doomed)?;
        }
    }
    Ok(())
}
