//! Running Python and pip: with a limit, with progress, and with their last words kept.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// How much of what a program says is kept, its end, in bytes.
const KEPT: usize = 16 * 1024;
/// How much of an answer is taken, in bytes.
const MAX_ANSWER: u64 = 8 << 20;
/// Lines of a failure that are shown.
const SHOWN: usize = 25;

/// How programs are run.
#[derive(Debug)]
pub(super) struct Run {
    /// Show everything.
    verbose: bool,
    /// When all of it has to be done.
    end: Instant,
    limit: Duration,
    /// Working directory: an empty one, so that nothing that lies about is mistaken for a module.
    cwd: PathBuf,
    /// pip's cache, unless the environment names one.
    cache: PathBuf,
}

/// Ends a program and all it started when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Run {
    /// Programs run in `cwd` and have `limit` together.
    pub fn new(cwd: &Path, cache: &Path, limit: Duration, verbose: bool) -> Self {
        let (cwd, cache) = (cwd.to_path_buf(), cache.to_path_buf());
        Self { verbose, end: Instant::now() + limit, limit, cwd, cache }
    }

    /// `program` with what is inherited and unwanted taken away.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.cwd).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "AGENT_SECRETKEY", "AGENT_PUBLICKEY"]
        {
            command.env_remove(name);
        }
        for (name, value) in [
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_ROOT_USER_ACTION", "ignore"),
            // The same source gives the same wheel.
            ("SOURCE_DATE_EPOCH", "315532800"),
        ] {
            command.env(name, value);
        }
        if std::env::var_os("PIP_CACHE_DIR").is_none() {
            command.env("PIP_CACHE_DIR", &self.cache);
        }
        command
    }

    /// Runs a step and shows what it does; the error is what it said last.
    pub async fn step(&self, label: &str, command: Command) -> Result<(), String> {
        self.show(label);
        let done = self.follow(command).await;
        self.clear();
        done
    }

    async fn follow(&self, mut command: Command) -> Result<(), String> {
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut said = (Vec::new(), Vec::new());
        let work = async {
            tokio::join!(self.drain(stdout, &mut said.0), self.drain(stderr, &mut said.1));
            child.wait().await
        };
        let ended = tokio::time::timeout_at(self.end.into(), work).await;
        match ended {
            Ok(Ok(status)) => {
                group.0 = None;
                if status.success() { Ok(()) } else { Err(last_lines(&said.0, &said.1)) }
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("not finished within {} s (--build-timeout)", self.limit.as_secs())),
        }
    }

    /// Runs a program for its standard output.
    pub async fn answer(&self, mut command: Command, limit: Duration) -> Result<String, String> {
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut answer, mut complaint) = (String::new(), Vec::new());
        let work = async {
            let read = async {
                match stdout {
                    Some(stdout) => stdout.take(MAX_ANSWER).read_to_string(&mut answer).await.map(drop),
                    None => Ok(()),
                }
            };
            let (read, ()) = tokio::join!(read, self.drain(stderr, &mut complaint));
            read?;
            child.wait().await
        };
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(status)) => {
                group.0 = None;
                if status.success() { Ok(answer) } else { Err(last_lines(answer.as_bytes(), &complaint)) }
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        }
    }

    /// Reads to the end and keeps the end.
    async fn drain(&self, pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
        let Some(mut pipe) = pipe else { return };
        let mut piece = vec![0; 4096];
        while let Ok(n @ 1..) = pipe.read(&mut piece).await {
            kept.extend_from_slice(&piece[..n]);
            if kept.len() > 2 * KEPT {
                kept.drain(..kept.len() - KEPT);
            }
            if self.verbose {
                let _ = std::io::stderr().write_all(&piece[..n]);
            } else if let Some(line) = String::from_utf8_lossy(kept).trim_end().lines().last() {
                self.show(line);
            }
        }
    }

    /// One line on a terminal, rewritten; a line of its own where everything is shown; nothing elsewhere.
    fn show(&self, line: &str) {
        let mut stderr = std::io::stderr();
        if self.verbose {
            let _ = writeln!(stderr, "{line}");
        } else if stderr.is_terminal() {
            let short: String = line.trim().chars().filter(|c| !c.is_control()).take(76).collect();
            let _ = write!(stderr, "\r\x1b[2K{short}");
            let _ = stderr.flush();
        }
    }

    fn clear(&self) {
        let mut stderr = std::io::stderr();
        if !self.verbose && stderr.is_terminal() {
            let _ = write!(stderr, "\r\x1b[2K");
        }
    }
}

fn last_lines(stdout: &[u8], stderr: &[u8]) -> String {
    let mut lines = Vec::new();
    for part in [stdout, stderr] {
        let text = String::from_utf8_lossy(part);
        let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines.extend(all[all.len().saturating_sub(SHOWN)..].iter().map(|line| (*line).to_owned()));
    }
    if lines.is_empty() { "it failed and said nothing".to_owned() } else { lines.join("\n") }
}
