//! What happened to a device lately: the counters behind `get_device_status` and the agent's health (drivers.md
//! section 10).

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use volttron_client::utils::time::format_timestamp;

/// So many failed scrapes in a row make a device count as silent, and raise an alert.
pub const SILENT_AFTER: u64 = 3;

/// Counters of one device; they survive its reconfiguration.
#[derive(Debug, Default)]
pub struct Status(Mutex<Counters>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Counters {
    scrapes: u64,
    failures: u64,
    failures_in_a_row: u64,
    overruns: u64,
    published: u64,
    publish_failures: u64,
    missing_points: u64,
    last_success: Option<Timestamp>,
    last_error: Option<String>,
}

impl Status {
    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A scrape brought values; `missing` points had none. True when the device was failing before.
    pub fn succeeded(&self, at: Timestamp, missing: usize) -> bool {
        let mut counters = self.lock();
        counters.scrapes += 1;
        counters.missing_points = missing as u64;
        counters.last_success = Some(at);
        std::mem::take(&mut counters.failures_in_a_row) > 0
    }

    /// A scrape failed; gives how many have in a row.
    pub fn failed(&self, why: &str) -> u64 {
        let mut counters = self.lock();
        counters.scrapes += 1;
        counters.failures += 1;
        counters.failures_in_a_row += 1;
        counters.last_error = Some(why.to_owned());
        counters.failures_in_a_row
    }

    /// A scrape was due while one was still running, and was left out.
    pub fn overran(&self) -> u64 {
        let mut counters = self.lock();
        counters.overruns += 1;
        counters.overruns
    }

    /// A publication was acknowledged by the bus, or was not.
    pub fn published(&self, acknowledged: bool) {
        let mut counters = self.lock();
        if acknowledged {
            counters.published += 1;
        } else {
            counters.publish_failures += 1;
        }
    }

    /// Points without a value in the last scrape.
    pub fn missing(&self) -> u64 {
        self.lock().missing_points
    }

    /// True when the device has failed often enough in a row to tell somebody.
    pub fn is_silent(&self) -> bool {
        self.lock().failures_in_a_row >= SILENT_AFTER
    }

    /// As `get_device_status` answers; `state` is `RUNNING` or `FAILED(reason)`.
    pub fn to_value(&self, state: &str) -> Value {
        let counters = self.lock().clone();
        json!({
            "state": state,
            "last_success": counters.last_success.map(format_timestamp),
            "last_error": counters.last_error,
            "scrapes": counters.scrapes,
            "failures": counters.failures,
            "failures_in_a_row": counters.failures_in_a_row,
            "overruns": counters.overruns,
            "missing_points": counters.missing_points,
            "published": counters.published,
            "publish_failures": counters.publish_failures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_silent_after_three_failures_in_a_row() {
        let status = Status::default();
        for n in 1..=3 {
            assert!(!status.is_silent());
            assert_eq!(status.failed("off"), n);
        }
        assert!(status.is_silent());
        assert!(status.succeeded(Timestamp::UNIX_EPOCH, 2));
        assert!(!status.is_silent() && !status.succeeded(Timestamp::UNIX_EPOCH, 0));
        let value = status.to_value("RUNNING");
        assert_eq!(value["failures"], 3);
        assert_eq!(value["missing_points"], 0);
        assert_eq!(value["last_success"], "1970-01-01T00:00:00.000000+00:00");
    }
}
