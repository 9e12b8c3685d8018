//! Which Python there is, and what it has.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::run::Run;

/// Oldest version that runs agents of 10.x and 9.x.
const OLDEST: [u32; 2] = [3, 8];
/// How long an interpreter may take to say what it is.
const LIMIT: Duration = Duration::from_mins(1);
const PROBE: &str = include_str!("probe.py");
/// What to do without one, for the end of a message.
const ADVICE: &str = "install Python 3.8 or newer with its venv module (on Debian and Ubuntu: apt install python3 \
                      python3-venv), or name one with `--python PATH` or with `agent-python = PATH` in the home's config";

/// What an interpreter says about itself.
#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing it has or not")]
pub(super) struct Facts {
    version: [u32; 3],
    executable: PathBuf,
    /// Whether it can make environments with pip in them.
    #[serde(default)]
    venv: bool,
    /// Whether it has the client library of 10.x.
    #[serde(default)]
    pub client: bool,
    /// Whether that is the one of 11.x.
    #[serde(default)]
    pub client_of_11: bool,
    /// Whether it has the modules of 9.x.
    #[serde(default)]
    pub classic: bool,
    /// Where it looks for what is not its own.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
}

/// A usable Python.
#[derive(Clone, Debug)]
pub(super) struct Interpreter {
    /// The program.
    pub program: PathBuf,
    /// What it has.
    pub facts: Facts,
}

impl Interpreter {
    /// The configured one, or the first on PATH that can be used. The error says what is wrong with each.
    pub async fn find(configured: Option<&Path>, run: &Run) -> Result<Self, String> {
        let candidates = match configured {
            Some(path) => vec![path.to_path_buf()],
            None => ["python", "python3"].iter().filter_map(on_path).collect(),
        };
        if candidates.is_empty() {
            return Err(format!(
                "there is no Python on this machine (neither python nor python3 is on PATH): {ADVICE}"
            ));
        }
        let mut reasons = Vec::new();
        for program in candidates {
            match Self::probe(&program, run).await {
                Ok(found) => return Ok(found),
                Err(why) => reasons.push(format!("{} {why}", program.display())),
            }
        }
        Err(format!("{}. {ADVICE}", reasons.join("; ")))
    }

    async fn probe(program: &Path, run: &Run) -> Result<Self, String> {
        let mut command = run.command(program);
        command.args(["-c", PROBE]);
        let said = run.answer(command, LIMIT).await.map_err(|e| format!("does not run: {e}"))?;
        let facts: Facts =
            serde_json::from_str(&said).map_err(|e| format!("does not answer as Python does: {e}"))?;
        let [major, minor, patch] = facts.version;
        if [major, minor] < OLDEST {
            let [least, under] = OLDEST;
            return Err(format!("is version {major}.{minor}.{patch}, agents need {least}.{under} or newer"));
        }
        if !facts.venv {
            return Err("cannot make virtual environments: its modules venv and ensurepip are missing \
                        (on Debian and Ubuntu: apt install python3-venv)"
                .into());
        }
        Ok(Self { program: facts.executable.clone(), facts })
    }

    /// `3.11.2`.
    pub fn version(&self) -> String {
        let [major, minor, patch] = self.facts.version;
        format!("{major}.{minor}.{patch}")
    }

    /// `lib/python3.11/site-packages`, where its environments keep packages.
    pub fn site_packages(&self) -> PathBuf {
        let [major, minor, _] = self.facts.version;
        Path::new("lib").join(format!("python{major}.{minor}")).join("site-packages")
    }

    /// Whether agents find the VOLTTRON they are written for in it, and everything else it has.
    pub fn has_volttron(&self, for_11: bool) -> bool {
        let facts = &self.facts;
        if for_11 { facts.client_of_11 } else { facts.classic || (facts.client && !facts.client_of_11) }
    }
}

/// The first executable file of this name on PATH.
pub fn on_path(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name.as_ref()))
        .find(|file| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}
