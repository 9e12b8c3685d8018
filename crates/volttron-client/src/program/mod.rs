//! An agent as a program: environment, arguments, logging, signals, exit code (cli.md section 2, lifecycle.md 5 and 8).
//!
//! Owns what surrounds one agent in one process. Must never know what the agent does. Start reading at [`run`].

mod describe;
mod environment;
mod logging;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use volttron_utils::config::{self, ConfigError};

pub use describe::describe;
pub use environment::{Environment, EnvironmentError};

pub use crate::options::{OptionText, options_schema};

use crate::agent::{Agent, AgentBuilder, Bound, ExitReason, SpawnError};
use crate::link::zmq::ZmqConnector;

/// Exit code of a configuration that cannot be used (lifecycle.md section 1).
const EXIT_BAD_CONFIG: u8 = 105;

/// Which package an agent program comes from; made by [`crate::package!`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Package name.
    pub name: &'static str,
    /// Package version, which `agent.version` answers.
    pub version: &'static str,
    /// One line about it.
    pub description: &'static str,
}

/// The package that is being compiled, as a [`Package`].
#[macro_export]
macro_rules! package {
    () => {
        $crate::Package {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            description: env!("CARGO_PKG_DESCRIPTION"),
        }
    };
}

/// What a program says about its agent before there is one.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it comes from.
    pub package: Package,
    /// Identity if the environment names none; `{n}` in it is a number the installer chooses.
    pub identity: &'static str,
    /// JSON schema of the configuration file, if the agent has one.
    pub config_schema: Option<Value>,
}

impl Program {
    /// A program of this package, with a default identity.
    pub fn new(package: Package, identity: &'static str) -> Self {
        Self { package, identity, config_schema: None }
    }

    /// Adds the JSON schema of the configuration.
    #[must_use]
    pub fn config_schema(mut self, schema: Value) -> Self {
        self.config_schema = Some(schema);
        self
    }
}

/// An agent that can be a program of its own.
pub trait AgentMain: Agent {
    /// What the program says about itself.
    fn program() -> Program;

    /// Makes the agent from what the platform gave it.
    fn new(start: Start) -> Result<Self, StartError>;
}

/// What an agent is started with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Start {
    /// Its VIP identity.
    pub identity: String,
    /// The configuration file of its installation, if it has one.
    pub config_path: Option<PathBuf>,
    /// Where it may write.
    pub data_dir: PathBuf,
    /// Its tag, if it has one.
    pub tag: Option<String>,
}

impl Start {
    /// Reads the configuration file into `T`; without a file, `T` is made from an empty object.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, StartError> {
        let value = match &self.config_path {
            Some(path) => config::load_config(path)?,
            None => Value::Object(serde_json::Map::new()),
        };
        serde_json::from_value(value).map_err(|e| StartError::Config {
            path: self.config_path.clone().unwrap_or_default(),
            why: e.to_string(),
        })
    }

    /// Reads the configuration file as it is; none if there is no file.
    pub fn config_value(&self) -> Result<Option<Value>, StartError> {
        Ok(self.config_path.as_deref().map(config::load_config).transpose()?)
    }
}

/// Why an agent program does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration file cannot be read.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The configuration does not have the expected form.
    #[error("configuration {}: {why}", shown(path))]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The agent cannot work here.
    #[error("{0}")]
    Agent(String),
    /// The environment is incomplete or contradicts itself.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The agent does not run.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() {
        "(empty, there is no file)".to_owned()
    } else {
        path.display().to_string()
    }
}

impl StartError {
    /// A reason of the agent's own.
    pub fn msg(text: impl Into<String>) -> Self {
        Self::Agent(text.into())
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::File(_) | Self::Config { .. } => ExitCode::from(EXIT_BAD_CONFIG),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Runs an agent until it is stopped: by SIGINT or SIGTERM, by itself, or because no platform welcomes it.
///
/// Exit codes: 0 after a stop, 105 for a bad configuration, 1 for everything else. `--describe` prints what an
/// installer wants to know as JSON, `--version` name and version; other arguments are refused.
pub fn run<A: AgentMain>() -> ExitCode {
    run_with(&A::program(), |start| std::future::ready(A::new(start)))
}

/// As [`run`], with a function that makes the agent. The runtime is running when it is called.
pub fn run_with<A, F, Fut>(program: &Program, make: F) -> ExitCode
where
    A: Agent,
    F: FnOnce(Start) -> Fut,
    Fut: Future<Output = Result<A, StartError>>,
{
    let described = || describe::describe::<A>(program);
    let bound = |start| async { Ok(AgentBuilder::new(make(start).await?).bind()) }.boxed_local();
    run_bound(program, &described, Box::new(bound))
}

/// Makes an agent and binds it.
type Make<'a> = Box<dyn FnOnce(Start) -> LocalBoxFuture<'a, Result<Bound, StartError>> + 'a>;

/// As [`run_with`], for whatever agent: compiled once in this crate, and not again in that of each agent.
fn run_bound(program: &Program, described: &dyn Fn() -> Value, make: Make<'_>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = describe::answer_arguments(program, described, &arguments) {
        return code;
    }
    let environment = Environment::new(|name| std::env::var(name).ok());
    logging::start(environment.launched_by_platform());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(live(program, &environment, make)) {
        Ok(ExitReason::Stopped) => ExitCode::SUCCESS,
        Ok(ExitReason::LinkDown(reason)) => {
            tracing::error!("{reason}");
            ExitCode::FAILURE
        }
        Ok(ExitReason::Failed(why)) => {
            tracing::error!("the agent failed: {why}");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code()
        }
    }
}

async fn live(
    program: &Program,
    environment: &Environment,
    make: Make<'_>,
) -> Result<ExitReason, StartError> {
    let identity = environment.identity(program);
    let data_dir = environment.data_dir(&identity);
    let start = Start {
        identity: identity.clone(),
        config_path: environment.config_path(),
        data_dir: data_dir.clone(),
        tag: environment.tag(),
    };
    let connector: ZmqConnector = environment.connector(&identity)?;
    let mut bound = make(start).await?;
    bound.settings.identity = Some(identity);
    program.package.version.clone_into(&mut bound.settings.version);
    bound.settings.data_dir = Some(data_dir);
    bound.settings.connector = Some(Box::new(connector));
    tokio::select! {
        spawned = bound.spawn() => {
            let handle = spawned?;
            let cx = handle.cx().clone();
            tokio::spawn(async move {
                if stop_requested().await {
                    cx.stop();
                    // A second signal forces.
                    stop_requested().await;
                    std::process::exit(1);
                }
            });
            Ok(handle.joined().await)
        }
        // Not connected yet, so there is nothing to say goodbye to.
        true = stop_requested() => Ok(ExitReason::Stopped),
    }
}

/// Waits for SIGINT or SIGTERM. False if the system does not let us listen.
async fn stop_requested() -> bool {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return false;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    true
}
