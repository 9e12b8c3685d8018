//! A platform in the background: starting it, and waiting until it is ready or saying why it is not.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use volttron_utils::home::{Home, VOLTTRON_HOME};

use crate::logging::tail;

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Lines of the log that an error shows.
const LINES: usize = 8;
/// Most bytes at the end of the log that are looked at.
const TAIL_MAX_BYTES: u64 = 64 * 1024;
/// How the log rotates if nobody has said so: nobody looks after what runs in the background, and with `log-keep` as it is
/// this is 80 MiB at most.
pub(crate) const ROTATE: [&str; 2] = ["--log-rotate", "10M"];
/// How the program begins its last words.
const LAST_WORDS: &str = "volttron: error: ";

/// What to start.
pub(crate) struct Launch<'a> {
    pub(crate) home: &'a Home,
    /// Options of `volttron`; the log is added.
    pub(crate) args: &'a [OsString],
    /// The log, which also takes what the program writes to standard error.
    pub(crate) log: &'a Path,
    /// Nobody has said how the log rotates.
    pub(crate) rotate: bool,
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
        let mut written =
            OpenOptions::new().read(true).create(true).append(true).open(self.log).map_err(log)?;
        let begin = written.metadata().map_err(log)?.len();
        let program = beside("volttron");
        let mut child = Command::new(&program)
            .args(self.args)
            .arg("-l")
            .arg(self.log)
            .args(ROTATE.iter().filter(|_| self.rotate))
            .env(VOLTTRON_HOME, self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(written.try_clone().map_err(log)?)
            // A Ctrl-C at this terminal is not for it.
            .process_group(0)
            .spawn()
            .map_err(|source| NotReady::Spawn { program, source })?;
        self.wait(&mut child, &mut written, begin)
    }

    fn wait(&self, child: &mut Child, written: &mut File, begin: u64) -> Result<u32, NotReady> {
        let pid = child.id();
        let deadline = Instant::now() + self.patience;
        loop {
            if self.home.running() == Some(pid) {
                return Ok(pid);
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(NotReady::Ended { why: why(status, self.log, written, begin) });
            }
            if Instant::now() >= deadline {
                return Err(NotReady::Slow { pid, patience: self.patience, log: self.log.to_owned() });
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// What the program said when it ended, from its own words: in the log as it is now, or where it was put aside meanwhile.
fn why(status: ExitStatus, log: &Path, written: &mut File, begin: u64) -> String {
    let mut text = tail(written, begin, TAIL_MAX_BYTES).unwrap_or_default();
    if let Ok(mut now) = File::open(log)
        && !is_same(&now, written)
    {
        text += &tail(&mut now, 0, TAIL_MAX_BYTES).unwrap_or_default();
    }
    if let Some(last) = text.lines().rev().find_map(|line| line.strip_prefix(LAST_WORDS)) {
        return last.to_owned();
    }
    let mut lines: Vec<&str> = text.lines().rev().filter(|l| !l.trim().is_empty()).take(LINES).collect();
    lines.reverse();
    format!("volttron ended ({status}); the end of {}:\n  {}", log.display(), lines.join("\n  "))
}

fn is_same(one: &File, other: &File) -> bool {
    let place = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
    place(one).is_ok_and(|one| place(other).is_ok_and(|other| one == other))
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
        let first = "volttron: error: of an earlier start\n";
        let why = |text: &str, code, begin| {
            fs::write(&log, text).unwrap();
            why(ExitStatus::from_raw(code), &log, &mut File::open(&log).unwrap(), begin)
        };
        assert_eq!(why(&format!("{first}now\nvolttron: error: port taken\n"), 256, 0), "port taken");
        let text = why(&format!("{first}one\n\ntwo\n"), 9, first.len() as u64);
        assert!(text.ends_with("\n  one\n  two") && text.contains("signal: 9"), "{text}");
    }

    #[test]
    fn words_are_found_in_a_log_that_was_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "volttron: error: earlier\n").unwrap();
        let mut written = File::open(&log).unwrap();
        let begin = written.metadata().unwrap().len();
        fs::rename(&log, dir.path().join("log.1")).unwrap();
        fs::write(&log, "a line\nvolttron: error: port taken\n").unwrap();
        assert_eq!(why(ExitStatus::from_raw(256), &log, &mut written, begin), "port taken");
    }
}
