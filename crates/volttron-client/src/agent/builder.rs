//! [`AgentBuilder`]: from an agent to a running one. [`AgentHandle`]: the way to end it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use volttron_utils::vip::{self, typed};

use super::run_loop::RunLoop;
use super::{Agent, Registrar};
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

/// Puts an agent on a bus.
#[must_use = "an agent does nothing until spawned"]
pub struct AgentBuilder<A> {
    agent: Arc<A>,
    identity: Option<String>,
    connector: Option<Box<dyn Connector>>,
    version: String,
    class: String,
    instance_name: Option<String>,
    data_dir: Option<PathBuf>,
    heartbeat_period: Duration,
    heartbeat: bool,
    store: bool,
    auth: Option<bool>,
    capabilities: Option<Arc<dyn CapabilitySource>>,
    connect_timeout: Option<Duration>,
    thin: bool,
}

impl<A> std::fmt::Debug for AgentBuilder<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentBuilder").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl<A: Agent> AgentBuilder<A> {
    /// Starts from an agent's state.
    pub fn new(agent: A) -> Self {
        Self::shared(Arc::new(agent))
    }

    /// Starts from state that somebody else holds as well.
    pub fn shared(agent: Arc<A>) -> Self {
        Self {
            agent,
            identity: None,
            connector: None,
            version: "0.1".to_owned(),
            class: A::NAME.to_owned(),
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

    /// VIP identity; a random one otherwise.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Which bus.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Some(Box::new(connector));
        self
    }

    /// What `agent.version` answers; `0.1` otherwise.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Class name in alert topics; [`Agent::NAME`] otherwise.
    pub fn class(mut self, name: impl Into<String>) -> Self {
        self.class = name.into();
        self
    }

    /// Name of the platform instance; asked from the platform otherwise.
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.instance_name = Some(name.into());
        self
    }

    /// Where the agent may write; `./data` otherwise.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// How often it beats; 60 s otherwise.
    pub fn heartbeat_period(mut self, period: Duration) -> Self {
        self.heartbeat_period = period;
        self
    }

    /// Whether it beats from the start; yes otherwise.
    pub fn heartbeat(mut self, on: bool) -> Self {
        self.heartbeat = on;
        self
    }

    /// Whether it uses the configuration store; yes otherwise.
    pub fn store(mut self, on: bool) -> Self {
        self.store = on;
        self
    }

    /// Whether callers are authenticated on this bus; what the connector says otherwise.
    pub fn auth(mut self, on: bool) -> Self {
        self.auth = Some(on);
        self
    }

    /// Looks capabilities up in a table of this process instead of asking `platform.auth`: for the platform's own
    /// services, which also are exempt from reporting their methods there.
    pub fn capabilities(mut self, source: Arc<dyn CapabilitySource>) -> Self {
        self.capabilities = Some(source);
        self
    }

    /// How long [`AgentBuilder::spawn`] waits for the welcome. Without it, it waits as long as no platform is there at
    /// all, since that may still start; what answers but does not welcome is an error after 10 s in any case.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// A peer that only asks: no built-in methods, no heartbeat, no store.
    pub(crate) fn thin(mut self) -> Self {
        self.thin = true;
        self.heartbeat(false).store(false)
    }

    /// Sets up, connects and runs the agent on the current runtime. Returns when the bus has welcomed it; initial
    /// configuration and `on_start` follow ([`AgentHandle::started`]).
    pub async fn spawn(self) -> Result<AgentHandle, SpawnError> {
        let connector = self.connector.ok_or(SpawnError::NoConnector)?;
        let identity = self.identity.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        check_identity(&identity)?;

        let mut registrar = Registrar::default();
        A::register(&mut registrar);
        let handlers = registrar.bind(&self.agent);
        for (expression, _) in &handlers.cron {
            volttron_utils::time::Cron::parse(expression)
                .map_err(|e| SpawnError::Cron { expression: expression.clone(), why: e.to_string() })?;
        }

        let auth_on = self.auth.unwrap_or_else(|| connector.authenticated());
        let is_service = self.capabilities.is_some();
        let source = match self.capabilities {
            Some(source) => Capabilities::Local(source),
            None if auth_on => Capabilities::Remote,
            None if connector.knows_callers() => Capabilities::Unneeded,
            None => Capabilities::Off,
        };
        let builtins = Builtins { any: !self.thin, auth: auth_on, config: self.store, web: handlers.web };
        let methods = rpc::State::new(handlers.methods, builtins)
            .map_err(|duplicate| SpawnError::DuplicateMethod(duplicate.0))?;
        let cx = Cx::new(Parts {
            about: About {
                identity: identity.clone(),
                instance_name: self.instance_name,
                class: self.class,
                version: self.version,
                data_dir: self.data_dir.unwrap_or_else(|| PathBuf::from("data")),
            },
            rpc: methods,
            auth: auth::State::new(source),
            config: config::State::new(self.store, handlers.config),
            heartbeat: heartbeat::State::new(self.heartbeat, self.heartbeat_period),
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
            report_methods: auth_on && !is_service && !self.thin,
            learn_instance: !self.thin,
            welcomed: Some(welcomed),
            started: Some(started),
        };
        let task = tokio::spawn(run_loop.run());
        let handle = AgentHandle { cx, task, started: started_rx };
        let welcomed = match self.connect_timeout {
            None => first.await.is_ok(),
            Some(limit) => {
                let Ok(outcome) = tokio::time::timeout(limit, first).await else {
                    let why = handle.cx.last_down().unwrap_or_else(|| format!("no answer within {limit:?}"));
                    handle.stop().await;
                    return Err(ConnectError::NoWelcome(why).into());
                };
                outcome.is_ok()
            }
        };
        if welcomed {
            return Ok(handle);
        }
        Err(match handle.joined().await {
            ExitReason::LinkDown(DownReason::NoWelcome(why)) => ConnectError::NoWelcome(why).into(),
            other => {
                ConnectError::NoWelcome(format!("the agent ended before it was welcomed: {other:?}")).into()
            }
        })
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
