//! Running cargo: progress while it works, its words when it fails.

use std::io::{IsTerminal, Write};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::InstallError;

/// Beginnings of cargo's lines that say what it is doing.
const STEPS: [&str; 12] = [
    "Updating",
    "Downloading",
    "Downloaded",
    "Compiling",
    "Finished",
    "Blocking",
    "Installing",
    "Installed",
    "Building",
    "Locking",
    "Adding",
    "Packaging",
];

/// How many of cargo's last words an error shows.
const MAX_SHOWN_LINES: usize = 120;

/// What every run of cargo is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    /// What is built, for errors.
    pub what: &'a str,
    /// Limit of the whole run.
    pub limit: Duration,
    /// Show cargo's output.
    pub verbose: bool,
}

impl Run<'_> {
    /// An error that names what is built.
    pub fn failed(&self, why: impl Into<String>) -> InstallError {
        InstallError::Build { what: self.what.to_owned(), why: why.into() }
    }

    /// Runs to the end, showing progress; the lines of standard output that are JSON.
    pub async fn follow(&self, command: &mut Command) -> Result<Vec<Value>, InstallError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| self.no_cargo(&e))?;
        let ended = tokio::time::timeout(self.limit, self.collect(&mut child)).await;
        self.end_progress();
        match ended {
            Ok((true, said, _)) => {
                Ok(said.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
            }
            Ok((false, _, complained)) => Err(self.failed(explain(&complained))),
            Err(_) => {
                Err(self.failed(format!("not finished within {} s (--build-timeout)", self.limit.as_secs())))
            }
        }
    }

    /// Runs to the end and parses what it prints.
    pub async fn ask(&self, command: &mut Command) -> Result<Value, InstallError> {
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|e| self.no_cargo(&e))?;
        if !output.status.success() {
            return Err(self.failed(String::from_utf8_lossy(&output.stderr).trim()));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| self.failed(e.to_string()))
    }

    fn no_cargo(&self, error: &std::io::Error) -> InstallError {
        self.failed(format!(
            "cannot run cargo: {error}. Install it from https://rustup.rs, or install a prebuilt program instead"
        ))
    }

    /// Whether it ended well, its standard output and its standard error.
    async fn collect(&self, child: &mut Child) -> (bool, Vec<String>, Vec<String>) {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let said = lines(stdout, |_| {});
        let complained = lines(stderr, |line| self.progress(line));
        let (said, complained) = tokio::join!(said, complained);
        (child.wait().await.is_ok_and(|status| status.success()), said, complained)
    }

    /// One line on a terminal, rewritten; nothing elsewhere unless asked for.
    fn progress(&self, line: &str) {
        let mut stderr = std::io::stderr();
        if self.verbose {
            let _ = writeln!(stderr, "{line}");
        } else if stderr.is_terminal() && is_step(line) {
            let short: String = line.trim().chars().take(76).collect();
            let _ = write!(stderr, "\r\x1b[2K{short}");
            let _ = stderr.flush();
        }
    }

    fn end_progress(&self) {
        let mut stderr = std::io::stderr();
        if !self.verbose && stderr.is_terminal() {
            let _ = write!(stderr, "\r\x1b[2K");
        }
    }
}

async fn lines<R: AsyncRead + Unpin>(pipe: Option<R>, mut each: impl FnMut(&str)) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(pipe) = pipe {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            each(&line);
            all.push(line);
        }
    }
    all
}

fn is_step(line: &str) -> bool {
    STEPS.iter().any(|step| line.trim_start().starts_with(step))
}

/// What cargo complained about, without its progress, and what may help.
fn explain(complained: &[String]) -> String {
    let worth: Vec<&str> = complained.iter().map(String::as_str).filter(|line| !is_step(line)).collect();
    let shown = worth[worth.len().saturating_sub(MAX_SHOWN_LINES)..].join("\n");
    let unreachable = ["network error", "Could not resolve host", "Could not connect", "failed to download"];
    let hint = if unreachable.iter().any(|sign| shown.contains(sign)) {
        "\nThe registry cannot be reached. Without it, install a .crate file with its dependencies already downloaded \
         (--offline), or a prebuilt program"
    } else {
        ""
    };
    format!("cargo said:\n{shown}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_left_out_of_errors_and_help_is_added() {
        let text = |lines: &[&str]| explain(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        assert_eq!(text(&["   Compiling a v1.0.0", "error: no"]), "cargo said:\nerror: no");
        assert!(text(&["warning: spurious network error (3 tries remaining)"]).contains("--offline"));
    }
}
