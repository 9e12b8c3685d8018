//! What a historian says about itself: health context and alerts (historians.md 3, Health).

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// Alert keys operators read in status lists; never renamed.
pub mod keys {
    /// The store takes nothing.
    pub const NOT_PUBLISHING: &str = "historian_not_publishing";
    /// The cache is at its cap; data is lost.
    pub const CACHE_FULL: &str = "historian_cache_full";
    /// The cache itself cannot be written.
    pub const LOOP_FAILED: &str = "process_loop_failed";
    /// Size limits of the store cannot be applied.
    pub const DB_SIZE: &str = "error_managing_db_size";
    /// Records out of tolerance are waiting for an operator.
    pub const TIME_ERROR: &str =
        "Historian received records with invalid timestamp. Please check records in time_error table.";
    /// Messages were lost before they reached the queue (ours).
    pub const QUEUE_DROPPED: &str = "historian_queue_dropped";
    /// The store refuses records for good (ours).
    pub const REJECTED: &str = "historian_records_rejected";
}

/// An alert that goes on for this long is repeated.
const REPEAT: Duration = Duration::from_secs(300);

/// The figures behind the health context.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // the keys of the health context
pub struct Status {
    /// Records in the cache.
    pub cache_count: u64,
    /// Writing does not keep up.
    pub backlogged: bool,
    /// The last write went well.
    pub publishing: bool,
    /// The cache is near or above its cap.
    pub cache_full: bool,
    /// Maintenance mode.
    pub cache_only_enabled: bool,
    /// The error table holds records.
    pub invalid_timestamps: bool,
    /// Size limits could not be applied.
    pub error_managing_db_size: bool,
    /// Messages lost before the queue.
    pub dropped: u64,
    /// Records put aside because the store refuses them.
    pub rejected: u64,
    /// Records stored since start. Not part of the health context.
    pub stored: u64,
    /// Records made durable since start. Not part of the health context.
    pub accepted: u64,
    /// Why the store or cache does not work, for people.
    pub reason: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            cache_count: 0,
            backlogged: false,
            publishing: true,
            cache_full: false,
            cache_only_enabled: false,
            invalid_timestamps: false,
            error_managing_db_size: false,
            dropped: 0,
            rejected: 0,
            stored: 0,
            accepted: 0,
            reason: None,
        }
    }
}

impl Status {
    /// GOOD or BAD.
    pub fn is_good(&self) -> bool {
        self.publishing
            && !(self.backlogged || self.cache_full || self.invalid_timestamps || self.error_managing_db_size)
            && self.dropped == 0
            && self.rejected == 0
    }

    /// The health context. Keys of the original always; ours only when there is something to tell.
    pub fn context(&self) -> Value {
        let mut map = Map::new();
        map.insert("cache_count".into(), self.cache_count.into());
        map.insert("backlogged".into(), self.backlogged.into());
        map.insert("publishing".into(), self.publishing.into());
        map.insert("cache_full".into(), self.cache_full.into());
        map.insert("cache_only_enabled".into(), self.cache_only_enabled.into());
        map.insert("records_with_invalid_timestamp".into(), self.invalid_timestamps.into());
        map.insert("error_managing_db_size".into(), self.error_managing_db_size.into());
        if self.dropped > 0 {
            map.insert("messages_dropped".into(), self.dropped.into());
        }
        if self.rejected > 0 {
            map.insert("records_rejected".into(), self.rejected.into());
        }
        if let Some(reason) = &self.reason {
            map.insert("reason".into(), json!(reason));
        }
        Value::Object(map)
    }

    /// True when health consumers would see a difference. The mere count of cached records moves all the time.
    pub fn differs_for_people(&self, other: &Self) -> bool {
        let shape = |s: &Self| {
            let mut s = s.clone();
            s.cache_count = 0;
            s.stored = 0;
            s.accepted = 0;
            s
        };
        shape(self) != shape(other)
    }
}

/// Something an operator should learn.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// De-duplication key.
    pub key: &'static str,
    /// The health context at that moment.
    pub context: Value,
}

/// Decides when a lasting condition is reported again.
#[derive(Debug, Default)]
pub struct AlertPacing {
    raised: Vec<(&'static str, Instant)>,
}

impl AlertPacing {
    /// True when `key` should be reported now: the condition is new, or long enough since the last time.
    pub fn due(&mut self, key: &'static str, now: Instant) -> bool {
        match self.raised.iter_mut().find(|(k, _)| *k == key) {
            Some((_, at)) if now.duration_since(*at) < REPEAT => false,
            Some((_, at)) => {
                *at = now;
                true
            }
            None => {
                self.raised.push((key, now));
                true
            }
        }
    }

    /// The condition is over; its next occurrence is new.
    pub fn clear(&mut self, key: &'static str) {
        self.raised.retain(|(k, _)| *k != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_has_the_keys_of_the_original_in_order() {
        let keys = |s: &Status| match s.context() {
            Value::Object(m) => m.keys().cloned().collect::<Vec<_>>(),
            _ => vec![],
        };
        let base = [
            "cache_count",
            "backlogged",
            "publishing",
            "cache_full",
            "cache_only_enabled",
            "records_with_invalid_timestamp",
            "error_managing_db_size",
        ];
        assert_eq!(keys(&Status::default()), base);
        assert_eq!(keys(&Status { dropped: 1, ..Status::default() }).len(), base.len() + 1);
    }

    #[test]
    fn any_trouble_is_bad() {
        let cases: [fn(&mut Status); 7] = [
            |s| s.backlogged = true,
            |s| s.publishing = false,
            |s| s.cache_full = true,
            |s| s.invalid_timestamps = true,
            |s| s.error_managing_db_size = true,
            |s| s.dropped = 1,
            |s| s.rejected = 1,
        ];
        assert!(Status { cache_only_enabled: true, cache_count: 9, ..Status::default() }.is_good());
        for (i, change) in cases.into_iter().enumerate() {
            let mut s = Status::default();
            change(&mut s);
            assert!(!s.is_good(), "case {i}");
            assert!(s.differs_for_people(&Status::default()), "case {i}");
        }
        assert!(!Status { cache_count: 5, ..Status::default() }.differs_for_people(&Status::default()));
    }

    #[test]
    fn alerts_repeat_slowly_and_start_over_when_cleared() {
        let mut pacing = AlertPacing::default();
        let t = Instant::now();
        assert!(pacing.due(keys::CACHE_FULL, t));
        assert!(!pacing.due(keys::CACHE_FULL, t + Duration::from_secs(299)));
        assert!(pacing.due(keys::NOT_PUBLISHING, t));
        assert!(pacing.due(keys::CACHE_FULL, t + Duration::from_secs(300)));
        pacing.clear(keys::CACHE_FULL);
        assert!(pacing.due(keys::CACHE_FULL, t + Duration::from_secs(301)));
    }
}
