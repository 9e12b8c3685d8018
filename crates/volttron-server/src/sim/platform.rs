//! One life of the simulated platform: the router with the real rules as its policy, and the real services on a
//! runtime whose clock the world moves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use volttron_client::link::{ConnectError, Connector, Link, LinkEvent, LinkPeer, Message, RouterInfo};
use volttron_client::{Agent, AgentBuilder, AgentHandle};
use volttron_router::{Limits, Router};
use volttron_utils::home::Home;

use super::disk::SimDisk;
use super::wires::SERVICES;
use crate::auth::audit::AuditLog;
use crate::auth::store::AuthStore;
use crate::auth::{AuthOptions, AuthState};
use crate::services::auth::AuthService;
use crate::services::config_store::ConfigStore;

/// Messages that fit into a service's ring, each way.
const RING: usize = 16;

/// Where on the disk the configuration store is.
pub(super) const STORES: &str = "configuration_store/";

/// What runs.
pub(super) struct Platform {
    pub router: Router<Bytes, AuthState>,
    pub auth: AuthState,
    /// What the services say, in the order of [`SERVICES`].
    pub outgoing: Vec<mpsc::Receiver<Message>>,
    handles: Vec<AgentHandle>,
    runtime: Runtime,
}

/// Gives services their end of a ring, and keeps the other.
#[derive(Clone, Default)]
struct Rings(Arc<Mutex<Vec<LinkPeer>>>);

impl Connector for Rings {
    fn connect<'a>(&'a self, identity: &'a str) -> BoxFuture<'a, Result<Link, ConnectError>> {
        let (link, peer) = Link::channel(RING, None);
        let info = RouterInfo { identity: identity.to_owned(), ..RouterInfo::default() };
        // The ring is empty.
        let _ = peer.events.try_send(LinkEvent::Up(info));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
        Box::pin(std::future::ready(Ok(link)))
    }
}

impl Platform {
    /// Starts one, as its disk is. Gives the rings of its services. The error is what its start says.
    pub fn start(disk: &SimDisk, limits: Limits) -> Result<(Self, Vec<mpsc::Sender<LinkEvent>>), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|e| e.to_string())?;
        let home = Home::new("/simulated").map_err(|e| e.to_string())?;
        let store = AuthStore::within(home.auth_file(), Arc::new(disk.clone()));
        let auth = AuthState::open_with(store, &home, AuthOptions::default(), AuditLog::none())
            .map_err(|e| e.to_string())?;
        let stores = ConfigStore::open(Box::new(disk.within(STORES))).map_err(|e| e.to_string())?;
        let rings = Rings::default();
        let handles = runtime.block_on(async {
            let service = AuthService::unwatched(auth.clone());
            Ok::<_, String>(vec![
                spawn(SERVICES[0].0, service, &rings, &auth).await?,
                spawn(SERVICES[1].0, stores, &rings, &auth).await?,
            ])
        })?;
        let peers = std::mem::take(&mut *rings.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut outgoing, mut events) = (Vec::new(), Vec::new());
        for peer in peers {
            outgoing.push(peer.outgoing);
            events.push(peer.events);
        }
        let router = Router::new(auth.clone(), limits);
        Ok((Self { router, auth, outgoing, handles, runtime }, events))
    }

    /// Lets the services run until all of them wait for something from outside.
    pub fn settle(&self) {
        // The paused clock moves only when nothing else can run.
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }

    /// Moves the clock of the services.
    pub fn advance(&self, by: Duration) {
        self.runtime.block_on(async { tokio::time::advance(by).await });
    }

    /// Panics that the services survived; there must be none.
    pub fn panics(&self) -> u64 {
        self.handles.iter().map(|handle| handle.cx().meter().panics.get()).sum()
    }
}

async fn spawn<A: Agent>(
    identity: &str,
    agent: A,
    rings: &Rings,
    auth: &AuthState,
) -> Result<AgentHandle, String> {
    let builder = AgentBuilder::new(agent).identity(identity).connector(rings.clone());
    let builder = builder.instance_name("sim").store(false).heartbeat(false).auth(true);
    builder.capabilities(Arc::new(auth.clone())).spawn().await.map_err(|e| e.to_string())
}
