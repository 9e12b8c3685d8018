//! Installed agents as they stand on disk: `agents/<identity>/` and the older `agents/<uuid>/` (home.md sections 2, 3).
//!
//! Owns reading and changing these directories. Every change is one file written whole, so that the platform and an
//! offline `vctl` may both make it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use volttron_utils::files;
use volttron_utils::home::{AgentDir, Home};
use volttron_utils::identity;

/// Longest tag and longest identity, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// Most bytes read of any small file of an agent directory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What `agent.json` says: how to launch an agent (home.md section 3).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Package name.
    pub package: String,
    /// Package version.
    pub version: String,
    /// Where the program came from.
    #[serde(default)]
    pub source: Value,
    /// The program, absolute or relative to the agent's directory.
    pub exec: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Additions to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Who runs it.
    pub runtime: Runtime,
    /// A Python agent written for 9.x: started in the directory of its package, as there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub classic: bool,
    /// A Python agent written for 11.x: finds its keys as there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_11: bool,
    /// When it was installed, as text.
    #[serde(default)]
    pub installed: String,
    /// Identity that asked for it.
    #[serde(default)]
    pub installed_by: String,
    /// `on-failure`, `always` or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Restarts in a row before the agent is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    /// Identities of agents that are to be on the bus before this one starts with the platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Fields this version does not know; kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What kind of program an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// A program of its own, started directly.
    Native,
    /// A Python program in a virtual environment.
    Python,
    /// No program: keys and an identity for an agent that runs elsewhere.
    External,
}

/// One installed agent.
#[derive(Clone, Debug)]
pub struct InstalledAgent {
    /// Installation uuid.
    pub uuid: String,
    /// VIP identity.
    pub identity: String,
    /// `<package>-<version>`.
    pub name: String,
    /// Its directory.
    pub dir: AgentDir,
    /// How to launch it; none for a directory of the older layout, which needs Python.
    pub manifest: Option<Manifest>,
    /// Tag, if any.
    pub tag: Option<String>,
    /// Start priority as text; none when disabled.
    pub priority: Option<String>,
}

impl InstalledAgent {
    /// The version in [`Self::name`].
    pub fn version(&self) -> &str {
        match &self.manifest {
            Some(manifest) => &manifest.version,
            None => self.name.rsplit_once('-').map_or("", |(_, version)| version),
        }
    }

    /// Identities of agents that are to be on the bus before it starts with the platform.
    pub fn after(&self) -> &[String] {
        self.manifest.as_ref().map_or(&[], |manifest| &manifest.after)
    }

    /// The priority as a number, higher starts first; none when disabled.
    pub fn start_rank(&self) -> Option<i64> {
        self.priority.as_ref().map(|text| text.trim().parse().unwrap_or(50))
    }

    /// The install-time configuration, if there is one.
    pub fn config(&self) -> Option<PathBuf> {
        let path = if self.manifest.is_some() { self.dir.config() } else { self.dist_info().join("config") };
        path.exists().then_some(path)
    }

    /// Its key pair.
    pub fn keystore(&self) -> PathBuf {
        if self.manifest.is_some() { self.dir.keystore() } else { self.dist_info().join("keystore.json") }
    }

    /// Where programs of the older layout find it: `agents/<uuid>/<name>`, its package directory there.
    pub fn package_dir(&self, home: &Home) -> PathBuf {
        home.agents().join(&self.uuid).join(&self.name)
    }

    fn dist_info(&self) -> PathBuf {
        self.dir.path().join(&self.name).join(format!("{}.dist-info", self.name))
    }

    /// Sets or removes the tag; at most [`MAX_NAME_CHARS`] characters are kept.
    pub fn set_tag(&mut self, tag: Option<&str>) -> io::Result<()> {
        let tag = tag.filter(|t| !t.is_empty()).map(|t| t.chars().take(MAX_NAME_CHARS).collect::<String>());
        replace(&self.dir.tag(), tag.as_deref())?;
        self.tag = tag;
        Ok(())
    }

    /// Sets or removes the start priority.
    pub fn set_priority(&mut self, priority: Option<&str>) -> io::Result<()> {
        replace(&self.dir.autostart(), priority)?;
        self.priority = priority.map(str::to_owned);
        Ok(())
    }
}

/// A tag is cut where nobody can be told; where somebody can, a longer one is refused.
#[derive(Debug, Error)]
#[error("a tag has at most {MAX_NAME_CHARS} characters, this one has {0}")]
pub struct LongTag(pub usize);

/// Checks the length of a tag.
pub fn check_tag(text: &str) -> Result<(), LongTag> {
    let chars = text.chars().count();
    if chars > MAX_NAME_CHARS { Err(LongTag(chars)) } else { Ok(()) }
}

/// A priority is a whole number from 0 to 99.
#[derive(Debug, Error)]
#[error("Priority must be an integer from 0 - 99. Received: {0}.")]
pub struct BadPriority(pub String);

/// Checks the text of a priority.
pub fn check_priority(text: &str) -> Result<(), BadPriority> {
    match text.parse::<u8>() {
        Ok(0..=99) if !text.starts_with('+') => Ok(()),
        _ => Err(BadPriority(text.to_owned())),
    }
}

/// All installed agents, sorted by name, then identity; and what was wrong with entries that were skipped.
pub fn list(home: &Home) -> (Vec<InstalledAgent>, Vec<String>) {
    let (mut agents, mut skipped) = (Vec::new(), Vec::new());
    let Ok(entries) = fs::read_dir(home.agents()) else { return (agents, skipped) };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        // Temporary directories of an install begin with a dot; links only serve the older layout's paths.
        if file_name.to_string_lossy().starts_with('.') || !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        match read(&entry.path()) {
            Ok(Some(agent)) => agents.push(agent),
            Ok(None) => {}
            Err(why) => skipped.push(format!("{}: {why}", entry.path().display())),
        }
    }
    agents.sort_by(|a, b| (&a.name, &a.identity).cmp(&(&b.name, &b.identity)));
    (agents, skipped)
}

/// Reads one directory: `None` for one that only serves paths of the older layout, an error text for an incomplete one.
pub fn read(path: &Path) -> Result<Option<InstalledAgent>, String> {
    let dir = AgentDir::at(path);
    if dir.uuid().exists() {
        return read_current(dir).map(Some);
    }
    if path.join("agent.link").exists() {
        return Ok(None);
    }
    if path.join("IDENTITY").exists() {
        read_older(dir).map(Some)
    } else {
        Err("neither UUID nor IDENTITY".into())
    }
}

fn read_current(dir: AgentDir) -> Result<InstalledAgent, String> {
    let identity = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !identity::is_valid(&identity) {
        return Err("the directory name is not a valid identity".into());
    }
    let uuid = text(&dir.uuid())?.ok_or("no UUID")?;
    let name = text(&dir.name())?.ok_or("no NAME")?;
    let manifest = text(&dir.launch())?.ok_or("no agent.json")?;
    let manifest = serde_json::from_str(&manifest).map_err(|e| format!("agent.json: {e}"))?;
    let (tag, priority) = (text(&dir.tag())?, text(&dir.autostart())?);
    Ok(InstalledAgent { uuid, identity, name, dir, manifest: Some(manifest), tag, priority })
}

fn read_older(dir: AgentDir) -> Result<InstalledAgent, String> {
    let uuid = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let identity: String =
        text(&dir.path().join("IDENTITY"))?.ok_or("no IDENTITY")?.chars().take(MAX_NAME_CHARS).collect();
    let inner = fs::read_dir(dir.path()).map_err(|e| e.to_string())?.flatten().find(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        entry.path().join(format!("{name}.dist-info")).is_dir()
    });
    let name = inner.ok_or("no package directory")?.file_name().to_string_lossy().into_owned();
    let (tag, priority) = (text(&dir.tag())?, text(&dir.autostart())?);
    Ok(InstalledAgent { uuid, identity, name, dir, manifest: None, tag, priority })
}

fn text(path: &Path) -> Result<Option<String>, String> {
    match files::read_bounded(path, MAX_FILE_BYTES) {
        Ok(text) => Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()).filter(|t| !t.is_empty())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

fn replace(path: &Path, content: Option<&str>) -> io::Result<()> {
    match content {
        Some(text) => files::write_atomic(path, text.as_bytes(), 0o644),
        None => match files::remove(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
#[path = "installed_tests.rs"]
mod tests;
