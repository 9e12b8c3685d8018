//! Who is on the bus (subsystems.md section 3): the router's list, kept current by its `add` and `drop` broadcasts.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;
use volttron_utils::identity;
use volttron_utils::vip::{subsystem, typed};

use crate::link::Message;
use crate::requests::Answer;
use crate::{CallError, Cx, rpc};

/// How many peer events a slow receiver may be behind before it loses some.
const EVENTS_BOUND: usize = 256;

/// A peer came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// This identity is on the bus now.
    Added(String),
    /// This identity has left.
    Dropped(String),
}

#[derive(Debug)]
pub(crate) struct State {
    known: Mutex<BTreeSet<String>>,
    events: broadcast::Sender<PeerEvent>,
}

impl Default for State {
    fn default() -> Self {
        Self { known: Mutex::default(), events: broadcast::channel(EVENTS_BOUND).0 }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: PeerEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }

    /// Forgets everybody: the link is down.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

impl Cx {
    /// The identities known to be on the bus: the last list, adjusted by what the router announced since.
    pub fn peers(&self) -> BTreeSet<String> {
        self.0.peers.lock().clone()
    }

    /// True if `identity` is known to be on the bus.
    pub fn has_peer(&self, identity: &str) -> bool {
        self.0.peers.lock().contains(identity)
    }

    /// Asks the router for the list.
    pub async fn peerlist(&self) -> Result<BTreeSet<String>, CallError> {
        let args = vec![Bytes::from_static(b"list")];
        let reply = self.request("", subsystem::PEERLIST, rpc::DEFAULT_TIMEOUT, args).await?;
        match reply.split_first() {
            Some((kind, ids)) if kind.as_ref() == b"listing" => {
                Ok(ids.iter().map(|id| typed::text(id).into_owned()).collect())
            }
            _ => Err(CallError::BadReply {
                peer: String::new(),
                what: "peerlist".into(),
                why: "not a listing".into(),
            }),
        }
    }

    /// Peers coming and going from now on. A receiver that falls behind is told that it lost events.
    pub fn peer_events(&self) -> broadcast::Receiver<PeerEvent> {
        self.0.peers.events.subscribe()
    }

    /// The name under which a service of the platform answers here: `primary` (9.x) if it is on the bus, else its 10.x
    /// name if that is, else `primary` (vip.md section 4.2).
    pub fn service(&self, primary: &'static str) -> &'static str {
        let known = self.0.peers.lock();
        match identity::alias_of(primary) {
            Some(renamed) if !known.contains(primary) && known.contains(renamed) => renamed,
            _ => primary,
        }
    }

    /// Takes a peerlist message.
    pub(crate) fn on_peerlist(&self, message: &Message) {
        if !message.peer.is_empty() {
            self.0.meter.malformed.add(1);
            return;
        }
        match (message.args.first().map(Bytes::as_ref), message.args.get(1)) {
            (Some(b"add"), Some(id)) => {
                let id = typed::text(id).into_owned();
                self.0.peers.lock().insert(id.clone());
                self.0.peers.tell(PeerEvent::Added(id));
            }
            (Some(b"drop"), Some(id)) => {
                let id = typed::text(id).into_owned();
                self.0.peers.lock().remove(&id);
                self.0.peers.tell(PeerEvent::Dropped(id));
            }
            (Some(b"listing"), _) => {
                // Replaced here and not by who asked: adds and drops that follow must come after.
                let ids = message.args[1..].iter().map(|id| typed::text(id).into_owned()).collect();
                *self.0.peers.lock() = ids;
                self.answer_peerlist(message);
            }
            _ => self.answer_peerlist(message),
        }
    }

    fn answer_peerlist(&self, message: &Message) {
        if !self.0.requests.complete(&message.id, &message.peer, Answer::Args(message.args.clone())) {
            self.0.meter.unexpected.add(1);
        }
    }
}
