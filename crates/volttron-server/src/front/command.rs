//! What the platform asks of the router thread, and what it learns from it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::Value;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use volttron_client::link::LinkPeer;
use volttron_router::{Control, Meter, Traffic};

use super::{
    ConnectionMeter, LocalMeter, SlowPeer, Watch, WatchFilter, bell::Bell, watch::Watching, zap::ZapMeter,
};

/// Most commands waiting; senders wait beyond it.
const COMMANDS: usize = 256;

/// How the bus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontState {
    /// Serving.
    Running,
    /// The control service sent `quit`: the platform has to stop.
    QuitRequested,
    /// The thread is gone. Unless the platform stopped it, the platform has to stop.
    Ended,
}

/// The bus has stopped.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the message bus has stopped")]
pub struct FrontStopped;

pub(crate) enum Command {
    Control(Control),
    Attach {
        identity: String,
        aliases: Vec<String>,
        peer: LinkPeer,
        done: oneshot::Sender<Result<(), String>>,
    },
    Snapshot(oneshot::Sender<FrontSnapshot>),
    Watch(Watching),
    AdmitPeers,
}

/// The thread's own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontMeter {
    /// Messages from sockets, disconnect notices included.
    pub received: u64,
    /// Messages from local services.
    pub received_local: u64,
    /// Disconnect notices.
    pub disconnects: u64,
    /// Peers found gone without a notice.
    pub swept: u64,
    /// Messages dropped because handling them panicked.
    pub panics: u64,
    /// Sends that failed for another reason than an absent or slow peer.
    pub send_failures: u64,
}

/// A peer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMeter {
    /// Its identity.
    pub identity: String,
    /// Whether it is a service of the platform.
    pub is_service: bool,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// Messages and bytes that passed since it connected.
    pub traffic: Traffic,
    /// Messages it lost because it does not read fast enough.
    pub lost: u64,
    /// For how long it has been connected.
    pub connected: std::time::Duration,
}

/// Everything the bus counts.
#[derive(Clone, Debug)]
pub struct FrontSnapshot {
    /// The thread.
    pub front: FrontMeter,
    /// The router.
    pub router: Meter,
    /// The statistics of platform-internals.md section 5.
    pub statistics: Value,
    /// The authenticator's door.
    pub zap: ZapMeter,
    /// Connections, below the messages.
    pub connections: ConnectionMeter,
    /// Watches open now.
    pub watches: usize,
    /// Refusals held back now.
    pub refusals_waiting: usize,
    /// All peers.
    pub peers: Vec<PeerMeter>,
    /// The local services' rings.
    pub services: Vec<LocalMeter>,
}

/// A cheap handle on the router thread.
#[derive(Clone)]
pub struct FrontControl {
    commands: mpsc::Sender<Command>,
    bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
    state: watch::Receiver<FrontState>,
    slow: watch::Receiver<Vec<SlowPeer>>,
}

/// The thread's ends of a [`FrontControl`].
pub(super) struct Served {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) bell: Arc<Bell>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) state: watch::Sender<FrontState>,
}

impl FrontControl {
    pub(super) fn new(slow: watch::Receiver<Vec<SlowPeer>>) -> std::io::Result<(Self, Served)> {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let (state_tx, state) = watch::channel(FrontState::Running);
        let bell = Arc::new(Bell::new()?);
        let stop = Arc::new(AtomicBool::new(false));
        let control = Self { commands: sender, bell: bell.clone(), stop: stop.clone(), state, slow };
        Ok((control, Served { commands, bell, stop, state: state_tx }))
    }

    /// Tells the router something. Takes effect in order, before messages that arrive later.
    pub async fn control(&self, control: Control) -> Result<(), FrontStopped> {
        self.send(Command::Control(control)).await
    }

    /// Everything the bus counts, now.
    pub async fn snapshot(&self) -> Result<FrontSnapshot, FrontStopped> {
        let (tx, rx) = oneshot::channel();
        self.send(Command::Snapshot(tx)).await?;
        rx.await.map_err(|_| FrontStopped)
    }

    /// Shows every message that passes and that `filter` lets through, until the [`Watch`] is dropped.
    pub async fn watch(&self, filter: WatchFilter) -> Result<Watch, FrontStopped> {
        let (watching, watch) = Watching::new(filter);
        self.send(Command::Watch(watching)).await?;
        Ok(watch)
    }

    /// Serves connections from now on, after [`super::Front::start_holding_peers`].
    pub async fn admit_peers(&self) -> Result<(), FrontStopped> {
        self.send(Command::AdmitPeers).await
    }

    /// How the bus is, to be watched: the platform stops when it is no longer running.
    pub fn state(&self) -> watch::Receiver<FrontState> {
        self.state.clone()
    }

    /// Peers that lose messages because they do not read, to be watched; looked at once a second.
    pub fn slow_peers(&self) -> watch::Receiver<Vec<SlowPeer>> {
        self.slow.clone()
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), FrontStopped> {
        self.commands.send(command).await.map_err(|_| FrontStopped)?;
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Asks the thread to end; does not wait.
    pub(super) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
    }
}
