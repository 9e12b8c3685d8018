//! Peers that lose messages because they do not read: who they are now, for whoever wants to tell an operator.
//!
//! The router counts each loss; this knows when one is over. It never waits and never sends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// A peer that lost nothing for this long, and has room again, is no longer slow.
const QUIET: Duration = Duration::from_secs(5);

/// A peer that does not read fast enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowPeer {
    /// Its identity.
    pub identity: String,
    /// Messages it lost since it connected.
    pub lost: u64,
}

#[derive(Debug)]
struct Loss {
    lost: u64,
    /// Lost something since the last look.
    fresh: bool,
    /// When the last look found it fresh or full.
    last: Option<Instant>,
}

/// All of them. As many as the router admits peers, and in practice none.
#[derive(Debug, Default)]
pub(super) struct SlowPeers {
    peers: BTreeMap<Box<str>, Loss>,
    told: watch::Sender<Vec<SlowPeer>>,
}

impl SlowPeers {
    pub(super) fn subscribe(&self) -> watch::Receiver<Vec<SlowPeer>> {
        self.told.subscribe()
    }

    /// A message for this peer was lost, the `lost`th.
    pub(super) fn lost(&mut self, identity: &str, lost: u64) {
        if let Some(loss) = self.peers.get_mut(identity) {
            (loss.lost, loss.fresh) = (lost, true);
        } else {
            self.peers.insert(identity.into(), Loss { lost, fresh: true, last: None });
        }
    }

    /// The peer left; it cannot lose anything any more. What it had lost, if it was slow.
    pub(super) fn gone(&mut self, identity: &str) -> Option<u64> {
        self.peers.remove(identity).map(|loss| loss.lost)
    }

    /// Looks once more at each of them (`is_full`: its queue has no room now) and tells what changed.
    pub(super) fn look(&mut self, now: Instant, is_full: impl Fn(&str) -> bool) {
        self.peers.retain(|identity, loss| {
            if std::mem::take(&mut loss.fresh) || is_full(identity) {
                loss.last = Some(now);
            }
            loss.last.is_some_and(|last| now.saturating_duration_since(last) < QUIET)
        });
        let slow = self
            .peers
            .iter()
            .map(|(identity, loss)| SlowPeer { identity: identity.to_string(), lost: loss.lost });
        let slow: Vec<SlowPeer> = slow.collect();
        self.told.send_if_modified(|told| {
            let differs = *told != slow;
            *told = slow;
            differs
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(peers: &SlowPeers) -> Vec<(String, u64)> {
        peers.told.borrow().iter().map(|p| (p.identity.clone(), p.lost)).collect()
    }

    #[test]
    fn slow_from_the_first_loss_until_there_is_room_and_quiet() {
        let (mut peers, start) = (SlowPeers::default(), Instant::now());
        peers.lost("a", 1);
        peers.lost("b", 7);
        assert!(told(&peers).is_empty(), "told at the next look");
        peers.look(start, |_| true);
        assert_eq!(told(&peers), [("a".to_owned(), 1), ("b".to_owned(), 7)]);
        // Nothing was sent to it meanwhile, but it still does not read.
        peers.look(start + QUIET, |peer| peer == "a");
        assert_eq!(told(&peers), [("a".to_owned(), 1)], "b has room and lost nothing");
        peers.lost("a", 2);
        peers.look(start + QUIET * 2, |_| false);
        peers.look(start + QUIET * 2 + QUIET / 2, |_| false);
        assert_eq!(told(&peers), [("a".to_owned(), 2)], "not yet quiet for long enough");
        peers.look(start + QUIET * 3, |_| false);
        assert!(told(&peers).is_empty());
    }

    #[test]
    fn a_peer_that_left_is_not_slow_and_nothing_new_is_not_told() {
        let mut peers = SlowPeers::default();
        let mut watcher = peers.subscribe();
        peers.lost("a", 1);
        peers.look(Instant::now(), |_| true);
        assert_eq!(watcher.borrow_and_update().len(), 1);
        peers.look(Instant::now(), |_| true);
        assert!(!watcher.has_changed().expect("alive"));
        assert_eq!((peers.gone("a"), peers.gone("a")), (Some(1), None));
        peers.look(Instant::now(), |_| true);
        assert!(watcher.borrow_and_update().is_empty());
    }
}
