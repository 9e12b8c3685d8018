//! Links into a real router in the same process, for tests: no sockets, no threads, no keys.
//!
//! [`MemoryBus`] owns the router and plays the network: it can cut connections and restart the router. Who connects
//! under an identity in use gets no welcome, as on a socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use volttron_router::{
    AdmitAll, Control, Input, Limits, Origin, Output, Router, RouterEvent, RouterFacts, ServiceId, Unsent,
    Why,
};
use volttron_utils::vip::{Frames, Message, subsystem, typed};

use super::{ConnectError, Connector, DownReason, Link, LinkEvent, LinkPeer, RouterInfo};

/// A message bus in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryBus(Arc<Mutex<Bus>>);

struct Bus {
    router: Router<Bytes, AdmitAll>,
    wires: Wires,
    facts: RouterFacts,
}

/// The connections; the router's output.
#[derive(Default)]
struct Wires {
    open: HashMap<Bytes, mpsc::Sender<LinkEvent>>,
    /// Connections that are cut at the moment, to be mended later.
    cut: HashMap<Bytes, mpsc::Sender<LinkEvent>>,
}

impl Output<Bytes> for Wires {
    fn wire(&mut self, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let Some(wire) = frames.first().and_then(|to| self.open.get(to)) else {
            return Err(Unsent { why: Why::NoRoute, frames });
        };
        let Ok(permit) = wire.try_reserve() else {
            let why = if wire.is_closed() { Why::NoRoute } else { Why::Full };
            return Err(Unsent { why, frames });
        };
        // The router builds its messages well formed.
        if let Ok(message) = Message::from_frames(frames.into_iter().skip(1)) {
            permit.send(as_event(message));
        }
        Ok(())
    }

    fn local(&mut self, _to: ServiceId, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        Err(Unsent { why: Why::NoRoute, frames })
    }

    fn share(&mut self, frame: &Bytes) -> Bytes {
        frame.clone()
    }

    fn event(&mut self, event: RouterEvent<'_>) {
        tracing::debug!("{event:?}");
    }
}

/// The welcome is the link's business, everything else the agent's.
fn as_event(message: Message) -> LinkEvent {
    let welcome = message.peer.is_empty()
        && message.subsystem.as_ref() == subsystem::HELLO.as_bytes()
        && message.id.starts_with(b"connect.hello.");
    match message.args.as_slice() {
        [kind, version, router, identity, ..] if welcome && kind.as_ref() == b"welcome" => {
            LinkEvent::Up(RouterInfo {
                version: typed::text(version).into_owned(),
                router: typed::text(router).into_owned(),
                identity: typed::text(identity).into_owned(),
            })
        }
        _ => LinkEvent::Message(message),
    }
}

impl Bus {
    fn input(&mut self, identity: &Bytes, message: Message) {
        let mut frames: Frames<Bytes> = Frames::new();
        frames.push(identity.clone());
        frames.extend(message.into_frames());
        let input = Input::Message { from: Origin::Wire, user: None, frames };
        self.router.handle(Instant::now(), input, &mut self.wires);
    }

    fn hello(&mut self, identity: &Bytes) {
        let hello = Message::new("", subsystem::HELLO).with_id("connect.hello.0").arg("hello");
        self.input(identity, hello);
    }

    fn gone(&mut self, identity: &Bytes) {
        let input = Input::PeerGone { identity: identity.clone() };
        self.router.handle(Instant::now(), input, &mut self.wires);
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new("test")
    }
}

impl std::fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBus").field("peers", &self.lock().wires.open.len()).finish()
    }
}

impl MemoryBus {
    /// A bus of the platform instance `instance_name`.
    pub fn new(instance_name: &str) -> Self {
        let facts = RouterFacts {
            router_id: uuid::Uuid::new_v4().to_string(),
            instance_name: instance_name.to_owned(),
            ..RouterFacts::default()
        };
        let mut bus =
            Bus { router: Router::new(AdmitAll, Limits::default()), wires: Wires::default(), facts };
        bus.tell_facts();
        Self(Arc::new(Mutex::new(bus)))
    }

    fn lock(&self) -> MutexGuard<'_, Bus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the connection of `identity` until [`MemoryBus::mend`].
    pub fn cut(&self, identity: &str) {
        let key = Bytes::copy_from_slice(identity.as_bytes());
        let mut bus = self.lock();
        let Some(wire) = bus.wires.open.remove(&key) else { return };
        // A full queue: the agent is not reading, and cannot notice.
        let _ = wire.try_send(LinkEvent::Down(DownReason::Lost("cut by the test".into())));
        bus.wires.cut.insert(key.clone(), wire);
        bus.gone(&key);
    }

    /// Restores a connection that was cut: the agent is welcomed again.
    pub fn mend(&self, identity: &str) {
        let key = Bytes::copy_from_slice(identity.as_bytes());
        let mut bus = self.lock();
        let Some(wire) = bus.wires.cut.remove(&key) else { return };
        bus.wires.open.insert(key.clone(), wire);
        bus.hello(&key);
    }

    /// A new router takes the old one's place: every connection is cut, and everything it knew is forgotten.
    pub fn restart_router(&self) {
        let mut bus = self.lock();
        bus.router = Router::new(AdmitAll, Limits::default());
        bus.facts.router_id = uuid::Uuid::new_v4().to_string();
        bus.tell_facts();
        let wires: Vec<Bytes> = bus.wires.open.keys().cloned().collect();
        for wire in bus.wires.open.values() {
            // As in `cut`.
            let _ = wire.try_send(LinkEvent::Down(DownReason::Lost("router restarted".into())));
        }
        for identity in wires {
            bus.hello(&identity);
        }
    }

    fn attach(&self, identity: &str) -> Link {
        let key = Bytes::copy_from_slice(identity.as_bytes());
        let (link, peer) = Link::channel(Link::BOUND, None);
        let mut bus = self.lock();
        if bus.wires.open.contains_key(&key) || bus.wires.cut.contains_key(&key) {
            // An empty queue takes one event.
            let _ = peer.events.try_send(LinkEvent::Down(DownReason::NoWelcome(format!(
                "identity '{identity}' is in use by another connection"
            ))));
            return link;
        }
        bus.wires.open.insert(key.clone(), peer.events.clone());
        bus.hello(&key);
        drop(bus);
        tokio::spawn(self.clone().serve(key, peer));
        link
    }

    async fn serve(self, identity: Bytes, peer: LinkPeer) {
        let LinkPeer { mut outgoing, events } = peer;
        loop {
            tokio::select! {
                biased;
                message = outgoing.recv() => match message {
                    Some(message) => self.forward(&identity, message),
                    None => break,
                },
                () = events.closed() => break,
            }
        }
        // The agent ended: what it queued still goes out.
        while let Ok(message) = outgoing.try_recv() {
            self.forward(&identity, message);
        }
        let mut bus = self.lock();
        bus.wires.open.remove(&identity);
        bus.wires.cut.remove(&identity);
        bus.gone(&identity);
    }

    fn forward(&self, identity: &Bytes, message: Message) {
        let mut bus = self.lock();
        if bus.wires.open.contains_key(identity) {
            bus.input(identity, message);
        }
    }
}

impl Bus {
    fn tell_facts(&mut self) {
        let info = Control::Info(Box::new(self.facts.clone()));
        self.router.handle(Instant::now(), Input::Control(info), &mut self.wires);
    }
}

impl Connector for MemoryBus {
    fn connect<'a>(&'a self, identity: &'a str) -> BoxFuture<'a, Result<Link, ConnectError>> {
        std::future::ready(Ok(self.attach(identity))).boxed()
    }

    fn authenticated(&self) -> bool {
        false
    }

    fn knows_callers(&self) -> bool {
        true
    }
}
