//! Slots: which place within the interval a device's scrape gets (drivers.md 5.1). Pure bookkeeping.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The two intervals of the main configuration that spread devices over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stagger {
    /// Between consecutive devices of a group (`driver_scrape_interval`).
    pub per_device: Duration,
    /// Extra start offset per group number (`group_offset_interval`).
    pub per_group: Duration,
}

impl Default for Stagger {
    fn default() -> Self {
        Self { per_device: Duration::from_millis(20), per_group: Duration::ZERO }
    }
}

/// Start of a device's scrapes relative to the interval boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Always less than the interval.
    pub offset: Duration,
    /// The plain sum was not: several devices share a start, which deserves a warning.
    pub wrapped: bool,
}

impl Stagger {
    /// Offset of a slot. `interval` must not be zero.
    pub fn offset(&self, slot: u32, group: u32, interval: Duration) -> Offset {
        let sum = self
            .per_device
            .as_nanos()
            .saturating_mul(u128::from(slot))
            .saturating_add(self.per_group.as_nanos().saturating_mul(u128::from(group)));
        let interval = interval.as_nanos().max(1);
        // Fits: the remainder is below the interval, which came from a Duration.
        let offset = Duration::from_nanos(u64::try_from(sum % interval).unwrap_or(0));
        Offset { offset, wrapped: sum >= interval }
    }
}

/// Slot numbers in use, per group.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    groups: BTreeMap<u32, Group>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    /// Slots `0..next` have been handed out at some time.
    next: u32,
    freed: BTreeSet<u32>,
}

impl Slots {
    /// The lowest slot that a removed device of the group left, else the next new one.
    pub fn take(&mut self, group: u32) -> u32 {
        let group = self.groups.entry(group).or_default();
        group.freed.pop_first().unwrap_or_else(|| {
            group.next += 1;
            group.next - 1
        })
    }

    /// Gives a slot back.
    pub fn release(&mut self, group: u32, slot: u32) {
        let Some(entry) = self.groups.get_mut(&group) else { return };
        if slot < entry.next {
            entry.freed.insert(slot);
        }
        if entry.freed.len() == entry.next as usize {
            self.groups.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_device_leaves_its_slot_to_the_next_one() {
        let mut slots = Slots::default();
        assert_eq!([slots.take(0), slots.take(0), slots.take(0), slots.take(5)], [0, 1, 2, 0]);
        slots.release(0, 2);
        slots.release(0, 0);
        assert_eq!([slots.take(0), slots.take(0), slots.take(0)], [0, 2, 3]);
        slots.release(5, 0);
        assert_eq!(slots.take(5), 0);
    }

    #[test]
    fn slots_are_unique_under_any_order_of_taking_and_releasing() {
        let mut slots = Slots::default();
        let mut held: Vec<u32> = Vec::new();
        let mut state = 1u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if (state >> 33).is_multiple_of(3) && !held.is_empty() {
                let gone = held.swap_remove((state >> 40) as usize % held.len());
                slots.release(1, gone);
            } else {
                let slot = slots.take(1);
                assert!(!held.contains(&slot));
                held.push(slot);
            }
            assert!(held.iter().all(|s| (*s as usize) < 2000));
        }
    }

    #[test]
    fn offsets_stagger_and_wrap_at_the_interval() {
        let stagger = Stagger { per_device: Duration::from_millis(20), per_group: Duration::from_secs(2) };
        let minute = Duration::from_secs(60);
        for (slot, group, millis, wrapped) in [
            (0, 0, 0, false),
            (3, 0, 60, false),
            (1, 2, 4020, false),
            (3000, 0, 0, true),
            (3001, 1, 2020, true),
        ] {
            let want = Offset { offset: Duration::from_millis(millis), wrapped };
            assert_eq!(stagger.offset(slot, group, minute), want, "slot {slot} group {group}");
        }
    }
}
