//! Building a crate with cargo. All agents of a home share one target directory, so only the first one builds libzmq.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use volttron_utils::home::Home;

use super::InstallError;

/// Beginnings of cargo's lines that say what it is doing.
const STEPS: [&str; 6] = ["Updating", "Downloading", "Downloaded", "Compiling", "Finished", "Blocking"];

/// What to build and how.
#[derive(Debug)]
pub struct Build<'a> {
    /// Directory of the crate.
    pub path: &'a Path,
    /// Which program, where there are several.
    pub bin: Option<&'a str>,
    /// Features to turn on.
    pub features: &'a [String],
    /// Leave default features out.
    pub no_default_features: bool,
    /// Do not use the network.
    pub offline: bool,
    /// Build profile; release if not given.
    pub profile: Option<&'a str>,
    /// Limit of the whole build.
    pub limit: Duration,
    /// Show cargo's output.
    pub verbose: bool,
}

/// What `cargo metadata` tells about the crate.
struct Crate {
    bin: String,
    /// Whether the workspace has a lock file.
    locked: bool,
}

impl Build<'_> {
    fn failed(&self, why: impl Into<String>) -> InstallError {
        InstallError::Build { path: self.path.to_owned(), why: why.into() }
    }

    /// Builds into `stage`; the finished program.
    pub async fn run(&self, home: &Home, stage: &Path) -> Result<PathBuf, InstallError> {
        let found = self.look().await?;
        if !found.locked {
            let _ = writeln!(std::io::stderr(), "no Cargo.lock: building with the newest matching versions");
        }
        let mut child = self.command(home, stage, &found).spawn().map_err(|e| self.no_cargo(&e))?;
        let stderr = child.stderr.take();
        let follow = async {
            let mut said = Vec::new();
            if let Some(stderr) = stderr {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    self.progress(&line);
                    said.push(line);
                }
            }
            (child.wait().await, said)
        };
        let ended = tokio::time::timeout(self.limit, follow).await;
        self.end_progress();
        match ended {
            Ok((Ok(status), _)) if status.success() => Ok(stage.join("bin").join(found.bin)),
            Ok((_, said)) => Err(self.failed(format!("cargo said:\n{}", said.join("\n")))),
            Err(_) => {
                Err(self.failed(format!("not finished within {} s (--build-timeout)", self.limit.as_secs())))
            }
        }
    }

    fn command(&self, home: &Home, stage: &Path, found: &Crate) -> Command {
        let mut command = Command::new("cargo");
        command.args(["install", "--force", "--no-track", "--path"]).arg(self.path).arg("--root").arg(stage);
        command.arg("--target-dir").arg(home.cache().join("target")).args(["--bin", &found.bin]);
        if found.locked {
            command.arg("--locked");
        }
        if !self.features.is_empty() {
            command.arg("--features").arg(self.features.join(","));
        }
        if self.no_default_features {
            command.arg("--no-default-features");
        }
        if self.offline {
            command.arg("--offline");
        }
        if let Some(profile) = self.profile {
            command.args(["--profile", profile]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn no_cargo(&self, error: &std::io::Error) -> InstallError {
        self.failed(format!(
            "cannot run cargo: {error}. Install it from https://rustup.rs, or install a prebuilt program instead"
        ))
    }

    async fn look(&self) -> Result<Crate, InstallError> {
        let mut command = Command::new("cargo");
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]);
        command.arg(self.path.join("Cargo.toml")).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|e| self.no_cargo(&e))?;
        if !output.status.success() {
            return Err(self.failed(String::from_utf8_lossy(&output.stderr).trim()));
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).map_err(|e| self.failed(e.to_string()))?;
        let manifest = self.path.join("Cargo.toml");
        let package = metadata["packages"]
            .as_array()
            .and_then(|all| {
                all.iter().find(|p| p["manifest_path"].as_str().is_some_and(|m| Path::new(m) == manifest))
            })
            .ok_or_else(|| {
                self.failed("this directory is a workspace, not a package; name the agent's own directory")
            })?;
        let locked =
            metadata["workspace_root"].as_str().is_some_and(|w| Path::new(w).join("Cargo.lock").exists());
        Ok(Crate { bin: self.choose_bin(package)?, locked })
    }

    fn choose_bin(&self, package: &Value) -> Result<String, InstallError> {
        let bins: Vec<&str> = package["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|t| t["kind"].as_array().is_some_and(|k| k.iter().any(|k| k == "bin")))
            .filter_map(|t| t["name"].as_str())
            .collect();
        match (self.bin.or(package["metadata"]["volttron"]["bin"].as_str()), bins.as_slice()) {
            (Some(wanted), all) if all.contains(&wanted) => Ok(wanted.to_owned()),
            (Some(wanted), all) => {
                Err(self.failed(format!("it has no program {wanted}, only: {}", all.join(", "))))
            }
            (None, [only]) => Ok((*only).to_owned()),
            (None, []) => Err(self.failed("it has no program (no src/main.rs)")),
            (None, several) => Err(self
                .failed(format!("it has several programs, choose one with --bin: {}", several.join(", ")))),
        }
    }

    /// One line on a terminal, rewritten; nothing elsewhere unless asked for.
    fn progress(&self, line: &str) {
        let mut stderr = std::io::stderr();
        if self.verbose {
            let _ = writeln!(stderr, "{line}");
        } else if stderr.is_terminal() && STEPS.iter().any(|step| line.trim_start().starts_with(step)) {
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
