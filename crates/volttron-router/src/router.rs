//! The order of checks on every message (vip.md section 6.1), and the life of peers (section 7).

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::Value;
use volttron_utils::vip::{Frame, Frames, MAX_IDENTITY_BYTES, PROTO, typed};

use crate::alias::AddressedNames;
use crate::bus::Buses;
use crate::deliver::{Departure, bytes};
use crate::peers::{NewPeer, PeerId, Peers, Place};
use crate::pubsub::PUBSUB;
use crate::stats::Stats;
use crate::{
    Control, DropReason, Input, Limits, Malformed, Meter, Operation, Origin, Output, PeerInfo, Policy,
    Refusal, RouterEvent, RouterFacts, ServiceId, UserId,
};

/// Positions in `[sender, recipient, VIP1, user, id, subsystem, args..]`.
pub(crate) const SENDER: usize = 0;
pub(crate) const RECIPIENT: usize = 1;
pub(crate) const SIGNATURE: usize = 2;
pub(crate) const USER: usize = 3;
pub(crate) const ID: usize = 4;
pub(crate) const SUBSYSTEM: usize = 5;
pub(crate) const ARGS: usize = 6;

/// The router of one platform.
pub struct Router<F, P> {
    pub(crate) policy: P,
    pub(crate) limits: Limits,
    pub(crate) facts: RouterFacts,
    pub(crate) peers: Peers<F>,
    pub(crate) buses: Buses,
    pub(crate) addressed: AddressedNames,
    /// Peers already removed whose `drop` is not announced yet.
    pub(crate) departures: VecDeque<Departure<F>>,
    pub(crate) meter: Meter,
    pub(crate) stats: Stats,
    /// Kept between messages so that fan-out needs no allocation.
    pub(crate) scratch: Vec<PeerId>,
    pub(crate) subscribers: Vec<PeerId>,
    stopped: bool,
}

impl<F: Frame, P: Policy> Router<F, P> {
    /// A router without peers.
    pub fn new(policy: P, limits: Limits) -> Self {
        Router {
            policy,
            limits,
            facts: RouterFacts::default(),
            peers: Peers::new(),
            buses: Buses::default(),
            addressed: AddressedNames::default(),
            departures: VecDeque::new(),
            meter: Meter::default(),
            stats: Stats::default(),
            scratch: Vec::new(),
            subscribers: Vec::new(),
            stopped: false,
        }
    }

    /// Deals with one event completely, broadcasts it causes included.
    pub fn handle(&mut self, now: Instant, input: Input<F>, out: &mut impl Output<F>) {
        match input {
            Input::Message { from, user, frames } => {
                self.meter.received += 1;
                if self.stopped {
                    self.meter.after_shutdown += 1;
                } else {
                    self.message(now, from, user, frames, out);
                }
            }
            _ if self.stopped => {}
            Input::PeerGone { identity } => self.wire_peer_gone(&identity),
            Input::Control(control) => self.control(now, control, out),
            Input::Tick => self.drop_no_longer_admitted(),
        }
        self.announce_departures(out);
    }

    /// Counters since the start.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Everyone connected, services included.
    pub fn peers(&self) -> impl Iterator<Item = PeerInfo<'_>> {
        self.peers.iter().map(|(_, peer)| peer.info())
    }

    /// Per-name statistics in the shape of platform-internals.md section 5.
    pub fn stats(&self) -> Value {
        self.stats.to_value()
    }

    /// Whether statistics are being collected.
    pub fn stats_enabled(&self) -> bool {
        self.stats.is_enabled()
    }

    /// The policy the router was made with.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    fn message(
        &mut self,
        now: Instant,
        from: Origin,
        user: Option<UserId>,
        frames: Frames<F>,
        out: &mut impl Output<F>,
    ) {
        self.stats.incoming(now, &frames);
        let size = bytes(&frames);
        if let Some(why) = self.malformed(from, &frames, size) {
            self.meter.malformed += 1;
            self.stats.unroutable(&frames, why.as_str());
            if why == Malformed::RouterProbe {
                // The socket library says "gone" in the same words; a peer that probes drops only itself.
                self.wire_peer_gone(frames[SENDER].as_ref());
            }
            let sender = frames.first().map(|frame| typed::text(frame.as_ref())).unwrap_or_default();
            out.event(RouterEvent::Malformed { sender: &sender, why });
            return;
        }
        let sender = match self.sender(now, from, user, frames[SENDER].as_ref(), out) {
            Ok(sender) => sender,
            Err(why) => {
                self.meter.refused += 1;
                let identity = typed::text(frames[SENDER].as_ref());
                out.event(RouterEvent::Refused { identity: &identity, why });
                return;
            }
        };
        if let Some(peer) = self.peers.get_mut(sender) {
            peer.traffic.received += 1;
            peer.traffic.received_bytes += size;
        }
        if frames[RECIPIENT].as_ref().is_empty() {
            self.meter.to_router += 1;
            self.serve(sender, frames, out);
        } else {
            self.forward(sender, frames, size, out);
        }
    }

    fn malformed(&self, from: Origin, frames: &Frames<F>, size: u64) -> Option<Malformed> {
        let wire = from == Origin::Wire;
        if wire && frames.len() == 2 && !frames[0].as_ref().is_empty() && frames[1].as_ref().is_empty() {
            return Some(Malformed::RouterProbe);
        }
        if frames.len() < ARGS {
            return Some(Malformed::TooFewFrames);
        }
        if frames[SIGNATURE].as_ref() != PROTO {
            return Some(Malformed::BadSignature);
        }
        if frames.len() > self.limits.frames {
            return Some(Malformed::TooManyFrames);
        }
        let too_big = |frame: &F| frame.as_ref().len() > self.limits.frame_bytes;
        if size > self.limits.frame_bytes as u64 && frames.iter().any(too_big) {
            return Some(Malformed::FrameTooBig);
        }
        let identity = frames[SENDER].as_ref();
        let plausible = match from {
            // Identities starting with byte 0 are made up by the socket library for peers without one.
            Origin::Wire => !matches!(identity, [] | [0, ..]) && identity.len() <= MAX_IDENTITY_BYTES,
            Origin::Local(service) => self
                .peers
                .find(identity)
                .and_then(|name| self.peers.get(name.peer))
                .is_some_and(|peer| peer.place == Place::Local(service)),
        };
        if plausible { None } else { Some(Malformed::BadIdentity) }
    }

    /// The sender of a message, added if it is new, refused if it may not use its identity.
    fn sender(
        &mut self,
        now: Instant,
        from: Origin,
        user: Option<UserId>,
        identity: &[u8],
        out: &mut impl Output<F>,
    ) -> Result<PeerId, Refusal> {
        let known = self.peers.find(identity).map(|name| name.peer);
        if let (Origin::Local(_), Some(id)) = (from, known) {
            return Ok(id);
        }
        let generation = self.policy.generation();
        if let Some((id, peer)) = known.and_then(|id| Some((id, self.peers.get_mut(id)?))) {
            if peer.place != Place::Wire {
                return Err(Refusal::ServiceIdentity);
            }
            if peer.user == user && peer.admitted == generation {
                return Ok(id);
            }
            if let Err(why) = self.policy.admit(&peer.name, user.as_ref().map(UserId::as_str)) {
                self.drop_peer(id, DropReason::NotAdmitted);
                return Err(why);
            }
            (peer.user, peer.admitted) = (user, generation);
            return Ok(id);
        }
        let name = typed::text(identity);
        self.policy.admit(&name, user.as_ref().map(UserId::as_str))?;
        if self.peers.len() >= self.limits.peers {
            return Err(Refusal::TooManyPeers);
        }
        let new =
            NewPeer { identity, aliases: &[], place: Place::Wire, user, admitted: generation, since: now };
        Ok(self.add_peer(new, out))
    }

    /// Announces a peer to everyone there, then adds it (vip.md section 7.1).
    fn add_peer(&mut self, new: NewPeer<'_>, out: &mut impl Output<F>) -> PeerId {
        for name in std::iter::once(typed::text(new.identity)).chain(new.aliases.iter().map(Into::into)) {
            let frame = F::from_vec(typed::latin1_lossy(&name));
            self.broadcast("add", &frame, out);
            out.event(RouterEvent::PeerAdded { identity: &name });
        }
        self.meter.peers_added += 1;
        self.peers.insert(new)
    }

    /// A request to the router itself: found in the table of operations, checked, carried out.
    fn serve(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        let Some(operation) = Operation::asked(&frames) else {
            self.meter.bad_requests += 1;
            if frames[SUBSYSTEM].as_ref() != PUBSUB {
                self.no_such_subsystem(sender, frames, out);
            }
            return;
        };
        if !self.may(sender, operation, &frames) {
            return self.refuse(sender, operation, frames, out);
        }
        match operation {
            Operation::Publish => self.publish(sender, frames, out),
            Operation::Subscribe => self.on_subscribe(sender, frames, out),
            Operation::Unsubscribe => self.on_unsubscribe(sender, frames, out),
            Operation::Synchronize => self.on_synchronize(sender, &frames),
            Operation::List => self.list(sender, frames, out),
            Operation::Ping => self.on_ping(sender, frames, out),
            Operation::Hello => self.on_hello(sender, frames, out),
            Operation::Peerlist => self.on_peerlist(sender, frames, out),
            Operation::Query => self.on_query(sender, frames, out),
            Operation::AgentStop => self.on_agentstop(sender, &frames, out),
            Operation::Quit => out.event(RouterEvent::Quit),
            // Capabilities and protected topics reach this router through its policy; nobody waits for an answer to
            // an answer; the rest is always refused.
            Operation::AuthUpdate
            | Operation::ProtectedUpdate
            | Operation::Error
            | Operation::PubsubAnswer
            | Operation::PubsubError
            | Operation::ExternalList
            | Operation::ExternalPublish
            | Operation::RoutingTable
            | Operation::ExternalRpc => {}
        }
    }

    fn control(&mut self, now: Instant, control: Control, out: &mut impl Output<F>) {
        match control {
            Control::AttachService { id, identity, aliases } => {
                self.attach(now, id, &identity, &aliases, out);
            }
            Control::DetachService(id) => {
                if let Some(peer) = self.peers.service(id) {
                    self.drop_peer(peer, DropReason::Asked);
                }
            }
            Control::Info(facts) => self.facts = *facts,
            Control::DropPeer(identity) => {
                let name = typed::latin1(&identity).and_then(|name| self.peers.find(&name));
                if let Some(name) = name {
                    self.drop_peer(name.peer, DropReason::Asked);
                }
            }
            Control::StatsEnable(enable) => self.stats.enable(now, enable),
            Control::Shutdown => self.stopped = true,
        }
    }

    fn attach(
        &mut self,
        now: Instant,
        id: ServiceId,
        identity: &str,
        aliases: &[String],
        out: &mut impl Output<F>,
    ) {
        let identity_frame = typed::latin1_lossy(identity);
        let taken = std::iter::once(identity_frame.clone())
            .chain(aliases.iter().map(|alias| typed::latin1_lossy(alias)))
            .filter_map(|name| self.peers.find(&name))
            .map(|name| name.peer)
            .chain(self.peers.service(id))
            .collect::<Vec<_>>();
        for peer in taken {
            self.drop_peer(peer, DropReason::Replaced);
        }
        self.announce_departures(out);
        let new = NewPeer {
            identity: &identity_frame,
            aliases,
            place: Place::Local(id),
            user: None,
            admitted: 0,
            since: now,
        };
        self.add_peer(new, out);
    }

    /// A connection closed. Only a peer on a socket can be meant: a refused connection may have presented a
    /// service's identity.
    fn wire_peer_gone(&mut self, identity: &[u8]) {
        let found = self.peers.find(identity).map(|name| name.peer);
        if let Some(id) = found.filter(|&id| self.peers.get(id).is_some_and(|peer| peer.place == Place::Wire))
        {
            self.drop_peer(id, DropReason::Disconnected);
        }
    }

    /// After a change of the policy, peers that only listen are checked as well.
    fn drop_no_longer_admitted(&mut self) {
        let generation = self.policy.generation();
        let stale: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.place == Place::Wire && peer.admitted != generation)
            .map(|(id, _)| id)
            .collect();
        for id in stale {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            match self.policy.admit(&peer.name, peer.user.as_ref().map(UserId::as_str)) {
                Ok(()) => peer.admitted = generation,
                Err(_) => self.drop_peer(id, DropReason::NotAdmitted),
            }
        }
    }
}
