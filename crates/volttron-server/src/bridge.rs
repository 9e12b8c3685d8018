//! Links of the services inside the process: no socket, no cryptography, one copy.
//!
//! Owns the way from a service's [`Link`] to the router thread: bounded rings both ways, a bell that is rung only when
//! the thread may sleep. Must never route or look into messages; the thread's half is in `front::locals`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use volttron_client::link::{ConnectError, Connector, Link, Wake};
use volttron_utils::identity;

use crate::front::{Command, FrontControl};

/// Messages that fit into a service's ring, each way.
pub const RING_MESSAGES: usize = 4096;

/// Connects the platform's services to its own router. Who has this value may use any service identity.
#[derive(Clone)]
pub struct LocalConnector {
    front: FrontControl,
    authenticated: bool,
}

impl LocalConnector {
    /// `authenticated`: whether peers on sockets have to authenticate, so that capabilities mean something.
    pub fn new(front: FrontControl, authenticated: bool) -> Self {
        Self { front, authenticated }
    }

    async fn attach(&self, identity: &str) -> Result<Link, ConnectError> {
        let bell = self.front.bell().clone();
        let wake: Wake = Arc::new(move || bell.ring());
        let (link, peer) = Link::channel(RING_MESSAGES, Some(wake));
        let aliases = identity::ALIASES.iter().filter(|(name, _)| *name == identity);
        let (done, attached) = oneshot::channel();
        let command = Command::Attach {
            identity: identity.to_owned(),
            aliases: aliases.map(|(_, alias)| (*alias).to_owned()).collect(),
            peer,
            done,
        };
        let stopped = |why: &dyn std::fmt::Display| ConnectError::System {
            what: format!("connect the service {identity}"),
            why: why.to_string(),
        };
        self.front.send(command).await.map_err(|e| stopped(&e))?;
        match attached.await {
            Ok(Ok(())) => Ok(link),
            Ok(Err(why)) => Err(ConnectError::Identity { identity: identity.to_owned(), why }),
            Err(_) => Err(stopped(&"the message bus has stopped")),
        }
    }
}

impl Connector for LocalConnector {
    fn connect<'a>(&'a self, identity: &'a str) -> BoxFuture<'a, Result<Link, ConnectError>> {
        Box::pin(self.attach(identity))
    }

    fn authenticated(&self) -> bool {
        self.authenticated
    }
}
