//! Under which of its names a service was addressed, until it answers (vip.md section 4.2).
//!
//! Services speak under their primary identity and do not see which name a request used; the router puts that name
//! back into the answer. Remembered per request id, so that pushes of the service keep the primary name.

use std::hash::{Hash as _, Hasher as _};

use rustc_hash::{FxHashMap, FxHasher};
use volttron_utils::vip::subsystem;

use crate::peers::PeerId;

/// Requests remembered at a time. When full, all are forgotten: their answers then carry the primary name, which
/// callers accept because they match answers by id.
const CAPACITY: usize = 8192;

#[derive(Default)]
pub(crate) struct AddressedNames {
    by_request: FxHashMap<Key, u8>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    requester: PeerId,
    service: PeerId,
    request: u64,
}

impl AddressedNames {
    pub fn is_empty(&self) -> bool {
        self.by_request.is_empty()
    }

    /// `requester` addressed `service` by its alias number `alias`.
    pub fn remember(&mut self, requester: PeerId, service: PeerId, used: &[u8], id: &[u8], alias: u8) {
        if self.by_request.len() >= CAPACITY {
            self.by_request.clear();
        }
        let request = request_hash(used, id);
        self.by_request.insert(Key { requester, service, request }, alias);
        if !id.is_empty() {
            // A call may ask the service to open a channel, in which the service speaks first.
            let request = request_hash(subsystem::CHANNEL.as_bytes(), b"");
            self.by_request.insert(Key { requester, service, request }, alias);
        }
    }

    /// `service` sends to `requester`: the alias it was addressed by, if this is the answer. Exchanges without an
    /// id (channels) have no single answer and stay remembered.
    pub fn recall(&mut self, requester: PeerId, service: PeerId, subsystem: &[u8], id: &[u8]) -> Option<u8> {
        let key = Key { requester, service, request: request_hash(subsystem, id) };
        if id.is_empty() { self.by_request.get(&key).copied() } else { self.by_request.remove(&key) }
    }

    /// A peer left; its number may be given to another.
    pub fn forget(&mut self, peer: PeerId) {
        self.by_request.retain(|key, _| key.requester != peer && key.service != peer);
    }
}

/// With an id the subsystem does not count: the answer may be an `error` message.
fn request_hash(subsystem: &[u8], id: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    if id.is_empty() {
        (0u8, subsystem).hash(&mut hasher);
    } else {
        (1u8, id).hash(&mut hasher);
    }
    hasher.finish()
}
