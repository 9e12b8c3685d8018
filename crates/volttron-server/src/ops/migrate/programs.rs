//! Environments for the agents of an old home, each made from what is nearest: its files, a wheel, the machine's Python,
//! PyPI.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use volttron_utils::home::Home;
use volttron_utils::keys::PublicKey;

use super::MigrateError;
use super::agents::{Found, Generation};
use crate::install::python::{self, Prepared, Settings, repack};
use crate::install::{Admission, InstallError, Site, Source, Stage, StagedAgent, Then, adopt};

/// What an agent runs with in the new home.
#[derive(Debug)]
pub(super) enum Program {
    /// An environment of its own.
    Environment {
        /// What it was made from, for people.
        from: String,
        /// Files beside its code that are no part of it.
        beside: Vec<String>,
    },
    /// None yet.
    None {
        /// Why.
        why: String,
        /// The wheel that can be installed later.
        wheel: Option<PathBuf>,
    },
}

/// The rules of the old home say who may connect; a migration lets nobody in.
struct AsItWas;

impl Admission for AsItWas {
    fn admit(&self, _: &str, _: PublicKey) -> Result<(), String> {
        Ok(())
    }

    fn forget(&self, _: PublicKey) -> Result<(), String> {
        Ok(())
    }
}

/// Makes an agent's environment in the home that is being made, and registers the agent in it; without an environment one
/// of 10.x is registered without a program, and one of 9.x not at all.
pub(super) async fn establish(
    staged: &Home,
    found: &Found,
    settings: &Settings,
    environments: bool,
) -> Result<Program, MigrateError> {
    let stage = Stage::open(staged)?;
    let made = if environments {
        make(staged, found, stage.path(), settings).await
    } else {
        Made {
            ready: Err("its environment was not to be made".to_owned()),
            from: String::new(),
            wheel: None,
            beside: Vec::new(),
        }
    };
    let (ready, program) = match made.ready {
        Ok(ready) => (Some(ready), Program::Environment { from: made.from, beside: made.beside }),
        Err(why) => (None, Program::None { why, wheel: made.wheel }),
    };
    if ready.is_some() || found.generation == Generation::Ten {
        adopt(&Site::new(staged, &AsItWas), &agent(found, ready), &found.there)?;
    }
    Ok(program)
}

struct Made {
    ready: Result<Prepared, String>,
    from: String,
    wheel: Option<PathBuf>,
    beside: Vec<String>,
}

async fn make(staged: &Home, found: &Found, stage: &Path, settings: &Settings) -> Made {
    let mut made = Made { ready: Err(String::new()), from: String::new(), wheel: None, beside: Vec::new() };
    let mut tried = Vec::new();
    let mut wheel = found.wheel.clone();
    if let Some(wheel) = &wheel {
        made.from = format!("the wheel {}", wheel.display());
    } else {
        // Kept with the new home: with it, the same can be installed again.
        let packed = repack(staged, &found.unpacked(), &stage.join("repacked"), settings).await;
        match packed.and_then(|(path, beside)| keep(staged, &path).map(|kept| (kept, beside))) {
            Ok((path, beside)) => {
                made.from = match found.generation {
                    Generation::Nine => "its files".to_owned(),
                    Generation::Ten => "this machine's Python".to_owned(),
                };
                made.beside = beside;
                wheel = Some(path);
            }
            Err(e) => tried.push(e.to_string()),
        }
    }
    made.wheel.clone_from(&wheel);
    let source = match wheel {
        Some(path) => Source::Wheel(path),
        // An agent of 9.x is on no index.
        None if found.generation == Generation::Nine => {
            made.ready = Err(tried.join("; "));
            return made;
        }
        None => {
            made.from = format!("PyPI ({})", found.requirement());
            Source::Requirement(found.requirement())
        }
    };
    made.ready = python::prepare(staged, &source, stage, settings).await.map_err(|e| {
        tried.push(e.to_string());
        tried.join("; ")
    });
    made
}

fn keep(staged: &Home, wheel: &Path) -> Result<PathBuf, InstallError> {
    let dir = staged.path().join("packaged");
    let kept = dir.join(wheel.file_name().unwrap_or_default());
    let failed = |source| InstallError::File { path: kept.clone(), source };
    volttron_utils::files::create_dir(&dir, 0o755).map_err(failed)?;
    std::fs::copy(wheel, &kept).map_err(failed)?;
    Ok(kept)
}

fn agent(found: &Found, ready: Option<Prepared>) -> StagedAgent {
    let (package, version) = (found.package.clone(), found.version.clone());
    let requirement = serde_json::json!({"kind": "pypi", "requirement": found.requirement()});
    let (program, package, version, source, python) = match ready {
        Some(ready) => (
            ready.staged.root.join("bin/python"),
            ready.package,
            ready.version,
            ready.source,
            Some(ready.staged),
        ),
        None => (PathBuf::new(), package, version, requirement, None),
    };
    StagedAgent {
        program,
        package,
        version,
        identity: Some(found.there.identity.clone()),
        default_identity: None,
        config: found.config.clone(),
        force: false,
        source,
        env: BTreeMap::default(),
        installed_by: "vctl migrate".to_owned(),
        python,
        keys: None,
        then: Then::default(),
    }
}
