//! From the settings of an agent to a running one: [`Bound`]. [`AgentHandle`]: the way to end it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use volttron_utils::vip::{self, typed};

use super::Handlers;
use super::run_loop::RunLoop;
use crate::access::CapabilitySource;
use crate::auth::{self, Capabilities};
use crate::cx::{About, Parts};
use crate::link::{ConnectError, Connector, DownReason};
use crate::pubsub::SubscribeOptions;
use crate::rpc::{self, Builtins};
use crate::{AgentError, Cx, config, heartbeat, web};

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// [`AgentBuilder::connector`] was not called.
    #[error("no connector: say which bus the agent connects to with AgentBuilder::connector")]
    NoConnector,
    /// Two methods of one name.
    #[error("method '{0}' is registered twice")]
    DuplicateMethod(String),
    /// A cron expression that cannot be read.
    #[error("cron expression '{expression}': {why}")]
    Cron {
        /// As registered.
        expression: String,
        /// What is wrong with it.
        why: String,
    },
    /// A handler of `on_setup` failed.
    #[error("set-up failed: {0}")]
    Setup(String),
    /// The connection cannot be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Why an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It was asked to.
    Stopped,
    /// Its link is down for good.
    LinkDown(DownReason),
    /// Its run loop failed; a bug.
    Failed(String),
}

/// How an agent runs; [`super::AgentBuilder`] says what each of it means.
pub(crate) struct Settings {
    pub(crate) identity: Option<String>,
    pub(crate) connector: Option<Box<dyn Connector>>,
    pub(crate) version: String,
    pub(crate) class: String,
    pub(crate) instance_name: Option<String>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) heartbeat_period: Duration,
    pub(crate) heartbeat: bool,
    pub(crate) store: bool,
    pub(crate) auth: Option<bool>,
    pub(crate) capabilities: Option<Arc<dyn CapabilitySource>>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) thin: bool,
}

impl Settings {
    pub(crate) fn new(class: &str) -> Self {
        Self {
            identity: None,
            connector: None,
            version: "0.1".to_owned(),
            class: class.to_owned(),
            instance_name: None,
            data_dir: None,
            heartbeat_period: heartbeat::DEFAULT_PERIOD,
            heartbeat: true,
            store: true,
            auth: None,
            capabilities: None,
            connect_timeout: None,
            thin: false,
        }
    }
}

/// An agent bound to what it registered, ready to run.
pub(crate) struct Bound {
    pub(crate) settings: Settings,
    pub(crate) handlers: Handlers,
}

impl Bound {
    /// See [`super::AgentBuilder::spawn`]. Boxed, since only so the whole of it is compiled in this crate.
    pub(crate) fn spawn(self) -> BoxFuture<'static, Result<AgentHandle, SpawnError>> {
        async move {
            let limit = self.settings.connect_timeout;
            let (handle, first) = self.connect().await?;
            handle.welcomed(first, limit).await
        }
        .boxed()
    }

    /// Sets up and connects; the signal is given when the bus has welcomed the agent.
    async fn connect(self) -> Result<(AgentHandle, oneshot::Receiver<()>), SpawnError> {
        let Self { settings, handlers } = self;
        let connector = settings.connector.ok_or(SpawnError::NoConnector)?;
        let identity = settings.identity.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        check_identity(&identity)?;
        for (expression, _) in &handlers.cron {
            volttron_utils::time::Cron::parse(expression)
                .map_err(|e| SpawnError::Cron { expression: expression.clone(), why: e.to_string() })?;
        }

        let auth_on = settings.auth.unwrap_or_else(|| connector.authenticated());
        let is_service = settings.capabilities.is_some();
        let source = match settings.capabilities {
            Some(source) => Capabilities::Local(source),
            None if auth_on => Capabilities::Remote,
            None if connector.knows_callers() => Capabilities::Unneeded,
            None => Capabilities::Off,
        };
        let builtins =
            Builtins { any: !settings.thin, auth: auth_on, config: settings.store, web: handlers.web };
        let methods = rpc::State::new(handlers.methods, builtins)
            .map_err(|duplicate| SpawnError::DuplicateMethod(duplicate.0))?;
        let cx = Cx::new(Parts {
            about: About {
                identity: identity.clone(),
                instance_name: settings.instance_name,
                class: settings.class,
                version: settings.version,
                data_dir: settings.data_dir.unwrap_or_else(|| PathBuf::from("data")),
            },
            rpc: methods,
            auth: auth::State::new(source),
            config: config::State::new(settings.store, handlers.config),
            heartbeat: heartbeat::State::new(settings.heartbeat, settings.heartbeat_period),
            web: web::State::new(handlers.web),
        });

        for setup in &handlers.setup {
            crate::cx::guarded(&cx, "on_setup", setup(cx.clone())).await.map_err(SpawnError::Setup)?;
        }
        for (prefix, options, handler) in handlers.subscriptions {
            cx.run_subscription(&prefix, &options, handler);
        }
        let link = connector.connect(&identity).await?;
        cx.set_link(link.tx.clone());

        let (welcomed, first) = oneshot::channel();
        let (started, started_rx) = watch::channel(false);
        let run_loop = RunLoop {
            cx: cx.clone(),
            link,
            connected: handlers.connected,
            start: handlers.start,
            stop: handlers.stop,
            every: handlers.every,
            cron: handlers.cron,
            report_methods: auth_on && !is_service && !settings.thin,
            learn_instance: !settings.thin,
            welcomed: Some(welcomed),
            started: Some(started),
        };
        let task = tokio::spawn(run_loop.run());
        Ok((AgentHandle { cx, task, started: started_rx }, first))
    }
}

impl Cx {
    /// Feeds a handler from a subscription, one publication after another.
    fn run_subscription(&self, prefix: &str, options: &SubscribeOptions, handler: super::PublicationFn) {
        let mut subscription = self.subscribe_local(prefix, options);
        let cx = self.clone();
        let what = format!("the handler of topics beginning with '{prefix}'");
        self.spawn(async move {
            while let Some(publication) = subscription.next().await {
                // Logged and counted there.
                let _ =
                    crate::cx::guarded(&cx, &what, async { handler(cx.clone(), publication).await }).await;
            }
        });
    }
}

fn check_identity(identity: &str) -> Result<(), ConnectError> {
    let why = if identity.is_empty() {
        "it is empty, which means the router"
    } else if identity.len() > vip::MAX_IDENTITY_BYTES {
        "it is longer than 255 bytes"
    } else if typed::latin1(identity).is_none() {
        "it has characters outside ISO-8859-1"
    } else if typed::is_json_like(identity) {
        "it reads as JSON, which a Python platform would change"
    } else {
        return Ok(());
    };
    Err(ConnectError::Identity { identity: identity.to_owned(), why: why.to_owned() })
}

/// A running agent. Dropping it leaves the agent running.
#[derive(Debug)]
pub struct AgentHandle {
    cx: Cx,
    task: JoinHandle<ExitReason>,
    started: watch::Receiver<bool>,
}

impl AgentHandle {
    /// Waits until the bus has welcomed the agent; within `limit`, if there is one.
    async fn welcomed(
        self,
        first: oneshot::Receiver<()>,
        limit: Option<Duration>,
    ) -> Result<Self, SpawnError> {
        let welcomed = match limit {
            None => first.await.is_ok(),
            Some(limit) => {
                let Ok(outcome) = tokio::time::timeout(limit, first).await else {
                    let why = self.cx.last_down().unwrap_or_else(|| format!("no answer within {limit:?}"));
                    self.stop().await;
                    return Err(ConnectError::NoWelcome(why).into());
                };
                outcome.is_ok()
            }
        };
        if welcomed {
            return Ok(self);
        }
        Err(match self.joined().await {
            ExitReason::LinkDown(DownReason::NoWelcome(why)) => ConnectError::NoWelcome(why).into(),
            other => {
                ConnectError::NoWelcome(format!("the agent ended before it was welcomed: {other:?}")).into()
            }
        })
    }

    /// The agent's handle to the bus.
    pub fn cx(&self) -> &Cx {
        &self.cx
    }

    /// Resolves when the initial configuration was delivered and all `on_start` handlers have returned. False if the
    /// agent ended before.
    pub async fn started(&self) -> bool {
        self.started.clone().wait_for(|done| *done).await.is_ok()
    }

    /// Stops the agent and waits for its end.
    pub async fn stop(self) -> ExitReason {
        self.cx.stop();
        self.joined().await
    }

    /// Waits until the agent ends by itself or by [`Cx::stop`].
    pub async fn joined(self) -> ExitReason {
        match self.task.await {
            Ok(reason) => reason,
            Err(error) => ExitReason::Failed(error.to_string()),
        }
    }

    /// The agent's `on_start` signal, to wait for without holding the handle.
    pub fn started_signal(&self) -> watch::Receiver<bool> {
        self.started.clone()
    }
}

impl From<AgentError> for SpawnError {
    fn from(error: AgentError) -> Self {
        Self::Setup(error.to_string())
    }
}
