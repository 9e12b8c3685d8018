//! Overrides: patterns of devices that nobody may write (drivers.md section 7). Pure; the time comes from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use volttron_client::utils::pattern::fnmatch;
use volttron_client::utils::time::{format_timestamp, parse_timestamp};

/// When an override ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// At this time.
    At(Timestamp),
    /// Only when turned off.
    Never,
}

/// The active patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    patterns: BTreeMap<String, End>,
}

impl Overrides {
    /// Activates a pattern for a number of seconds; zero or less means without end. A pattern that is active already
    /// keeps the later of both ends. True when anything changed.
    pub fn set(&mut self, pattern: &str, duration_s: f64, now: Timestamp) -> bool {
        let end = if duration_s > 0.0 {
            let duration = Duration::try_from_secs_f64(duration_s).ok();
            duration.and_then(|d| now.checked_add(d).ok()).map_or(End::Never, End::At)
        } else {
            End::Never
        };
        match self.patterns.get(pattern) {
            Some(present) if *present >= end => false,
            _ => {
                self.patterns.insert(pattern.to_owned(), end);
                true
            }
        }
    }

    /// Turns off exactly this pattern; false when it is not active.
    pub fn off(&mut self, pattern: &str) -> bool {
        self.patterns.remove(pattern).is_some()
    }

    /// Turns off all patterns; true when there were any.
    pub fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.patterns).is_empty()
    }

    /// Drops what has ended; true when anything has.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.patterns.len();
        self.patterns.retain(|_, end| *end > End::At(now));
        self.patterns.len() != before
    }

    /// When the next pattern ends, if any does.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.patterns.values().filter_map(|end| if let End::At(at) = end { Some(*at) } else { None }).min()
    }

    /// True when an active pattern matches the device. The path is compared as written, case included.
    pub fn covers(&self, path: &str, now: Timestamp) -> bool {
        self.patterns.iter().any(|(pattern, end)| *end > End::At(now) && fnmatch(pattern, path))
    }

    /// The active patterns.
    pub fn patterns(&self) -> Vec<String> {
        self.patterns.keys().cloned().collect()
    }

    /// The stored form: end time by pattern, `"0.0"` for none.
    pub fn to_value(&self) -> Value {
        let entry = |(pattern, end): (&String, &End)| {
            let end = match end {
                End::Never => "0.0".to_owned(),
                End::At(at) => format_timestamp(*at),
            };
            (pattern.clone(), Value::from(end))
        };
        Value::Object(self.patterns.iter().map(entry).collect())
    }

    /// Reads the stored form, as an object or as its JSON text. Entries that have ended are dropped; one whose end
    /// cannot be read never ends, which is the safe side of a write lock.
    pub fn from_value(value: &Value, now: Timestamp) -> Self {
        let parsed = match value {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            other => other.clone(),
        };
        let entries: Map<String, Value> = if let Value::Object(map) = parsed { map } else { Map::new() };
        let end = |value: &Value| match value {
            Value::String(text) => parse_timestamp(text).map_or(End::Never, |at| End::At(at.or_utc())),
            _ => End::Never,
        };
        let mut overrides =
            Self { patterns: entries.iter().map(|(pattern, value)| (pattern.clone(), end(value))).collect() };
        overrides.expire(now);
        overrides
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("time")
    }

    #[test]
    fn the_later_end_wins_and_no_end_wins_over_all() {
        for (steps, end) in [
            (&[10.0, 20.0][..], Some(20)),
            (&[20.0, 10.0], Some(20)),
            (&[10.0, 0.0], None),
            (&[0.0, 10.0], None),
            (&[-1.0], None),
            (&[f64::INFINITY], None),
        ] {
            let mut overrides = Overrides::default();
            for step in steps {
                overrides.set("a*", *step, at(0));
            }
            assert_eq!(overrides.next_end(), end.map(at), "{steps:?}");
        }
        let mut overrides = Overrides::default();
        assert!(overrides.set("a", 10.0, at(0)));
        assert!(!overrides.set("a", 5.0, at(0)), "a shorter request changes nothing");
    }

    #[test]
    fn a_device_stays_overridden_while_any_pattern_matches() {
        let mut overrides = Overrides::default();
        overrides.set("campus/*", 10.0, at(0));
        overrides.set("campus/b?/[ab]hu1", 0.0, at(0));
        for (path, now, covered) in [
            ("campus/b1/ahu1", 5, true),
            ("campus/b1/vav7/sub", 5, true),
            ("campus/b1/vav7/sub", 10, false),
            ("campus/b1/ahu1", 10, true),
            ("Campus/b1/ahu1", 10, false),
            ("other", 5, false),
        ] {
            assert_eq!(overrides.covers(path, at(now)), covered, "{path} at {now}");
        }
        assert!(overrides.expire(at(10)));
        assert!(!overrides.expire(at(11)));
        assert!(overrides.off("campus/b?/[ab]hu1") && !overrides.off("campus/*"));
    }

    #[test]
    fn what_is_stored_comes_back_without_what_ended() {
        let mut overrides = Overrides::default();
        overrides.set("a*", 0.0, at(0));
        overrides.set("B", 10.5, at(0));
        let stored = overrides.to_value();
        assert_eq!(stored, json!({"B": "2027-01-15T08:00:10.500000+00:00", "a*": "0.0"}));
        assert_eq!(Overrides::from_value(&stored, at(5)), overrides);
        assert_eq!(Overrides::from_value(&json!(stored.to_string()), at(5)), overrides);
        assert_eq!(Overrides::from_value(&stored, at(11)).patterns(), ["a*"]);
        assert_eq!(Overrides::from_value(&json!("no json"), at(0)), Overrides::default());
    }
}
