//! `vctl install`: prepare the program here, let the platform register it, then tag, enable and start (cli.md
//! section 4.4).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use volttron_client::CallError;

use super::agents::AgentRow;
use super::lifecycle::{self, Came};
use super::{OpError, Session};
use crate::install::{self, Build, InstallError, Installed, Wanted};
use crate::supervisor::installed::check_priority;

/// How long the platform may take to stop the agent that is replaced and to store the new one.
const REGISTER_LIMIT: Duration = Duration::from_mins(3);

/// What to install, and what to do with it then.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Crate directory, `.crate` file, program, or name of a crate.
    pub path: String,
    /// What kind of source that is, where it could be several.
    pub kind: Option<install::Kind>,
    /// Registry of a crate that is named; the default one otherwise.
    pub registry: Option<install::Registry>,
    /// Identity instead of the package's default.
    pub identity: Option<String>,
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// Tag.
    pub tag: Option<String>,
    /// Priority of autostart; none leaves it as it is.
    pub priority: Option<String>,
    /// Start it.
    pub start: bool,
    /// How long to wait for its first sign of health.
    pub wait: Duration,
    /// Replace an agent of the same identity.
    pub force: bool,
    /// `NAME=VALUE` for its environment.
    pub environment: Vec<String>,
    /// How to build a crate.
    pub build: BuildRequest,
    /// How to install a Python agent.
    pub python: install::python::Settings,
}

/// How to build a crate.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// Which program.
    pub bin: Option<String>,
    /// Features to turn on.
    pub features: Vec<String>,
    /// Leave default features out.
    pub no_default_features: bool,
    /// Do not use the network.
    pub offline: bool,
    /// Build profile.
    pub profile: Option<String>,
    /// Limit of the build.
    pub limit: Duration,
    /// Show cargo's output.
    pub verbose: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The agent.
    pub agent: AgentRow,
    /// A configuration file that was found beside the crate and used.
    pub found_config: Option<PathBuf>,
    /// Whether it was tagged.
    pub tagged: bool,
    /// Whether it was enabled.
    pub enabled: bool,
    /// How its start went, if it was to be started.
    pub came: Option<Came>,
}

impl Report {
    /// The result object, keys in the order that scripts know.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let mut set = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        set("agent_uuid", json!(self.agent.uuid));
        if self.tagged {
            set("tag", json!(self.agent.tag));
        }
        if self.enabled {
            set("enabling", json!(true));
            set("priority", json!(self.agent.priority));
        }
        match &self.came {
            None => {}
            Some(Came::Up { pid } | Came::Silent { pid }) => {
                set("starting", json!(true));
                set("started", json!(true));
                set("pid", json!(pid));
            }
            Some(Came::Ended { .. }) => {
                set("starting", json!(true));
                set("started", json!(false));
            }
        }
        object
    }
}

/// Installs.
pub async fn run(
    session: &Session,
    home: &volttron_utils::home::Home,
    request: Request,
) -> Result<Report, OpError> {
    if let Some(priority) = &request.priority {
        check_priority(priority).map_err(|e| OpError::Usage(e.to_string()))?;
    }
    let source = install::recognise(&request.path, request.kind, request.registry.clone())?;
    let wanted = Wanted {
        identity: request.identity.clone(),
        config: request.config.clone(),
        force: request.force,
        env: environment(&request.environment)?,
        python: request.python.clone(),
    };
    let config = wanted.read_config(&source)?;
    if let (Some(identity), false) = (&request.identity, request.force) {
        refuse_existing(session, identity).await?;
    }
    let found_config = config.as_ref().map(|(path, _)| path.clone()).filter(|_| request.config.is_none());
    let stage = install::Stage::open(home)?;
    let build = build(&request.build);
    let staged =
        install::prepare(home, &source, &build, stage.path(), wanted, config.map(|(_, text)| text)).await;
    let installed = match staged {
        Ok(staged) => hand_over(session, &staged).await,
        Err(error) => Err(error.into()),
    };
    drop(stage);
    finish(session, home, &request, installed?, found_config).await
}

fn build(request: &BuildRequest) -> Build<'_> {
    Build {
        bin: request.bin.as_deref(),
        features: &request.features,
        no_default_features: request.no_default_features,
        offline: request.offline,
        profile: request.profile.as_deref(),
        limit: request.limit,
        verbose: request.verbose,
    }
}

fn environment(pairs: &[String]) -> Result<BTreeMap<String, String>, OpError> {
    let split = |pair: &String| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(OpError::Usage(format!("--env takes NAME=VALUE, not {pair}"))),
    };
    pairs.iter().map(split).collect()
}

/// Refuses before anything is built, not after.
async fn refuse_existing(session: &Session, identity: &str) -> Result<(), OpError> {
    match session.control("identity_exists").arg(identity).send::<Option<String>>().await? {
        Some(_) => Err(InstallError::IdentityExists(identity.to_owned()).into()),
        None => Ok(()),
    }
}

async fn hand_over(session: &Session, staged: &install::StagedAgent) -> Result<Installed, OpError> {
    let call = session.control("install_staged").arg(staged).timeout(REGISTER_LIMIT.max(session.timeout()));
    match call.send().await {
        Err(CallError::Remote(e)) if e.detail() == Some("Identity already exists, but not forced!") => {
            Err(InstallError::IdentityExists(staged.identity.clone().unwrap_or_default()).into())
        }
        other => Ok(other?),
    }
}

async fn finish(
    session: &Session,
    home: &volttron_utils::home::Home,
    request: &Request,
    installed: Installed,
    found_config: Option<PathBuf>,
) -> Result<Report, OpError> {
    let mut agent = AgentRow { uuid: installed.uuid, identity: installed.identity, ..AgentRow::default() };
    if let Some(tag) = &request.tag {
        lifecycle::tag(home, Some(session), &agent, Some(tag)).await?;
        agent.tag.clone_from(tag);
    }
    if let Some(priority) = &request.priority {
        lifecycle::prioritize(home, Some(session), &agent, Some(priority)).await?;
        agent.priority.clone_from(priority);
    }
    let mut came = None;
    if request.start || installed.was_running {
        came = Some(match lifecycle::start(session, &agent).await {
            Ok(()) => lifecycle::wait_up(session, &agent, request.wait).await?,
            Err(error) => Came::Ended { code: -1, last_log: vec![error.to_string()] },
        });
    }
    let (tagged, enabled) = (request.tag.is_some(), request.priority.is_some());
    Ok(Report { agent, found_config, tagged, enabled, came })
}
