//! When a device is scraped (drivers.md 5.2): aligned to UTC midnight, without drift, without bursts. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The scrape times of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval: Duration,
    offset: Duration,
}

const SECONDS_PER_DAY: i128 = 86_400;
const NANOS: i128 = 1_000_000_000;

impl Schedule {
    /// `interval` is at least one second; `offset` is less than it.
    pub fn new(interval: Duration, offset: Duration) -> Self {
        let interval = interval.max(Duration::from_secs(1));
        Self { interval, offset: offset.min(interval.saturating_sub(Duration::from_nanos(1))) }
    }

    /// Seconds between scrapes.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// First scrape for a device that becomes active at `now`: the next multiple of the interval after UTC midnight,
    /// plus the offset. Exactly on a multiple, that multiple counts (the original then forgets the offset, which
    /// would make `SynchronizedTimeStamp` disagree with the other devices of the round).
    pub fn first(&self, now: Timestamp) -> Timestamp {
        let now_ns = now.as_nanosecond();
        let midnight = now_ns.div_euclid(SECONDS_PER_DAY * NANOS) * SECONDS_PER_DAY * NANOS;
        let interval = self.interval.as_nanos().cast_signed();
        let since = now_ns - midnight;
        let steps = since.div_euclid(interval) + i128::from(since.rem_euclid(interval) != 0);
        let at = midnight + steps * interval + self.offset.as_nanos().cast_signed();
        Timestamp::from_nanosecond(at).unwrap_or(now)
    }

    /// Scrape after the one scheduled at `previous`, decided at `now` when that one is due.
    ///
    /// Steps from the scheduled time, so lateness does not add up. When the clock and the plan have come apart by more
    /// than an interval (suspended host, clock set), the plan starts again from the midnight rule: missed scrapes are
    /// not replayed, and a clock set back does not silence the device.
    pub fn next(&self, previous: Timestamp, now: Timestamp) -> Timestamp {
        let Ok(next) = previous.checked_add(self.interval) else { return self.first(now) };
        let ahead = next.duration_since(now);
        let limit = SignedDuration::try_from(self.interval).unwrap_or(SignedDuration::MAX);
        if ahead < -limit || ahead > limit + limit { self.first(now) } else { next }
    }

    /// The interval boundary a scheduled time belongs to: the `SynchronizedTimeStamp`.
    pub fn boundary(&self, scheduled: Timestamp) -> Timestamp {
        scheduled.checked_sub(self.offset).unwrap_or(scheduled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("timestamp")
    }

    fn schedule(interval_s: u64, offset_ms: u64) -> Schedule {
        Schedule::new(Duration::from_secs(interval_s), Duration::from_millis(offset_ms))
    }

    #[test]
    fn the_first_scrape_is_on_the_next_multiple_after_midnight() {
        for (interval, offset, now, first) in [
            (60, 0, "2026-03-04T17:05:10.5Z", "2026-03-04T17:06:00Z"),
            (60, 40, "2026-03-04T17:05:10.5Z", "2026-03-04T17:06:00.04Z"),
            (60, 40, "2026-03-04T17:05:00Z", "2026-03-04T17:05:00.04Z"),
            (7, 0, "2026-03-04T23:59:59Z", "2026-03-05T00:00:01Z"),
            (7, 0, "2026-03-05T00:00:00.001Z", "2026-03-05T00:00:07Z"),
            (86_400, 0, "2026-03-04T00:00:01Z", "2026-03-05T00:00:00Z"),
            (300, 0, "1969-12-31T23:58:00Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(schedule(interval, offset).first(at(now)), at(first), "{now} every {interval}");
        }
    }

    #[test]
    fn later_scrapes_step_from_the_plan_and_do_not_drift() {
        let s = schedule(60, 20);
        let mut planned = s.first(at("2026-03-04T17:05:10Z"));
        for _ in 0..1000 {
            let late = planned.checked_add(Duration::from_millis(731)).expect("in range");
            planned = s.next(planned, late);
        }
        assert_eq!(planned, at("2026-03-05T09:46:00.02Z"));
        assert_eq!(s.boundary(planned), at("2026-03-05T09:46:00Z"));
    }

    #[test]
    fn a_suspended_host_or_a_set_clock_restarts_the_plan_without_a_burst() {
        let s = schedule(60, 0);
        let planned = at("2026-03-04T17:05:00Z");
        for (now, next) in [
            ("2026-03-04T17:05:00.1Z", "2026-03-04T17:06:00Z"),
            ("2026-03-04T17:06:30Z", "2026-03-04T17:06:00Z"),
            ("2026-03-04T17:07:00Z", "2026-03-04T17:06:00Z"),
            ("2026-03-04T17:07:01Z", "2026-03-04T17:08:00Z"),
            ("2026-03-06T09:00:01Z", "2026-03-06T09:01:00Z"),
            ("2026-03-04T14:00:01Z", "2026-03-04T14:01:00Z"),
        ] {
            assert_eq!(s.next(planned, at(now)), at(next), "{now}");
        }
    }

    #[test]
    fn devices_of_one_round_share_the_boundary() {
        let now = at("2026-03-04T17:05:10Z");
        for offset in [0, 20, 40, 59_980] {
            let s = schedule(60, offset);
            assert_eq!(s.boundary(s.first(now)), at("2026-03-04T17:06:00Z"));
        }
    }
}
