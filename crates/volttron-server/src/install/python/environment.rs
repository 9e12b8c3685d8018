//! One virtual environment: making it, and pip in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::interpreter::Interpreter;
use super::run::Run;
use super::{Settings, classic};

const CONSTRAINTS: &str = include_str!("constraints.txt");
/// Largest file in `bin/` that is looked through for paths, in bytes.
const MAX_SCRIPT: u64 = 1 << 20;

/// A virtual environment.
pub(super) struct Environment<'a> {
    /// Its directory.
    pub root: PathBuf,
    /// What made it.
    pub python: &'a Interpreter,
    run: &'a Run,
    settings: &'a Settings,
    /// Where it looks for packages besides its own.
    beneath: Vec<PathBuf>,
    /// Versions that fit the client library; none where the client is somebody else's.
    constraints: Option<PathBuf>,
}

impl<'a> Environment<'a> {
    /// Makes one in `root` that also sees the packages in `beneath`.
    pub async fn make(
        root: PathBuf,
        python: &'a Interpreter,
        run: &'a Run,
        settings: &'a Settings,
        beneath: Vec<PathBuf>,
    ) -> Result<Self, String> {
        let made = Self { root, python, run, settings, beneath, constraints: None };
        let mut command = run.command(&python.program);
        command.args(["-m", "venv"]);
        if made.has_beneath("pip/__init__.py") {
            command.arg("--without-pip");
        }
        command.arg(&made.root);
        run.step(&format!("Making an environment for Python {}", python.version()), command).await?;
        made.link_beneath().map_err(|e| e.to_string())?;
        Ok(made)
    }

    /// From now on pip chooses versions that go together with the client library.
    pub fn constrain(&mut self, dir: &Path) -> io::Result<()> {
        let path = dir.join("constraints.txt");
        fs::write(&path, CONSTRAINTS)?;
        self.constraints = Some(path);
        Ok(())
    }

    /// Its own packages.
    pub fn site_packages(&self) -> PathBuf {
        self.root.join(self.python.site_packages())
    }

    /// Its interpreter.
    pub fn program(&self) -> PathBuf {
        self.root.join("bin/python")
    }

    /// Whether this file is among the packages that it did not bring itself.
    pub fn has_beneath(&self, file: &str) -> bool {
        self.beneath.iter().any(|dir| dir.join(file).exists())
    }

    fn link_beneath(&self) -> io::Result<()> {
        if self.beneath.is_empty() {
            return Ok(());
        }
        // A plain path would not do: what is installed for development is linked by files of this kind again.
        let line = |dir: &PathBuf| format!("import site; site.addsitedir({:?})\n", dir.to_string_lossy());
        fs::write(self.site_packages().join("beneath.pth"), self.beneath.iter().map(line).collect::<String>())
    }

    /// Adds the module names of 9.x.
    pub fn add_classic(&self) -> Result<(), String> {
        classic::write(&self.site_packages()).map_err(|e| e.to_string())
    }

    /// Runs pip; `words` are its command and arguments.
    pub async fn pip(&self, label: &str, verb: &str, words: &[&str]) -> Result<(), String> {
        let mut command = self.run.command(self.program());
        command.args(["-m", "pip", verb]);
        if let Some(path) = &self.constraints {
            command.arg("--constraint").arg(path);
        }
        if self.settings.pre_release {
            command.arg("--pre");
        }
        if self.settings.offline {
            command.arg("--no-index");
        }
        command.args(words);
        self.run.step(label, command).await.map_err(|said| format!("{label} failed, pip said:\n{said}"))
    }

    /// Makes sure that `setup.py` can be run in it.
    pub async fn add_build_tools(&self) -> Result<(), String> {
        if self.has_beneath("setuptools/command/bdist_wheel.py") || self.has_beneath("wheel/__init__.py") {
            return Ok(());
        }
        self.pip("Installing setuptools", "install", &["setuptools", "wheel"]).await
    }

    /// Installs a wheel and what it needs.
    pub async fn install(&self, wheel: &Path, name: &str) -> Result<(), String> {
        let wheel = wheel.to_string_lossy();
        if !self.beneath.is_empty() {
            // Even if the packages beneath have it: they may change.
            let words = ["--no-deps", "--ignore-installed", &wheel];
            self.pip(&format!("Installing {name}"), "install", &words).await?;
        }
        self.pip(&format!("Installing {name} and what it needs"), "install", &[&wheel]).await
    }

    /// Whether the module is there.
    pub async fn check_module(&self, module: &str) -> Result<(), String> {
        let mut command = self.run.command(self.program());
        let question =
            "import sys; from importlib.util import find_spec; sys.exit(find_spec(sys.argv[1]) is None)";
        command.args(["-c", question, module]);
        let missing =
            |said| format!("its entry point names the module {module}, which cannot be imported: {said}");
        self.run.step("Looking for its entry point", command).await.map_err(missing)
    }

    /// Scripts name the directory they were made in: lets them, and the path beneath, name where they will stand.
    pub fn rename_paths(&self, moves: &[(&Path, &Path)]) -> io::Result<()> {
        rename_paths(&self.root, &self.site_packages(), moves)
    }
}

fn rename_paths(root: &Path, site_packages: &Path, moves: &[(&Path, &Path)]) -> io::Result<()> {
    let mut files = vec![root.join("pyvenv.cfg"), site_packages.join("beneath.pth")];
    for entry in fs::read_dir(root.join("bin"))? {
        files.push(entry?.path());
    }
    for path in files {
        let plain = fs::symlink_metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= MAX_SCRIPT);
        let Some(text) = plain.then(|| fs::read_to_string(&path).ok()).flatten() else { continue };
        let mut renamed = text.clone();
        for (from, to) in moves {
            renamed = renamed.replace(&*from.to_string_lossy(), &to.to_string_lossy());
        }
        if renamed != text {
            fs::write(&path, renamed)?;
        }
    }
    Ok(())
}

/// Lets what is in the environment at `root`, if it is one, name the home `to` where it names the home `from`.
pub fn relocate(root: &Path, from: &Path, to: &Path) -> io::Result<()> {
    if !root.join("pyvenv.cfg").is_file() {
        return Ok(());
    }
    for entry in fs::read_dir(root.join("lib"))? {
        rename_paths(root, &entry?.path().join("site-packages"), &[(from, to)])?;
    }
    Ok(())
}
