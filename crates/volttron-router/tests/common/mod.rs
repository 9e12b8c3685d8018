//! A network in memory: everything the router sends lands in an inbox by name.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use volttron_router::{
    AdmitAll, Control, Input, Limits, Origin, Output, Policy, Router, RouterEvent, ServiceId, Unsent, UserId,
    Why,
};
use volttron_utils::vip::Frames;

/// One received message, frames as text with one character per byte.
pub type Received = Vec<String>;

/// Inboxes and faults.
#[derive(Default)]
pub struct Wires {
    inboxes: BTreeMap<String, Vec<Received>>,
    services: BTreeMap<ServiceId, String>,
    /// Identities nobody is connected under.
    pub gone: BTreeSet<String>,
    /// Identities whose queue is full.
    pub full: BTreeSet<String>,
    pub events: Vec<String>,
}

impl Output<Bytes> for Wires {
    fn wire(&mut self, mut frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let to = latin1(&frames[0]);
        if self.gone.contains(&to) {
            return Err(Unsent { why: Why::NoRoute, frames });
        }
        if self.full.contains(&to) {
            return Err(Unsent { why: Why::Full, frames });
        }
        frames.remove(0);
        self.inboxes.entry(to).or_default().push(frames.iter().map(|frame| latin1(frame)).collect());
        Ok(())
    }

    fn local(&mut self, to: ServiceId, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let name = self.services.get(&to).expect("only attached services are sent to").clone();
        if self.full.contains(&name) {
            return Err(Unsent { why: Why::Full, frames });
        }
        self.inboxes.entry(name).or_default().push(frames.iter().map(|frame| latin1(frame)).collect());
        Ok(())
    }

    fn share(&mut self, frame: &Bytes) -> Bytes {
        frame.clone()
    }

    fn event(&mut self, event: RouterEvent<'_>) {
        self.events.push(format!("{event:?}"));
    }
}

/// A router and everything connected to it.
pub struct Net<P = AdmitAll> {
    pub router: Router<Bytes, P>,
    pub wires: Wires,
    pub now: Instant,
    services: u16,
}

impl Net {
    pub fn new() -> Self {
        Net::with(AdmitAll, Limits::default())
    }
}

impl<P: Policy> Net<P> {
    pub fn with(policy: P, limits: Limits) -> Self {
        Net { router: Router::new(policy, limits), wires: Wires::default(), now: Instant::now(), services: 0 }
    }

    pub fn input(&mut self, input: Input<Bytes>) {
        self.router.handle(self.now, input, &mut self.wires);
        assert!(self.router.meter().adds_up(), "{:?}", self.router.meter());
    }

    pub fn control(&mut self, control: Control) {
        self.input(Input::Control(control));
    }

    pub fn attach(&mut self, identity: &str, aliases: &[&str]) -> ServiceId {
        let id = ServiceId(self.services);
        self.services += 1;
        self.wires.services.insert(id, identity.to_owned());
        let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
        self.control(Control::AttachService { id, identity: identity.to_owned(), aliases });
        id
    }

    /// Sends frames as a DEALER would: recipient first.
    pub fn send(&mut self, from: &str, frames: &[&str]) {
        self.send_as(from, None, frames);
    }

    pub fn send_as(&mut self, from: &str, user: Option<&str>, frames: &[&str]) {
        let frames: Vec<Bytes> = frames.iter().map(|frame| bytes(frame)).collect();
        self.send_bytes(from, user, frames);
    }

    pub fn send_bytes(&mut self, from: &str, user: Option<&str>, frames: Vec<Bytes>) {
        let frames = std::iter::once(bytes(from)).chain(frames).collect();
        self.input(Input::Message { from: Origin::Wire, user: user.and_then(UserId::new), frames });
    }

    pub fn send_local(&mut self, service: ServiceId, frames: &[&str]) {
        let name = self.wires.services[&service].clone();
        let frames = std::iter::once(&*name).chain(frames.iter().copied()).map(bytes).collect();
        self.input(Input::Message { from: Origin::Local(service), user: None, frames });
    }

    pub fn gone(&mut self, identity: &str) {
        self.input(Input::PeerGone { identity: bytes(identity) });
    }

    /// Says hello and throws the answer, and what others got, away.
    pub fn join(&mut self, identity: &str) {
        self.send(identity, &["", "VIP1", "", "h", "hello", "hello"]);
        self.wires.inboxes.clear();
        self.wires.events.clear();
    }

    /// What an identity received since last asked.
    pub fn received(&mut self, identity: &str) -> Vec<Received> {
        self.wires.inboxes.remove(identity).unwrap_or_default()
    }

    /// The same, one line per message, frames joined by `|`.
    pub fn lines(&mut self, identity: &str) -> Vec<String> {
        self.received(identity).into_iter().map(|frames| frames.join("|")).collect()
    }

    pub fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wires.events)
    }

    pub fn peer_names(&self) -> Vec<String> {
        self.router.peers().map(|peer| peer.identity.to_owned()).collect()
    }
}

pub fn latin1(bytes: &[u8]) -> String {
    volttron_utils::vip::typed::text(bytes).into_owned()
}

pub fn bytes(latin1: &str) -> Bytes {
    latin1.chars().map(|c| u8::try_from(u32::from(c)).expect("one byte per character")).collect()
}
