//! The router thread: one poll over sockets and bell, bounded batches, the router called for every message.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use smallvec::SmallVec;
use tokio::sync::mpsc;
use tracing::{error, info};
use volttron_router::{Control, Input, Origin, Policy, Router, ServiceId, UserId};
use volttron_utils::vip::{Frames, MAX_FRAMES};
use zmq::{Message, Socket};

use super::{
    FrontState, ZmqFrame,
    alarm::Alarm,
    bell::Bell,
    command::{Command, FrontMeter, FrontSnapshot, PeerMeter},
    connections::Connections,
    locals::{Locals, Taken},
    outlet::{Outlet, Reporter},
    watch::Watches,
    zap::Zap,
};

/// Most messages taken from one source before the others get their turn.
const BATCH: usize = 256;
const TICK: Duration = Duration::from_secs(1);
/// How often the router's peers are compared with libzmq's connections. A closed connection is normally told at
/// once; the notice is lost only when the peer's inbound queue was full at that moment.
const SWEEP: Duration = Duration::from_secs(5);

/// Everything the thread owns.
pub(super) struct Worker<P: Policy> {
    pub(super) router: Router<ZmqFrame, P>,
    pub(super) identity: String,
    pub(super) socket: Socket,
    pub(super) zap: Option<(Socket, Zap)>,
    pub(super) locals: Locals,
    pub(super) reporter: Reporter,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) bell: Arc<Bell>,
    pub(super) alarm: Alarm,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) meter: FrontMeter,
    pub(super) connections: Connections,
    pub(super) watches: Watches,
    /// False until the platform's services are there: nothing is taken from the sockets before.
    pub(super) admits_peers: bool,
}

/// Who wants attention besides the bus's socket, which is looked at every time.
struct Ready {
    bell: bool,
    alarm: bool,
    zap: bool,
}

impl<P: Policy> Worker<P> {
    /// Runs until asked to stop. When it returns the sockets are closed; the context's end (in the caller) waits
    /// until libzmq has let go of the endpoints.
    pub(super) fn run(mut self) {
        let mut next_tick = Instant::now() + TICK;
        let mut next_sweep = Instant::now() + SWEEP;
        // True at first: what arrived before the thread ran has no wake-up of its own.
        let (mut left, mut zap_left) = (true, true);
        while !self.stop.load(Ordering::Acquire) {
            let ready = match self.wait(next_tick, left || (zap_left && self.admits_peers)) {
                Ok(ready) => ready,
                Err(e) => {
                    error!(error = %e, "the message bus ends: waiting failed");
                    break;
                }
            };
            if ready.alarm {
                self.alarm.answer();
            }
            // One reading of the clock per batch is exact enough for everything the router keeps time for.
            let now = Instant::now();
            if ready.bell {
                self.bell.answer();
                self.take_commands(now);
            }
            if now >= next_tick {
                next_tick = now + TICK;
                self.reporter.tick(now);
                self.look_at_slow_peers(now);
                self.handle(now, Input::Tick);
                if now >= next_sweep {
                    next_sweep = now + SWEEP;
                    self.sweep(now);
                }
                // Links dropped without a ring are noticed now.
                left = true;
            }
            if ready.bell || left {
                left = self.take_local(now);
            }
            if !self.admits_peers {
                self.locals.flush();
                continue;
            }
            if ready.zap || zap_left || self.refusal_due().is_some_and(|due| due <= now) {
                zap_left = self.serve_zap(now);
            }
            // Always, and last: everything above may have sent on the socket, see `wait`.
            left |= self.take_wire(now);
            self.locals.flush();
        }
        self.handle(Instant::now(), Input::Control(Control::Shutdown));
        self.locals.close();
    }

    /// Sleeps until something wants attention.
    ///
    /// On the sockets' own descriptors instead of through `zmq_poll`, which costs six further system calls per
    /// wake-up. The price is a rule: a send or receive may use a descriptor's readiness up, so the last operation on
    /// each socket before this has to be a receive that said `EAGAIN`; `at_once` says that it was not.
    fn wait(&mut self, next_tick: Instant, at_once: bool) -> Result<Ready, Box<dyn std::error::Error>> {
        let timeout = if at_once {
            Some(Timespec { tv_sec: 0, tv_nsec: 0 })
        } else {
            let until = self.refusal_due().map_or(next_tick, |due| due.min(next_tick));
            self.alarm.set(Instant::now(), until)?;
            None
        };
        let mut fds: SmallVec<[PollFd<'_>; 4]> = SmallVec::new();
        fds.push(PollFd::from_borrowed_fd(self.bell.fd(), PollFlags::IN));
        fds.push(PollFd::from_borrowed_fd(self.alarm.fd(), PollFlags::IN));
        if self.admits_peers {
            if let Some((socket, _)) = &self.zap {
                fds.push(PollFd::from_borrowed_fd(socket.wait_fd()?, PollFlags::IN));
            }
            fds.push(PollFd::from_borrowed_fd(self.socket.wait_fd()?, PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let is_ready = |n: usize| fds.get(n).is_some_and(|fd| !fd.revents().is_empty());
        // Without a handler the third is the bus's own socket, which is looked at anyway.
        Ok(Ready { bell: is_ready(0), alarm: is_ready(1), zap: is_ready(2) })
    }

    /// When the next held-back refusal is to be sent.
    fn refusal_due(&self) -> Option<Instant> {
        self.zap.as_ref().and_then(|(_, zap)| zap.next_due())
    }

    /// Gives one input to the router. A panic in there costs that input, not the platform.
    fn handle(&mut self, now: Instant, input: Input<ZmqFrame>) -> bool {
        // A copy of thirty numbers, and only while somebody watches.
        let seen = self.watches.look(&input).map(|seen| (seen, *self.router.meter()));
        let mut outlet =
            Outlet { socket: &self.socket, locals: &mut self.locals, reporter: &mut self.reporter };
        let router = &mut self.router;
        let done = catch_unwind(AssertUnwindSafe(|| router.handle(now, input, &mut outlet)));
        if done.is_err() {
            self.meter.panics += 1;
        }
        if let Some((seen, before)) = seen {
            self.watches.show(seen, &before, self.router.meter());
        }
        done.is_ok()
    }

    /// Takes a batch from the bus's socket. Tells whether something may be left.
    fn take_wire(&mut self, now: Instant) -> bool {
        for _ in 0..BATCH {
            let mut frames: Frames<ZmqFrame> = Frames::new();
            let mut sizes: SmallVec<[u32; 16]> = SmallVec::new();
            let received = self.socket.recv_with(zmq::DONTWAIT, |part| {
                // One frame more than allowed is enough for the router to see that there are too many.
                if frames.len() <= MAX_FRAMES {
                    sizes.push(part.len() as u32);
                    frames.push(ZmqFrame(part));
                }
            });
            match received {
                Ok(()) => {}
                Err(zmq::Error::EAGAIN) => return false,
                Err(e) => {
                    error!(error = %e, "the message bus ends: receiving failed");
                    self.stop.store(true, Ordering::Release);
                    return false;
                }
            }
            self.meter.received += 1;
            if is_disconnect(&frames) {
                self.meter.disconnects += 1;
                let identity = Bytes::copy_from_slice(frames[0].as_ref());
                self.handle(now, Input::PeerGone { identity });
                continue;
            }
            // Without authentication nobody has the property, and looking for it is not free.
            let user = match &self.zap {
                Some(_) => frames.first().and_then(|f| f.0.gets(c"User-Id")).and_then(UserId::new),
                None => None,
            };
            if !self.handle(now, Input::Message { from: Origin::Wire, user, frames }) {
                error!(?sizes, "a message was dropped because handling it panicked; please report this");
            }
        }
        true
    }

    /// Takes a batch from each local service. Tells whether something may be left.
    fn take_local(&mut self, now: Instant) -> bool {
        let mut left = false;
        for id in self.locals.ids() {
            left |= self.take_service(now, id);
        }
        left
    }

    fn take_service(&mut self, now: Instant, id: ServiceId) -> bool {
        for _ in 0..BATCH {
            match self.locals.take(id) {
                Taken::Frames(frames) => {
                    self.meter.received_local += 1;
                    self.handle(now, Input::Message { from: Origin::Local(id), user: None, frames });
                }
                Taken::Empty => return false,
                Taken::Ended => {
                    self.handle(now, Input::Control(Control::DetachService(id)));
                    self.locals.detach(id);
                    return false;
                }
            }
        }
        true
    }

    fn take_commands(&mut self, now: Instant) {
        for _ in 0..BATCH {
            match self.commands.try_recv() {
                Ok(Command::Control(control)) => {
                    self.handle(now, Input::Control(control));
                }
                Ok(Command::Attach { identity, aliases, peer, done }) => {
                    let attached = self.attach(now, identity, aliases, peer);
                    // Nobody waits any more: the link's other end is gone too, which `take_local` notices.
                    let _ = done.send(attached);
                }
                Ok(Command::Snapshot(to)) => {
                    let _ = to.send(self.snapshot());
                }
                Ok(Command::Watch(watching)) => self.watches.add(watching),
                Ok(Command::AdmitPeers) => self.admits_peers = true,
                Err(_) => return,
            }
        }
        // More commands than a batch: come back after the other sources.
        self.bell.ring();
    }

    fn attach(
        &mut self,
        now: Instant,
        identity: String,
        aliases: Vec<String>,
        peer: volttron_client::link::LinkPeer,
    ) -> Result<(), String> {
        if self.locals.is_attached(&identity) {
            return Err("a service of that name is connected already".to_owned());
        }
        let id = self.locals.attach(&identity, peer).ok_or("too many services are connected")?;
        self.handle(now, Input::Control(Control::AttachService { id, identity, aliases }));
        self.locals.up(id, &self.identity);
        Ok(())
    }

    /// Sends the refusals whose time has come and answers a batch of libzmq's questions. Tells whether some may be
    /// left.
    fn serve_zap(&mut self, now: Instant) -> bool {
        let Some((socket, zap)) = &mut self.zap else { return false };
        while let Some(mut reply) = zap.due(now) {
            // Fails only when the handshake is over already; so below.
            let _ = socket.send_parts(&mut reply, zmq::DONTWAIT);
        }
        for _ in 0..BATCH {
            let mut frames: SmallVec<[Message; 12]> = SmallVec::new();
            if socket.recv_with(zmq::DONTWAIT, |part| frames.push(part)).is_err() {
                return false;
            }
            match catch_unwind(AssertUnwindSafe(|| zap.ask(now, &frames))) {
                Ok(Some(mut reply)) => {
                    let _ = socket.send_parts(&mut reply, zmq::DONTWAIT);
                }
                Ok(None) => {}
                // No answer lets the handshake time out, which is a refusal.
                Err(_) => self.meter.panics += 1,
            }
        }
        true
    }

    /// Finds out which slow peers still are.
    fn look_at_slow_peers(&mut self, now: Instant) {
        let (socket, locals) = (&self.socket, &self.locals);
        self.reporter.slow.look(now, |identity| {
            locals.is_full(identity).unwrap_or_else(|| {
                let wire = volttron_utils::vip::typed::latin1(identity);
                wire.is_some_and(|identity| socket.peer_writable(&identity) == Ok(false))
            })
        });
    }

    /// Drops peers whose connection is gone without a notice.
    fn sweep(&mut self, now: Instant) {
        let gone = |identity: &str| {
            let identity = volttron_utils::vip::typed::latin1(identity)?;
            let state = self.socket.peer_writable(&identity);
            (state == Err(zmq::Error::EHOSTUNREACH)).then(|| Bytes::from(identity))
        };
        let gone: Vec<Bytes> =
            self.router.peers().filter(|p| p.service.is_none()).filter_map(|p| gone(p.identity)).collect();
        for identity in gone {
            self.meter.swept += 1;
            self.handle(now, Input::PeerGone { identity });
        }
    }

    fn snapshot(&self) -> FrontSnapshot {
        let now = Instant::now();
        let peer = |p: volttron_router::PeerInfo<'_>| PeerMeter {
            identity: p.identity.to_owned(),
            is_service: p.service.is_some(),
            subscriptions: p.subscriptions,
            traffic: p.traffic,
            lost: p.dropped,
            connected: now.saturating_duration_since(p.since),
        };
        FrontSnapshot {
            front: FrontMeter { send_failures: self.reporter.send_failures, ..self.meter },
            router: *self.router.meter(),
            statistics: self.router.stats(),
            zap: self.zap.as_ref().map(|(_, zap)| zap.meter).unwrap_or_default(),
            connections: self.connections.meter(),
            watches: self.watches.open(),
            refusals_waiting: self.zap.as_ref().map_or(0, |(_, zap)| zap.waiting()),
            peers: self.router.peers().map(peer).collect(),
            services: self.locals.meters(),
        }
    }
}

impl<P: Policy> Drop for Worker<P> {
    fn drop(&mut self) {
        // Also when the thread ends by a panic outside the router: the platform must not run on without its bus.
        self.reporter.set_state(FrontState::Ended);
        info!("the message bus has stopped");
    }
}

/// `[identity, ""]` without connection properties comes from libzmq itself: the connection is closed. The same from a
/// peer is a probe and has properties.
fn is_disconnect(frames: &[ZmqFrame]) -> bool {
    matches!(frames, [_, empty] if empty.0.is_empty() && empty.0.gets(c"Socket-Type").is_none())
}
