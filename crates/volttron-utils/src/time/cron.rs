//! Cron schedules of agents: five fields in local time (agent-api.md section 3).
//!
//! Own parser because no crate has this dialect: open-ended ranges (`-8`, `20-`), names of three letters and more,
//! and the refusal of dates that never come. Around daylight-saving changes a time that does not exist is skipped,
//! and one that exists twice fires once.

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// A schedule that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad schedule {text:?}: {why}")]
pub struct BadCron {
    /// The whole schedule.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// A parsed schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both day fields are restricted: a day matches if either does.
    either_day: bool,
}

const WEEKDAYS: &[&str] = &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of month", min: 1, max: 31, names: &[] },
    Field { name: "month", min: 1, max: 12, names: super::MONTHS },
    Field { name: "day of week", min: 0, max: 7, names: WEEKDAYS },
];

impl Cron {
    /// Parses `minute hour day-of-month month day-of-week`.
    pub fn parse(text: &str) -> Result<Self, BadCron> {
        let bad = |why: String| BadCron { text: text.to_owned(), why };
        let words: Vec<&str> = text.split_whitespace().collect();
        let Ok(words): Result<[&str; 5], _> = words.try_into() else {
            return Err(bad("five fields are needed: minute hour day-of-month month day-of-week".to_owned()));
        };
        let mut bits = [0_u64; 5];
        for ((field, word), out) in FIELDS.iter().zip(words).zip(&mut bits) {
            *out = field.parse(word).map_err(|why| bad(format!("{}: {why}", field.name)))?;
        }
        let [minutes, hours, days, months, mut weekdays] = bits;
        if weekdays & 1 << 7 != 0 {
            weekdays = weekdays & !(1 << 7) | 1;
        }
        let (days_free, weekdays_free) = (days == mask(1, 31), weekdays == mask(0, 6));
        let cron = Self { minutes, hours, days, months, weekdays, either_day: !days_free && !weekdays_free };
        if cron.is_impossible() {
            return Err(bad("no month has such a day".to_owned()));
        }
        Ok(cron)
    }

    fn is_impossible(&self) -> bool {
        const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let first_day = self.days.trailing_zeros();
        !self.either_day && !(1..=12).any(|m| self.months & 1 << m != 0 && first_day <= LONGEST[m - 1])
    }

    /// The first matching minute after `after`, in this host's zone.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_after_in(after, &TimeZone::system())
    }

    /// The first matching minute after `after`, in the given zone. `None` past the end of the calendar.
    pub fn next_after_in(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_datetime(after);
        // Begin one hour early on the civil clock: after the clocks went back, civil times repeat.
        let start = start.checked_sub(1.hour()).ok()?;
        let mut date = start.date();
        let mut from = start.time();
        // Eight years without a 29 February are the longest gap in the calendar (1896 to 1904).
        for _ in 0..=366 * 8 {
            if self.matches_day(date)
                && let Some(found) = self.on_day(date, from, after, zone)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
            from = Time::midnight();
        }
        None
    }

    fn on_day(&self, date: Date, from: Time, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        for hour in (from.hour()..24).filter(|h| self.hours & 1 << h != 0) {
            for minute in (0..60_i8).filter(|m| self.minutes & 1 << m != 0) {
                let civil = date.at(hour, minute, 0, 0);
                let instant = match zone.to_ambiguous_timestamp(civil).offset() {
                    AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok()?,
                    AmbiguousOffset::Gap { .. } => continue,
                    AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok()?,
                };
                if instant > after {
                    return Some(instant);
                }
            }
        }
        None
    }

    fn matches_day(&self, date: Date) -> bool {
        if self.months & 1 << date.month() == 0 {
            return false;
        }
        let day = self.days & 1 << date.day() != 0;
        let weekday = self.weekdays & 1 << date.weekday().to_sunday_zero_offset() != 0;
        if self.either_day { day || weekday } else { day && weekday }
    }
}

fn mask(min: u32, max: u32) -> u64 {
    (min..=max).fold(0, |acc, bit| acc | 1 << bit)
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |acc, item| Ok(acc | self.item(item)?))
    }

    fn item(&self, item: &str) -> Result<u64, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let step: u32 = step.parse().map_err(|_| format!("{step:?} is no step"))?;
                if step == 0 {
                    return Err("a step of 0 never moves".to_owned());
                }
                (range, step)
            }
            None => (item, 1),
        };
        let (from, to) = self.range(range, item.contains('/'))?;
        if from > to {
            return Err(format!("{range:?} runs backwards"));
        }
        Ok((from..=to).step_by(step as usize).fold(0, |acc, bit| acc | 1 << bit))
    }

    /// `*`, `a`, `a-b`, `-b`, `a-`; a single number before a step runs to the end.
    fn range(&self, text: &str, stepped: bool) -> Result<(u32, u32), String> {
        // In a whole week, day 7 would be Sunday again.
        let last = if self.max == 7 { 6 } else { self.max };
        if text == "*" {
            return Ok((self.min, last));
        }
        match text.split_once('-') {
            Some(("", "")) | None if text.is_empty() || text == "-" => Err("a value is missing".to_owned()),
            Some((from, to)) => Ok((
                if from.is_empty() { self.min } else { self.value(from)? },
                if to.is_empty() { last } else { self.range_end(to)? },
            )),
            None => {
                let value = self.value(text)?;
                Ok((value, if stepped { last.max(value) } else { value }))
            }
        }
    }

    /// At the end of a range Sunday is day 7, so that `fri-sun` runs forwards.
    fn range_end(&self, text: &str) -> Result<u32, String> {
        let value = self.value(text)?;
        let named = !text.starts_with(|c: char| c.is_ascii_digit());
        Ok(if self.max == 7 && value == 0 && named { 7 } else { value })
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let bad = || format!("{text:?} is not {} to {}", self.min, self.max);
        if text.len() >= 3 && !self.names.is_empty() {
            let lower = text.to_ascii_lowercase();
            if let Some(at) = self.names.iter().position(|n| n.starts_with(&lower)) {
                return Ok(at as u32 + u32::from(self.max == 12));
            }
        }
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        text.parse().ok().filter(|v| (self.min..=self.max).contains(v)).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(cron: &str, after: &str, zone: &TimeZone) -> String {
        let after: Timestamp = after.parse().unwrap();
        Cron::parse(cron).unwrap().next_after_in(after, zone).unwrap().to_string()
    }

    #[test]
    fn next_times() {
        for (cron, after, expected) in [
            ("* * * * *", "2026-03-04T16:00:00Z", "2026-03-04T16:01:00Z"),
            ("* * * * *", "2026-03-04T16:00:59.999Z", "2026-03-04T16:01:00Z"),
            ("0 0 * * *", "2026-03-04T16:00:00Z", "2026-03-05T00:00:00Z"),
            ("*/15 9-17 * * mon-fri", "2026-03-06T17:45:00Z", "2026-03-09T09:00:00Z"),
            ("5,10 -1 * * *", "2026-03-04T01:10:00Z", "2026-03-05T00:05:00Z"),
            ("0 20- * * *", "2026-03-04T16:00:00Z", "2026-03-04T20:00:00Z"),
            ("0 0 1 jan *", "2026-03-04T16:00:00Z", "2027-01-01T00:00:00Z"),
            ("0 0 29 feb *", "2026-03-04T16:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 * * 7", "2026-03-04T16:00:00Z", "2026-03-08T00:00:00Z"),
            ("0 0 * * Sun", "2026-03-04T16:00:00Z", "2026-03-08T00:00:00Z"),
            ("0 0 * * fri-sun", "2026-03-07T16:00:00Z", "2026-03-08T00:00:00Z"),
            ("0 0 13 * friday", "2026-03-04T16:00:00Z", "2026-03-06T00:00:00Z"),
            ("0 0 5 * fri", "2026-03-04T16:00:00Z", "2026-03-05T00:00:00Z"),
            ("30/10 * * * *", "2026-03-04T16:00:00Z", "2026-03-04T16:30:00Z"),
        ] {
            assert_eq!(next(cron, after, &TimeZone::UTC), expected, "{cron} after {after}");
        }
    }

    #[test]
    fn daylight_saving() {
        let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        // 02:30 does not exist on 8 March 2026: skipped.
        assert_eq!(next("30 2 * * *", "2026-03-08T06:00:00Z", &zone), "2026-03-09T06:30:00Z");
        // 01:30 exists twice on 1 November 2026: the first one only.
        assert_eq!(next("30 1 * * *", "2026-11-01T04:00:00Z", &zone), "2026-11-01T05:30:00Z");
        assert_eq!(next("30 1 * * *", "2026-11-01T05:30:00Z", &zone), "2026-11-02T06:30:00Z");
        // The hour that repeats does not hide the hours after it.
        assert_eq!(next("0 2 * * *", "2026-11-01T06:45:00Z", &zone), "2026-11-01T07:00:00Z");
    }

    #[test]
    fn bad_schedules() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "x * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "- * * * *",
            ", * * * *",
            "* * 31 feb *",
            "* * 31 4,6,9,11 *",
            "* * * ja *",
            "+5 * * * *",
            "1--2 * * * *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
        assert!(Cron::parse("* * 31 feb mon").is_ok(), "the weekday makes it possible");
        assert!(Cron::parse("61 * * * *").unwrap_err().to_string().contains("minute"));
    }

    proptest! {
        #[test]
        fn results_are_after_and_match(minute in 0..60, hour in 0..24, start in 0_i64..4_000_000_000) {
            let cron = Cron::parse(&format!("{minute} {hour} * * *")).unwrap();
            let after = Timestamp::from_second(start).unwrap();
            let found = cron.next_after_in(after, &TimeZone::UTC).unwrap();
            let civil = TimeZone::UTC.to_datetime(found);
            prop_assert!(found > after);
            prop_assert!(found.as_second() - start <= 86_400);
            prop_assert_eq!((i32::from(civil.minute()), i32::from(civil.hour())), (minute, hour));
        }

        #[test]
        fn nothing_panics(text in "[-0-9*,/a-z ]{0,40}") {
            let _ = Cron::parse(&text);
        }
    }
}
