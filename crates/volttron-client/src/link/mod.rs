//! The connection between an agent and a message bus, as agents see it.
//!
//! Owns the types every bus implementation shares: [`Connector`] makes a [`Link`], a link delivers
//! [`LinkEvent`]s and takes [`Message`]s through a [`LinkSender`]. Hello, reconnection and back-off live
//! *inside* a link; an agent only sees [`LinkEvent::Up`] again. Must never interpret what a subsystem sends.
//!
//! Implementations: `zmq` (a DEALER socket), `memory` (feature `testing`), and the in-process link that the
//! platform gives to its own services, built from [`Link::channel`].

#[cfg(feature = "testing")]
pub mod memory;
#[cfg(feature = "zmq")]
pub mod zmq;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

pub use volttron_utils::vip::Message;

/// Who answered our hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterInfo {
    /// Version text of the welcome, `1.0` from every known router.
    pub version: String,
    /// Socket identity of the router, a new random text at each of its starts.
    pub router: String,
    /// The identity under which the router knows us.
    pub identity: String,
}

/// What a link tells its agent, in the order in which it happened.
#[derive(Debug)]
pub enum LinkEvent {
    /// The router welcomed us: at first connection and after each reconnection.
    Up(RouterInfo),
    /// A message for this agent.
    Message(Message),
    /// The connection is gone. A link that reconnects by itself reports [`LinkEvent::Up`] later;
    /// [`DownReason::is_final`] tells that it will not.
    Down(DownReason),
}

/// Why a link went down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// The connection broke; the link is reconnecting.
    Lost(String),
    /// The router never welcomed us. The text says what is known and what to do about it. Final.
    NoWelcome(String),
    /// The other end closed for good (the platform stops). Final.
    Closed,
}

impl DownReason {
    /// True when the link will not come up again.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Lost(_))
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::NoWelcome(why) => f.write_str(why),
            Self::Closed => f.write_str("closed by the platform"),
        }
    }
}

/// The link no longer takes messages: the agent stopped or its bus is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link to the message bus is closed")]
pub struct LinkClosed;

/// Why [`LinkSender::try_send`] did not take a message.
#[derive(Debug, thiserror::Error)]
pub enum TrySendError {
    /// The outgoing queue is full; the message comes back.
    #[error("the outgoing queue is full")]
    Full(Box<Message>),
    /// The link is closed; the message comes back.
    #[error("the link to the message bus is closed")]
    Closed(Box<Message>),
}

/// Why no link could be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The identity cannot be used on a bus.
    #[error("identity '{identity}' cannot be used: {why}")]
    Identity {
        /// What was asked for.
        identity: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address cannot be used.
    #[error("cannot connect to '{address}': {why}")]
    Address {
        /// The address as given, without keys.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The router did not welcome us. The text explains the likely causes.
    #[error("{0}")]
    NoWelcome(String),
    /// The operating system or the bus library refused.
    #[error("cannot {what}: {why}")]
    System {
        /// What was tried.
        what: String,
        /// What it said.
        why: String,
    },
}

/// Called after a message was put on a [`LinkSender`]'s queue; in-process links use it to wake a thread that
/// sleeps in a poll. Must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The sending half of a link. Cheap to clone. The queue behind it is bounded: [`LinkSender::send`] waits,
/// [`LinkSender::try_send`] gives the message back and counts.
#[derive(Clone)]
pub struct LinkSender {
    queue: mpsc::Sender<Message>,
    wake: Option<Wake>,
    refused: Arc<AtomicU64>,
}

impl LinkSender {
    /// Queues a message, waiting for room.
    pub async fn send(&self, message: Message) -> Result<(), LinkClosed> {
        // Without a detour when there is room: who asks first is queued first. Never past others that wait for room,
        // since room goes to them before it is free for this.
        match self.queue.try_send(message) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(message)) => {
                self.queue.send(message).await.map_err(|_| LinkClosed)?;
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(LinkClosed),
        }
        self.wake();
        Ok(())
    }

    /// Queues a message if there is room now.
    pub fn try_send(&self, message: Message) -> Result<(), TrySendError> {
        match self.queue.try_send(message) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(m)) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(TrySendError::Full(Box::new(m)))
            }
            Err(mpsc::error::TrySendError::Closed(m)) => Err(TrySendError::Closed(Box::new(m))),
        }
    }

    /// Messages that [`LinkSender::try_send`] could not queue because there was no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Resolves when the other side has taken everything and let go.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            wake();
        }
    }
}

impl fmt::Debug for LinkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSender").field("free", &self.queue.capacity()).finish_non_exhaustive()
    }
}

/// An agent's end of a link.
#[derive(Debug)]
pub struct Link {
    /// Where messages go. `peer` empty = the router.
    pub tx: LinkSender,
    /// What happens, in order. Dropping it asks the other side to send what is queued and close.
    pub rx: mpsc::Receiver<LinkEvent>,
}

/// The bus's end of a link made with [`Link::channel`].
///
/// Contract of the owner: take from `outgoing` until it ends, tell `events`; when `events.is_closed()`, send what is
/// still queued, then drop this.
#[derive(Debug)]
pub struct LinkPeer {
    /// Messages of the agent, in order.
    pub outgoing: mpsc::Receiver<Message>,
    /// Where the agent hears from us. Bounded: a full queue means that the agent does not keep up.
    pub events: mpsc::Sender<LinkEvent>,
}

impl Link {
    /// Bound of both queues for ordinary agents, in messages.
    pub const BOUND: usize = 1024;

    /// A link whose other end is served by the caller. `bound` messages fit each way; `wake` is called after each
    /// message the agent queues.
    pub fn channel(bound: usize, wake: Option<Wake>) -> (Link, LinkPeer) {
        let (queue, outgoing) = mpsc::channel(bound.max(1));
        let (events, rx) = mpsc::channel(bound.max(1));
        let tx = LinkSender { queue, wake, refused: Arc::default() };
        (Link { tx, rx }, LinkPeer { outgoing, events })
    }

    /// Closes: the other side sends what is queued and lets go. Waits for that at most `limit`.
    pub async fn close(self, limit: Duration) {
        let Link { tx, rx } = self;
        drop(rx);
        tx.wake();
        // Past the limit there is nothing more to do: the process or the service ends anyway.
        let _ = tokio::time::timeout(limit, tx.closed()).await;
    }
}

/// Makes links: to a platform over ZeroMQ, inside one process, or in memory for tests.
pub trait Connector: Send + Sync + 'static {
    /// Connects `identity`. Returns as soon as the link exists; [`LinkEvent::Up`] tells when the router welcomed it.
    fn connect<'a>(&'a self, identity: &'a str) -> BoxFuture<'a, Result<Link, ConnectError>>;

    /// True when callers on this bus are authenticated, so that capabilities mean something (auth.md section 1).
    fn authenticated(&self) -> bool {
        true
    }

    /// True when every identity on this bus is that of whoever has it, authenticated or, as in memory, given out by the
    /// same program. Without it methods cannot be reserved to identities either.
    fn knows_callers(&self) -> bool {
        self.authenticated()
    }
}

impl<C: Connector + ?Sized> Connector for Arc<C> {
    fn connect<'a>(&'a self, identity: &'a str) -> BoxFuture<'a, Result<Link, ConnectError>> {
        (**self).connect(identity)
    }

    fn authenticated(&self) -> bool {
        (**self).authenticated()
    }

    fn knows_callers(&self) -> bool {
        (**self).knows_callers()
    }
}

impl<C: Connector + ?Sized> Connector for Box<C> {
    fn connect<'a>(&'a self, identity: &'a str) -> BoxFuture<'a, Result<Link, ConnectError>> {
        (**self).connect(identity)
    }

    fn authenticated(&self) -> bool {
        (**self).authenticated()
    }

    fn knows_callers(&self) -> bool {
        (**self).knows_callers()
    }
}
