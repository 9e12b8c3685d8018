//! From what the operator names to a program that says what it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use volttron_utils::config::load_config;
use volttron_utils::home::Home;

use super::build::Build;
use super::describe::describe;
use super::schema::fits;
use super::signature::TrustedKeys;
use super::source::Source;
use super::store::sha256;
use super::unpack::unpack;
use super::{InstallError, StagedAgent, file, python};

/// Names of configuration files that a crate directory may bring.
const OWN_CONFIGS: [&str; 4] = ["config", "config.json", "config.yml", "config.yaml"];

/// What is asked for besides the source.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Identity, perhaps with `{n}`; the package's default otherwise.
    pub identity: Option<String>,
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// Replace an agent of the same identity.
    pub force: bool,
    /// Additions to the environment.
    pub env: BTreeMap<String, String>,
    /// How Python agents are installed.
    pub python: python::Settings,
}

impl Wanted {
    /// The configuration as text, and the file it is from. Without one that was named, it is the one that lies in the
    /// crate directory, if any.
    pub fn read_config(&self, source: &Source) -> Result<Option<(PathBuf, String)>, InstallError> {
        let own = match source {
            Source::Crate(dir) | Source::PythonDir(dir) => {
                OWN_CONFIGS.iter().map(|name| dir.join(name)).find(|path| path.is_file())
            }
            _ => None,
        };
        let Some(path) = self.config.clone().or(own) else { return Ok(None) };
        if !path.exists() {
            return Err(InstallError::Config(format!("Config file {} does not exist!", path.display())));
        }
        load_config(&path).map_err(|e| InstallError::Config(e.to_string()))?;
        let text = file(&path, fs::read_to_string(&path))?;
        Ok(Some((path, text)))
    }
}

/// Builds a crate into `stage`, or takes a program as it is, and asks it what it is. `build` says how to build. Every
/// installation passes here, so this is where packages that must be signed are checked.
pub async fn prepare(
    home: &Home,
    source: &Source,
    build: &Build<'_>,
    stage: &Path,
    wanted: Wanted,
    config: Option<String>,
) -> Result<StagedAgent, InstallError> {
    TrustedKeys::of(home)?.check(source)?;
    file(stage, fs::create_dir_all(stage))?;
    let (program, origin) = match source {
        Source::Crate(path) => {
            (build.directory(home, stage, path, None).await?, json!({"kind": "path", "path": path}))
        }
        Source::Packed(path) => {
            let dir = unpack(path, &stage.join("unpacked"))?;
            let called = dir.file_name().unwrap_or_default().to_string_lossy();
            let program = build.directory(home, stage, &dir, Some(&called)).await?;
            let checksum = checksum(&file(path, sha256(path))?);
            (program, json!({"kind": "crate", "path": path, "checksum": checksum}))
        }
        Source::Program(path) => (path.clone(), json!({"kind": "binary", "path": path})),
        Source::Named(named) => {
            let fetched = build.named(home, stage, named).await?;
            let mut origin = json!({"kind": "registry", "registry": named.registry_name()});
            if let Some(sha256) = fetched.checksum {
                origin["checksum"] = checksum(&sha256).into();
            }
            (fetched.program, origin)
        }
        Source::PythonDir(_) | Source::Wheel(_) | Source::Requirement(_) => {
            return prepare_python(home, source, stage, wanted, config).await;
        }
    };
    let description = describe(&program).await?;
    if let (Some(text), Some(schema)) = (&config, &description.config_schema) {
        fits(text, schema, &description.name)?;
    }
    Ok(StagedAgent {
        program,
        package: description.name,
        version: description.version,
        identity: wanted.identity,
        default_identity: description.identity,
        config,
        force: wanted.force,
        source: origin,
        env: wanted.env,
        installed_by: String::new(),
        python: None,
        keys: None,
        then: super::Then::default(),
    })
}

async fn prepare_python(
    home: &Home,
    source: &Source,
    stage: &Path,
    wanted: Wanted,
    config: Option<String>,
) -> Result<StagedAgent, InstallError> {
    let ready = python::prepare(home, source, stage, &wanted.python).await?;
    Ok(StagedAgent {
        program: ready.staged.root.join("bin/python"),
        package: ready.package,
        version: ready.version,
        identity: wanted.identity,
        default_identity: ready.identity,
        config: config.or(ready.config),
        force: wanted.force,
        source: ready.source,
        env: wanted.env,
        installed_by: String::new(),
        python: Some(ready.staged),
        keys: None,
        then: super::Then::default(),
    })
}

/// As the ledger writes it (home.md section 3).
fn checksum(sha256: &str) -> String {
    format!("sha256:{sha256}")
}
