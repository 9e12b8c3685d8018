//! What all checks look at.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use volttron_utils::home::Home;

use super::{Target, quoted, shown};
use crate::background::ROTATE;
use crate::codes::{Code, Coded};
use crate::options::Options;
use crate::processes;
use crate::supervisor::{InstalledAgent, installed, user_name};

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
    /// Who looks.
    pub me: u32,
    /// The user of the platform if it runs, else of the home; none if there is no home.
    pub owner: Option<u32>,
}

impl Scene {
    pub(in crate::ops) fn look(target: &Target, limits: Limits) -> Self {
        let home = target.home.clone();
        let running = home.running();
        let options = options(&home, running).map(Arc::new).map_err(|e| (e.coded(), e.to_string()));
        let (agents, skipped) = installed::list(&home);
        let me = rustix::process::geteuid().as_raw();
        // A platform may run in a home that belongs to somebody else; both may look.
        let owner = owner(home.path()).map(|owner| {
            let user = running.and_then(processes::user);
            if owner == me { owner } else { user.unwrap_or(owner) }
        });
        let (agents, skipped) = (Arc::new(agents), Arc::new(skipped));
        Self { home, running, options, agents, skipped, limits, me, owner }
    }

    /// The owner, if that is neither who looks nor root's to look for: most files are nobody else's business, and what
    /// cannot be read looks like what is broken.
    pub fn stranger_to(&self) -> Option<String> {
        self.owner.filter(|owner| *owner != self.me && self.me != 0).map(user_name)
    }

    /// What goes in front of a command that writes files, so that they belong to whom the platform's belong.
    pub fn as_owner(&self) -> String {
        match self.owner.filter(|owner| *owner != self.me).map(user_name) {
            // A user without a name.
            Some(name) if name.parse::<u32>().is_ok() => format!("sudo -u '#{name}' "),
            Some(name) => format!("sudo -u {} ", quoted(&name)),
            None => String::new(),
        }
    }

    /// A command line of `vctl` for this home.
    pub fn vctl(&self, words: &str) -> String {
        let own = self.as_owner();
        if own.is_empty() && Home::from_env().is_ok_and(|home| home == self.home) {
            return format!("vctl {words}");
        }
        format!("{own}vctl --vhome {} {words}", shown(self.home.path()))
    }

    /// The command that starts the platform in the background.
    pub fn up(&self) -> String {
        format!("{}volttron up --vhome {}", self.as_owner(), shown(self.home.path()))
    }

    /// The command that ends the platform and starts it again as it was started.
    pub fn restart(&self) -> String {
        if let Some(unit) = self.running.and_then(unit) {
            return format!("sudo systemctl restart {}", quoted(&unit));
        }
        let path = shown(self.home.path());
        let words = self.running.and_then(command_line).unwrap_or_default();
        let options = options_of(&words, &self.home);
        let options = if options.is_empty() { String::new() } else { format!(" -- {options}") };
        format!("{}volttron down --vhome {path} && {}{options}", self.as_owner(), self.up())
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

/// Whose a directory is. Of one that cannot be looked at, whose the directory is that is in the way.
fn owner(home: &Path) -> Option<u32> {
    for dir in home.ancestors() {
        match fs::metadata(dir) {
            Ok(meta) => return Some(meta.uid()),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            Err(_) => return None,
        }
    }
    None
}

/// The service of systemd that a process is the main one of.
fn unit(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/system.slice/"))?;
    let unit = group.split('/').next().filter(|name| name.ends_with(".service"))?;
    // What else a service starts, such as a shell, is not restarted with it.
    (processes::Stat::read(pid)?.parent == 1).then(|| unit.to_owned())
}

/// What of a command line `volttron up` does not add by itself.
fn options_of(words: &[OsString], home: &Home) -> String {
    let log = home.path().join("volttron.log");
    let (mut kept, mut words) = (Vec::new(), words.iter().map(|word| word.to_string_lossy()).peekable());
    while let Some(word) = words.next() {
        match &*word {
            "--vhome" => drop(words.next()),
            "-v" => {}
            "-l" if words.peek().is_some_and(|next| **next == *log.to_string_lossy()) => {
                words.next();
                for added in ROTATE {
                    words.next_if(|word| *word == added);
                }
            }
            other if other.starts_with("--vhome=") => {}
            other => kept.push(quoted(other)),
        }
    }
    kept.join(" ")
}

/// The words behind the name of a running `volttron`.
fn command_line(pid: u32) -> Option<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt;
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = bytes.split(|b| *b == 0).map(|word| OsString::from_vec(word.to_vec()));
    let program = words.next()?;
    // A Python platform has other options, behind the name of its interpreter.
    Path::new(&program).file_name().filter(|name| *name == "volttron")?;
    let mut words: Vec<OsString> = words.collect();
    words.pop_if(|last| last.is_empty());
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_platform_was_started_with_is_kept() {
        let home = Home::new("/h").unwrap();
        let kept = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            options_of(&words, &home)
        };
        assert_eq!(kept("--vhome /h -v -l /h/volttron.log"), "");
        assert_eq!(kept("--vhome /h -v -l /h/volttron.log --log-rotate 10M"), "");
        assert_eq!(kept("-vv --vhome=/h -l /var/log/v.log --autostart"), "-vv -l /var/log/v.log --autostart");
    }

    #[test]
    fn a_directory_that_cannot_be_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(owner(dir.path()), Some(rustix::process::geteuid().as_raw()));
        assert_eq!(owner(&dir.path().join("gone")), None);
    }
}
