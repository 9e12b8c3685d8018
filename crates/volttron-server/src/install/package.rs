//! The way back of an installation: from a source, or from an agent that is installed, to a file that [`prepare`] takes
//! (cli.md section 6). A crate becomes a `.crate` file or a program, a Python directory a wheel.
//!
//! Packages appear whole under their names, in place of one of the same name. Must never change what they are made of.
//!
//! [`prepare`]: super::prepare

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use volttron_utils::config::load_config;
use volttron_utils::files;
use volttron_utils::home::Home;

use super::describe::describe;
use super::{Build, InstallError, Source, Stage, file, python};
use crate::supervisor::installed::{self, InstalledAgent, Runtime};

/// What is to be made, and where.
#[derive(Debug)]
pub struct Packing<'a> {
    /// Whose Python and caches are used.
    pub home: &'a Home,
    /// The directory that packages go to; made if it is not there.
    pub dest: &'a Path,
    /// How wheels are built, and with which Python.
    pub python: &'a python::Settings,
}

/// What a crate becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A `.crate` file, which is built where it is installed; built here as well if that is to be tried.
    Sources {
        /// Whether it is.
        verify: bool,
    },
    /// A program for machines like this one.
    Program,
}

impl Packing<'_> {
    /// Makes a package of a directory; `build` says how a crate is built. `identity` is for a wheel, which says with which
    /// identity it is installed.
    pub async fn directory(
        &self,
        dir: &str,
        form: Form,
        build: &Build<'_>,
        identity: Option<&str>,
    ) -> Result<PathBuf, InstallError> {
        if Path::new(dir).is_file() {
            let why = "this is no directory; a package or a program goes to `vctl install` as it is";
            return Err(unsupported(Path::new(dir), why));
        }
        let stage = Stage::open(self.home)?;
        match super::recognise(dir, Some(super::Kind::Dir), None)? {
            Source::PythonDir(path) if form == Form::Program => Err(unsupported(
                &path,
                "--binary is for crates; this is a Python agent, whose package is a wheel",
            )),
            Source::PythonDir(path) => self.wheel(&path, stage.path(), identity).await,
            Source::Crate(path) => self.of_crate(&path, stage.path(), form, build, identity).await,
            _ => Err(unsupported(Path::new(dir), "this is no directory of an agent")),
        }
    }

    async fn of_crate(
        &self,
        dir: &Path,
        stage: &Path,
        form: Form,
        build: &Build<'_>,
        identity: Option<&str>,
    ) -> Result<PathBuf, InstallError> {
        if let Some(identity) = identity {
            let why = format!(
                "a package of a crate carries no identity but the one in its code; leave --vip-identity out and give it \
                 when it is installed: vctl install PACKAGE --vip-identity {identity}"
            );
            return Err(unsupported(dir, &why));
        }
        match form {
            Form::Sources { verify } => {
                let packed = build.pack(self.home, stage, dir, verify).await?;
                let name = packed.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.deliver(&packed, &name, 0o644)
            }
            Form::Program => {
                let program = build.directory(self.home, stage, dir, None).await?;
                strip(&program).await?;
                self.program(&program).await
            }
        }
    }

    /// A program under a name that says what it is and where it runs.
    async fn program(&self, program: &Path) -> Result<PathBuf, InstallError> {
        let description = describe(program).await?;
        let name = format!("{}-{}-{}", description.name, description.version, std::env::consts::ARCH);
        self.deliver(program, &name, 0o755)
    }

    async fn wheel(&self, dir: &Path, stage: &Path, identity: Option<&str>) -> Result<PathBuf, InstallError> {
        let (wheel, own) = python::build_wheel(self.home, dir, stage, self.python).await?;
        let wheel = match identity.or(own.as_deref()) {
            Some(identity) => {
                self.with_file(&wheel, "IDENTITY_TEMPLATE", identity, &stage.join("named")).await?
            }
            None => wheel,
        };
        self.deliver_wheel(&wheel)
    }

    /// Makes a package of an agent in a home: of its program, or of its Python package as it is installed. Its keys,
    /// configuration and data stay where they are.
    pub async fn installed(&self, dir: &Path) -> Result<PathBuf, InstallError> {
        let stage = Stage::open(self.home)?;
        let out = stage.path().join("repacked");
        let agent = read_installed(self.home, dir)?;
        let Some(manifest) = &agent.manifest else {
            let from = python::Unpacked::Directory(agent.dir.path().join(&agent.name));
            let (wheel, _) = python::repack(self.home, &from, &out, self.python).await?;
            return self.deliver_wheel(&wheel);
        };
        let program = agent.dir.path().join(&manifest.exec);
        match manifest.runtime {
            Runtime::Native => self.program(&program).await,
            Runtime::Python => {
                let (package, version) = (manifest.package.clone(), manifest.version.clone());
                let own = python::Settings { interpreter: Some(program), ..self.python.clone() };
                let from = python::Unpacked::Installed { package, version };
                let (wheel, _) = python::repack(self.home, &from, &out, &own).await?;
                self.deliver_wheel(&wheel)
            }
            Runtime::External => {
                Err(unsupported(dir, "this agent has no program here: it runs outside of the platform"))
            }
        }
    }

    /// Puts a configuration into a wheel, in place of the one that is there; the wheel is replaced.
    pub async fn configure(&self, package: &str, config: &Path) -> Result<PathBuf, InstallError> {
        let Source::Wheel(wheel) = super::recognise(package, None, None)? else {
            let why = format!(
                "only a wheel can carry a configuration; give it when this is installed: vctl install {package} \
                 --agent-config {}",
                config.display()
            );
            return Err(unsupported(Path::new(package), &why));
        };
        if !config.exists() {
            return Err(InstallError::Config(format!("Config file {} does not exist!", config.display())));
        }
        load_config(config).map_err(|e| InstallError::Config(e.to_string()))?;
        let text = file(config, fs::read_to_string(config))?;
        let stage = Stage::open(self.home)?;
        let made = self.with_file(&wheel, "config", &text, stage.path()).await?;
        replace(&made, &wheel, 0o644)?;
        Ok(wheel)
    }

    async fn with_file(
        &self,
        wheel: &Path,
        name: &str,
        text: &str,
        out: &Path,
    ) -> Result<PathBuf, InstallError> {
        python::add_to_wheel(self.home, wheel, name, text, out, self.python).await
    }

    fn deliver_wheel(&self, wheel: &Path) -> Result<PathBuf, InstallError> {
        self.deliver(wheel, &wheel.file_name().unwrap_or_default().to_string_lossy(), 0o644)
    }

    fn deliver(&self, made: &Path, name: &str, mode: u32) -> Result<PathBuf, InstallError> {
        let dest = file(self.dest, std::path::absolute(self.dest))?;
        file(&dest, files::create_dir(&dest, 0o750))?;
        let place = dest.join(name);
        replace(made, &place, mode)?;
        Ok(place)
    }
}

/// Packages are as large as programs, and this process ends after one.
fn replace(made: &Path, place: &Path, mode: u32) -> Result<(), InstallError> {
    let content = file(made, fs::read(made))?;
    file(place, files::write_atomic(place, &content, mode))
}

fn unsupported(path: &Path, why: &str) -> InstallError {
    InstallError::Unsupported { path: path.display().to_string(), why: why.to_owned() }
}

/// The agent of a directory below `agents/`, or of the package directory in one, as the original takes it.
fn read_installed(home: &Home, dir: &Path) -> Result<InstalledAgent, InstallError> {
    let dir = dir.canonicalize().map_err(|_| InstallError::Missing(dir.display().to_string()))?;
    let outer = dir.parent().filter(|parent| parent.join("IDENTITY").exists()).unwrap_or(&dir);
    let read = match installed::read(outer) {
        // It only serves paths of the older layout; its name is the uuid.
        Ok(None) => installed::list(home).0.into_iter().find(|agent| outer.ends_with(&agent.uuid)),
        Ok(found) => found,
        Err(_) => None,
    };
    let why = "this is no installed agent; name its directory, which is agents/IDENTITY below the home";
    read.ok_or_else(|| unsupported(&dir, why))
}

/// Takes out of a program what only debuggers read.
async fn strip(program: &Path) -> Result<(), InstallError> {
    let failed = |why: String| InstallError::Build {
        what: program.display().to_string(),
        why: format!(
            "strip: {why}; it belongs to binutils, as the linker does. Or let the crate do it: [profile.release] strip = true"
        ),
    };
    let output = Command::new("strip").arg(program).output().await.map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(())
}
