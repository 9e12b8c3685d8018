//! [`Cx`], the handle through which an agent does everything, and the state behind it.
//!
//! Owns the exchange of one request for one answer ([`Cx::exchange`]) and task spawning; each subsystem adds its own
//! `impl Cx` in its own module. Must never interpret payloads.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volttron_utils::vip::typed;

use crate::link::{LinkSender, Message, RouterInfo, TrySendError};
use crate::meter::Meter;
use crate::requests::{Answer, Requests, Ticket};
use crate::{AgentError, CallError, auth, channel, config, health, heartbeat, peerlist, pubsub, rpc, web};

/// An agent's handle to the bus: cheap to clone, usable from any task.
#[derive(Clone)]
pub struct Cx(pub(crate) Arc<Inner>);

/// What a builder knows about an agent.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) identity: String,
    pub(crate) instance_name: Option<String>,
    pub(crate) class: String,
    pub(crate) version: String,
    pub(crate) data_dir: PathBuf,
}

/// Everything behind a [`Cx`]. One field per subsystem.
pub(crate) struct Inner {
    about: About,
    instance_name: OnceLock<String>,
    link: OnceLock<LinkSender>,
    connected: AtomicBool,
    router: Mutex<Option<RouterInfo>>,
    last_down: Mutex<Option<String>>,
    pub(crate) requests: Requests,
    pub(crate) meter: Meter,
    pub(crate) rpc: rpc::State,
    pub(crate) refusals: rpc::refusals::State,
    pub(crate) pubsub: pubsub::State,
    pub(crate) peers: peerlist::State,
    pub(crate) health: health::State,
    pub(crate) heartbeat: heartbeat::State,
    pub(crate) auth: auth::State,
    pub(crate) config: config::State,
    pub(crate) channels: channel::State,
    pub(crate) web: web::State,
    /// Somebody asked the agent to stop.
    pub(crate) stop: CancellationToken,
    /// `on_stop` is over: tasks end.
    pub(crate) abort: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// The parts of [`Inner`] that depend on how an agent was built.
pub(crate) struct Parts {
    pub(crate) about: About,
    pub(crate) rpc: rpc::State,
    pub(crate) auth: auth::State,
    pub(crate) config: config::State,
    pub(crate) heartbeat: heartbeat::State,
    pub(crate) web: web::State,
}

impl Cx {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { about, rpc, auth, config, heartbeat, web } = parts;
        let instance_name = OnceLock::new();
        if let Some(name) = &about.instance_name {
            // A fresh cell takes its first value.
            let _ = instance_name.set(name.clone());
        }
        Self(Arc::new(Inner {
            about,
            instance_name,
            link: OnceLock::new(),
            connected: AtomicBool::new(false),
            router: Mutex::default(),
            last_down: Mutex::default(),
            requests: Requests::new(),
            meter: Meter::default(),
            rpc,
            refusals: rpc::refusals::State::default(),
            pubsub: pubsub::State::default(),
            peers: peerlist::State::default(),
            health: health::State::default(),
            heartbeat,
            auth,
            config,
            channels: channel::State::default(),
            web,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The agent's VIP identity.
    pub fn identity(&self) -> &str {
        &self.0.about.identity
    }

    /// Name of the platform instance; empty until the platform told it (before `on_start`).
    pub fn instance_name(&self) -> &str {
        self.0.instance_name.get().map_or("", String::as_str)
    }

    pub(crate) fn learn_instance_name(&self, name: String) {
        // The first answer stays: an agent does not change instances.
        let _ = self.0.instance_name.set(name);
    }

    pub(crate) fn knows_instance_name(&self) -> bool {
        self.0.instance_name.get().is_some()
    }

    /// The agent's class name, as alert topics show it.
    pub fn class_name(&self) -> &str {
        &self.0.about.class
    }

    /// The agent's version, as `agent.version` answers it.
    pub fn version(&self) -> &str {
        &self.0.about.version
    }

    /// The directory where the agent may write and which upgrades keep. It may not exist yet.
    pub fn data_dir(&self) -> &Path {
        &self.0.about.data_dir
    }

    /// Who welcomed us, if we are connected.
    pub fn router(&self) -> Option<RouterInfo> {
        self.0.router.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True between a welcome and the loss of the connection.
    pub fn connected(&self) -> bool {
        self.0.connected.load(Ordering::Acquire)
    }

    /// Counters of this agent.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// How many requests wait for an answer now.
    pub fn waiting_requests(&self) -> usize {
        self.0.requests.len()
    }

    pub(crate) fn set_link(&self, link: LinkSender) {
        // The builder connects once.
        let _ = self.0.link.set(link);
    }

    pub(crate) fn set_router(&self, info: Option<RouterInfo>) {
        self.0.connected.store(info.is_some(), Ordering::Release);
        *self.0.router.lock().unwrap_or_else(PoisonError::into_inner) = info;
    }

    pub(crate) fn note_down(&self, why: String) {
        *self.0.last_down.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Why the link was last down, if it ever was.
    pub fn last_down(&self) -> Option<String> {
        self.0.last_down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the agent: `on_stop` handlers run, the router is told, tasks are ended. Returns at once.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Resolves when the agent was asked to stop; long loops select on it.
    pub async fn shutting_down(&self) {
        self.0.stop.cancelled().await;
    }

    /// True once the agent was asked to stop.
    pub fn is_shutting_down(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Runs a task that ends with the agent (after its `on_stop` handlers). A panic is logged and counted.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cx = self.clone();
        self.0.tasks.spawn(async move {
            let caught = AssertUnwindSafe(task).catch_unwind();
            tokio::select! {
                () = cx.0.abort.cancelled() => {}
                outcome = caught => if let Err(panic) = outcome {
                    cx.0.meter.panics.add(1);
                    tracing::error!("a task panicked: {}", panic_text(&*panic));
                },
            }
        })
    }

    /// Queues a message as it is. For subsystems this library does not know; `peer` empty = the router.
    pub async fn raw_send(&self, message: Message) -> Result<(), CallError> {
        let link = self.0.link.get().ok_or(CallError::Disconnected)?;
        link.send(message).await.map_err(|_| CallError::Closed)
    }

    /// As [`Cx::raw_send`]; tells whether it had to wait for room.
    pub(crate) async fn raw_send_counted(&self, message: Message) -> Result<bool, CallError> {
        let link = self.0.link.get().ok_or(CallError::Disconnected)?;
        match link.try_send(message) {
            Ok(()) => Ok(false),
            Err(TrySendError::Full(message)) => {
                link.send(*message).await.map_err(|_| CallError::Closed)?;
                Ok(true)
            }
            Err(TrySendError::Closed(_)) => Err(CallError::Closed),
        }
    }

    /// Queues a message without waiting for room.
    pub(crate) fn try_send(&self, message: Message) -> bool {
        self.0.link.get().is_some_and(|link| link.try_send(message).is_ok())
    }

    /// Asks the router (or, by `subsystem`, whoever serves it there) and returns the reply's arguments.
    pub async fn router_request(&self, subsystem: &str, args: Vec<Bytes>) -> Result<Vec<Bytes>, CallError> {
        self.request("", subsystem, rpc::DEFAULT_TIMEOUT, args).await
    }

    /// Asks `peer` through `subsystem` and returns the reply's arguments.
    pub(crate) async fn request(
        &self,
        peer: &str,
        subsystem: &str,
        timeout: Duration,
        args: Vec<Bytes>,
    ) -> Result<Vec<Bytes>, CallError> {
        match self.exchange(peer, subsystem, subsystem, timeout, |_| Ok(args)).await? {
            Answer::Args(args) => Ok(args),
            other => Err(CallError::BadReply {
                peer: peer.to_owned(),
                what: subsystem.to_owned(),
                why: format!("{other:?}"),
            }),
        }
    }

    /// One request, one answer. `what` names it in errors; `make` gets the message id.
    pub(crate) async fn exchange(
        &self,
        peer: &str,
        subsystem: &str,
        what: &str,
        timeout: Duration,
        make: impl FnOnce(&str) -> Result<Vec<Bytes>, CallError>,
    ) -> Result<Answer, CallError> {
        let address = peer_frame(peer)?;
        let mut ticket = self.ticket(peer)?;
        let args = make(ticket.id())?;
        let mut message = Message::new(address, Bytes::copy_from_slice(subsystem.as_bytes()));
        message.id = Bytes::copy_from_slice(ticket.id().as_bytes());
        message.args = args;
        let answer = async {
            self.raw_send(message).await?;
            Ok(ticket.answer().await)
        };
        match tokio::time::timeout(timeout, answer).await {
            Err(_) => {
                Err(CallError::Timeout { what: what.to_owned(), peer: peer.to_owned(), after: timeout })
            }
            Ok(Ok(Answer::Failed(error))) => Err(CallError::from_vip(error, peer)),
            Ok(Ok(Answer::Down)) => Err(CallError::Disconnected),
            Ok(done) => done,
        }
    }

    /// A place for the answer of `peer`.
    pub(crate) fn ticket(&self, peer: &str) -> Result<Ticket<'_>, CallError> {
        let ticket = self.0.requests.begin(&peer_frame(peer)?).map_err(|_| CallError::TooMany)?;
        // Looked at after registering: a link that goes down later ends this ticket too.
        if self.connected() { Ok(ticket) } else { Err(CallError::Disconnected) }
    }

    /// Sends without waiting for an answer; refused when not connected.
    pub(crate) async fn send_frames(
        &self,
        peer: &str,
        subsystem: &str,
        id: &str,
        args: Vec<Bytes>,
    ) -> Result<(), CallError> {
        if !self.connected() {
            return Err(CallError::Disconnected);
        }
        let mut message = Message::new(peer_frame(peer)?, Bytes::copy_from_slice(subsystem.as_bytes()));
        message.id = Bytes::copy_from_slice(id.as_bytes());
        message.args = args;
        self.raw_send(message).await
    }
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("identity", &self.identity())
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

/// An identity as a frame. One that a Python hop would change, or that has no ISO-8859-1 form, cannot be addressed.
fn peer_frame(peer: &str) -> Result<Bytes, CallError> {
    match typed::latin1(peer) {
        Some(bytes) if peer.is_empty() || !typed::is_json_like(peer) => Ok(bytes.into()),
        _ => Err(CallError::Unreachable { peer: peer.to_owned() }),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Runs a handler of the author: errors and panics are logged and counted, never passed on.
pub(crate) async fn guarded<F>(cx: &Cx, what: &str, handler: F) -> Result<(), String>
where
    F: Future<Output = Result<(), AgentError>>,
{
    let why = match AssertUnwindSafe(handler).catch_unwind().await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => {
            cx.0.meter.handler_errors.add(1);
            error.to_string()
        }
        Err(panic) => {
            cx.0.meter.panics.add(1);
            format!("panic: {}", panic_text(&*panic))
        }
    };
    tracing::error!("{what} failed: {why}");
    Err(why)
}
