//! The layout of `$VOLTTRON_HOME`: where everything is (home.md), and whether a platform is running in it.
//!
//! Paths only; each file's content belongs to the module that owns its format.

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs, io};

use crate::files::{self, FileLock};

/// Name of the variable that selects the home.
pub const VOLTTRON_HOME: &str = "VOLTTRON_HOME";

/// Longest abstract or file socket name that the kernel takes, in bytes.
const SOCKET_NAME_MAX: usize = 107;

/// A platform's home directory. Absolute, normalised, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Home(PathBuf);

/// Why there is no usable home.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Neither `VOLTTRON_HOME` nor `HOME` is set.
    #[error("VOLTTRON_HOME is not set, and there is no HOME to put .volttron into")]
    NoHome,
    /// A relative path, and the current directory is gone.
    #[error("cannot tell the current directory, which the home {path:?} is relative to: {source}")]
    Relative {
        /// As given.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A directory could not be made.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The local socket's name would not fit into the kernel's limit.
    #[error(
        "home {} is too deep: its local socket name has {len} bytes, {SOCKET_NAME_MAX} are possible; \
         choose a shorter VOLTTRON_HOME",
        home.display()
    )]
    TooDeep {
        /// The home.
        home: PathBuf,
        /// Length of the socket name in bytes.
        len: usize,
    },
}

impl Home {
    /// The home that `VOLTTRON_HOME` names, else `~/.volttron`. `~` and `$VAR` are expanded (cli.md section 2).
    pub fn from_env() -> Result<Self, HomeError> {
        match env::var(VOLTTRON_HOME) {
            Ok(text) if !text.trim().is_empty() => Self::new(expand(text.trim())),
            _ => {
                let home = env::var_os("HOME").filter(|h| !h.is_empty()).ok_or(HomeError::NoHome)?;
                Self::new(Path::new(&home).join(".volttron"))
            }
        }
    }

    /// This directory. Made absolute and normalised; nothing is created.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, HomeError> {
        let path = path.as_ref();
        let absolute = std::path::absolute(path)
            .map_err(|source| HomeError::Relative { path: path.display().to_string(), source })?;
        Ok(Self(normalize(&absolute)))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// As [`expand`], where `$VOLTTRON_HOME` means this home even if the variable is not set.
    pub fn expand(&self, text: &str) -> String {
        expand_with(text, |name| match name {
            VOLTTRON_HOME => Some(self.0.display().to_string()),
            other => env::var(other).ok(),
        })
    }

    /// Platform settings.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("config")
    }

    /// Key pair of the platform.
    pub fn keystore(&self) -> PathBuf {
        self.0.join("keystore")
    }

    /// Key pair of a service or of a local agent that is not installed.
    pub fn keystores(&self, identity: &str) -> PathBuf {
        self.0.join("keystores").join(identity).join("keystore.json")
    }

    /// Server keys by address.
    pub fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    /// Who may connect and what they may do.
    pub fn auth_file(&self) -> PathBuf {
        self.0.join("auth.json")
    }

    /// Who was let in or refused and who changed the rules, a JSON object per line.
    pub fn audit_log(&self) -> PathBuf {
        self.0.join("audit.log")
    }

    /// Topics that need a capability to publish on.
    pub fn protected_topics(&self) -> PathBuf {
        self.0.join("protected_topics.json")
    }

    /// Parameters of built-in services.
    pub fn service_config(&self) -> PathBuf {
        self.0.join("service_config.yml")
    }

    /// Installed agents.
    pub fn agents(&self) -> PathBuf {
        self.0.join("agents")
    }

    /// One installed agent.
    pub fn agent(&self, identity: &str) -> AgentDir {
        AgentDir(self.agents().join(identity))
    }

    /// Directory of the configuration store.
    pub fn configuration_store(&self) -> PathBuf {
        self.0.join("configuration_store")
    }

    /// X.509 material.
    pub fn certificates(&self) -> PathBuf {
        self.0.join("certificates")
    }

    /// Sockets, and state that dies with the machine.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// One cargo root per installed agent version.
    pub fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// Packages of agents that were made here.
    pub fn packaged(&self) -> PathBuf {
        self.0.join("packaged")
    }

    /// Build directory and staging; may be deleted at any time.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// What agents wrote, a log file for each, and a link to the platform's own.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The log file of an installed agent; older ones have `.1`, `.2` and so on behind the name.
    pub fn agent_log(&self, identity: &str) -> PathBuf {
        self.logs().join(format!("{identity}.log"))
    }

    /// Leads to the platform's own log if that is a file. No agent can be called `platform`.
    pub fn platform_log(&self) -> PathBuf {
        self.agent_log("platform")
    }

    /// Data kept by remove and upgrade.
    pub fn backups(&self) -> PathBuf {
        self.0.join("backups")
    }

    /// Pid of a server that is ready.
    pub fn pid_file(&self) -> PathBuf {
        self.0.join("VOLTTRON_PID")
    }

    /// Locked by the server that owns this home, for its whole life.
    pub fn lock_file(&self) -> PathBuf {
        self.0.join("volttron.lock")
    }

    /// The local address of the platform: `$VOLTTRON_VIP_ADDR` is for agents and not looked at here.
    pub fn default_vip_socket(&self) -> String {
        format!(
            "ipc://{}{}",
            if cfg!(target_os = "linux") { "@" } else { "" },
            self.run().join("vip.socket").display()
        )
    }

    /// Checks that the local socket's name fits (home.md section 6).
    pub fn check_socket_length(&self) -> Result<(), HomeError> {
        let len = self.default_vip_socket().len() - "ipc://".len();
        if len > SOCKET_NAME_MAX { Err(HomeError::TooDeep { home: self.0.clone(), len }) } else { Ok(()) }
    }

    /// Makes the directories that a server expects: the home, `run`, `agents`, `configuration_store`, `certificates`.
    pub fn create_dirs(&self) -> Result<(), HomeError> {
        for path in
            [self.0.clone(), self.run(), self.agents(), self.configuration_store(), self.certificates()]
        {
            files::create_dir(&path, 0o755).map_err(|source| HomeError::Create { path, source })?;
        }
        Ok(())
    }

    /// Pid of the platform that is up and ready in this home, ours or a Python one (home.md section 6).
    ///
    /// `VOLTTRON_PID` alone proves nothing after a crash, so either the lock must be held or the process must be
    /// older than the file.
    pub fn running(&self) -> Option<u32> {
        let file = self.pid_file();
        let pid: u32 = fs::read_to_string(&file).ok()?.trim().parse().ok()?;
        if FileLock::is_held(&self.lock_file()).unwrap_or(false) {
            return Some(pid);
        }
        let written = fs::metadata(&file).and_then(|m| m.modified()).ok()?;
        // Boot time is known to a second or two only.
        let slack = Duration::from_secs(3);
        (process_started(pid)? <= written + slack).then_some(pid)
    }
}

/// When a process started, from `/proc`; `None` if there is no such process (or no `/proc`).
pub fn process_started(pid: u32) -> Option<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may itself contain blanks and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    let ticks: u64 = fields.get(19)?.parse().ok()?;
    let boot: u64 = fs::read_to_string("/proc/stat")
        .ok()?
        .lines()
        .find_map(|l| l.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(
        SystemTime::UNIX_EPOCH + Duration::from_secs(boot) + Duration::from_millis(ticks * 1000 / per_second),
    )
}

/// Files of one installed agent (home.md section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentDir(PathBuf);

impl AgentDir {
    /// A directory that follows the layout, for instance one still under a temporary name.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself, also the agent's working directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Installation uuid.
    pub fn uuid(&self) -> PathBuf {
        self.0.join("UUID")
    }

    /// `<package>-<version>`.
    pub fn name(&self) -> PathBuf {
        self.0.join("NAME")
    }

    /// How to launch it.
    pub fn launch(&self) -> PathBuf {
        self.0.join("agent.json")
    }

    /// Install-time configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("config")
    }

    /// Key pair, 0600.
    pub fn keystore(&self) -> PathBuf {
        self.0.join("keystore.json")
    }

    /// The only place the agent may write to and that upgrades keep.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Optional tag.
    pub fn tag(&self) -> PathBuf {
        self.0.join("TAG")
    }

    /// Priority text; present means enabled.
    pub fn autostart(&self) -> PathBuf {
        self.0.join("AUTOSTART")
    }

    /// Unix user in isolation mode.
    pub fn user_id(&self) -> PathBuf {
        self.0.join("USER_ID")
    }
}

/// Expands a leading `~` and every `$VAR` and `${VAR}`; unknown variables stay as they are (cli.md section 1).
pub fn expand(text: &str) -> String {
    expand_with(text, |name| env::var(name).ok())
}

fn expand_with(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    if let Some(tail) = text.strip_prefix('~')
        && (tail.is_empty() || tail.starts_with('/'))
        && let Some(home) = lookup("HOME")
    {
        out.push_str(&home);
        rest = tail;
    }
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let (name, used) = variable(tail);
        match lookup(name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[at..=at + used]),
        }
        rest = &tail[used..];
    }
    out.push_str(rest);
    out
}

/// The variable name at the head of the text after a `$`, and how many bytes it takes with its braces.
fn variable(tail: &str) -> (&str, usize) {
    if let Some(inner) = tail.strip_prefix('{') {
        return inner.find('}').map_or(("", 0), |end| (&inner[..end], end + 2));
    }
    let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
    (&tail[..end], end)
}

/// Removes `.` and `..` without looking at the file system, as Python's `normpath`.
fn normalize(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_normal() {
        let home = Home::new("/srv//vh/./x/../").unwrap();
        assert_eq!(home.path(), Path::new("/srv/vh"));
        assert_eq!(home.keystores("control"), Path::new("/srv/vh/keystores/control/keystore.json"));
        assert_eq!(home.default_vip_socket(), "ipc://@/srv/vh/run/vip.socket");
        assert!(Home::new("relative").unwrap().path().is_absolute());
        assert!(home.check_socket_length().is_ok());
        let deep = Home::new(format!("/{}", "d".repeat(100))).unwrap();
        assert!(matches!(deep.check_socket_length(), Err(HomeError::TooDeep { len: 117, .. })));
    }

    #[test]
    fn variables_are_expanded() {
        let home = env::var("HOME").unwrap();
        let path = env::var("PATH").unwrap();
        assert_eq!(expand("~/a"), format!("{home}/a"));
        assert_eq!(expand("~user/a"), "~user/a");
        assert_eq!(expand("a$HOME/b${PATH}c"), format!("a{home}/b{path}c"));
        assert_eq!(
            expand("$NO_SUCH_NAME_1/${NO_SUCH_NAME_2}/$/${"),
            "$NO_SUCH_NAME_1/${NO_SUCH_NAME_2}/$/${"
        );
    }

    #[test]
    fn a_stale_pid_file_is_not_a_running_platform() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        assert_eq!(home.running(), None);
        let me = std::process::id();
        fs::write(home.pid_file(), me.to_string()).unwrap();
        assert_eq!(home.running(), Some(me), "a live process, as with a Python platform");
        let old = fs::File::options().write(true).open(home.pid_file()).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(home.running(), None, "the process is younger than the file: a reused pid");
        let lock = FileLock::try_acquire(&home.lock_file()).unwrap();
        assert_eq!(home.running(), Some(me));
        drop(lock);
        fs::write(home.pid_file(), "x").unwrap();
        assert_eq!(home.running(), None);
    }
}
