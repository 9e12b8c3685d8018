//! A simulated world: who is there, what may happen, and what always holds.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use volttron_utils::vip::Frames;

use super::rng::Rng;
use super::wires::{SERVICES, Wires, digest};
use super::{Failure, Summary};
use crate::{
    Control, Denied, Input, Limits, Meter, Origin, Policy, Refusal, Router, ServiceId, UserId, WhenFull, Why,
};

pub(super) const IDENTITIES: [&str; 12] = [
    "p0",
    "p1",
    "p2",
    "p3",
    "p4",
    "p5",
    "p6",
    "p7",
    "123",
    "control.connection.9",
    "control",
    "platform.control",
];
const KEYS: [&str; 2] = ["key-a", "key-b"];
pub(super) const TOPICS: [&str; 8] = ["a", "ab", "abc", "a/b", "b", "prot/x", "", "prot"];
pub(super) const PREFIXES: [&str; 9] = ["", "a", "ab", "abc", "abcd", "a/", "b", "prot/", "c"];
pub(super) const BUSES: [&str; 2] = ["", "b2"];
pub(super) const SUBSCRIPTIONS: usize = 8;

/// `p3` is bound to the second key; `prot/` may be published by `p0` only; one identity at a time may be banned.
#[derive(Clone, Default)]
pub(super) struct Rules {
    generation: Cell<u64>,
    banned: Cell<Option<&'static str>>,
}

impl Policy for Rules {
    fn admit(&self, identity: &str, user: Option<&str>) -> Result<(), Refusal> {
        if is_service(identity) {
            return Err(Refusal::ServiceIdentity);
        }
        if self.banned.get() == Some(identity) {
            return Err(Refusal::NotAuthorised);
        }
        if identity == "p3" && user != Some(KEYS[1]) { Err(Refusal::BoundToOtherKey) } else { Ok(()) }
    }

    fn publish(&self, identity: &str, topic: &str) -> Result<(), Denied> {
        if topic.starts_with("prot/") && identity != "p0" {
            return Err(Denied { required: vec!["cap".to_owned()], provided_repr: "[]".to_owned() });
        }
        Ok(())
    }

    fn generation(&self) -> u64 {
        self.generation.get()
    }
}

/// (all platforms, bus, prefix)
pub(super) type Subscription = (bool, &'static str, &'static str);

/// What the oracle counts by itself.
#[derive(Default)]
struct Books {
    delivered: u64,
    delivery_full: u64,
    delivery_gone: u64,
    forwarded: u64,
}

pub(crate) struct World {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) router: Router<Bytes, Rules>,
    pub(super) wires: Wires,
    now: Instant,
    pub(super) step: u32,
    /// Who subscribed to what, as far as the router acknowledged it.
    pub(super) subscriptions: BTreeMap<String, BTreeSet<Subscription>>,
    /// Disconnects whose notice is still under way.
    notices: Vec<&'static str>,
    books: Books,
    /// What routers before the last restart counted.
    past: Meter,
    restarts: u32,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let when_full = if rng.chance(50) {
            WhenFull::DropNewest
        } else {
            WhenFull::Disconnect { after: 1 + rng.below(4) as u32 }
        };
        let limits = Limits {
            peers: 6 + rng.below(8),
            subscriptions_per_peer: SUBSCRIPTIONS,
            cached_topics: rng.below(6),
            when_full,
            ..Limits::default()
        };
        World {
            seed,
            rng,
            router: Router::new(Rules::default(), limits),
            wires: Wires::new(when_full),
            now: Instant::now(),
            step: 0,
            subscriptions: BTreeMap::new(),
            notices: Vec::new(),
            books: Books::default(),
            past: Meter::default(),
            restarts: 0,
        }
    }

    pub fn run(mut self) -> Result<Summary, Failure> {
        let steps = 100 + self.rng.below(200) as u32;
        for id in 0..SERVICES.len() {
            self.attach(id as u16)?;
        }
        while self.step < steps {
            self.happen()?;
        }
        self.check_books()?;
        self.past.add(self.router.meter());
        Ok(Summary {
            seed: self.seed,
            steps: self.step,
            restarts: self.restarts,
            meter: self.past,
            digest: digest(&self.wires),
        })
    }

    fn happen(&mut self) -> Result<(), Failure> {
        match self.rng.below(100) {
            0..15 => self.connect(),
            15..20 => self.disconnect(),
            20..25 => self.notice(),
            25..32 => {
                self.thaw_or_freeze();
                Ok(())
            }
            32..47 => self.subscribe(),
            47..52 => self.unsubscribe(),
            52..56 => self.synchronize(),
            56..76 => self.publish(),
            76..88 => self.direct(),
            88..94 => self.garbage(),
            94..96 => self.change_policy(),
            96..98 => self.agentstop(),
            98 => {
                let id = self.rng.below(SERVICES.len()) as u16;
                self.give("detach", Input::Control(Control::DetachService(ServiceId(id))))?;
                self.attach(id)
            }
            _ => match self.rng.below(4) {
                0 => {
                    self.jump_clock();
                    self.give("clock", Input::Tick)
                }
                1 => self.late(),
                2 => self.restart(),
                _ => self.give("tick", Input::Tick),
            },
        }
    }

    /// The machine slept, or somebody set its clock: hours forward, or a moment back.
    fn jump_clock(&mut self) {
        let jump = Duration::from_millis(self.rng.below(100_000_000) as u64);
        self.now = if self.rng.chance(70) {
            self.now + jump
        } else {
            self.now.checked_sub(jump / 1000).unwrap_or(self.now)
        };
    }

    /// What a connection said before it broke arrives after its end was noticed: its peer is there again, until the
    /// answer finds nobody.
    fn late(&mut self) -> Result<(), Failure> {
        let identity = *self.rng.pick(&IDENTITIES);
        let Some(link) = self.wires.links.get(identity).filter(|link| !link.connected) else {
            return Ok(());
        };
        if is_service(identity) {
            return Ok(());
        }
        let frames = [identity.as_bytes(), b"", b"VIP1", b"", b"late", b"hello", b"hello"];
        let frames = frames.into_iter().map(Bytes::copy_from_slice).collect();
        let input = Input::Message { from: Origin::Wire, user: link.user.and_then(UserId::new), frames };
        self.give("late", input)?;
        let here = self.wires.present.contains(identity);
        self.require("late", !here, || format!("{identity} has no connection and stays"))
    }

    /// The platform ends, sometimes with a word, and comes back. All connections are new ones.
    fn restart(&mut self) -> Result<(), Failure> {
        self.check_books()?;
        if self.rng.chance(50) {
            self.give("shutdown", Input::Control(Control::Shutdown))?;
            let before = self.wires.attempts_ever;
            let from = self.anyone();
            self.send("after shutdown", from, &[b"", b"VIP1", b"", b"h", b"hello", b"hello"])?;
            let silent = self.wires.attempts_ever == before && self.router.meter().after_shutdown == 1;
            self.require("after shutdown", silent, || "the router still works".to_owned())?;
        }
        self.past.add(self.router.meter());
        self.restarts += 1;
        let (rules, limits) = (self.router.policy().clone(), self.router.limits);
        self.router = Router::new(rules, limits);
        self.wires.restart();
        self.subscriptions.clear();
        self.notices.clear();
        self.books = Books::default();
        for id in 0..SERVICES.len() {
            self.attach(id as u16)?;
        }
        Ok(())
    }

    /// Gives the router one input and checks what always holds.
    fn give(&mut self, what: &str, input: Input<Bytes>) -> Result<(), Failure> {
        self.step += 1;
        self.now += Duration::from_millis(1);
        self.wires.begin();
        self.router.handle(self.now, input, &mut self.wires);
        self.wires.finish();
        for name in &self.wires.left {
            self.subscriptions.remove(name);
        }
        for attempt in &self.wires.attempts {
            if attempt.frames.get(5).is_some_and(|op| op == b"publish") {
                match attempt.sent {
                    Ok(()) => self.books.delivered += 1,
                    Err(Why::Full) => self.books.delivery_full += 1,
                    Err(Why::NoRoute) => self.books.delivery_gone += 1,
                }
            } else if attempt.sent.is_ok() && !attempt.frames[0].is_empty() {
                self.books.forwarded += 1;
            }
        }
        let here: BTreeSet<String> = self.router.peers().map(|peer| peer.identity.to_owned()).collect();
        if here != self.wires.present {
            self.wires.fail(format!("the router has {here:?}, announced were {:?}", self.wires.present));
        }
        if !self.router.meter().adds_up() {
            self.wires.fail(format!("the counters do not add up: {:?}", self.router.meter()));
        }
        match self.wires.broken.take() {
            None => Ok(()),
            Some(broken) => Err(self.failure(what, broken)),
        }
    }

    fn failure(&self, input: &str, what: String) -> Failure {
        Failure { seed: self.seed, step: self.step, input: input.to_owned(), what }
    }

    pub(super) fn require(
        &self,
        input: &str,
        holds: bool,
        what: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if holds { Ok(()) } else { Err(self.failure(input, what())) }
    }

    /// Somebody with a link, service or not; the name it speaks under.
    pub(super) fn anyone(&mut self) -> (Origin, &'static str) {
        if self.rng.chance(15) {
            let id = self.rng.below(SERVICES.len());
            let (primary, alias) = SERVICES[id];
            return (Origin::Local(ServiceId(id as u16)), if self.rng.chance(20) { alias } else { primary });
        }
        // Closed connections do not speak; asking a few times keeps the world busy.
        for _ in 0..4 {
            let identity = *self.rng.pick(&IDENTITIES);
            if self.wires.links.get(identity).is_some_and(|link| link.connected) {
                return (Origin::Wire, identity);
            }
        }
        (Origin::Wire, IDENTITIES[0])
    }

    /// `from` sends frames, recipient first. A link that was closed opens by it.
    pub(super) fn send(
        &mut self,
        what: &str,
        (from, identity): (Origin, &'static str),
        frames: &[&[u8]],
    ) -> Result<(), Failure> {
        let mut user = None;
        if from == Origin::Wire && !is_service(identity) {
            let link = self.wires.links.entry(identity.to_owned()).or_default();
            link.connected = true;
            user = link.user;
        }
        let frames: Frames<Bytes> = std::iter::once(identity.as_bytes())
            .chain(frames.iter().copied())
            .map(Bytes::copy_from_slice)
            .collect();
        let input = Input::Message { from, user: user.and_then(UserId::new), frames };
        self.give(&format!("{identity} {what}"), input)
    }

    fn attach(&mut self, id: u16) -> Result<(), Failure> {
        let (identity, alias) = SERVICES[usize::from(id)];
        let link = self.wires.links.entry(identity.to_owned()).or_default();
        link.connected = true;
        link.drain();
        let aliases = vec![alias.to_owned()];
        let attach = Control::AttachService { id: ServiceId(id), identity: identity.to_owned(), aliases };
        self.give("attach", Input::Control(attach))
    }

    /// A connection opens and says hello. A name in use stays with its first connection: the socket library drops
    /// whatever the second one says.
    fn connect(&mut self) -> Result<(), Failure> {
        let identity = *self.rng.pick(&IDENTITIES);
        let key = *self.rng.pick(&KEYS);
        if is_service(identity) {
            self.send("hello", (Origin::Wire, identity), &[b"", b"VIP1", b"", b"h", b"hello", b"hello"])?;
            let refused = self.wires.refused && self.wires.attempts.is_empty();
            return self.require(identity, refused, || "a socket spoke as a service".to_owned());
        }
        let link = self.wires.links.entry(identity.to_owned()).or_default();
        if link.connected {
            return Ok(());
        }
        link.connected = true;
        link.frozen = false;
        link.user = Some(key);
        link.drain();
        let admitted = self.router.policy().admit(identity, Some(key)).is_ok();
        let known = self.wires.present.contains(identity);
        let room = known || self.router.peers().count() < self.router_limit();
        self.send("hello", (Origin::Wire, identity), &[b"", b"VIP1", b"", b"h", b"hello", b"hello"])?;
        let answered = self.wires.with_id("h").count();
        let expected = usize::from(admitted && room);
        self.require(identity, answered == expected, || {
            format!("{answered} answers to hello, expected {expected}")
        })
    }

    fn router_limit(&self) -> usize {
        self.router.limits.peers
    }

    /// A link breaks; the notice follows sooner or later, perhaps after the next connection.
    fn disconnect(&mut self) -> Result<(), Failure> {
        let identity = *self.rng.pick(&IDENTITIES);
        if is_service(identity) {
            // The notice of a connection that was refused.
            return self.give("gone", Input::PeerGone { identity: Bytes::from_static(identity.as_bytes()) });
        }
        let Some(link) = self.wires.links.get_mut(identity).filter(|link| link.connected) else {
            return Ok(());
        };
        link.connected = false;
        link.drain();
        self.notices.push(identity);
        Ok(())
    }

    fn notice(&mut self) -> Result<(), Failure> {
        if self.notices.is_empty() {
            return Ok(());
        }
        let identity = self.notices.swap_remove(self.rng.below(self.notices.len()));
        let was_there = self.wires.present.contains(identity);
        if self.rng.chance(50) {
            let frames = [Bytes::from_static(identity.as_bytes()), Bytes::new()].into_iter().collect();
            self.give("notice", Input::Message { from: Origin::Wire, user: None, frames })?;
        } else {
            self.give("gone", Input::PeerGone { identity: Bytes::from_static(identity.as_bytes()) })?;
        }
        let left = self.wires.left.contains(identity);
        self.require("notice", left == was_there, || {
            format!("{identity} was there: {was_there}, left: {left}")
        })
    }

    fn thaw_or_freeze(&mut self) {
        let identity = *self.rng.pick(&IDENTITIES);
        if let Some(link) = self.wires.links.get_mut(identity) {
            link.frozen = !link.frozen;
            link.drain();
        }
    }

    fn change_policy(&mut self) -> Result<(), Failure> {
        let banned = if self.rng.chance(50) { Some(*self.rng.pick(&IDENTITIES[..8])) } else { None };
        let rules = self.router.policy();
        rules.banned.set(banned);
        rules.generation.set(rules.generation.get() + 1);
        self.give("policy", Input::Tick)?;
        let here = banned.is_some_and(|name| self.wires.present.contains(name));
        self.require("policy", !here, || format!("{banned:?} is banned and still there"))
    }

    fn check_books(&self) -> Result<(), Failure> {
        let meter: &Meter = self.router.meter();
        for (what, router, oracle) in [
            ("delivered", meter.delivered, self.books.delivered),
            ("delivery_full", meter.delivery_full, self.books.delivery_full),
            ("delivery_gone", meter.delivery_gone, self.books.delivery_gone),
            ("forwarded", meter.forwarded, self.books.forwarded),
            ("peers", meter.peers_added - meter.peers_dropped, self.wires.present.len() as u64),
        ] {
            self.require("books", router == oracle, || format!("{what}: router {router}, oracle {oracle}"))?;
        }
        Ok(())
    }
}

/// The name a peer is listed under.
pub(super) fn primary(name: &str) -> &str {
    SERVICES.iter().find(|(_, alias)| *alias == name).map_or(name, |(primary, _)| primary)
}

pub(super) fn is_service(name: &str) -> bool {
    SERVICES.iter().any(|(primary, alias)| *primary == name || *alias == name)
}
