//! `vctl install`: prepare the program here, let the platform register it, then tag, enable and start (cli.md
//! section 4.4).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use volttron_client::CallError;

use super::agents::AgentRow;
use super::lifecycle::{self, Came};
use super::versions::{self, RolledBack};
use super::{OpError, Session};
use crate::install::history::Terms;
use crate::install::{self, Build, InstallError, Installed, Then, Wanted};
use crate::supervisor::installed::{check_priority, check_tag};

/// How long the platform may take to stop the agent that is replaced and to store the new one.
const REGISTER_LIMIT: Duration = Duration::from_mins(3);

/// What to install, and what to do with it then.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Request {
    /// Crate directory, `.crate` file, program, or name of a crate.
    pub path: String,
    /// What kind of source that is, where it could be several.
    pub kind: Option<install::Kind>,
    /// Registry of a crate that is named; the default one otherwise.
    pub registry: Option<install::Registry>,
    /// Identity instead of the package's default.
    pub identity: Option<String>,
    /// The version that the source has to have.
    pub version: Option<String>,
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// Leave the configuration alone, also where the source brings one.
    pub keep_config: bool,
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
    /// Leave an agent alone that has this very program and configuration already.
    pub only_if_new: bool,
    /// What a version that replaces another one has to show to stay; none keeps it whatever it does.
    pub trial: Option<Terms>,
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
    /// `<package>-<version>` that it took the place of.
    pub replaced: Option<String>,
    /// Nothing had to be changed.
    pub unchanged: bool,
    /// The version did not pass its trial; [`Self::came`] then tells of the one that is back.
    pub rolled_back: Option<RolledBack>,
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
            Some(Came::Ended { .. } | Came::NotLaunched { .. }) => {
                set("starting", json!(true));
                set("started", json!(false));
            }
        }
        if let Some(back) = &self.rolled_back {
            set("rolled_back", json!(true));
            set("version", json!(back.to));
            set("why", json!(back.why));
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
    if let Some(tag) = &request.tag {
        check_tag(tag).map_err(|e| OpError::Usage(e.to_string()))?;
    }
    let source = install::recognise(&request.path, request.kind, request.registry.clone())?;
    let wanted = Wanted {
        identity: request.identity.clone(),
        config: request.config.clone(),
        force: request.force,
        env: environment(&request.environment)?,
        python: request.python.clone(),
    };
    let config = if request.keep_config { None } else { wanted.read_config(&source)? };
    if let (Some(identity), false) = (&request.identity, request.force) {
        refuse_existing(session, identity).await?;
    }
    let found_config = config.as_ref().map(|(path, _)| path.clone()).filter(|_| request.config.is_none());
    let stage = install::Stage::open(home)?;
    let build = build(&request.build);
    let staged =
        install::prepare(home, &source, &build, stage.path(), wanted, config.map(|(_, text)| text)).await;
    let installed = match staged {
        Ok(staged) if request.version.as_ref().is_some_and(|version| *version != staged.version) => {
            let wanted = request.version.as_deref().unwrap_or_default();
            let found = format!("{} is version {}, not {wanted}", request.path, staged.version);
            Err(OpError::Refused(found))
        }
        Ok(mut staged) => {
            staged.then = Then {
                tag: request.tag.clone(),
                priority: request.priority.clone(),
                start: request.start,
                stay_down: false,
                only_if_new: request.only_if_new,
                trial: request.trial,
            };
            hand_over(session, &staged).await
        }
        Err(error) => Err(error.into()),
    };
    drop(stage);
    finish(session, &request, installed?, found_config).await
}

/// The same as it is asked for by the builder.
pub(crate) fn build(request: &BuildRequest) -> Build<'_> {
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
    let call = session.control("install_staged").arg(staged).timeout(session.patience(REGISTER_LIMIT));
    match call.send().await {
        Err(CallError::Remote(e)) if e.detail() == Some("Identity already exists, but not forced!") => {
            Err(InstallError::IdentityExists(staged.identity.clone().unwrap_or_default()).into())
        }
        other => Ok(other?),
    }
}

async fn finish(
    session: &Session,
    request: &Request,
    installed: Installed,
    found_config: Option<PathBuf>,
) -> Result<Report, OpError> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let agent = AgentRow {
        uuid: installed.uuid,
        identity: installed.identity,
        tag: text(&request.tag),
        priority: text(&request.priority),
        ..AgentRow::default()
    };
    let (mut came, mut rolled_back) = (None, None);
    if installed.restarted {
        rolled_back = versions::wait_for_verdict(session, &agent.uuid, request.trial).await?;
        let failed = installed.start_error.filter(|_| rolled_back.is_none());
        came = Some(match failed {
            Some(why) => Came::NotLaunched { why },
            None => lifecycle::wait_up(session, &agent, request.wait).await?,
        });
    } else if request.start {
        came = Some(match lifecycle::start(session, &agent).await {
            Err(OpError::Call(CallError::Remote(e))) if e.detail() == Some("agent is already running") => {
                lifecycle::wait_up(session, &agent, request.wait).await?
            }
            Ok(()) => lifecycle::wait_up(session, &agent, request.wait).await?,
            Err(error) => Came::NotLaunched { why: error.to_string() },
        });
    }
    Ok(Report {
        agent,
        found_config,
        tagged: request.tag.is_some(),
        enabled: request.priority.is_some(),
        came,
        replaced: installed.replaced,
        unchanged: installed.unchanged,
        rolled_back,
    })
}
