//! The world: what happens, drawn from the seed, and what the router must do about it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use volttron_router::sim::rng::Rng;
use volttron_router::{Control, Input, Limits, Meter, Origin, ServiceId, UserId, WhenFull, Why};
use volttron_utils::vip::{Frames, typed};

use super::calls::Call;
use super::disk::{Fault, SimDisk};
use super::model::Model;
use super::platform::{Platform, STORES};
use super::rules::{acts_as, is_service, key_text, may_publish, protected_text};
use super::wires::{CONTROL, SERVICES, Said, Wires, digest, primary};
use super::{Failure, Summary};

/// Events that are shown with a failure.
const SHOWN: usize = 16;

pub(super) type Checked = Result<(), String>;

/// Who gives the router a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Conn(usize),
    Ring(usize),
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) disk: SimDisk,
    pub(super) platform: Platform,
    pub(super) limits: Limits,
    pub(super) wires: Wires,
    pub(super) model: Model,
    /// What the services said and the router has not got yet.
    pub(super) service_out: Vec<VecDeque<Vec<Bytes>>>,
    pub(super) calls: BTreeMap<u64, Call>,
    /// Numbers of calls in the services' rings, in order.
    pub(super) ringed: Vec<u64>,
    /// Who subscribed to what: (all platforms, prefix).
    subscriptions: BTreeMap<String, BTreeSet<(bool, String)>>,
    /// Publications by number: the connection each came from.
    publications: Vec<usize>,
    pub(super) now: Instant,
    pub(super) serial: u64,
    pub(super) recent: VecDeque<String>,
    pub(super) summary: Summary,
    delivered: u64,
    delivery_full: u64,
    pub(super) quiet: bool,
}

impl World {
    pub fn new(seed: u64) -> Result<Self, Failure> {
        let mut rng = Rng::new(seed);
        let when_full = if rng.chance(60) {
            WhenFull::DropNewest
        } else {
            WhenFull::Disconnect { after: 1 + rng.below(4) as u32 }
        };
        let limits = Limits { when_full, cached_topics: rng.below(6), ..Limits::default() };
        let model = Model::new(vec![("prot/".to_owned(), vec!["prot".to_owned()])]);
        let disk = SimDisk::new(BTreeMap::new());
        disk.edit("auth.json", &model.written.to_text());
        disk.edit("protected_topics.json", &protected_text(&model.protected));
        let start = Platform::start(&disk, limits);
        let (platform, rings) = start.map_err(|what| Failure::early(seed, what))?;
        let mut world = Self {
            seed,
            rng,
            disk,
            platform,
            limits,
            wires: Wires::new(),
            model,
            service_out: vec![VecDeque::new(); 2],
            calls: BTreeMap::new(),
            ringed: Vec::new(),
            subscriptions: BTreeMap::new(),
            publications: Vec::new(),
            now: Instant::now(),
            serial: 0,
            recent: VecDeque::new(),
            summary: Summary { seed, ..Summary::default() },
            delivered: 0,
            delivery_full: 0,
            quiet: false,
        };
        world.wires.rings = rings;
        world.attach().map_err(|what| world.failure(what))?;
        Ok(world)
    }

    pub fn run(mut self) -> Result<Summary, Failure> {
        let steps = 150 + self.rng.below(250) as u32;
        let played = self.play(steps).and_then(|()| self.come_to_rest()).and_then(|()| self.end_life());
        match played {
            Ok(()) => {
                self.summary.digest = digest(&self.wires);
                Ok(self.summary)
            }
            Err(what) => Err(self.failure(what)),
        }
    }

    fn failure(&self, what: String) -> Failure {
        let recent = self.recent.iter().cloned().collect();
        Failure { seed: self.seed, step: self.summary.steps, what, recent }
    }

    fn play(&mut self, steps: u32) -> Checked {
        while self.summary.steps < steps {
            self.summary.steps += 1;
            self.happen()?;
            if self.platform.panics() > 0 {
                return Err("a service panicked".to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn note(&mut self, mut event: String) {
        if self.recent.len() == SHOWN {
            self.recent.pop_front();
        }
        event.insert_str(0, &format!("{}: ", self.summary.steps));
        self.recent.push_back(event);
    }

    fn happen(&mut self) -> Checked {
        match self.rng.below(100) {
            0..6 => self.connect(),
            6..8 => {
                self.disconnect();
                Ok(())
            }
            8..34 => self.speak(),
            34..62 => self.pump_any(),
            62..72 => self.settle(),
            72..84 => {
                let Some(at) = self.any_open() else { return Ok(()) };
                self.hear(at)
            }
            84..86 => {
                if let Some(at) = self.any_open() {
                    self.wires.conns[at].frozen ^= true;
                }
                Ok(())
            }
            86..88 => {
                let by = Duration::from_millis(self.rng.below(40_000) as u64);
                self.note(format!("{by:?} pass"));
                self.wait(by)?;
                if self.rng.chance(30) {
                    self.now = self.now.checked_sub(by * 2).unwrap_or(self.now);
                }
                self.tick()
            }
            88..90 => self.tick(),
            90..93 => self.edit_a_file(),
            93..95 => self.look_at_files(),
            95..98 => {
                let n = self.rng.below(4);
                let fault = match self.rng.below(3) {
                    0 => Fault::Crash(n),
                    1 => Fault::CrashAfter(n),
                    _ => Fault::Fail(n),
                };
                self.note(format!("the disk will {fault:?}"));
                self.disk.set_fault(fault);
                Ok(())
            }
            98 => self.restart(),
            _ => Ok(()),
        }
    }

    pub(super) fn any_open(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.wires.conns.len()).filter(|at| self.wires.conns[*at].open).collect();
        (!open.is_empty()).then(|| *self.rng.pick(&open))
    }

    /// One of the messages that are under way, of any connection or service: links do not wait for each other.
    fn pump_any(&mut self) -> Checked {
        let conns = (0..self.wires.conns.len()).filter(|at| !self.wires.conns[*at].said.is_empty());
        let rings = (0..2).filter(|ring| !self.service_out[*ring].is_empty());
        let all: Vec<From> = conns.map(From::Conn).chain(rings.map(From::Ring)).collect();
        if all.is_empty() {
            return Ok(());
        }
        let from = *self.rng.pick(&all);
        self.pump(from)
    }

    pub(super) fn pump(&mut self, from: From) -> Checked {
        let said = match from {
            From::Conn(at) => self.wires.conns[at].said.pop_front(),
            From::Ring(ring) => self.service_out[ring].pop_front().map(Said::Frames),
        };
        match (said, from) {
            (Some(Said::Frames(frames)), _) => self.route(from, &frames),
            (Some(Said::Gone), From::Conn(at)) => {
                let identity = Bytes::from(self.wires.conns[at].identity.clone());
                self.note(format!("notice: {identity:?} is gone"));
                self.give(Input::PeerGone { identity })
            }
            (None, _) | (Some(Said::Gone), From::Ring(_)) => Ok(()),
        }
    }

    /// Gives the router one input and checks what always holds.
    pub(super) fn give(&mut self, input: Input<Bytes>) -> Checked {
        self.now += Duration::from_millis(1);
        self.wires.begin();
        self.platform.router.handle(self.now, input, &mut self.wires);
        for name in &self.wires.left {
            self.subscriptions.remove(name);
        }
        for attempt in &self.wires.attempts {
            if attempt.frames.get(4).is_some_and(|s| s == "pubsub")
                && attempt.frames.get(5).is_some_and(|op| op == "publish")
            {
                match attempt.sent {
                    Ok(()) => self.delivered += 1,
                    Err(Why::Full) => self.delivery_full += 1,
                    Err(Why::NoRoute) => {}
                }
            }
        }
        let here: BTreeSet<String> = self.platform.router.peers().map(|p| p.identity.to_owned()).collect();
        if here != self.wires.present {
            return Err(format!("the router has {here:?}, announced were {:?}", self.wires.present));
        }
        if !self.platform.router.meter().adds_up() {
            return Err(format!("the counters do not add up: {:?}", self.platform.router.meter()));
        }
        self.wires.broken.take().map_or(Ok(()), Err)
    }

    /// Rules that changed must have made the router drop exactly those that they no longer admit.
    pub(super) fn tick(&mut self) -> Checked {
        let mut stay: BTreeSet<String> = self.wires.present.clone();
        // Peers whose connection is gone keep the key they had; nobody but their notice drops them.
        for (name, &at) in &self.wires.routes {
            let conn = &self.wires.conns[at];
            if stay.contains(name) && !is_service(name) && !self.model.rules.admits(name, conn.key) {
                stay.remove(name);
            }
        }
        self.give(Input::Tick)?;
        let unexpected: Vec<&String> = self
            .wires
            .present
            .symmetric_difference(&stay)
            .filter(|name| self.wires.routes.contains_key(*name) && !self.ambiguous_key(name))
            // An announcement may have been one too many for somebody slow.
            .filter(|name| !(self.wires.left.contains(*name) && self.wires.is_full(name)))
            .collect();
        if unexpected.is_empty() {
            Ok(())
        } else {
            Err(format!("after a tick, about {unexpected:?} the router is wrong"))
        }
    }

    /// Whether messages of a former connection under the name may have come after those of the present one.
    fn ambiguous_key(&self, name: &str) -> bool {
        let key = self.wires.routes.get(name).map(|at| self.wires.conns[*at].key);
        self.wires.conns.iter().any(|c| c.identity == name && Some(c.key) != key)
    }

    /// Passes a message to the router and checks what becomes of it.
    fn route(&mut self, from: From, frames: &[Bytes]) -> Checked {
        let (identity, key, origin) = match from {
            From::Ring(ring) => (SERVICES[ring].0.to_owned(), None, Origin::Local(ServiceId(ring as u16))),
            From::Conn(at) => {
                let conn = &self.wires.conns[at];
                let origin =
                    if conn.service { Origin::Local(ServiceId(CONTROL as u16)) } else { Origin::Wire };
                (conn.identity.clone(), (!conn.service).then_some(conn.key), origin)
            }
        };
        if let Some(words) = words(frames) {
            self.note(format!("{identity} ({from:?}) says {words}"));
        }
        let admitted = key.is_none_or(|key| self.model.rules.admits(&identity, key));
        let before = self.wires.present.clone();
        let message: Frames<Bytes> =
            std::iter::once(Bytes::from(identity.clone())).chain(frames.iter().cloned()).collect();
        let user = key.and_then(|key| UserId::new(key_text(key)));
        self.give(Input::Message { from: origin, user, frames: message })?;
        if self.wires.refused == admitted {
            return Err(format!(
                "{identity} with key {key:?}: refused {}, by the rules {}",
                !admitted, admitted
            ));
        }
        if self.wires.refused {
            self.summary.refused += 1;
            return self.require(self.wires.attempts.is_empty(), || "a refused peer was heard".to_owned());
        }
        let op = frames.get(5).map(Bytes::as_ref).unwrap_or_default();
        match (frames[0].is_empty(), frames[4].as_ref(), op) {
            (false, ..) => self.routed_on(&identity, frames, &before),
            (_, b"pubsub", b"publish") => self.published(&identity, frames),
            (_, b"pubsub", b"subscribe" | b"unsubscribe" | b"synchronize") => {
                self.subscribed(&identity, op, frames);
                Ok(())
            }
            (_, b"agentstop", target) => {
                self.stopped(&identity, key.is_none(), &typed::text(target), &before)
            }
            (_, b"quit", _) => {
                let obeyed = self.wires.quit;
                self.require(obeyed == (identity == "control"), || format!("quit by {identity}: {obeyed}"))
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::unused_self, reason = "a promise of the world, as the other checks are")]
    pub(super) fn require(&self, holds: bool, what: impl FnOnce() -> String) -> Checked {
        if holds { Ok(()) } else { Err(what()) }
    }

    fn stopped(&mut self, by: &str, service: bool, target: &str, before: &BTreeSet<String>) -> Checked {
        let left = self.wires.left.contains(target);
        let there = before.contains(target) || target == by;
        let must = there && !is_service(target) && (by == target || (service && by == "control"));
        // One whose connection is gone may be found out by the way.
        let dying = !self.wires.routes.contains_key(target) || self.wires.is_full(target);
        self.require(left == must || (left && dying), || format!("agentstop {target} by {by}: left {left}"))
    }

    /// A message from one peer to another: arrives once and unchanged, if its recipient is there and has room.
    fn routed_on(&mut self, identity: &str, frames: &[Bytes], before: &BTreeSet<String>) -> Checked {
        let to = typed::text(&frames[0]).into_owned();
        let tried: Vec<_> = self
            .wires
            .attempts
            .iter()
            .filter(|a| a.frames[3] == frames[3] && a.frames[4] == frames[4])
            .cloned()
            .collect();
        let there = before.contains(primary(&to)) || to == identity;
        // The sender may be new, and the announcement of it found out that the recipient's connection is gone.
        let dying = !self.wires.routes.contains_key(primary(&to)) || self.wires.is_full(primary(&to));
        let found_out = tried.is_empty() && dying && self.wires.left.contains(primary(&to));
        if tried.len() > 1 || ((tried.len() == 1) != there && !found_out) {
            return Err(format!("{identity} to {to}, there: {there}, tried {tried:?}"));
        }
        let arrived = tried.first().is_some_and(|a| a.sent.is_ok());
        if let Some(attempt) = tried.first() {
            let user = acts_as(identity).as_bytes();
            // A service that was called by its other name answers under it.
            let sender = typed::text(&attempt.frames[0]).into_owned();
            let honest = sender == identity || primary(&sender) == identity;
            let user_right = attempt.frames[2] == user || is_service(identity);
            let right =
                attempt.to == primary(&to) && honest && user_right && attempt.frames[5..] == frames[5..];
            self.require(right, || format!("{identity} to {to}: delivered {attempt:?}"))?;
        }
        self.call_routed(&frames[3], &frames[4], arrived);
        Ok(())
    }

    fn subscribed(&mut self, identity: &str, op: &[u8], frames: &[Bytes]) {
        if !self.wires.present.contains(primary(identity)) {
            return;
        }
        let own = self.subscriptions.entry(primary(identity).to_owned()).or_default();
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let document = |n: usize| -> Value {
            frames.get(n).and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
        };
        match op {
            b"subscribe" => {
                let document = document(6);
                let all = document["all_platforms"] == true;
                own.extend(texts(&document["prefix"]).into_iter().map(|prefix| (all, prefix)));
            }
            b"unsubscribe" => {
                for (table, all) in [("internal", false), ("all", true)] {
                    let document = &document(6)[table];
                    let gone = texts(&document["prefix"]);
                    let everything = document.is_object() && document["prefix"].is_null();
                    own.retain(|(a, prefix)| *a != all || !(everything || gone.contains(prefix)));
                }
            }
            _ => {
                let document = &document(7)["subscriptions"];
                own.clear();
                for (table, all) in [("internal", false), ("all", true)] {
                    own.extend(texts(&document[table][""]).into_iter().map(|prefix| (all, prefix)));
                }
            }
        }
    }

    fn published(&mut self, identity: &str, frames: &[Bytes]) -> Checked {
        let (id, topic) = (frames[3].clone(), typed::text(&frames[6]).into_owned());
        let body: Value = serde_json::from_slice(&frames[7]).unwrap_or_default();
        let number = body["message"].as_u64().unwrap_or_default();
        let allowed = may_publish(&self.model.protected, &self.model.rules, acts_as(identity), &topic);
        let mut due: BTreeSet<String> = BTreeSet::new();
        if allowed {
            // Subscriptions as they were; publishing changes none, but who left has lost theirs.
            for (name, own) in &self.subscriptions {
                if own.iter().any(|(_, prefix)| topic.starts_with(prefix.as_str())) {
                    due.insert(name.clone());
                }
            }
        } else {
            self.summary.refused += 1;
        }
        let tried: Vec<_> =
            self.wires.attempts.iter().filter(|a| a.is(&id, "pubsub", Some("publish"))).cloned().collect();
        let mut once = BTreeSet::new();
        for attempt in &tried {
            let right = attempt.frames[6] == frames[6]
                && serde_json::from_slice::<Value>(&attempt.frames[7]).is_ok_and(|delivered| {
                    delivered["sender"] == acts_as(identity) && delivered["message"] == body["message"]
                });
            self.require(right, || format!("publication {number} was delivered as {attempt:?}"))?;
            if !once.insert(attempt.to.clone()) {
                return Err(format!("publication {number} went to {} twice", attempt.to));
            }
        }
        let left = &self.wires.left;
        let wrong: Vec<&String> =
            due.symmetric_difference(&once).filter(|name| !left.contains(*name)).collect();
        if !wrong.is_empty() || (!allowed && !once.is_empty()) {
            return Err(format!(
                "publication {number} on {topic} went to {once:?}, subscribed are {due:?}, allowed {allowed}"
            ));
        }
        let refusals = self.wires.attempts.iter().filter(|a| a.is(&id, "error", Some("-32001"))).count();
        let gone = left.contains(primary(identity));
        let said_so = refusals == usize::from(!allowed) || (gone && refusals == 0);
        // What arrived is owed to whoever reads the connection.
        for name in tried.iter().filter(|a| a.sent.is_ok()).map(|a| &a.to) {
            if let Some(&at) = self.wires.routes.get(name) {
                self.wires.conns[at].expected.push_back(number);
            }
        }
        self.require(said_so, || format!("publication {number}: {refusals} refusals, allowed {allowed}"))
    }

    /// A new publication's number.
    pub(super) fn publication(&mut self, at: usize) -> u64 {
        self.publications.push(at);
        self.publications.len() as u64 - 1
    }

    /// A connection's owner reads a publication.
    pub(super) fn heard_publication(&mut self, at: usize, number: u64) -> Checked {
        let publisher = self.publications.get(number as usize).copied().unwrap_or(usize::MAX);
        let conn = &mut self.wires.conns[at];
        let due = conn.expected.pop_front();
        let earlier = conn.last.insert(publisher, number);
        self.summary.deliveries += 1;
        if due != Some(number) || earlier.is_some_and(|last| last >= number) {
            return Err(format!(
                "connection {at} heard {number} of {publisher}, due was {due:?}, before came {earlier:?}"
            ));
        }
        Ok(())
    }

    /// The services of a new router.
    fn attach(&mut self) -> Checked {
        let control = self.wires.connect("control", 8, true);
        debug_assert!(self.wires.conns[control].service);
        for (id, (identity, alias)) in SERVICES.iter().enumerate() {
            let aliases = if alias.is_empty() { Vec::new() } else { vec![(*alias).to_owned()] };
            let attach = Control::AttachService {
                id: ServiceId(id as u16),
                identity: (*identity).to_owned(),
                aliases,
            };
            self.give(Input::Control(attach))?;
        }
        Ok(())
    }

    /// Ends the platform as it is and starts it from its disk, which may stop once more while it does.
    pub(super) fn restart(&mut self) -> Checked {
        self.note("the platform restarts".to_owned());
        self.end_life()?;
        self.summary.restarts += 1;
        self.disk.set_fault(Fault::Never);
        while self.rng.chance(30) {
            self.disk.set_fault(Fault::Crash(self.rng.below(4)));
            drop(Platform::start(&self.disk, self.limits));
            self.disk.set_fault(Fault::Never);
        }
        let (platform, rings) = Platform::start(&self.disk, self.limits)?;
        self.platform = platform;
        self.wires.restart();
        self.wires.rings = rings;
        self.service_out = vec![VecDeque::new(); 2];
        self.calls.clear();
        self.ringed.clear();
        self.subscriptions.clear();
        self.model.pending.clear();
        self.model.rules = self.model.written.clone();
        self.model.protected = self.model.protected_written.clone();
        self.check_state()?;
        self.attach()
    }

    /// The books of a router that ends.
    fn end_life(&mut self) -> Checked {
        let meter: &Meter = self.platform.router.meter();
        let right = meter.delivered == self.delivered && meter.delivery_full == self.delivery_full;
        self.summary.lost += self.delivery_full;
        self.require(right, || {
            format!("counted {} delivered, {} lost; it was {meter:?}", self.delivered, self.delivery_full)
        })?;
        (self.delivered, self.delivery_full) = (0, 0);
        Ok(())
    }

    /// What is on the disk and in force is what the model says.
    pub(super) fn check_state(&self) -> Checked {
        let files = self.disk.files();
        let text = |name: &str| files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let written = super::rules::Rules::read(&text("auth.json").unwrap_or_default());
        self.require(written.as_ref() == Some(&self.model.written), || {
            format!("auth.json says {written:#?}, not {:#?}", self.model.written)
        })?;
        let force = super::rules::Rules::read(&self.platform.auth.snapshot().file.to_text());
        self.require(force.as_ref() == Some(&self.model.rules), || {
            format!("in force is {force:#?}, not {:#?}", self.model.rules)
        })?;
        let stores = super::stores::read(&self.disk.within(STORES).files());
        self.require(stores.as_ref() == Some(&self.model.stores), || {
            format!("the stores hold {stores:?}, not {:?}", self.model.stores)
        })
    }
}

/// What a message is, for people.
fn words(frames: &[Bytes]) -> Option<String> {
    let text = |n: usize| frames.get(n).map(|f| typed::text(f).chars().take(120).collect::<String>());
    Some(format!(
        "to '{}': {} {} {}",
        text(0)?,
        text(4)?,
        text(5).unwrap_or_default(),
        text(6).unwrap_or_default()
    ))
}
