//! The socket side of the message bus: one OS thread that owns the ROUTER, the ZAP handler and the way to the
//! services inside the process, and calls the sans-IO router for every message.
//!
//! Owns: sockets, endpoints, libzmq's settings, ZAP's questions and answers. The only place where `zmq::Message`
//! meets the router. Must never decide who may connect ([`zap::Authenticator`] does) or where a message goes
//! (`volttron_router` does), wait for an agent, or leave the thread with a message for another peer.
//!
//! Start at [`Front`], then `worker.rs` (the loop).

mod alarm;
mod bell;
mod command;
mod connections;
mod endpoint;
mod frame;
mod lines;
mod locals;
mod outlet;
mod slow;
mod sockets;
mod watch;
mod worker;
pub mod zap;

use std::{io, thread, time::Instant};

use thiserror::Error;
use tracing::warn;
use volttron_router::{Policy, Router};
use volttron_utils::vip::MAX_FRAME_BYTES;

pub(crate) use command::Command;
pub use command::{FrontControl, FrontMeter, FrontSnapshot, FrontState, FrontStopped, PeerMeter};
pub use connections::ConnectionMeter;
pub(crate) use endpoint::IN_USE;
pub use endpoint::{Bind, BindError, Security};
pub use frame::ZmqFrame;
pub use locals::LocalMeter;
pub use slow::SlowPeer;
pub use watch::{Seen, WATCHES, Watch, WatchFilter};

/// Why the bus did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrontError {
    /// An endpoint cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// libzmq refuses something it should not.
    #[error("cannot set up the message bus: {0}")]
    Socket(#[from] zmq::Error),
    /// No thread or eventfd.
    #[error("cannot start the message bus: {0}")]
    System(#[from] io::Error),
}

/// What to listen on, and who decides about connections.
pub struct FrontConfig {
    /// Endpoints, in the order in which they are bound.
    pub binds: Vec<Bind>,
    /// Asked about every connection. `None`: authentication is off, connections are not asked anything.
    pub authenticator: Option<Box<dyn zap::Authenticator>>,
    /// Largest frame accepted; a peer that sends more is disconnected.
    pub max_frame_bytes: usize,
}

impl FrontConfig {
    /// Listens on `binds`, with the default limits.
    pub fn new(binds: Vec<Bind>, authenticator: Option<Box<dyn zap::Authenticator>>) -> Self {
        Self { binds, authenticator, max_frame_bytes: MAX_FRAME_BYTES }
    }
}

/// The bus, bound but not yet serving: connections wait until [`start`](Self::start).
pub struct Front {
    // Order matters on drop: sockets before the context.
    socket: zmq::Socket,
    zap: Option<(zmq::Socket, zap::Zap)>,
    monitor: connections::Monitor,
    context: zmq::Context,
    identity: String,
    endpoints: Vec<String>,
}

impl Front {
    /// Binds every endpoint, or none.
    pub fn bind(config: FrontConfig) -> Result<Self, FrontError> {
        let context = sockets::context()?;
        // Before the bus's socket: libzmq looks for the handler when a connection needs it.
        let zap = match config.authenticator {
            Some(authenticator) => Some((sockets::zap(&context)?, zap::Zap::new(authenticator))),
            None => None,
        };
        // New at each start, so that agents can tell a restarted platform (vip.md section 1.1).
        let identity = uuid::Uuid::new_v4().to_string();
        let limit = i64::try_from(config.max_frame_bytes).unwrap_or(-1);
        let socket = sockets::router(&context, &identity, limit)?;
        let monitor = connections::Monitor::of(&context, &socket)?;
        let asks = zap.is_some();
        let endpoints =
            config.binds.iter().map(|bind| bind.apply(&socket, asks)).collect::<Result<_, BindError>>()?;
        Ok(Self { socket, zap, monitor, context, identity, endpoints })
    }

    /// The endpoints as bound, in the order of the configuration, wildcard ports resolved.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The router's own identity, which `hello` tells.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Starts serving with `router`, which should have heard [`volttron_router::Control::Info`] before.
    pub fn start<P: Policy + Send + 'static>(
        self,
        router: Router<ZmqFrame, P>,
    ) -> Result<RunningFront, FrontError> {
        self.start_thread(router, true)
    }

    /// The same, but connections go on waiting until [`FrontControl::admit_peers`]. Agents that come back the moment a
    /// platform does must not meet one without its services: stock Python clients do not survive the error they get.
    pub fn start_holding_peers<P: Policy + Send + 'static>(
        self,
        router: Router<ZmqFrame, P>,
    ) -> Result<RunningFront, FrontError> {
        self.start_thread(router, false)
    }

    fn start_thread<P: Policy + Send + 'static>(
        self,
        router: Router<ZmqFrame, P>,
        admits_peers: bool,
    ) -> Result<RunningFront, FrontError> {
        let slow = slow::SlowPeers::default();
        let (control, served) = FrontControl::new(slow.subscribe())?;
        let Self { socket, zap, monitor, context, identity, endpoints } = self;
        let connections = connections::Connections::default();
        let reader = monitor.start(connections.clone())?;
        let worker = worker::Worker {
            router,
            identity: identity.clone(),
            socket,
            zap,
            locals: locals::Locals::default(),
            reporter: outlet::Reporter::new(served.state, slow, Instant::now()),
            commands: served.commands,
            bell: served.bell,
            alarm: alarm::Alarm::new()?,
            stop: served.stop,
            meter: FrontMeter::default(),
            connections,
            watches: watch::Watches::default(),
            admits_peers,
        };
        let thread = thread::Builder::new().name("vip-router".to_owned()).spawn(move || {
            worker.run();
            // The bus's socket is closed. What is left of libzmq's is the monitor's, whose reader this ends: its news that
            // the watched socket is gone does not always come.
            let _ = context.shutdown();
            let _ = reader.join();
            // Waits until libzmq's threads have closed the listeners: a successor can bind as soon as we are joined.
            drop(context);
        })?;
        Ok(RunningFront { control, identity, endpoints, thread: Some(thread) })
    }
}

/// The serving bus. Stops when dropped.
pub struct RunningFront {
    control: FrontControl,
    identity: String,
    endpoints: Vec<String>,
    thread: Option<thread::JoinHandle<()>>,
}

impl RunningFront {
    /// A handle for commands, state and local links.
    pub fn control(&self) -> &FrontControl {
        &self.control
    }

    /// See [`Front::endpoints`].
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// See [`Front::identity`].
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Ends the bus. When this returns every endpoint is free for a successor. Peers are not told; they see their
    /// connection close (platform-internals.md section 2). Takes milliseconds.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.control.ask_to_stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the message bus's thread had panicked");
        }
    }
}

impl Drop for RunningFront {
    fn drop(&mut self) {
        self.end();
    }
}
