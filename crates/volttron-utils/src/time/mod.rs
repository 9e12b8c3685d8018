//! Time: the canonical text form, lenient parsing, cron schedules and historians' relative expressions
//! (topics-and-time.md section 4).
//!
//! Wall-clock time is for stamps and alignment only; waiting is done elsewhere with monotonic timers.

mod cron;
mod expression;
mod parse;

pub use cron::{BadCron, Cron};
pub use expression::{BadExpression, parse_expression};
pub use parse::{BadTime, Parsed, parse_timestamp};

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Timestamp, Zoned};

/// Names of the months, for everything that reads dates or schedules.
const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Now. A name for call sites that would otherwise say only `Timestamp::now`.
pub fn now_utc() -> Timestamp {
    Timestamp::now()
}

/// Whether the canonical form can name this instant: the years 1 to 9999, as in Python. An earlier one would have
/// another length, and databases compare these texts.
pub fn has_canonical_form(at: Timestamp) -> bool {
    Offset::UTC.to_datetime(at).year() >= 1
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff+00:00`.
pub fn format_timestamp(at: Timestamp) -> String {
    format_offset(at, Offset::UTC)
}

/// The canonical form in the zone of `at`: `YYYY-MM-DDTHH:MM:SS.ffffff+HH:MM`.
pub fn format_zoned(at: &Zoned) -> String {
    format_offset(at.timestamp(), at.offset())
}

/// The canonical form with a given offset.
pub fn format_offset(at: Timestamp, offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    format!("{}{sign}{hours:02}:{minutes:02}", format_naive(offset.to_datetime(at)))
}

/// The form without a zone: `YYYY-MM-DDTHH:MM:SS.ffffff`.
pub fn format_naive(at: DateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.subsec_nanosecond() / 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form() {
        let at: Timestamp = "2026-03-04T05:06:07.0080099Z".parse().unwrap();
        assert_eq!(format_timestamp(at), "2026-03-04T05:06:07.008009+00:00");
        let offset = Offset::from_seconds(-(3 * 3600 + 1800)).unwrap();
        assert_eq!(format_offset(at, offset), "2026-03-04T01:36:07.008009-03:30");
        let zoned = at.to_zoned(jiff::tz::TimeZone::fixed(Offset::from_seconds(3600).unwrap()));
        assert_eq!(format_zoned(&zoned), "2026-03-04T06:06:07.008009+01:00");
        assert_eq!(format_naive(jiff::civil::date(33, 1, 2).at(3, 4, 5, 0)), "0033-01-02T03:04:05.000000");
    }
}
