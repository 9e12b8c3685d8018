//! From a directory, a wheel or a requirement to an environment that is ready to run the agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use volttron_utils::home::Home;

use super::environment::Environment;
use super::interpreter::Interpreter;
use super::run::Run;
use super::runtime::{self, Runtime};
use super::store::{self, Ledger};
use super::tree::{self, Tree};
use super::wheel::{Wheel, module};
use super::{Settings, Staged};
use crate::install::{InstallError, Source};

/// Limit of a preparation if none is given.
const LIMIT: Duration = Duration::from_mins(30);

/// What a preparation gives.
#[derive(Debug)]
pub struct Prepared {
    /// The environment.
    pub staged: Staged,
    /// Package.
    pub package: String,
    /// Version.
    pub version: String,
    /// Default identity, perhaps with `{n}`.
    pub identity: Option<String>,
    /// Configuration that came with the package.
    pub config: Option<String>,
    /// Where it came from.
    pub source: Value,
}

/// Makes the environment in `stage`, a directory of its own that the caller removes; or finds the one made from the same
/// source before.
pub async fn prepare(
    home: &Home,
    source: &Source,
    stage: &Path,
    settings: &Settings,
) -> Result<Prepared, InstallError> {
    let path = match source {
        Source::PythonDir(path) | Source::Wheel(path) => path.display().to_string(),
        Source::Requirement(text) => text.clone(),
        _ => String::new(),
    };
    let failed = |why: String| InstallError::Python { path: path.clone(), why };
    let (run, python) = tools(home, stage, settings).await.map_err(failed)?;
    Work { home, stage, run: &run, python: &python, settings }.go(source).await.map_err(failed)
}

/// Builds the wheel of a directory in `stage`, as an installation would; the wheel, and the identity that the directory
/// brings beside it.
pub async fn build_wheel(
    home: &Home,
    dir: &Path,
    stage: &Path,
    settings: &Settings,
) -> Result<(PathBuf, Option<String>), InstallError> {
    let failed = |why: String| InstallError::Python { path: dir.display().to_string(), why };
    let (run, python) = tools(home, stage, settings).await.map_err(failed)?;
    let work = Work { home, stage, run: &run, python: &python, settings };
    let (copy, tree) = work.copy(dir).await.map_err(failed)?;
    let (_, built) = work.build_copy(&copy, &tree).await.map_err(failed)?;
    // What could not be installed again is no package.
    let wheel = Wheel::look(&built, &python, &run).await.map_err(failed)?;
    wheel.start(settings.script.as_deref()).map_err(failed)?;
    Ok((built, identity(&copy)))
}

async fn tools(home: &Home, stage: &Path, settings: &Settings) -> Result<(Run, Interpreter), String> {
    let empty = stage.join("empty");
    fs::create_dir_all(&empty).map_err(|e| format!("{}: {e}", empty.display()))?;
    let limit = settings.limit.unwrap_or(LIMIT);
    let run = Run::new(&empty, &home.cache().join("pip"), limit, settings.verbose);
    let python = Interpreter::find(settings.interpreter.as_deref(), &run).await?;
    Ok((run, python))
}

/// The identity that a directory names for the agent in it.
fn identity(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join("IDENTITY")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

struct Work<'a> {
    home: &'a Home,
    stage: &'a Path,
    run: &'a Run,
    python: &'a Interpreter,
    settings: &'a Settings,
}

/// The environment under construction.
struct Base<'a> {
    environment: Environment<'a>,
    runtime: Option<Runtime>,
}

impl<'a> Work<'a> {
    async fn go(&self, source: &Source) -> Result<Prepared, String> {
        match source {
            Source::Wheel(path) => self.wheel(path, path).await,
            Source::PythonDir(path) => self.directory(path).await,
            Source::Requirement(text) => self.requirement(text).await,
            _ => Err("this is not a Python package".into()),
        }
    }

    async fn wheel(&self, path: &Path, origin: &Path) -> Result<Prepared, String> {
        let wheel = Wheel::look(path, self.python, self.run).await?;
        let key = self.key("wheel", &wheel.sha256, wheel.for_11());
        if let Some(found) = self.find(&key) {
            return Ok(found);
        }
        let base = self.base(wheel.wants_client(), wheel.for_11()).await?;
        self.finish(base, path, wheel, key, None, json!({"kind": "wheel", "path": origin})).await
    }

    async fn directory(&self, path: &Path) -> Result<Prepared, String> {
        let (copy, tree) = self.copy(path).await?;
        let key = self.key("directory", &tree.sha256, tree.for_11);
        if let Some(found) = self.find(&key) {
            return Ok(found);
        }
        let (base, built) = self.build_copy(&copy, &tree).await?;
        let wheel = Wheel::look(&built, self.python, self.run).await?;
        let source = json!({"kind": "path", "path": path});
        self.finish(base, &built, wheel, key, identity(&copy), source).await
    }

    /// A copy of the operator's directory, which is not touched.
    async fn copy(&self, path: &Path) -> Result<(PathBuf, Tree), String> {
        let copy = self.stage.join("source");
        let (from, to) = (path.to_path_buf(), copy.clone());
        let tree = tokio::task::spawn_blocking(move || tree::copy(&from, &to)).await;
        Ok((copy, tree.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?))
    }

    /// Builds the wheel of it, in the environment that the agent is to have.
    async fn build_copy(&self, copy: &Path, tree: &Tree) -> Result<(Base<'a>, PathBuf), String> {
        let base = self.base(true, tree.for_11).await?;
        let environment = &base.environment;
        if tree.classic {
            self.add_classic(environment)?;
        }
        let requirements = copy.join("requirements.txt");
        if requirements.is_file() && !self.settings.skip_requirements {
            let words = ["--requirement", &*requirements.to_string_lossy()];
            environment.pip("Installing requirements.txt", "install", &words).await?;
        }
        let built = self.build(environment, copy).await?;
        Ok((base, built))
    }

    async fn requirement(&self, text: &str) -> Result<Prepared, String> {
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || text.chars().any(char::is_control) {
            return Err(
                "this is not a requirement as pip takes it, such as volttron-listener==0.2.0rc0".into()
            );
        }
        // What it needs is in its metadata, so it is fetched before the environment with the client library is chosen.
        let own = self.python.has_volttron(false) || self.python.has_volttron(true);
        let beneath = if own { self.python.facts.paths.clone() } else { Vec::new() };
        let root = self.stage.join("fetch");
        let fetch = Environment::make(root, self.python, self.run, self.settings, beneath).await?;
        let wheels = self.stage.join("wheels");
        let words = ["--no-deps", "--wheel-dir", &*wheels.to_string_lossy(), text];
        fetch.pip(&format!("Getting {text}"), "wheel", &words).await?;
        let path = only_wheel(&wheels)?;
        let wheel = Wheel::look(&path, self.python, self.run).await?;
        let key = self.key("requirement", &wheel.sha256, wheel.for_11());
        if let Some(found) = self.find(&key) {
            return Ok(found);
        }
        let base = self.base(true, wheel.for_11()).await?;
        self.finish(base, &path, wheel, key, None, json!({"kind": "pypi", "requirement": text})).await
    }

    /// What decides whether two installations give the same environment.
    fn key(&self, kind: &str, content: &str, for_11: bool) -> String {
        let s = self.settings;
        let mut digest = Sha256::new();
        for part in [
            kind,
            content,
            &self.python.program.to_string_lossy(),
            &self.python.version(),
            &s.client(for_11).join(" "),
            s.script.as_deref().unwrap_or_default(),
            if s.skip_requirements { "without requirements" } else { "" },
        ] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        format!("{:x}", digest.finalize())
    }

    fn find(&self, key: &str) -> Option<Prepared> {
        store::find(self.home, key).map(|(root, ledger)| prepared(root, ledger, None))
    }

    /// An environment with the client library beneath, if it is `wanted`.
    async fn base(&self, wanted: bool, for_11: bool) -> Result<Base<'a>, String> {
        let root = self.stage.join("environment");
        let make = |beneath| Environment::make(root, self.python, self.run, self.settings, beneath);
        if self.python.has_volttron(for_11) {
            return Ok(Base { environment: make(self.python.facts.paths.clone()).await?, runtime: None });
        }
        if !wanted {
            return Ok(Base { environment: make(Vec::new()).await?, runtime: None });
        }
        let runtime =
            runtime::get(self.home, self.stage, self.python, self.run, self.settings, for_11).await?;
        let beneath = runtime.root.join(self.python.site_packages());
        let mut environment = make(vec![beneath]).await?;
        if !for_11 {
            environment.constrain(self.stage).map_err(|e| e.to_string())?;
        }
        Ok(Base { environment, runtime: Some(runtime) })
    }

    fn add_classic(&self, environment: &Environment<'_>) -> Result<(), String> {
        if self.python.facts.classic { Ok(()) } else { environment.add_classic() }
    }

    async fn build(&self, environment: &Environment<'_>, source: &Path) -> Result<PathBuf, String> {
        let wheels = self.stage.join("wheels");
        let (to, from) = (wheels.to_string_lossy(), source.to_string_lossy());
        let mut words = vec!["--no-deps", "--wheel-dir", &*to];
        // `setup.py` of an agent imports the agent, so it has to see what the agent sees.
        if !names_build_system(source) {
            environment.add_build_tools().await?;
            words.extend(["--use-pep517", "--no-build-isolation"]);
        }
        words.push(&from);
        environment.pip("Building a wheel", "wheel", &words).await?;
        only_wheel(&wheels)
    }

    /// Installs the wheel and writes down what it is.
    async fn finish(
        &self,
        base: Base<'a>,
        path: &Path,
        wheel: Wheel,
        key: String,
        identity: Option<String>,
        source: Value,
    ) -> Result<Prepared, String> {
        let args = wheel.start(self.settings.script.as_deref())?;
        let Base { environment, runtime } = base;
        if wheel.classic {
            self.add_classic(&environment)?;
        }
        environment.install(path, &wheel.name).await?;
        if let Some(module) = module(&args) {
            environment.check_module(module).await?;
        }
        let name = format!("{}-{}+{}", wheel.name, wheel.version.replace(['+', '!'], "_"), &key[..8]);
        let place = self.home.bin().join(&name);
        let mut moves = vec![(&*environment.root, &*place)];
        if let Some(runtime) = &runtime {
            moves.push((&runtime.root, &runtime.home));
        }
        environment.rename_paths(&moves).map_err(|e| e.to_string())?;
        let for_11 = wheel.for_11();
        let ledger = Ledger {
            package: wheel.name,
            version: wheel.version,
            source,
            sha256: key,
            python: self.python.version(),
            args,
            classic: wheel.classic,
            for_11,
            identity: identity.or(wheel.identity),
            config: wheel.config,
            runtime: runtime.as_ref().map(|r| r.shared.name.clone()),
            ..Ledger::default()
        };
        ledger.clone().write(&environment.root).map_err(|e| e.to_string())?;
        let mut prepared = prepared(environment.root, ledger, Some(name));
        prepared.staged.runtime = runtime.map(|r| r.shared);
        Ok(prepared)
    }
}

fn prepared(root: PathBuf, ledger: Ledger, name: Option<String>) -> Prepared {
    let name = name.unwrap_or_else(|| root.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let runtime = ledger.runtime.map(|name| super::Shared { name, staged: None });
    Prepared {
        staged: Staged {
            root,
            name,
            args: ledger.args,
            classic: ledger.classic,
            for_11: ledger.for_11,
            runtime,
        },
        package: ledger.package,
        version: ledger.version,
        identity: ledger.identity,
        config: ledger.config,
        source: ledger.source,
    }
}

/// Whether the directory says what builds it; otherwise it is setuptools with `setup.py`.
fn names_build_system(source: &Path) -> bool {
    let text = fs::read_to_string(source.join("pyproject.toml")).unwrap_or_default();
    text.lines().any(|line| line.trim() == "[build-system]")
}

fn only_wheel(dir: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|e| e == "whl");
    entries.flatten().map(|e| e.path()).find(is_wheel).ok_or_else(|| "pip made no wheel of it".to_owned())
}
