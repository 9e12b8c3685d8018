//! The task that owns a DEALER socket: it alone sends, receives and reads the monitor.
//!
//! libzmq's descriptor is edge-triggered. What keeps this from hanging: readiness is cleared *before* the socket is
//! used, and the last operation before waiting is always a receive that found nothing, or a question for its state:
//! both leave the socket's signal cleared, so that whatever happens next gives a new edge. A multipart message is
//! received and sent in one go, so that `select!` may drop any branch.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;
use volttron_utils::vip::{Message, subsystem, typed};
use zmq::{DONTWAIT, MonitorEvent, MonitorEventKind as Event};

use super::diagnosis::{Diagnosis, Target};
use crate::link::{DownReason, LinkEvent, LinkPeer, RouterInfo};

/// Messages handled per direction before other tasks get a turn.
const BATCH: usize = 256;
/// From this size on a received frame is handed on without copying.
const KEEP_BYTES: usize = 2048;
/// A hello without answer for this long is tried again on a new connection: the router may still hold our former
/// connection, and then it ignores this one for good (vip.md section 1.3).
const HELLO_RETRY: Duration = Duration::from_secs(4);
/// Pause before a refused connection is tried again. The platform delays its refusals as well.
const REFUSED_RETRY: Duration = Duration::from_millis(500);
/// When we first say that nothing listens.
const COMPLAIN_FIRST: Duration = Duration::from_secs(2);
/// How often we say it again.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// A socket with its readiness, told by a duplicate of its descriptor.
struct Polled {
    ready: AsyncFd<OwnedFd>,
    socket: zmq::Socket,
}

impl Polled {
    // The successor of `with_interest` is unsafe because a descriptor might not be owned; this one is.
    #[expect(deprecated, reason = "safe for an OwnedFd")]
    fn new(socket: zmq::Socket) -> std::io::Result<Self> {
        let ready = AsyncFd::with_interest(socket.duplicate_fd()?, Interest::READABLE)?;
        Ok(Self { ready, socket })
    }

    fn events(&self) -> zmq::PollEvents {
        self.socket.get_events().unwrap_or_default()
    }
}

/// Waits for the next edge and clears it.
async fn edge(ready: &AsyncFd<OwnedFd>) {
    if let Ok(mut guard) = ready.readable().await {
        guard.clear_ready();
    }
}

/// Where the conversation with the router stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No usable connection.
    Away,
    /// Hello is sent (or about to be); what to do if no answer comes by then.
    Greeting { until: Instant },
    /// Welcomed.
    Up,
}

pub(super) struct Task {
    dealer: Polled,
    monitor: Polled,
    target: Target,
    peer: LinkPeer,
    phase: Phase,
    /// Descriptor number of the present connection, by which the monitor names it.
    connection: Option<u32>,
    /// Number of the next hello.
    hello: u64,
    diagnosis: Diagnosis,
    /// When the first welcome must have come; none before a router was reached and after the first welcome.
    deadline: Option<Instant>,
    hello_deadline: Duration,
    /// Before a lost connection is made anew.
    pause: Duration,
    was_up: bool,
    /// For the agent, in order; the socket is not read while this is not empty.
    inbox: VecDeque<LinkEvent>,
    /// For the router, in order: hello before all else.
    outbox: Option<Vec<zmq::Message>>,
    complain: Instant,
    /// When to make a new connection, because libzmq will not.
    retry: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        context: &zmq::Context,
        socket: zmq::Socket,
        target: Target,
        (hello_deadline, pause): (Duration, Duration),
        peer: LinkPeer,
    ) -> std::io::Result<Self> {
        let name = format!("inproc://monitor-{}", uuid::Uuid::new_v4());
        socket.monitor(&name, zmq::events::ALL)?;
        let monitor = context.socket(zmq::SocketType::Pair)?;
        monitor.set_linger(0)?;
        monitor.connect(&name)?;
        socket.connect(&target.endpoint)?;
        Ok(Self {
            dealer: Polled::new(socket)?,
            monitor: Polled::new(monitor)?,
            target,
            peer,
            phase: Phase::Away,
            connection: None,
            hello: 0,
            diagnosis: Diagnosis::default(),
            deadline: None,
            hello_deadline,
            pause,
            was_up: false,
            inbox: VecDeque::new(),
            outbox: None,
            complain: Instant::now() + COMPLAIN_FIRST,
            retry: None,
        })
    }

    /// Runs until the agent lets go of the link, or no welcome comes.
    pub(super) async fn run(mut self) {
        // The monitor is asked only after its edge: every question costs a system call, and it has nothing to say for
        // days.
        let mut monitored = true;
        loop {
            if std::mem::take(&mut monitored) {
                self.read_monitor();
            }
            if let Some(last_words) = self.check_time() {
                // The agent may be gone already.
                let _ = self.peer.events.send(LinkEvent::Down(DownReason::NoWelcome(last_words))).await;
                return;
            }
            self.hand_over();
            // Sending comes first, because receiving has to come last (see the module's text).
            let busy = self.transmit() | self.receive();
            if self.peer.events.is_closed() {
                self.flush();
                return;
            }
            if busy {
                tokio::task::yield_now().await;
            } else {
                monitored = self.wait().await;
            }
        }
    }

    /// Waits until there may be something to do. Nothing here consumes anything but the edge and one outgoing message.
    /// True if the monitor has something to say.
    async fn wait(&mut self) -> bool {
        // Receiving may have learned that there is room again, and asking for that may learn of a message; no edge will
        // tell either a second time.
        if self.outbox.is_some() {
            let events = self.dealer.events();
            if events.writable || (events.readable && self.inbox.is_empty()) {
                return false;
            }
        }
        let wake_at = match self.phase {
            Phase::Up => None,
            Phase::Greeting { until } => Some(until).into_iter().chain(self.deadline).chain(self.retry).min(),
            Phase::Away => {
                let complain = (!self.was_up && !self.diagnosis.reached()).then_some(self.complain);
                complain.into_iter().chain(self.deadline).chain(self.retry).min()
            }
        };
        tokio::select! {
            () = edge(&self.dealer.ready) => {}
            () = edge(&self.monitor.ready) => return true,
            permit = self.peer.events.reserve(), if !self.inbox.is_empty() => drop(permit),
            message = self.peer.outgoing.recv(), if self.outbox.is_none() && !self.peer.outgoing.is_closed() => {
                if let Some(message) = message && self.phase == Phase::Up {
                    self.outbox = Some(to_parts(message));
                }
            }
            () = self.peer.events.closed() => {}
            () = tokio::time::sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
        }
        false
    }

    fn read_monitor(&mut self) {
        while let Ok(event) = MonitorEvent::recv(&self.monitor.socket, DONTWAIT) {
            tracing::trace!("{}: {:?} {}", self.target.endpoint, event.kind, event.value);
            self.diagnosis.note(event.kind);
            match event.kind {
                Event::Connected => self.connection = Some(event.value),
                Event::HandshakeSucceeded => self.greet(),
                // libzmq takes these for final and never tries again; a key may be approved at any time.
                Event::HandshakeFailedAuth | Event::HandshakeFailedProtocol => {
                    self.retry = Some(Instant::now() + REFUSED_RETRY);
                }
                // Only the present connection: the end of a former one may be reported after its successor's start.
                Event::Disconnected if self.connection == Some(event.value) => {
                    let carried = self.phase != Phase::Away;
                    self.lose();
                    if carried {
                        self.discard_connection();
                        self.retry = Some(Instant::now() + self.pause);
                    }
                }
                _ => {}
            }
        }
        if self.deadline.is_none() && !self.was_up && self.diagnosis.reached() {
            self.deadline = Some(Instant::now() + self.hello_deadline);
        }
    }

    /// Says hello, on a connection that can carry it.
    fn greet(&mut self) {
        if self.phase == Phase::Up {
            let connection = self.connection;
            self.lose();
            self.connection = connection;
        }
        let hello =
            Message::new("", subsystem::HELLO).with_id(format!("connect.hello.{}", self.hello)).arg("hello");
        self.hello += 1;
        self.outbox = Some(to_parts(hello));
        self.phase = Phase::Greeting { until: Instant::now() + HELLO_RETRY };
    }

    /// The connection is gone. What was said on it is over: nothing of it may go out on the next one.
    fn lose(&mut self) {
        if self.phase == Phase::Up {
            let why = format!("{} ended it or does not answer", self.target.endpoint);
            self.inbox.push_back(LinkEvent::Down(DownReason::Lost(why)));
        }
        self.phase = Phase::Away;
        self.connection = None;
        self.outbox = None;
        // What is queued was meant for the lost connection; the requests behind it fail with it.
        while self.peer.outgoing.try_recv().is_ok() {}
    }

    /// Gives up, tries again or complains when a time is over. Last words end the link.
    fn check_time(&mut self) -> Option<String> {
        if self.phase == Phase::Up {
            return None;
        }
        let now = Instant::now();
        if self.deadline.is_some_and(|d| now >= d) {
            return Some(self.diagnosis.explain(&self.target));
        }
        let unanswered = matches!(self.phase, Phase::Greeting { until } if now >= until);
        if unanswered || self.retry.is_some_and(|at| now >= at) {
            self.start_over();
        }
        if now >= self.complain && !self.was_up && !self.diagnosis.reached() {
            self.complain = now + COMPLAIN_EVERY;
            let why = self.diagnosis.explain(&self.target);
            tracing::warn!("{why}");
            self.inbox.push_back(LinkEvent::Down(DownReason::Lost(why)));
        }
        None
    }

    /// A new connection to the same router.
    fn start_over(&mut self) {
        self.lose();
        self.retry = None;
        self.discard_connection();
        let (socket, endpoint) = (&self.dealer.socket, &self.target.endpoint);
        if let Err(error) = socket.connect(endpoint) {
            tracing::warn!("cannot connect to {endpoint} again: {error}");
        }
    }

    /// Keeps libzmq from making a new connection by itself, and from sending on it what is queued for the old one. Never
    /// called between two parts of a message, see [`super::ZmqConnector`]'s socket.
    fn discard_connection(&self) {
        let socket = &self.dealer.socket;
        // Otherwise the old connection's queue lives on for the linger time, and may connect in our place.
        let _ = socket.set_linger(0);
        // Fails if libzmq has given up on it already, which is as good.
        let _ = socket.disconnect(&self.target.endpoint);
        let _ = socket.set_linger(super::LINGER_MS);
    }

    /// Gives the agent what is waiting for it, as far as it has room.
    fn hand_over(&mut self) {
        while let Some(event) = self.inbox.pop_front() {
            let Ok(permit) = self.peer.events.try_reserve() else {
                self.inbox.push_front(event);
                return;
            };
            permit.send(event);
        }
    }

    /// Reads a batch. True if there may be more.
    fn receive(&mut self) -> bool {
        for _ in 0..BATCH {
            if !self.inbox.is_empty() {
                return false;
            }
            let Ok(parts) = self.dealer.socket.recv_multipart(DONTWAIT) else { return false };
            match Message::from_frames(parts.into_iter().map(to_bytes)) {
                Ok(message) => self.take(message),
                Err(error) => tracing::debug!("dropped a message: {error}"),
            }
            self.hand_over();
        }
        true
    }

    fn take(&mut self, message: Message) {
        if matches!(self.phase, Phase::Greeting { .. })
            && let Some(info) = self.welcome(&message)
        {
            self.phase = Phase::Up;
            self.retry = None;
            self.was_up = true;
            self.deadline = None;
            self.diagnosis.reset();
            self.inbox.push_back(LinkEvent::Up(info));
            return;
        }
        // Nothing counts before the welcome: it belongs to a former connection.
        if self.phase == Phase::Up {
            self.inbox.push_back(LinkEvent::Message(message));
        }
    }

    /// The router's answer to our latest hello.
    fn welcome(&self, message: &Message) -> Option<RouterInfo> {
        let id = format!("connect.hello.{}", self.hello.checked_sub(1)?);
        let is_hello = message.peer.is_empty() && message.subsystem.as_ref() == subsystem::HELLO.as_bytes();
        if !is_hello || message.id.as_ref() != id.as_bytes() {
            return None;
        }
        let [kind, version, router, identity, ..] = message.args.as_slice() else { return None };
        (kind.as_ref() == b"welcome").then(|| RouterInfo {
            version: typed::text(version).into_owned(),
            router: typed::text(router).into_owned(),
            identity: typed::text(identity).into_owned(),
        })
    }

    /// Sends a batch. True if there may be more.
    fn transmit(&mut self) -> bool {
        for _ in 0..BATCH {
            if self.outbox.is_none() {
                match self.peer.outgoing.try_recv() {
                    Ok(message) if self.phase == Phase::Up => self.outbox = Some(to_parts(message)),
                    // Not connected: whoever sent it learns of that by the Down event.
                    Ok(_) => continue,
                    Err(_) => return false,
                }
            }
            let Some(parts) = self.outbox.take() else { return false };
            if let Err(unsent) = self.dealer.socket.send_multipart(parts, DONTWAIT) {
                if unsent.error == zmq::Error::EAGAIN {
                    self.outbox = Some(unsent.parts);
                } else {
                    tracing::warn!("cannot send: {}", unsent.error);
                }
                return false;
            }
        }
        true
    }

    /// The agent ended: what it queued goes out, as far as the connection takes it.
    fn flush(&mut self) {
        while self.phase == Phase::Up {
            let parts = self.outbox.take().or_else(|| self.peer.outgoing.try_recv().ok().map(to_parts));
            let Some(parts) = parts else { return };
            if self.dealer.socket.send_multipart(parts, DONTWAIT).is_err() {
                return;
            }
        }
    }
}

fn to_bytes(part: zmq::Message) -> Bytes {
    if part.len() >= KEEP_BYTES { Bytes::from_owner(part) } else { Bytes::copy_from_slice(&part) }
}

fn to_parts(message: Message) -> Vec<zmq::Message> {
    message.into_frames().into_iter().map(|frame| zmq::Message::from(frame.as_ref())).collect()
}
