//! Agents that outlived a platform which was killed: recorded while they run, ended by the next start.
//!
//! The parent-death signal already asks them to stop; this is for those that did not, or have not yet.

use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use volttron_utils::files;
use volttron_utils::home::{Home, process_started};

/// How long a leftover may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Start times are computed from the boot time, which the clock may shift a little.
const SAME_START: Duration = Duration::from_secs(2);

/// One running agent process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Identity of the agent.
    pub identity: String,
    /// Process id, also of its process group.
    pub pid: u32,
    /// When the process started, in seconds since 1970.
    pub started: f64,
}

impl Process {
    /// Describes a process that was just created.
    pub fn new(identity: &str, pid: u32) -> Self {
        let started = process_started(pid).and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self { identity: identity.to_owned(), pid, started: started.unwrap_or_default().as_secs_f64() }
    }

    /// Whether this very process still exists: the same id *and* the same start.
    fn is_alive(&self) -> bool {
        let recorded = SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(self.started).unwrap_or_default();
        process_started(self.pid)
            .is_some_and(|now| now.duration_since(recorded).unwrap_or_else(|e| e.duration()) <= SAME_START)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// Writes which agents run now.
pub fn record(home: &Home, processes: &[Process]) -> std::io::Result<()> {
    let text = serde_json::to_vec(processes).map_err(std::io::Error::other)?;
    files::write_atomic(&home.run().join("agents.json"), &text, 0o644)
}

/// Ends what a killed platform left behind; returns their identities. A record that cannot be read is ignored: it says
/// nothing certain about any process.
pub async fn end_leftovers(home: &Home) -> Vec<String> {
    let path = home.run().join("agents.json");
    let Ok(text) = files::read_bounded(&path, 16 << 20) else { return Vec::new() };
    let recorded: Vec<Process> = serde_json::from_str(&text).unwrap_or_default();
    let left: Vec<Process> = recorded.into_iter().filter(Process::is_alive).collect();
    for process in &left {
        process.signal(Signal::TERM);
    }
    if tokio::time::timeout(GRACE, all_gone(&left)).await.is_err() {
        left.iter().filter(|p| p.is_alive()).for_each(|p| p.signal(Signal::KILL));
        let _ = tokio::time::timeout(GRACE, all_gone(&left)).await;
    }
    let _ = files::remove(&path);
    left.into_iter().map(|p| p.identity).collect()
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
        let mut other = Process::new("b", stranger.id());
        other.started -= 3600.0;
        record(&home, &[Process::new("a", left.id()), other]).unwrap();
        // Somebody has to reap the child for it to be gone; a real leftover is reaped by init.
        let reaper = std::thread::spawn(move || left.wait().unwrap());
        assert_eq!(end_leftovers(&home).await, ["a"]);
        assert!(!reaper.join().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[tokio::test]
    async fn a_damaged_record_does_nothing() {
        let (_guard, home) = home();
        std::fs::write(home.run().join("agents.json"), "[{\"identity\":").unwrap();
        assert!(end_leftovers(&home).await.is_empty());
    }
}
