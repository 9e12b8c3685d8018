//! Who is connected: a slab of peers and the names they are found under.

use std::time::Instant;

use rustc_hash::FxHashMap;
use slab::Slab;
use volttron_utils::json;
use volttron_utils::vip::{Frame, typed};

use crate::subscriptions::Subscriptions;
use crate::{ServiceId, UserId};

/// A peer's number while it is connected; reused after it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u32);

/// Where a peer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Wire,
    Local(ServiceId),
}

/// Everything the router keeps about one peer.
pub(crate) struct Peer<F> {
    /// Its identity as it goes into frames.
    pub identity: F,
    /// The USER frame its messages carry: the identity, or what it is treated as (vip.md section 4.2).
    pub acts_as: F,
    /// [`Self::identity`] as text.
    pub name: Box<str>,
    /// [`Self::acts_as`] as text: whom policies are asked about.
    pub acts_as_name: Box<str>,
    /// [`Self::acts_as`] as a JSON string, for the `sender` of deliveries.
    pub sender_json: Box<[u8]>,
    /// Further names of a service.
    pub aliases: Vec<(F, Box<str>)>,
    pub place: Place,
    pub user: Option<UserId>,
    /// Policy generation under which it was last admitted.
    pub admitted: u64,
    /// Unique among all peers ever: what caches may remember across reuse of [`PeerId`]s.
    pub serial: u64,
    pub subscriptions: Subscriptions,
    pub traffic: Traffic,
    /// Messages lost because its queue was full.
    pub dropped: u64,
    /// The same since the last message that went through.
    pub dropped_in_a_row: u32,
    pub since: Instant,
}

/// What passed between the router and one peer since it connected; bytes are those of all frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages from it.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages to it.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// A peer for people and monitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo<'a> {
    /// Its identity; services are listed under their primary one.
    pub identity: &'a str,
    /// The service number, `None` for peers on sockets.
    pub service: Option<ServiceId>,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// What passed.
    pub traffic: Traffic,
    /// Messages lost because its queue was full.
    pub dropped: u64,
    /// When it was added.
    pub since: Instant,
}

/// What a name leads to: a peer, and which of its names it was (0 is the primary one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub peer: PeerId,
    pub alias: u8,
}

/// The identity of command line tools; further connections append a suffix and are treated the same.
const CONTROL_CONNECTION: &str = "control.connection";

pub(crate) struct Peers<F> {
    slab: Slab<Peer<F>>,
    names: FxHashMap<Box<[u8]>, Name>,
    next_serial: u64,
}

impl<F: Frame> Peers<F> {
    pub fn new() -> Self {
        Peers { slab: Slab::new(), names: FxHashMap::default(), next_serial: 1 }
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn get(&self, id: PeerId) -> Option<&Peer<F>> {
        self.slab.get(id.0 as usize)
    }

    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer<F>> {
        self.slab.get_mut(id.0 as usize)
    }

    pub fn find(&self, name: &[u8]) -> Option<Name> {
        self.names.get(name).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer<F>)> {
        self.slab.iter().map(|(n, peer)| (PeerId(n as u32), peer))
    }

    /// Adds a peer. `aliases` beyond 255 are ignored; no service has more than one.
    pub fn insert(&mut self, new: NewPeer<'_>) -> PeerId {
        let name: Box<str> = typed::text(new.identity).into();
        let acts_as = match name.strip_prefix(CONTROL_CONNECTION) {
            Some(suffix) if suffix.starts_with('.') => CONTROL_CONNECTION.as_bytes(),
            _ => new.identity,
        };
        let acts_as_name: Box<str> = typed::text(acts_as).into();
        let mut sender_json = Vec::with_capacity(acts_as.len() + 2);
        json::write_str(&mut sender_json, &acts_as_name);
        let aliases: Vec<_> = new
            .aliases
            .iter()
            .take(usize::from(u8::MAX))
            .map(|alias| (F::from_vec(typed::latin1_lossy(alias)), Box::from(alias.as_str())))
            .collect();
        let serial = self.next_serial;
        self.next_serial += 1;
        let peer = Peer {
            identity: F::from_slice(new.identity),
            acts_as: F::from_slice(acts_as),
            name,
            acts_as_name,
            sender_json: sender_json.into(),
            aliases,
            place: new.place,
            user: new.user,
            admitted: new.admitted,
            serial,
            subscriptions: Subscriptions::default(),
            traffic: Traffic::default(),
            dropped: 0,
            dropped_in_a_row: 0,
            since: new.since,
        };
        let id = PeerId(self.slab.insert(peer) as u32);
        let peer = &self.slab[id.0 as usize];
        self.names.insert(new.identity.into(), Name { peer: id, alias: 0 });
        for (n, (alias, _)) in peer.aliases.iter().enumerate() {
            self.names.insert(alias.as_ref().into(), Name { peer: id, alias: n as u8 + 1 });
        }
        id
    }

    pub fn remove(&mut self, id: PeerId) -> Option<Peer<F>> {
        let peer = self.slab.try_remove(id.0 as usize)?;
        self.names.remove(peer.identity.as_ref());
        for (alias, _) in &peer.aliases {
            self.names.remove(alias.as_ref());
        }
        Some(peer)
    }

    pub fn service(&self, id: ServiceId) -> Option<PeerId> {
        self.iter().find(|(_, peer)| peer.place == Place::Local(id)).map(|(id, _)| id)
    }
}

/// What is known about a peer when it is added.
#[derive(Clone, Copy)]
pub(crate) struct NewPeer<'a> {
    pub identity: &'a [u8],
    pub aliases: &'a [String],
    pub place: Place,
    pub user: Option<UserId>,
    pub admitted: u64,
    pub since: Instant,
}

impl<F: AsRef<[u8]>> Peer<F> {
    /// All names, the primary one first.
    pub fn names(&self) -> impl Iterator<Item = (&F, &str)> {
        std::iter::once((&self.identity, &*self.name))
            .chain(self.aliases.iter().map(|(frame, name)| (frame, &**name)))
    }

    pub fn info(&self) -> PeerInfo<'_> {
        PeerInfo {
            identity: &self.name,
            service: match self.place {
                Place::Local(id) => Some(id),
                Place::Wire => None,
            },
            subscriptions: self.subscriptions.len(),
            traffic: self.traffic,
            dropped: self.dropped,
            since: self.since,
        }
    }
}
