//! [`Connection`]: a peer that only asks. For command line tools and tests; serves nothing, does not beat.

use std::ops::Deref;
use std::time::Duration;

use crate::link::Connector;
use crate::{Agent, AgentBuilder, AgentHandle, Cx, ExitReason, Registrar, SpawnError};

/// How long [`Connection::open`] waits unless told otherwise.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

struct Tool;

impl Agent for Tool {
    const NAME: &'static str = "Connection";
    fn register(_: &mut Registrar<Self>) {}
}

/// How to connect.
#[derive(Debug)]
pub struct ConnectOptions {
    connector: Box<dyn ConnectorDebug>,
    identity: Option<String>,
    timeout: Duration,
}

/// A connector in a box that can be shown.
trait ConnectorDebug: Connector + std::fmt::Debug {}
impl<C: Connector + std::fmt::Debug> ConnectorDebug for C {}

impl ConnectOptions {
    /// Connects through `connector`, under a random identity unless one is set.
    pub fn new(connector: impl Connector + std::fmt::Debug) -> Self {
        Self { connector: Box::new(connector), identity: None, timeout: OPEN_TIMEOUT }
    }

    /// VIP identity.
    #[must_use]
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// How long to wait for the platform's welcome; 30 s otherwise.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }
}

/// A connected peer. It is used through its [`Cx`]; [`Connection::close`] says goodbye.
#[derive(Debug)]
pub struct Connection {
    handle: AgentHandle,
}

impl Connection {
    /// Connects and learns who is on the bus.
    pub async fn open(options: ConnectOptions) -> Result<Self, SpawnError> {
        let mut builder = AgentBuilder::new(Tool)
            .connector(Boxed(options.connector))
            .connect_timeout(options.timeout)
            .thin();
        if let Some(identity) = options.identity {
            builder = builder.identity(identity);
        }
        let handle = builder.spawn().await?;
        handle.started().await;
        Ok(Self { handle })
    }

    /// Says goodbye and waits until it is said.
    pub async fn close(self) -> ExitReason {
        self.handle.stop().await
    }
}

impl Deref for Connection {
    type Target = Cx;
    fn deref(&self) -> &Cx {
        self.handle.cx()
    }
}

struct Boxed(Box<dyn ConnectorDebug>);

impl Connector for Boxed {
    fn connect<'a>(
        &'a self,
        identity: &'a str,
    ) -> futures_util::future::BoxFuture<'a, Result<crate::link::Link, crate::ConnectError>> {
        self.0.connect(identity)
    }

    fn authenticated(&self) -> bool {
        self.0.authenticated()
    }

    fn knows_callers(&self) -> bool {
        self.0.knows_callers()
    }
}
