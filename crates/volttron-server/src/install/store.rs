//! The program store, `bin/`: one directory for each build of a package, shared by all agents that run it and kept as
//! long as an agent or its history refers to it (home.md section 3).

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use volttron_utils::time::format_timestamp;

use super::history::History;
use super::{InstallError, Site, StagedAgent, file, python};
use crate::supervisor::installed::{self, InstalledAgent};

/// Puts the program below `bin/`, in a directory of its package and version; another build of the same version gets a
/// directory of its own. The same bytes are stored once. Gives what `agent.json` says of it.
pub(super) fn store_program(site: &Site<'_>, staged: &StagedAgent) -> Result<String, InstallError> {
    let root = match &staged.python {
        Some(environment) => python::store(site.home, environment)?,
        None => store_root(site, staged)?,
    };
    let exec = Path::new("../../bin").join(root.file_name().unwrap_or_default()).join("bin");
    Ok(exec.join(program_name(staged)).to_string_lossy().into_owned())
}

fn program_name(staged: &StagedAgent) -> String {
    staged.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn store_root(site: &Site<'_>, staged: &StagedAgent) -> Result<PathBuf, InstallError> {
    let hash = file(&staged.program, sha256(&staged.program))?;
    let bin = site.home.bin();
    let plain = bin.join(format!("{}-{}", staged.package, staged.version));
    let hashed = bin.join(format!("{}-{}+{}", staged.package, staged.version, &hash[..8]));
    for root in [&plain, &hashed] {
        match stored_hash(root) {
            Some(stored) if stored == hash && root.join("bin").join(program_name(staged)).is_file() => {
                return Ok(root.clone());
            }
            Some(_) => {}
            None if root.exists() => {}
            None => return write_program(site, staged, &hash, root).map(|()| root.clone()),
        }
    }
    // Both names are taken by something incomplete: make the second one anew.
    site.remove(&hashed)?;
    write_program(site, staged, &hash, &hashed).map(|()| hashed)
}

/// Reads in pieces: programs are large, and the platform is to stay small.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut program = fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match program.read(&mut piece)? {
            0 => return Ok(format!("{:x}", digest.finalize())),
            n => digest.update(&piece[..n]),
        }
    }
}

fn stored_hash(root: &Path) -> Option<String> {
    let ledger: Value = serde_json::from_str(&fs::read_to_string(root.join("source.json")).ok()?).ok()?;
    ledger["sha256"].as_str().map(str::to_owned)
}

fn write_program(site: &Site<'_>, staged: &StagedAgent, hash: &str, root: &Path) -> Result<(), InstallError> {
    let temporary = site.home.bin().join(format!(".tmp-{}", uuid::Uuid::new_v4()));
    let path = temporary.join("bin").join(program_name(staged));
    site.make_dir(&temporary.join("bin"))?;
    file(&path, site.disk.copy_program(&staged.program, &path))?;
    let ledger = json!({
        "package": staged.package, "version": staged.version, "source": staged.source, "sha256": hash,
        "when": format_timestamp(jiff::Timestamp::now()),
    });
    let text = volttron_utils::json::to_indent(&ledger, 2).unwrap_or_default();
    site.write(&temporary.join("source.json"), &text, 0o644)?;
    site.rename(&temporary, root)
}

/// Deletes programs that no agent, no history and no run refers to, and what is half done. An agent that still runs one keeps it
/// until it ends. They are out of the way at once. The caller holds the lock. Nothing is unused as long as an agent cannot be
/// read: its programs may be all that is left of its versions.
pub(super) fn drop_unused(site: &Site<'_>) -> Result<(), InstallError> {
    let (agents, skipped) = installed::list(site.home);
    let used = used(&agents);
    let shared = python::runtimes_of(site.home, &used);
    let held = python::held(site.home);
    for entry in fs::read_dir(site.home.bin()).into_iter().flatten().flatten() {
        let (name, mut path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let needed = shared.contains(&name)
            || held.contains(&name)
            || used.iter().any(|exec| exec.contains(&format!("/{name}/")));
        if name == ".lock" || needed || (!skipped.is_empty() && !name.starts_with('.')) {
            continue;
        }
        if !name.starts_with('.') {
            let aside = site.home.bin().join(format!(".removed-{}", uuid::Uuid::new_v4()));
            site.rename(&path, &aside)?;
            path = aside;
        }
        file(&path, site.disk.discard(&path))?;
    }
    Ok(())
}

/// The programs that agents run or may return to.
fn used(agents: &[InstalledAgent]) -> Vec<String> {
    let mut used = Vec::new();
    for agent in agents {
        used.extend(agent.manifest.as_ref().map(|m| m.exec.clone()));
        used.extend(History::load(&agent.dir).versions.into_iter().map(|v| v.manifest.exec));
    }
    used
}
