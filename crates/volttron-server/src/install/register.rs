//! The half of an installation that runs in the platform: identity, program store, agent directory (home.md section 3).
//!
//! Everything is made under a temporary name and renamed when complete; an interruption leaves nothing that looks like
//! an agent.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use volttron_utils::files::FileLock;
use volttron_utils::home::{AgentDir, Home};
use volttron_utils::keys::{KeyPair, PublicKey, keystore};
use volttron_utils::time::format_timestamp;
use volttron_utils::{files, identity};

use super::{InstallError, file, python};
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
    /// Whether it replaced an agent that was running and has to be started again.
    #[serde(default)]
    pub was_running: bool,
}

/// The identity that an installation will have, and the agent it replaces, if any.
pub fn choose_identity(
    home: &Home,
    staged: &StagedAgent,
) -> Result<(String, Option<InstalledAgent>), InstallError> {
    let (agents, _) = installed::list(home);
    let default = format!("{}-{}_{{n}}", staged.package, staged.version);
    let template = staged.identity.as_deref().or(staged.default_identity.as_deref()).unwrap_or(&default);
    let taken = |candidate: &str| agents.iter().any(|a| a.identity == candidate);
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
    match agents.into_iter().find(|a| a.identity == chosen) {
        Some(_) if !staged.force && staged.identity.is_none() => Err(InstallError::DefaultTaken(chosen)),
        Some(_) if !staged.force => Err(InstallError::IdentityExists(chosen)),
        existing => Ok((chosen, existing)),
    }
}

/// Installs a staged program. An agent it replaces must not run. One installation at a time per home.
pub fn register(home: &Home, staged: &StagedAgent) -> Result<Installed, InstallError> {
    file(&home.bin(), files::create_dir(&home.bin(), 0o755))?;
    let lock = home.bin().join(".lock");
    let _lock = file(&lock, FileLock::acquire(&lock))?;
    let (identity, existing) = choose_identity(home, staged)?;
    let root = match &staged.python {
        Some(environment) => python::store(home, environment)?,
        None => store_program(home, staged)?,
    };
    let exec = Path::new("../../bin")
        .join(root.file_name().unwrap_or_default())
        .join("bin")
        .join(program_name(staged));
    let manifest = Manifest {
        format: 1,
        package: staged.package.clone(),
        version: staged.version.clone(),
        source: staged.source.clone(),
        exec: exec.to_string_lossy().into_owned(),
        args: staged.python.as_ref().map(|p| p.args.clone()).unwrap_or_default(),
        env: staged.env.clone(),
        runtime: if staged.python.is_some() { Runtime::Python } else { Runtime::Native },
        classic: staged.python.as_ref().is_some_and(|p| p.classic),
        installed: format_timestamp(jiff::Timestamp::now()),
        installed_by: staged.installed_by.clone(),
        restart: None,
        max_restarts: None,
        other: serde_json::Map::new(),
    };
    let uuid = match existing {
        Some(agent) if agent.manifest.is_some() => {
            replace(&agent, staged, manifest)?;
            agent.uuid
        }
        older => create(home, &identity, staged, &manifest, older.as_ref())?,
    };
    let agent = installed::read(home.agent(&identity).path())
        .ok()
        .flatten()
        .ok_or_else(|| InstallError::Config(format!("the directory of {identity} is incomplete")))?;
    let public_key = keystore::load(&agent.keystore())?.public;
    file(agent.dir.path(), installed::link_older_paths(home, &agent))?;
    sweep(home);
    Ok(Installed { uuid, identity, public_key, was_running: false })
}

fn program_name(staged: &StagedAgent) -> String {
    staged.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Puts the program below `bin/`, in a directory of its package and version; another build of the same version gets a
/// directory of its own. The same bytes are stored once.
fn store_program(home: &Home, staged: &StagedAgent) -> Result<PathBuf, InstallError> {
    let hash = file(&staged.program, sha256(&staged.program))?;
    let plain = home.bin().join(format!("{}-{}", staged.package, staged.version));
    let hashed = home.bin().join(format!("{}-{}+{}", staged.package, staged.version, &hash[..8]));
    for root in [&plain, &hashed] {
        match stored_hash(root) {
            Some(stored) if stored == hash && root.join("bin").join(program_name(staged)).is_file() => {
                return Ok(root.clone());
            }
            Some(_) => {}
            None if root.exists() => {}
            None => return write_program(home, staged, &hash, root).map(|()| root.clone()),
        }
    }
    // Both names are taken by something incomplete: make the second one anew.
    file(&hashed, fs::remove_dir_all(&hashed))?;
    write_program(home, staged, &hash, &hashed).map(|()| hashed)
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

fn write_program(home: &Home, staged: &StagedAgent, hash: &str, root: &Path) -> Result<(), InstallError> {
    let temporary = home.bin().join(format!(".tmp-{}", uuid::Uuid::new_v4()));
    let bin = temporary.join("bin");
    file(&bin, fs::create_dir_all(&bin))?;
    let path = bin.join(program_name(staged));
    let written = (|| {
        let mut program = fs::File::create(&path)?;
        io::copy(&mut fs::File::open(&staged.program)?, &mut program)?;
        program.set_permissions(fs::Permissions::from_mode(0o755))?;
        program.sync_all()
    })();
    file(&path, written)?;
    let ledger = json!({
        "package": staged.package, "version": staged.version, "source": staged.source, "sha256": hash,
        "when": format_timestamp(jiff::Timestamp::now()),
    });
    let text = volttron_utils::json::to_indent(&ledger, 2).unwrap_or_default();
    let source = temporary.join("source.json");
    file(&source, files::write_atomic(&source, text.as_bytes(), 0o644))?;
    file(root, fs::rename(&temporary, root))
}

fn create(
    home: &Home,
    identity: &str,
    staged: &StagedAgent,
    manifest: &Manifest,
    older: Option<&InstalledAgent>,
) -> Result<String, InstallError> {
    let uuid = older.map_or_else(|| uuid::Uuid::new_v4().to_string(), |agent| agent.uuid.clone());
    let dir = AgentDir::at(home.agents().join(format!(".tmp-{uuid}")));
    let _ = fs::remove_dir_all(dir.path());
    file(&dir.data(), fs::create_dir_all(dir.data()))?;
    let keys = older.and_then(|agent| keystore::load(&agent.keystore()).ok()).or_else(|| staged.keys.clone());
    let keys = keys.unwrap_or_else(KeyPair::generate);
    keystore::write(&dir.keystore(), &keys)?;
    write(&dir.uuid(), &uuid)?;
    write(&dir.name(), &format!("{}-{}", staged.package, staged.version))?;
    write(&dir.config(), staged.config.as_deref().unwrap_or("{}"))?;
    write(&dir.launch(), &to_text(manifest))?;
    let target = home.agent(identity);
    if let Some(agent) = older {
        for (path, text) in [(dir.tag(), &agent.tag), (dir.autostart(), &agent.priority)] {
            if let Some(text) = text {
                write(&path, text)?;
            }
        }
        // What the older program kept moves along; its directory stays as a backup, out of sight.
        let data = agent.dir.path().join(&agent.name).join(format!("{}.agent-data", agent.name));
        if data.is_dir() {
            file(&data, fs::remove_dir(dir.data()).and_then(|()| fs::rename(&data, dir.data())))?;
        }
        file(&home.backups(), files::create_dir(&home.backups(), 0o755))?;
        file(
            agent.dir.path(),
            fs::rename(agent.dir.path(), home.backups().join(format!("{identity}-{uuid}"))),
        )?;
    }
    file(target.path(), fs::rename(dir.path(), target.path()))?;
    Ok(uuid)
}

/// Another program for the same agent: its manifest is replaced last, so that it is the old agent or the new one.
fn replace(agent: &InstalledAgent, staged: &StagedAgent, mut manifest: Manifest) -> Result<(), InstallError> {
    if let Some(old) = &agent.manifest {
        manifest.restart.clone_from(&old.restart);
        manifest.max_restarts = old.max_restarts;
        manifest.other.clone_from(&old.other);
    }
    if let Some(config) = &staged.config {
        write(&agent.dir.config(), config)?;
    }
    write(&agent.dir.name(), &format!("{}-{}", staged.package, staged.version))?;
    write(&agent.dir.launch(), &to_text(&manifest))
}

fn to_text(manifest: &Manifest) -> String {
    volttron_utils::json::to_indent(manifest, 2).unwrap_or_default()
}

fn write(path: &Path, text: &str) -> Result<(), InstallError> {
    file(path, files::write_atomic(path, text.as_bytes(), 0o644))
}

/// Deletes programs that no agent refers to. An agent that still runs one keeps it until it ends. They are out of the way at
/// once; deleting them goes on behind: an environment of a Python agent has thousands of files.
pub fn drop_unused_programs(home: &Home) {
    // What an installation has just put there belongs to nobody yet.
    if let Ok(_lock) = FileLock::acquire(&home.bin().join(".lock")) {
        sweep(home);
    }
}

/// Only under the lock.
fn sweep(home: &Home) {
    let (agents, _) = installed::list(home);
    let used: Vec<String> =
        agents.iter().filter_map(|a| a.manifest.as_ref()).map(|m| m.exec.clone()).collect();
    let shared = python::runtimes_of(home, &used);
    let mut doomed = Vec::new();
    for entry in fs::read_dir(home.bin()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // The lock. What is under way stands in a dot directory too, but only while the lock is held.
        if name == ".lock" {
            continue;
        }
        if !used.iter().any(|exec| exec.contains(&format!("/{name}/"))) && !shared.contains(&name) {
            let aside = home.bin().join(format!(".removed-{}", uuid::Uuid::new_v4()));
            doomed.extend(fs::rename(entry.path(), &aside).is_ok().then_some(aside));
        }
    }
    if !doomed.is_empty() {
        std::thread::spawn(move || {
            for path in doomed {
                let _ = fs::remove_dir_all(path);
            }
        });
    }
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
