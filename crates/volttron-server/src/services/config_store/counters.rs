//! What the store counts, for people who look for faults.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

/// Plain relaxed counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Entries found unusable at start and put aside.
    pub(super) entries_set_aside: AtomicU64,
    /// Files found unusable at start and put aside.
    pub(super) files_set_aside: AtomicU64,
    /// Files written.
    pub(super) writes: AtomicU64,
    /// Changes undone because the disk refused them.
    pub(super) writes_failed: AtomicU64,
    /// Changes refused because too many waited for the disk or for the agent.
    pub(super) refused_busy: AtomicU64,
    /// Changes that agents were told about.
    pub(super) pushed: AtomicU64,
    /// Changes that an agent could not be told about.
    pub(super) pushes_failed: AtomicU64,
}

impl Counters {
    /// All of them by name.
    pub(super) fn snapshot(&self) -> Map<String, Value> {
        let all = [
            ("entries_set_aside", &self.entries_set_aside),
            ("files_set_aside", &self.files_set_aside),
            ("writes", &self.writes),
            ("writes_failed", &self.writes_failed),
            ("refused_busy", &self.refused_busy),
            ("pushed", &self.pushed),
            ("pushes_failed", &self.pushes_failed),
        ];
        all.into_iter().map(|(name, n)| (name.to_owned(), n.load(Ordering::Relaxed).into())).collect()
    }
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}
