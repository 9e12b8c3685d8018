//! Counters. Plain numbers, always on; per-name statistics are in `stats.rs`.

use serde::Serialize;

/// What the router has done since it was made. Every inbound message ends in exactly one place,
/// so the books can be checked ([`Self::adds_up`]): `received = forwarded + unreachable + queue_full_direct + to_router +
/// refused + malformed + after_shutdown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Meter {
    /// Messages handed in.
    pub received: u64,
    /// Messages passed on to another peer.
    pub forwarded: u64,
    /// Messages whose recipient is not connected.
    pub unreachable: u64,
    /// Messages whose recipient's queue was full.
    pub queue_full_direct: u64,
    /// Messages to the router itself, good or bad.
    pub to_router: u64,
    /// Messages dropped because their sender may not use its identity.
    pub refused: u64,
    /// Messages that are not VIP messages.
    pub malformed: u64,
    /// Messages after shutdown, all ignored.
    pub after_shutdown: u64,

    /// Answers of the router that were sent.
    pub replies: u64,
    /// Answers and broadcasts that could not be sent.
    pub replies_lost: u64,
    /// Requests to the router that could not be read or made no sense.
    pub bad_requests: u64,
    /// Requests only services may make, made by others.
    pub not_allowed: u64,
    /// Requests that belong to links between platforms, which this router does not have.
    pub external_ignored: u64,

    /// Publishes accepted.
    pub published: u64,
    /// Publishes refused because the topic is protected.
    pub publish_denied: u64,
    /// Publishes that were not publishes.
    pub publish_bad: u64,
    /// Deliveries of published messages to subscribers.
    pub delivered: u64,
    /// Deliveries lost because the subscriber's queue was full.
    pub delivery_full: u64,
    /// Deliveries lost because the subscriber was gone.
    pub delivery_gone: u64,
    /// Subscriptions refused because of a limit.
    pub subscriptions_refused: u64,
    /// Answers to `list` that were cut short.
    pub lists_cut: u64,
    /// Subscriber look-ups answered from the topic cache.
    pub topic_cache_hits: u64,
    /// Subscriber look-ups that had to walk the tree.
    pub topic_cache_misses: u64,

    /// Peers added.
    pub peers_added: u64,
    /// Peers dropped.
    pub peers_dropped: u64,
}

impl Meter {
    /// Whether every received message is accounted for exactly once.
    pub fn adds_up(&self) -> bool {
        self.received
            == self.forwarded
                + self.unreachable
                + self.queue_full_direct
                + self.to_router
                + self.refused
                + self.malformed
                + self.after_shutdown
    }

    /// Adds what another router has done.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            received,
            forwarded,
            unreachable,
            queue_full_direct,
            to_router,
            refused,
            malformed,
            after_shutdown,
            replies,
            replies_lost,
            bad_requests,
            not_allowed,
            external_ignored,
            published,
            publish_denied,
            publish_bad,
            delivered,
            delivery_full,
            delivery_gone,
            subscriptions_refused,
            lists_cut,
            topic_cache_hits,
            topic_cache_misses,
            peers_added,
            peers_dropped,
        } = other;
        self.received += received;
        self.forwarded += forwarded;
        self.unreachable += unreachable;
        self.queue_full_direct += queue_full_direct;
        self.to_router += to_router;
        self.refused += refused;
        self.malformed += malformed;
        self.after_shutdown += after_shutdown;
        self.replies += replies;
        self.replies_lost += replies_lost;
        self.bad_requests += bad_requests;
        self.not_allowed += not_allowed;
        self.external_ignored += external_ignored;
        self.published += published;
        self.publish_denied += publish_denied;
        self.publish_bad += publish_bad;
        self.delivered += delivered;
        self.delivery_full += delivery_full;
        self.delivery_gone += delivery_gone;
        self.subscriptions_refused += subscriptions_refused;
        self.lists_cut += lists_cut;
        self.topic_cache_hits += topic_cache_hits;
        self.topic_cache_misses += topic_cache_misses;
        self.peers_added += peers_added;
        self.peers_dropped += peers_dropped;
    }
}
