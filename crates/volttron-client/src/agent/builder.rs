//! [`AgentBuilder`]: says how an agent runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::spawn::{AgentHandle, Bound, Settings, SpawnError};
use super::{Agent, Registrar};
use crate::access::CapabilitySource;
use crate::link::Connector;

/// Puts an agent on a bus.
#[must_use = "an agent does nothing until spawned"]
pub struct AgentBuilder<A> {
    agent: Arc<A>,
    settings: Settings,
}

impl<A> std::fmt::Debug for AgentBuilder<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentBuilder").field("identity", &self.settings.identity).finish_non_exhaustive()
    }
}

impl<A: Agent> AgentBuilder<A> {
    /// Starts from an agent's state.
    pub fn new(agent: A) -> Self {
        Self::shared(Arc::new(agent))
    }

    /// Starts from state that somebody else holds as well.
    pub fn shared(agent: Arc<A>) -> Self {
        Self { agent, settings: Settings::new(A::NAME) }
    }

    /// VIP identity; a random one otherwise.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.settings.identity = Some(identity.into());
        self
    }

    /// Which bus.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.settings.connector = Some(Box::new(connector));
        self
    }

    /// What `agent.version` answers; `0.1` otherwise.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.settings.version = version.into();
        self
    }

    /// Class name in alert topics; [`Agent::NAME`] otherwise.
    pub fn class(mut self, name: impl Into<String>) -> Self {
        self.settings.class = name.into();
        self
    }

    /// Name of the platform instance; asked from the platform otherwise.
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.settings.instance_name = Some(name.into());
        self
    }

    /// Where the agent may write; `./data` otherwise.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.data_dir = Some(path.into());
        self
    }

    /// How often it beats; 60 s otherwise.
    pub fn heartbeat_period(mut self, period: Duration) -> Self {
        self.settings.heartbeat_period = period;
        self
    }

    /// Whether it beats from the start; yes otherwise.
    pub fn heartbeat(mut self, on: bool) -> Self {
        self.settings.heartbeat = on;
        self
    }

    /// Whether it uses the configuration store; yes otherwise.
    pub fn store(mut self, on: bool) -> Self {
        self.settings.store = on;
        self
    }

    /// Whether callers are authenticated on this bus; what the connector says otherwise.
    pub fn auth(mut self, on: bool) -> Self {
        self.settings.auth = Some(on);
        self
    }

    /// Looks capabilities up in a table of this process instead of asking `platform.auth`: for the platform's own
    /// services, which also are exempt from reporting their methods there.
    pub fn capabilities(mut self, source: Arc<dyn CapabilitySource>) -> Self {
        self.settings.capabilities = Some(source);
        self
    }

    /// How long [`AgentBuilder::spawn`] waits for the welcome. Without it, it waits as long as no platform is there at
    /// all, since that may still start; what answers but does not welcome is an error after 10 s in any case.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = Some(limit);
        self
    }

    /// A peer that only asks: no built-in methods, no heartbeat, no store.
    pub(crate) fn thin(mut self) -> Self {
        self.settings.thin = true;
        self.heartbeat(false).store(false)
    }

    /// Sets up, connects and runs the agent on the current runtime. Returns when the bus has welcomed it; initial
    /// configuration and `on_start` follow ([`AgentHandle::started`]).
    pub async fn spawn(self) -> Result<AgentHandle, SpawnError> {
        self.bind().spawn().await
    }

    /// Binds the agent to all that it registers. Its type is forgotten here: what follows is compiled once in this crate
    /// and not again in that of each agent.
    pub(crate) fn bind(self) -> Bound {
        let mut registrar = Registrar::default();
        A::register(&mut registrar);
        Bound { settings: self.settings, handlers: registrar.bind(&self.agent) }
    }
}
