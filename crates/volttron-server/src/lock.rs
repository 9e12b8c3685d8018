//! Ownership of a home: `volttron.lock` for the server's whole life, `VOLTTRON_PID` while it is ready
//! (home.md section 6).
//!
//! Only the holder of the lock writes or removes `VOLTTRON_PID`, and it removes it only if its own pid is in it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use volttron_utils::files::{self, FileLock};
use volttron_utils::home::Home;
use volttron_utils::time;

/// Programs that look whether a server runs hold a shared lock for an instant; that long an owner tries again.
const PROBE_GRACE: Duration = Duration::from_millis(300);
/// How often the lock is tried while waiting.
const RETRY: Duration = Duration::from_millis(20);
/// Word in the lock file of a server that is on its way out.
const STOPPING: &str = "stopping";
/// Whether the server authenticates who connects: its setting may have changed since it started.
const AUTHENTICATION: &str = "authentication: ";

/// Why the home could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another server owns it.
    #[error(
        "another volttron{} owns {}; stop it first (vctl shutdown --platform) or choose another VOLTTRON_HOME",
        pid.as_deref().map_or_else(String::new, |p| format!(" (pid {p})")),
        home.display()
    )]
    Held {
        /// The home.
        home: PathBuf,
        /// Its pid, as it wrote it.
        pid: Option<String>,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LockError {
    /// Exit code of the program: 3 when another server owns the home (cli.md section 3).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Held { .. } => 3,
            Self::Io { .. } => 1,
        }
    }
}

/// The lock on a home.
#[derive(Debug)]
pub struct HomeLock {
    lock: FileLock,
    home: Home,
    pid: u32,
    authenticates: Option<bool>,
}

impl HomeLock {
    /// Takes the lock. A server that is still stopping its agents is waited for, at most `patience`; one that is up is
    /// an error at once.
    pub fn take(home: &Home, patience: Duration) -> Result<Self, LockError> {
        let path = home.lock_file();
        let began = Instant::now();
        loop {
            let io = |source| LockError::Io { action: "lock", path: path.clone(), source };
            if let Some(lock) = FileLock::try_acquire(&path).map_err(io)? {
                let mut own = Self { lock, home: home.clone(), pid: std::process::id(), authenticates: None };
                own.describe("running")?;
                return Ok(own);
            }
            let note = fs::read_to_string(&path).unwrap_or_default();
            let stopping = note.lines().any(|l| l == format!("state: {STOPPING}"));
            let limit = if stopping { patience } else { PROBE_GRACE };
            if began.elapsed() >= limit {
                let pid = note.lines().find_map(|l| l.strip_prefix("pid: ")).map(str::to_owned);
                return Err(LockError::Held { home: home.path().to_owned(), pid });
            }
            thread::sleep(RETRY);
        }
    }

    fn describe(&mut self, state: &str) -> Result<(), LockError> {
        let mut text = format!(
            "pid: {}\nsince: {}\nversion: {}\nstate: {state}\n",
            self.pid,
            time::format_timestamp(time::now_utc()),
            env!("CARGO_PKG_VERSION")
        );
        if let Some(on) = self.authenticates {
            let _ = writeln!(text, "{AUTHENTICATION}{}", if on { "on" } else { "off" });
        }
        let path = self.lock.path().to_owned();
        self.lock.describe(&text).map_err(|source| LockError::Io { action: "write", path, source })
    }

    /// Tells the tools of this home whether to authenticate themselves.
    pub fn authenticates(&mut self, on: bool) -> Result<(), LockError> {
        self.authenticates = Some(on);
        self.describe("running")
    }

    /// Tells the next server that this one is on its way out and worth waiting for.
    pub fn stopping(&mut self) {
        // Failing only costs the next server its patience.
        let _ = self.describe(STOPPING);
    }

    /// Writes `VOLTTRON_PID`: the platform is ready.
    pub fn publish_pid(&self) -> Result<(), LockError> {
        let path = self.home.pid_file();
        files::write_atomic(&path, self.pid.to_string().as_bytes(), 0o644).map_err(|source| LockError::Io {
            action: "write",
            path,
            source,
        })
    }

    /// Removes `VOLTTRON_PID` if it is ours.
    pub fn withdraw_pid(&self) {
        let path = self.home.pid_file();
        let ours = fs::read_to_string(&path).is_ok_and(|t| t.trim() == self.pid.to_string());
        if ours && let Err(error) = files::remove(&path) {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

impl Drop for HomeLock {
    fn drop(&mut self) {
        self.withdraw_pid();
    }
}

/// Whether the server that owns the home authenticates who connects; none if there is no server, or it does not say.
pub fn authenticates(home: &Home) -> Option<bool> {
    let path = home.lock_file();
    if !FileLock::is_held(&path).unwrap_or(false) {
        return None;
    }
    let note = fs::read_to_string(&path).ok()?;
    Some(note.lines().find_map(|line| line.strip_prefix(AUTHENTICATION))? == "on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        (dir, home)
    }

    #[test]
    fn one_owner_at_a_time() {
        let (_dir, home) = home();
        let first = HomeLock::take(&home, Duration::ZERO).unwrap();
        let error = HomeLock::take(&home, Duration::ZERO).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        assert!(HomeLock::take(&home, Duration::ZERO).is_ok());
    }

    #[test]
    fn an_owner_says_whether_it_authenticates() {
        let (_dir, home) = home();
        assert_eq!(authenticates(&home), None);
        let mut lock = HomeLock::take(&home, Duration::ZERO).unwrap();
        assert_eq!(authenticates(&home), None);
        for on in [true, false] {
            lock.authenticates(on).unwrap();
            assert_eq!(authenticates(&home), Some(on));
        }
        lock.stopping();
        assert_eq!(authenticates(&home), Some(false));
        drop(lock);
        assert_eq!(authenticates(&home), None);
    }

    #[test]
    fn a_stopping_owner_is_waited_for() {
        let (_dir, home) = home();
        let mut first = HomeLock::take(&home, Duration::ZERO).unwrap();
        first.stopping();
        assert!(HomeLock::take(&home, Duration::ZERO).is_err());
        let next = {
            let home = home.clone();
            thread::spawn(move || HomeLock::take(&home, Duration::from_mins(1)).map(drop))
        };
        drop(first);
        assert!(next.join().unwrap().is_ok());
    }

    #[test]
    fn only_the_own_pid_file_is_removed() {
        let (_dir, home) = home();
        let lock = HomeLock::take(&home, Duration::ZERO).unwrap();
        lock.publish_pid().unwrap();
        assert_eq!(home.running(), Some(std::process::id()));
        fs::write(home.pid_file(), "1").unwrap();
        lock.withdraw_pid();
        assert!(home.pid_file().exists());
        lock.publish_pid().unwrap();
        drop(lock);
        assert!(!home.pid_file().exists());
    }
}
