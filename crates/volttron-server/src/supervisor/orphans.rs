//! Agents that outlived a platform: recorded while they run (`run/agents.json`). The next start takes over those that were
//! meant to live on (`--keep-agents`), and ends the others.
//!
//! The parent-death signal already asks the others to stop; this is for those that did not, or have not yet.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use volttron_utils::files;
use volttron_utils::home::Home;

use crate::processes::Stat;

/// How long a leftover may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// One running agent process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Identity of the agent.
    pub identity: String,
    /// Installation uuid of the agent.
    #[serde(default)]
    pub uuid: String,
    /// Process id, also of its process group.
    pub pid: u32,
    /// When the process started, in clock ticks after the machine did.
    #[serde(default)]
    pub start_ticks: u64,
    /// Which run of the machine that was.
    #[serde(default)]
    pub boot_id: String,
    /// It is meant to outlive its platform.
    #[serde(default)]
    pub kept: bool,
}

impl Process {
    /// Describes a process that exists.
    pub fn new(identity: &str, uuid: &str, pid: u32, kept: bool) -> Self {
        let start_ticks = Stat::read(pid).map_or(0, |stat| stat.start_ticks);
        Self {
            identity: identity.to_owned(),
            uuid: uuid.to_owned(),
            pid,
            start_ticks,
            boot_id: boot_id(),
            kept,
        }
    }

    /// Whether this very process still exists: the same id *and* the same start, in the same run of the machine.
    pub fn is_alive(&self) -> bool {
        self.boot_id == boot_id()
            && Stat::read(self.pid).is_some_and(|now| now.state != 'Z' && now.start_ticks == self.start_ticks)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Writes which agents run now.
pub fn record(home: &Home, processes: &[Process]) -> std::io::Result<()> {
    let text = serde_json::to_vec(processes).map_err(std::io::Error::other)?;
    files::write_atomic(&home.run().join("agents.json"), &text, 0o644)
}

/// Processes that an earlier platform left behind and that still live. A record that cannot be read is ignored: it says
/// nothing certain about any process.
pub fn left_behind(home: &Home) -> Vec<Process> {
    let Ok(text) = files::read_bounded(&home.run().join("agents.json"), 16 << 20) else { return Vec::new() };
    let recorded: Vec<Process> = serde_json::from_str(&text).unwrap_or_default();
    recorded.into_iter().filter(Process::is_alive).collect()
}

/// Ends processes.
pub async fn end(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::TERM);
    }
    if tokio::time::timeout(GRACE, all_gone(processes)).await.is_err() {
        processes.iter().filter(|p| p.is_alive()).for_each(|p| p.signal(Signal::KILL));
        let _ = tokio::time::timeout(GRACE, all_gone(processes)).await;
    }
}

/// These are not our children, so their end has to be looked for.
async fn all_gone(processes: &[Process]) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while processes.iter().any(Process::is_alive) {
        look.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        home.create_dirs().unwrap();
        (dir, home)
    }

    #[tokio::test]
    async fn a_recorded_process_is_ended_and_a_stranger_with_its_id_is_not() {
        let (_guard, home) = home();
        let mut left = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let mut stranger = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let mut other = Process::new("b", "u2", stranger.id(), false);
        other.start_ticks -= 1;
        let mut before_boot = Process::new("c", "u3", stranger.id(), true);
        before_boot.boot_id = "another".to_owned();
        let own = Process::new("a", "u1", left.id(), false);
        record(&home, &[own.clone(), other, before_boot]).unwrap();
        let found = left_behind(&home);
        assert_eq!(found, [own]);
        // Somebody has to reap the child for it to be gone; a real leftover is reaped by init.
        let reaper = std::thread::spawn(move || left.wait().unwrap());
        end(&found).await;
        assert!(!reaper.join().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn a_damaged_record_says_nothing() {
        let (_guard, home) = home();
        for text in ["[{\"identity\":", "[{\"identity\": \"a\", \"pid\": 1, \"started\": 5.0}]"] {
            std::fs::write(home.run().join("agents.json"), text).unwrap();
            assert!(left_behind(&home).is_empty());
        }
    }
}
