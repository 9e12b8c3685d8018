//! What all checks look at.

use std::ffi::OsString;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use volttron_utils::home::Home;

use super::Target;
use crate::codes::{Code, Coded};
use crate::options::Options;
use crate::supervisor::InstalledAgent;
use crate::supervisor::installed;

/// Where good ends, as the operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Room on the disk, in bytes, below which there is a warning; none for the usual limit.
    pub min_free_bytes: Option<u64>,
    /// Time of a write with fsync above which there is a warning.
    pub max_fsync: Duration,
    /// How long an agent that has sent a sign of life may be silent.
    pub heartbeat_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_free_bytes: None,
            max_fsync: Duration::from_millis(50),
            heartbeat_age: Duration::from_mins(3),
        }
    }
}

/// What all checks look at. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The home.
    pub home: Home,
    /// Pid of the platform, if it runs.
    pub running: Option<u32>,
    /// What the platform is configured with, as it runs or would start; otherwise why it would not.
    pub options: Result<Arc<Options>, (Code, String)>,
    /// Installed agents.
    pub agents: Arc<Vec<InstalledAgent>>,
    /// What below `agents/` is none, and why.
    pub skipped: Arc<Vec<String>>,
    /// Where good ends.
    pub limits: Limits,
}

impl Scene {
    pub(in crate::ops) fn look(target: &Target, limits: Limits) -> Self {
        let home = target.home.clone();
        let running = home.running();
        let options = options(&home, running).map(Arc::new).map_err(|e| (e.coded(), e.to_string()));
        let (agents, skipped) = installed::list(&home);
        Self { home, running, options, agents: Arc::new(agents), skipped: Arc::new(skipped), limits }
    }

    /// Whether the platform asks for keys; if that is not known, it does.
    pub fn auth(&self) -> bool {
        self.options.as_ref().map_or(true, |options| options.auth)
    }
}

/// Options as the platform got them, else as it would get them from the home alone.
pub(super) fn options(home: &Home, running: Option<u32>) -> Result<Options, crate::options::OptionsError> {
    let mut line: Vec<OsString> = vec!["volttron".into()];
    if let Some(words) = running.and_then(command_line) {
        line.extend(words);
    }
    line.push("--vhome".into());
    line.push(home.path().into());
    Options::resolve(line)
}

/// The words behind the name of a running `volttron`.
fn command_line(pid: u32) -> Option<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt;
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = bytes.split(|b| *b == 0).map(|word| OsString::from_vec(word.to_vec()));
    let program = words.next()?;
    // A Python platform has other options, behind the name of its interpreter.
    std::path::Path::new(&program).file_name().filter(|name| *name == "volttron")?;
    let mut words: Vec<OsString> = words.collect();
    words.pop_if(|last| last.is_empty());
    Some(words)
}
