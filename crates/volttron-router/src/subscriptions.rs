//! What one peer subscribed to: the mirror of its entries in the trees, so that leaving and synchronising need not
//! search them.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::Table;

/// Bytes accounted per subscription besides its prefix, so that empty prefixes on many buses are bounded too.
const ENTRY_BYTES: usize = 8;

type Prefixes = BTreeSet<Box<[u8]>>;

#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_bus: BTreeMap<(Table, Box<[u8]>), Prefixes>,
    count: usize,
    bytes: usize,
}

impl Subscriptions {
    pub fn len(&self) -> usize {
        self.count
    }

    /// Bytes all subscriptions are accounted with.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes one more subscription would be accounted with.
    pub fn cost(bus: &[u8], prefix: &[u8]) -> usize {
        bus.len() + prefix.len() + ENTRY_BYTES
    }

    pub fn contains(&self, table: Table, bus: &[u8], prefix: &[u8]) -> bool {
        self.by_bus.get(&(table, Box::from(bus))).is_some_and(|set| set.contains(prefix))
    }

    pub fn insert(&mut self, table: Table, bus: &[u8], prefix: &[u8]) {
        if self.by_bus.entry((table, bus.into())).or_default().insert(prefix.into()) {
            self.count += 1;
            self.bytes += Self::cost(bus, prefix);
        }
    }

    pub fn remove(&mut self, table: Table, bus: &[u8], prefix: &[u8]) -> bool {
        let key = (table, Box::from(bus));
        let Some(set) = self.by_bus.get_mut(&key) else { return false };
        if !set.remove(prefix) {
            return false;
        }
        if set.is_empty() {
            self.by_bus.remove(&key);
        }
        self.count -= 1;
        self.bytes -= Self::cost(bus, prefix);
        true
    }

    /// All prefixes in one table of one bus.
    pub fn on_bus(&self, table: Table, bus: &[u8]) -> Vec<Box<[u8]>> {
        self.by_bus.get(&(table, Box::from(bus))).map(|set| set.iter().cloned().collect()).unwrap_or_default()
    }

    /// Everything as (table, bus, prefix).
    pub fn iter(&self) -> impl Iterator<Item = (Table, &[u8], &[u8])> {
        self.by_bus
            .iter()
            .flat_map(|((table, bus), set)| set.iter().map(move |prefix| (*table, &**bus, &**prefix)))
    }
}
