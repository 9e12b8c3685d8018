//! Installing the agents that `vcfg` offers, on a platform that is started for it at most once.

use std::env;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use volttron_utils::home::Home;
use volttron_utils::identity::{CONFIG_STORE, PLATFORM_DRIVER, PLATFORM_HISTORIAN};

use super::fake_device;
use crate::background::{Launch, beside};
use crate::install::python;
use crate::ops::agents::{self, AgentRow};
use crate::ops::install::{BuildRequest, Request};
use crate::ops::{OpError, Session, Target, install, lifecycle};

/// Every name that `--agent` takes.
pub(super) const NAMES: [&str; 5] = ["listener", "platform_driver", "platform_historian", "vc", "vcp"];

/// How long the platform may take to get ready.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long each exchange with it may take.
const CALL_LIMIT: Duration = Duration::from_mins(1);
/// How long it may take to end.
const STOP_LIMIT: Duration = Duration::from_mins(2);
/// How long building an agent may take.
const BUILD_LIMIT: Duration = Duration::from_mins(30);

/// One agent that can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// Its tag, and its name for `--agent`.
    pub(super) tag: &'static str,
    /// Name of its crate and program.
    pub(super) package: &'static str,
    /// Its name among answers.
    pub(super) key: &'static str,
    /// Its identity, if it needs a certain one.
    identity: Option<&'static str>,
    /// File of its database.
    database: Option<&'static str>,
}

pub(super) const HISTORIAN: Offer = Offer {
    tag: "platform_historian",
    package: "volttron-sql-historian",
    key: "historian",
    identity: Some(PLATFORM_HISTORIAN),
    database: Some("platform.historian.sqlite"),
};
pub(super) const DRIVER: Offer = Offer {
    tag: "platform_driver",
    package: "volttron-platform-driver",
    key: "driver",
    identity: Some(PLATFORM_DRIVER),
    database: None,
};
pub(super) const LISTENER: Offer =
    Offer { tag: "listener", package: "volttron-listener", key: "listener", identity: None, database: None };

/// The platform that agents are installed on.
pub(super) struct Agents {
    home: Home,
    verbose: bool,
    runtime: Option<Runtime>,
    /// Pid of the platform that was started for this.
    started: Arc<Mutex<Option<u32>>>,
}

impl Agents {
    pub(super) fn new(home: &Home, verbose: bool) -> Self {
        Self { home: home.clone(), verbose, runtime: None, started: Arc::default() }
    }

    /// The agent that has the offer's tag, or its identity.
    pub(super) fn installed(&mut self, offer: Offer) -> Result<Option<AgentRow>, OpError> {
        // Files tell the same as the platform, and at once.
        let home = self.home.clone();
        let all = self.runtime()?.block_on(async { agents::list(&home, None).await })?;
        let fits =
            |row: &AgentRow| row.tag == offer.tag || offer.identity.is_some_and(|id| row.identity == id);
        Ok(all.into_iter().find(fits))
    }

    /// Installs or replaces. An agent that is there keeps its identity, keys, data and configuration.
    pub(super) fn install(&mut self, offer: Offer, source: &str) -> Result<AgentRow, OpError> {
        let before = self.installed(offer)?;
        let config = match (offer.database, &before) {
            (Some(database), None) => Some(connection(database)?),
            _ => None,
        };
        let identity = before.as_ref().map(|row| row.identity.clone());
        let request = Request {
            path: source.to_owned(),
            identity: identity.or_else(|| offer.identity.map(str::to_owned)),
            config: config.as_ref().map(|file| file.path().to_owned()),
            keep_config: before.is_some(),
            tag: Some(offer.tag.to_owned()),
            force: before.is_some(),
            build: BuildRequest { limit: BUILD_LIMIT, verbose: self.verbose, ..BuildRequest::default() },
            python: python::Settings::from_home(&self.home),
            ..Request::default()
        };
        let home = self.home.clone();
        let report = self.with_platform(async |session| install::run(session, &home, request).await)?;
        Ok(report.agent)
    }

    /// Lets an agent start with the platform, or not.
    pub(super) fn autostart(&mut self, agent: &AgentRow, on: bool) -> Result<(), OpError> {
        let (home, agent) = (self.home.clone(), agent.clone());
        let priority = on.then_some("50");
        self.with_platform(async |session| {
            lifecycle::prioritize(&home, Some(session), &agent, priority).await
        })
    }

    /// Puts a fake device on the platform driver.
    pub(super) fn add_fake_device(&mut self) -> Result<(), OpError> {
        self.with_platform(async |session| {
            let call = session.call(CONFIG_STORE, "apply_configs").arg(fake_device::transaction());
            call.send_value().await?;
            Ok(())
        })
    }

    /// Ends the platform if it was started here.
    pub(super) fn finish(&mut self) -> Result<(), OpError> {
        if self.started().is_none() {
            return Ok(());
        }
        let ended = self.with_platform(async |session| {
            lifecycle::stop_agents(session).await?;
            lifecycle::stop_platform(session).await
        });
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = None;
        ended?;
        let home = self.home.clone();
        let down = self.runtime()?.block_on(async { lifecycle::wait_down(&home, STOP_LIMIT).await });
        if down {
            return Ok(());
        }
        Err(OpError::Refused(
            "the platform that agents were installed on does not end; its log is volttron.cfg.log".into(),
        ))
    }

    fn started(&self) -> Option<u32> {
        *self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something on the platform, which is started if need be.
    fn with_platform<T>(
        &mut self,
        work: impl AsyncFnOnce(&Session) -> Result<T, OpError>,
    ) -> Result<T, OpError> {
        self.ensure_platform()?;
        let target =
            Target { home: self.home.clone(), address: None, timeout: CALL_LIMIT, timeout_is_given: false };
        self.runtime()?.block_on(async {
            let session = target.connect().await?;
            let done = work(&session).await;
            session.close().await;
            done
        })
    }

    fn ensure_platform(&mut self) -> Result<(), OpError> {
        if self.home.running().is_some() {
            return Ok(());
        }
        self.home.create_dirs().map_err(|e| OpError::Refused(e.to_string()))?;
        self.end_it_with_us()?;
        let log = self.home.path().join("volttron.cfg.log");
        // Nothing that was enabled before needs to run for this.
        let args = ["-vv".into(), "--no-autostart".into()];
        let launch = Launch { home: &self.home, args: &args, log: &log, rotate: true, patience: START_LIMIT };
        let pid = launch.run().map_err(|e| {
            OpError::Refused(format!("the platform does not start, so nothing can be installed: {e}"))
        })?;
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = Some(pid);
        Ok(())
    }

    /// A signal that ends this program ends the platform, too.
    fn end_it_with_us(&mut self) -> Result<(), OpError> {
        let started = self.started.clone();
        let runtime = self.runtime()?;
        let catch = |kind| {
            let _inside = runtime.enter();
            signal(kind).map_err(|source| OpError::File { what: "cannot catch signals".into(), source })
        };
        let (mut interrupt, mut terminate) =
            (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
        runtime.spawn(async move {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            let pid = *started.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                let _ = kill_process(pid, Signal::TERM);
            }
            std::process::exit(code);
        });
        Ok(())
    }

    fn runtime(&mut self) -> Result<&Runtime, OpError> {
        let made = match self.runtime.take() {
            Some(runtime) => runtime,
            // With a thread of its own, so that a signal is heard while a question waits for its answer.
            None => tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .map_err(|source| OpError::File { what: "cannot start".into(), source })?,
        };
        Ok(self.runtime.insert(made))
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        // Whatever ended the questions: a platform that was started for them does not stay.
        let _ = self.finish();
    }
}

/// A configuration file for a historian.
fn connection(database: &str) -> Result<NamedTempFile, OpError> {
    let config = json!({"connection": {"type": "sqlite", "params": {"database": database}}});
    let io = |source| OpError::File { what: "a temporary file".to_owned(), source };
    let file = tempfile::Builder::new().suffix(".json").tempfile().map_err(io)?;
    std::fs::write(file.path(), config.to_string()).map_err(io)?;
    Ok(file)
}

/// Where an agent can be had: what `vctl install` takes, a program before sources before a registry.
pub(super) fn source_of(package: &str) -> String {
    let program = Some(beside(package)).filter(|path| path.is_file()).or_else(|| python::on_path(package));
    let sources = || {
        let roots = env::var_os("VOLTTRON_ROOT").map(PathBuf::from).into_iter().chain([PathBuf::from(".")]);
        roots.map(|root| root.join("agents").join(package)).find(|dir| dir.join("Cargo.toml").is_file())
    };
    program.or_else(sources).map_or_else(|| package.to_owned(), |path| path.display().to_string())
}
