//! One bus: its subscription tree and the subscribers of recently published topics.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::peers::PeerId;
use crate::tree::{Table, Tree};

/// Longest topic that is remembered; longer ones walk the tree each time.
const LONGEST_CACHED_BYTES: usize = 1024;
/// Publishers remembered as allowed per topic.
const ALLOWED: usize = 4;

/// All buses. The empty name is nearly always the only one.
#[derive(Default)]
pub(crate) struct Buses {
    default: Bus,
    named: FxHashMap<Box<[u8]>, Bus>,
}

impl Buses {
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Bus> {
        if name.is_empty() { Some(&mut self.default) } else { self.named.get_mut(name) }
    }

    /// All buses with subscriptions, the default one included, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Bus)> {
        std::iter::once((&[][..], &self.default)).chain(self.named.iter().map(|(name, bus)| (&**name, bus)))
    }

    pub fn insert(&mut self, table: Table, bus: &[u8], prefix: &[u8], peer: PeerId) {
        let bus = match self.get_mut(bus) {
            Some(bus) => bus,
            None => self.named.entry(bus.into()).or_default(),
        };
        bus.tree.insert(prefix, table, peer);
    }

    pub fn remove(&mut self, table: Table, name: &[u8], prefix: &[u8], peer: PeerId) {
        let Some(bus) = self.get_mut(name) else { return };
        bus.tree.remove(prefix, table, peer);
        if bus.tree.is_empty() && !name.is_empty() {
            self.named.remove(name);
        }
    }
}

#[derive(Default)]
pub(crate) struct Bus {
    pub tree: Tree,
    topics: FxHashMap<Box<[u8]>, Topic>,
}

/// What is remembered about a topic.
#[derive(Default)]
struct Topic {
    /// Tree generation `peers` was found under; 0 is never.
    found: u64,
    peers: Vec<PeerId>,
    /// Policy generation `allowed` was decided under.
    decided: u64,
    /// Serial numbers of peers that may publish here.
    allowed: SmallVec<[u64; ALLOWED]>,
}

impl Bus {
    /// Writes the subscribers of `topic` to `into`, each once, in a fixed order. True if they were remembered.
    pub fn subscribers(&mut self, topic: &[u8], most: usize, into: &mut Vec<PeerId>) -> bool {
        into.clear();
        let generation = self.tree.generation();
        if let Some(known) = self.topics.get(topic).filter(|known| known.found == generation) {
            into.extend_from_slice(&known.peers);
            return true;
        }
        self.tree.matches(topic, |peer| into.push(peer));
        into.sort_unstable();
        into.dedup();
        if let Some(known) = self.topic(topic, most) {
            known.peers.clone_from(into);
            known.found = generation;
        }
        false
    }

    /// Whether a publisher is remembered as allowed on `topic`.
    pub fn is_allowed(&self, topic: &[u8], policy_generation: u64, serial: u64) -> bool {
        self.topics
            .get(topic)
            .is_some_and(|known| known.decided == policy_generation && known.allowed.contains(&serial))
    }

    /// Remembers that a publisher is allowed on `topic`. The newest few are kept.
    pub fn allow(&mut self, topic: &[u8], most: usize, policy_generation: u64, serial: u64) {
        let Some(known) = self.topic(topic, most) else { return };
        if known.decided != policy_generation {
            known.decided = policy_generation;
            known.allowed.clear();
        }
        if known.allowed.len() == ALLOWED {
            known.allowed.remove(0);
        }
        known.allowed.push(serial);
    }

    fn topic(&mut self, topic: &[u8], most: usize) -> Option<&mut Topic> {
        if topic.len() > LONGEST_CACHED_BYTES || most == 0 {
            return None;
        }
        if !self.topics.contains_key(topic) {
            if self.topics.len() >= most {
                // Starting over costs one walk per live topic; keeping an order would cost every publish.
                self.topics.clear();
            }
            self.topics.insert(topic.into(), Topic::default());
        }
        self.topics.get_mut(topic)
    }
}
