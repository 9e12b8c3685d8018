//! The default way back for written points (drivers.md section 8).
//!
//! Keeps three facts per point: the registry's default, the last scraped value that no agent had touched, and
//! whether an agent wrote it since. Lost on restart, as in the original: what was written then becomes the new
//! clean value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::PointId;

/// See the module text.
#[derive(Clone, Debug, Default)]
pub struct RevertTracker {
    defaults: BTreeMap<PointId, Value>,
    clean: BTreeMap<PointId, Value>,
    dirty: BTreeSet<PointId>,
}

impl RevertTracker {
    /// A tracker that knows the registry's defaults.
    pub fn new(defaults: impl IntoIterator<Item = (PointId, Value)>) -> Self {
        Self { defaults: defaults.into_iter().collect(), ..Self::default() }
    }

    /// Notes a write *before* it happens, so that a scrape in flight cannot record the written value as clean.
    /// True when this call made the point dirty: pass it to [`Self::write_failed`] if the write fails.
    pub fn writing(&mut self, id: PointId) -> bool {
        !self.defaults.contains_key(&id) && self.dirty.insert(id)
    }

    /// The write announced by [`Self::writing`] failed and the point is as it was.
    pub fn write_failed(&mut self, id: PointId, was_made_dirty: bool) {
        if was_made_dirty {
            self.dirty.remove(&id);
        }
    }

    /// Records a scrape: refreshes the clean value of points that are neither written nor defaulted.
    pub fn scraped<'a>(&mut self, values: impl IntoIterator<Item = (PointId, &'a Value)>) {
        for (id, value) in values {
            if !self.dirty.contains(&id) && !self.defaults.contains_key(&id) {
                self.clean.insert(id, value.clone());
            }
        }
    }

    /// Value that undoes writes to this point; `None` when nothing is known, then reverting does nothing.
    pub fn value_for(&self, id: PointId) -> Option<Value> {
        self.defaults.get(&id).or_else(|| self.clean.get(&id)).cloned()
    }

    /// Points that `revert_all` must write: all written ones and all that have a default.
    pub fn all(&self) -> Vec<PointId> {
        self.dirty.iter().chain(self.defaults.keys()).copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The point was reverted.
    pub fn reverted(&mut self, id: PointId) {
        self.dirty.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_written_point_goes_back_to_its_last_untouched_value() {
        let mut tracker = RevertTracker::default();
        assert_eq!(tracker.value_for(0), None);
        tracker.scraped([(0, &json!(20))]);
        tracker.scraped([(0, &json!(21))]);
        assert!(tracker.writing(0));
        tracker.scraped([(0, &json!(99))]);
        assert_eq!(tracker.value_for(0), Some(json!(21)));
        assert_eq!(tracker.all(), [0]);
        tracker.reverted(0);
        assert!(tracker.all().is_empty());
        tracker.scraped([(0, &json!(22))]);
        assert_eq!(tracker.value_for(0), Some(json!(22)));
    }

    #[test]
    fn a_default_wins_and_is_always_part_of_revert_all() {
        let mut tracker = RevertTracker::new([(1, json!(5))]);
        tracker.scraped([(1, &json!(7))]);
        assert_eq!(tracker.value_for(1), Some(json!(5)));
        assert!(!tracker.writing(1));
        assert!(tracker.writing(3));
        assert_eq!(tracker.all(), [1, 3]);
    }

    #[test]
    fn a_failed_write_leaves_the_point_clean_but_not_one_written_before() {
        let mut tracker = RevertTracker::default();
        let first = tracker.writing(0);
        tracker.write_failed(0, first);
        assert!(tracker.all().is_empty());
        tracker.writing(0);
        let second = tracker.writing(0);
        tracker.write_failed(0, second);
        assert_eq!(tracker.all(), [0]);
    }
}
