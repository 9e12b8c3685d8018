//! A control group (version 2) for each agent: its limits, and an end that reaches everything it started.
//!
//! Only below a directory that the platform may write to, its own group or one that was delegated to it:
//!
//! ```text
//! DIR/platform        the platform itself, where DIR is the group it was started in
//! DIR/agents/<id>     one agent and what it started
//! ```
//!
//! A process enters its group between fork and exec, so nothing it starts can be outside.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use volttron_utils::files;

use super::limits::Limits;

/// The unit that `cpu.max` is counted in, in µs.
const CPU_PERIOD_US: u64 = 100_000;
/// Most bytes read of a control file.
const MAX_BYTES: u64 = 1 << 20;
/// Name of the group of all agents.
const AGENTS: &str = "agents";
/// Name of the group the platform moves to: a group that limits groups below has no processes itself.
const PLATFORM: &str = "platform";
/// How long processes that were killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Where agents' groups are made.
#[derive(Clone, Debug)]
pub struct Groups {
    agents: PathBuf,
    /// Controllers that agents' groups have.
    controllers: Vec<&'static str>,
}

/// One agent's group.
#[derive(Clone, Debug)]
pub struct Group {
    path: PathBuf,
}

impl Groups {
    /// Prepares `dir`, or the platform's own group for `own`.
    pub fn prepare(dir: &Path) -> Result<Self, String> {
        let own =
            own_group(&read(Path::new("/proc/self/cgroup"))?, &read(Path::new("/proc/self/mountinfo"))?);
        let dir = if dir == Path::new("own") {
            own.clone().ok_or("this process is in no control group of version 2")?
        } else {
            dir.to_owned()
        };
        if !dir.join("cgroup.controllers").exists() {
            return Err(format!("{} is not a control group of version 2", dir.display()));
        }
        let agents = dir.join(AGENTS);
        create(&agents)?;
        // The root of all groups may have both, and has no type.
        if own.as_ref() == Some(&dir) && dir.join("cgroup.type").exists() {
            move_all(&dir, &dir.join(PLATFORM))?;
        }
        let offered = read(&dir.join("cgroup.controllers"))?;
        let controllers = ["memory", "cpu", "pids"].into_iter().filter(|name| {
            let on = |at: &Path| fs::write(at.join("cgroup.subtree_control"), format!("+{name}")).is_ok();
            offered.split_whitespace().any(|other| other == *name) && on(&dir) && on(&agents)
        });
        Ok(Self { controllers: controllers.collect(), agents })
    }

    /// The group of an agent that an earlier platform started, if it has one.
    pub fn of(&self, identity: &str) -> Option<Group> {
        Some(Group { path: self.agents.join(identity) }).filter(|group| group.path.exists())
    }

    /// Ends what a killed platform left behind, except for the agents in `kept`; the groups for which that failed, and why.
    pub fn end_leftovers(&self, kept: &[String]) -> Vec<String> {
        let left = fs::read_dir(&self.agents).into_iter().flatten().flatten();
        let left = left.filter(|entry| !kept.iter().any(|name| entry.file_name() == name.as_str()));
        let groups = left.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let ended = groups.map(|entry| Group { path: entry.path() }).map(|group| (group.end(), group.path));
        ended.filter_map(|(ended, path)| Some(format!("{}: {}", path.display(), ended.err()?))).collect()
    }

    /// An agent's group, new; which limits hold there, and which do not, and why.
    pub fn make(&self, identity: &str, limits: &Limits) -> Result<(Group, Limits, Vec<String>), String> {
        let group = Group { path: self.agents.join(identity) };
        // Nothing of an earlier process is counted, nor lives on.
        group.end().map_err(|e| format!("{}: {e}", group.path.display()))?;
        create(&group.path)?;
        let (mut kept, mut missing) = (*limits, Vec::new());
        for (controller, file, value) in settings(limits) {
            if !self.controllers.contains(&controller) {
                let place = self.agents.display();
                missing.push(format!("{file} = {value} (no controller `{controller}` for {place})"));
            } else if let Err(error) = fs::write(group.path.join(file), &value) {
                missing.push(format!("{file} = {value} ({error})"));
            } else {
                continue;
            }
            match controller {
                "memory" => kept.memory_max = None,
                "cpu" => kept.cpu_max = None,
                _ => kept.pids_max = None,
            }
        }
        if limits.memory_max.is_some() {
            // Else it would only be pushed out to disk; and one process of an agent is no agent. Not every kernel has them.
            let _ = fs::write(group.path.join("memory.swap.max"), "0");
            let _ = fs::write(group.path.join("memory.oom.group"), "1");
        }
        Ok((group, kept, missing))
    }
}

/// Controller, file and text of each limit.
pub(super) fn settings(limits: &Limits) -> Vec<(&'static str, &'static str, String)> {
    let cpu = |percent: u64| format!("{} {CPU_PERIOD_US}", percent.saturating_mul(CPU_PERIOD_US / 100));
    let all = [
        limits.memory_max.map(|bytes| ("memory", "memory.max", bytes.to_string())),
        limits.cpu_max.map(|percent| ("cpu", "cpu.max", cpu(percent))),
        limits.pids_max.map(|most| ("pids", "pids.max", most.to_string())),
    ];
    all.into_iter().flatten().collect()
}

impl Group {
    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a process writes `0` to, to be in it.
    pub fn entrance(&self) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))?.into())
    }

    /// Kills everything in it.
    pub fn kill(&self) -> io::Result<()> {
        match fs::write(self.path.join("cgroup.kill"), "1") {
            Err(_) if !self.path.exists() => Ok(()),
            other => other,
        }
    }

    /// Kills everything in it, waits for that, and removes it.
    pub fn end(&self) -> io::Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        self.kill()?;
        let give_up = Instant::now() + GONE_WITHIN;
        loop {
            match remove(&self.path) {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < give_up => {
                    std::thread::sleep(LOOK);
                }
                other => return other,
            }
        }
    }
}

/// Makes the calling process one of the group. Allocates nothing: it is called between fork and exec.
pub(super) fn enter(entrance: &OwnedFd) -> io::Result<()> {
    rustix::io::write(entrance, b"0")?;
    Ok(())
}

/// With the groups that were made below by what ran there.
fn remove(path: &Path) -> io::Result<()> {
    for below in fs::read_dir(path).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&below.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn create(path: &Path) -> Result<(), String> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(format!("{}: {e}", path.display())),
        _ => Ok(()),
    }
}

/// This process, and whoever else was put beside it.
fn move_all(from: &Path, to: &Path) -> Result<(), String> {
    create(to)?;
    let procs = to.join("cgroup.procs");
    for pid in read(&from.join("cgroup.procs"))?.split_whitespace() {
        match fs::write(&procs, pid) {
            // It has ended since.
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
                return Err(format!("{}: {e}", procs.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    files::read_bounded(path, MAX_BYTES).map_err(|e| format!("{}: {e}", path.display()))
}

/// Directory of the group of version 2 that a process with this `/proc/self/cgroup` and `/proc/self/mountinfo` is in.
fn own_group(groups: &str, mounts: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        let below = Path::new(path).strip_prefix(root).ok()?;
        kind.starts_with("cgroup2 ").then(|| {
            let place = Path::new(place);
            if below.as_os_str().is_empty() { place.to_owned() } else { place.join(below) }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_where_it_is_mounted() {
        let mounts = "25 1 0:22 / /proc rw - proc proc rw\n\
                      30 25 0:26 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
        let at = |groups: &str| own_group(groups, mounts);
        assert_eq!(at("3:pids:/x\n0::/\n"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(
            at("0::/system.slice/volttron.service\n"),
            Some("/sys/fs/cgroup/unified/system.slice/volttron.service".into())
        );
        assert_eq!(at("3:pids:/x\n"), None);
        assert_eq!(own_group("0::/\n", "25 1 0:22 / /proc rw - proc proc rw\n"), None);
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let limits =
            Limits { memory_max: Some(1 << 20), cpu_max: Some(150), pids_max: Some(9), require: false };
        let texts: Vec<_> =
            settings(&limits).into_iter().map(|(_, file, text)| format!("{file}={text}")).collect();
        assert_eq!(texts, ["memory.max=1048576", "cpu.max=150000 100000", "pids.max=9"]);
        assert!(settings(&Limits::default()).is_empty());
    }
}
