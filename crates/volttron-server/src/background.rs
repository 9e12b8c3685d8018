//! A platform in the background: starting it, and waiting until it is ready or saying why it is not.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use volttron_utils::home::{Home, VOLTTRON_HOME};

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Lines of the log that an error shows.
const LINES: usize = 8;
/// Most bytes at the end of the log that are looked at.
const TAIL_MAX_BYTES: u64 = 64 * 1024;
/// How the program begins its last words.
const LAST_WORDS: &str = "volttron: error: ";

/// What to start.
pub(crate) struct Launch<'a> {
    pub(crate) home: &'a Home,
    /// Options of `volttron`; the log is added.
    pub(crate) args: &'a [OsString],
    /// The log, which also takes what the program writes to standard error.
    pub(crate) log: &'a Path,
    /// How long it may take to get ready.
    pub(crate) patience: Duration,
}

/// Why there is no platform that is ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    /// The program was not started.
    #[error("cannot start {}: {source}", program.display())]
    Spawn { program: PathBuf, source: io::Error },
    /// The log file.
    #[error("cannot write the log {}: {source}; name another file", path.display())]
    Log { path: PathBuf, source: io::Error },
    /// It has ended.
    #[error("{why}")]
    Ended { why: String },
    /// It lives, but is not ready.
    #[error(
        "volttron (pid {pid}) is not ready after {} s and goes on trying; {} tells what it waits for",
        patience.as_secs(), log.display()
    )]
    Slow { pid: u32, patience: Duration, log: PathBuf },
}

impl Launch<'_> {
    /// Starts the program and waits; its pid.
    pub(crate) fn run(&self) -> Result<u32, NotReady> {
        let log = |source| NotReady::Log { path: self.log.to_owned(), source };
        let errors = OpenOptions::new().create(true).append(true).open(self.log).map_err(log)?;
        let begin = errors.metadata().map_err(log)?.len();
        let program = beside("volttron");
        let mut child = Command::new(&program)
            .args(self.args)
            .arg("-l")
            .arg(self.log)
            .env(VOLTTRON_HOME, self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            // A Ctrl-C at this terminal is not for it.
            .process_group(0)
            .spawn()
            .map_err(|source| NotReady::Spawn { program, source })?;
        self.wait(&mut child, begin)
    }

    fn wait(&self, child: &mut Child, begin: u64) -> Result<u32, NotReady> {
        let pid = child.id();
        let deadline = Instant::now() + self.patience;
        loop {
            if self.home.running() == Some(pid) {
                return Ok(pid);
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(NotReady::Ended { why: why(status, self.log, begin) });
            }
            if Instant::now() >= deadline {
                return Err(NotReady::Slow { pid, patience: self.patience, log: self.log.to_owned() });
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// What the program said when it ended, from its own words.
fn why(status: ExitStatus, log: &Path, begin: u64) -> String {
    let text = tail(log, begin).unwrap_or_default();
    if let Some(last) = text.lines().rev().find_map(|line| line.strip_prefix(LAST_WORDS)) {
        return last.to_owned();
    }
    let mut lines: Vec<&str> = text.lines().rev().filter(|l| !l.trim().is_empty()).take(LINES).collect();
    lines.reverse();
    format!("volttron ended ({status}); the end of {}:\n  {}", log.display(), lines.join("\n  "))
}

fn tail(path: &Path, begin: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(begin.max(end.saturating_sub(TAIL_MAX_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(TAIL_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A program that was installed together with this one; the one on PATH otherwise.
pub(crate) fn beside(name: &str) -> PathBuf {
    let here = env::current_exe().ok().and_then(|own| fs::canonicalize(own).ok());
    here.and_then(|own| Some(own.parent()?.join(name))).filter(|p| p.is_file()).unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_programs_own_words_are_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "volttron: error: of an earlier start\nnow\nvolttron: error: port taken\n").unwrap();
        assert_eq!(why(ExitStatus::from_raw(256), &log, 0), "port taken");
        let begin = "volttron: error: of an earlier start\n".len() as u64;
        fs::write(&log, "volttron: error: of an earlier start\none\n\ntwo\n").unwrap();
        let text = why(ExitStatus::from_raw(9), &log, begin);
        assert!(text.ends_with("\n  one\n  two") && text.contains("signal: 9"), "{text}");
    }
}
