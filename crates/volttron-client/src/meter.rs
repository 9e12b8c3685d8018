//! Counters of one agent. Plain relaxed atomics: figures for people, never for decisions.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What an agent counts.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Meter {
    /// Messages received.
    pub received: Counter,
    /// Messages that could not be understood and were dropped.
    pub malformed: Counter,
    /// Answers that nobody waits for (late, or not ours).
    pub unexpected: Counter,
    /// Calls served, good or bad.
    pub calls_served: Counter,
    /// Calls refused because the caller lacks a capability.
    pub calls_denied: Counter,
    /// Calls refused because too many were waiting.
    pub calls_refused_busy: Counter,
    /// Replies dropped because the outgoing queue was full.
    pub replies_dropped: Counter,
    /// Publications dropped because a subscription's queue was full.
    pub publications_lagged: Counter,
    /// Publications that matched no subscription.
    pub publications_unmatched: Counter,
    /// Datagrams that waited for room in the link's queue before they could be sent.
    pub channel_waits: Counter,
    /// Datagrams dropped because the reader of their channel did not keep up.
    pub channel_overruns: Counter,
    /// Datagrams dropped because no such channel is open.
    pub channel_unknown: Counter,
    /// Handlers that returned an error.
    pub handler_errors: Counter,
    /// Handlers and tasks that panicked.
    pub panics: Counter,
    /// Reconnections.
    pub reconnects: Counter,
}
