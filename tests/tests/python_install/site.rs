//! A platform whose operator has a Python with VOLTTRON's client library first on PATH.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use volttron_tests::platform::{Platform, sources};

/// How long something may take that is not waited for in vain.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The platform and what lies around it.
pub struct Site {
    /// The platform.
    pub platform: Platform,
    /// The operator's Python.
    pub python: PathBuf,
    /// For files of the test.
    pub dir: TempDir,
}

impl Site {
    /// Starts the platform.
    pub fn start(python: PathBuf) -> Self {
        let mut platform = Platform::prepare();
        // The platform installs for others as well: it has to find the same Python.
        platform.configure(&format!("agent-python = {}", python.display()));
        platform.launch();
        Self { platform, python, dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// `vctl` in that environment.
    pub fn command(&self) -> Command {
        let mut command = self.platform.command("vctl");
        command.stdin(Stdio::null());
        // What the machine says about where pip finds packages counts here, too.
        command.envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PIP_")));
        command
    }

    /// Runs `vctl --json install` to its end.
    pub fn try_install(&self, args: &[&str]) -> Output {
        self.command().args(["--json", "install"]).args(args).output().expect("run vctl")
    }

    /// Installs, says how long it took, and gives the result object.
    pub fn install(&self, args: &[&str]) -> Value {
        let began = Instant::now();
        let output = self.try_install(args);
        eprintln!("install {args:?}: {:.1} s", began.elapsed().as_secs_f64());
        assert!(output.status.success(), "install {args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    }

    /// A file of the test.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
        fs::write(&path, text).expect("write a file");
        path.display().to_string()
    }

    /// A wheel of a small agent; `kind` says what is wrong with it (`tests/interop/make_wheel.py`).
    pub fn wheel(&self, kind: &str) -> String {
        let dir = self.dir.path().join(kind);
        fs::create_dir_all(&dir).expect("make a directory");
        let mut command = Command::new(&self.python);
        command.arg(sources().join("interop/make_wheel.py")).arg(&dir).arg(kind);
        let output = command.output().expect("run Python");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Calls a method without arguments.
    pub fn call(&self, identity: &str, method: &str) -> Value {
        serde_json::from_str(&self.platform.vctl_ok(&["call", identity, method])).expect("an answer in JSON")
    }

    /// Row of `vctl status`.
    pub fn status(&self, identity: &str) -> Value {
        self.platform.vctl_json(&["status"])[identity].clone()
    }

    /// Names below a directory of the home, without those that begin with a dot.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.platform.home().join(dir)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    /// Content of a file of the home.
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.platform.home().join(path);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

/// Directory of an agent as they were written for 9.x.
pub fn classic() -> String {
    sources().join("agents/classic").display().to_string()
}
