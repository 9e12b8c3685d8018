//! Reading time texts: the canonical forms, ISO 8601, RFC 3339 and common space- and slash-separated forms.
//!
//! Python's lenient parser fills missing parts from today and guesses the order of day and month. Ours refuses
//! what does not name a date, and reads `M/D/YYYY` month first only.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

/// A time text that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {0:?} as a date and time; write it like 2026-03-04T16:00:00.000000+00:00")]
pub struct BadTime(pub String);

/// A parsed time: clock fields and, if the text had one, an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// Date and clock time as written.
    pub civil: DateTime,
    /// Offset from UTC as written.
    pub offset: Option<Offset>,
}

impl Parsed {
    /// The instant; zone-less text means UTC (historians, headers).
    pub fn or_utc(self) -> Timestamp {
        self.with_offset(self.offset.unwrap_or(Offset::UTC))
    }

    /// The instant; zone-less text means the zone of this host (actuator requests, quoted dates).
    pub fn or_local(self) -> Timestamp {
        match self.offset {
            Some(offset) => self.with_offset(offset),
            None => self.civil.to_zoned(TimeZone::system()).map_or(Timestamp::MAX, |z: Zoned| z.timestamp()),
        }
    }

    fn with_offset(self, offset: Offset) -> Timestamp {
        // Fails only within hours of the years -9999 and 9999.
        offset.to_timestamp(self.civil).unwrap_or(Timestamp::MAX)
    }
}

/// Reads a time text.
pub fn parse_timestamp(text: &str) -> Result<Parsed, BadTime> {
    let trimmed = text.trim();
    canonical(trimmed)
        .or_else(|| lenient(trimmed))
        .filter(|parsed| parsed.civil.year() > 1 || super::has_canonical_form(parsed.or_utc()))
        .ok_or_else(|| BadTime(text.to_owned()))
}

fn lenient(text: &str) -> Option<Parsed> {
    let (date, rest) = split_date(text)?;
    let rest = rest.trim_start_matches(['T', 't', ' ', ',']).trim_start();
    let (time, offset) = if rest.is_empty() { (Time::midnight(), None) } else { clock(rest)? };
    Some(Parsed { civil: date.to_datetime(time), offset })
}

/// The two fixed forms of 26 and 32 characters that make up nearly all traffic.
fn canonical(text: &str) -> Option<Parsed> {
    let b = text.as_bytes();
    if !matches!(b.len(), 26 | 32)
        || b[4] != b'-'
        || b[7] != b'-'
        || !matches!(b[10], b'T' | b' ')
        || b[19] != b'.'
    {
        return None;
    }
    let num = |from: usize, to: usize| -> Option<i32> { digits(text.get(from..to)?) };
    let civil = DateTime::new(
        num(0, 4)? as i16,
        num(5, 7)? as i8,
        num(8, 10)? as i8,
        num(11, 13)? as i8,
        num(14, 16)? as i8,
        num(17, 19)? as i8,
        num(20, 26)? * 1000,
    )
    .ok()?;
    if b[13] != b':' || b[16] != b':' {
        return None;
    }
    let offset = if b.len() == 32 { Some(parse_offset(text.get(26..)?)?) } else { None };
    Some(Parsed { civil, offset })
}

fn digits(text: &str) -> Option<i32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn date(year: i32, month: i32, day: i32) -> Option<Date> {
    Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
}

/// Splits off the date: `YYYY-MM-DD`, `YYYYMMDD`, `YYYY/MM/DD`, `M/D/YYYY`, `Mar 4 2026`, `4 Mar 2026`.
fn split_date(text: &str) -> Option<(Date, &str)> {
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return named_date(text);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    match rest.chars().next() {
        Some(sep @ ('-' | '/')) => {
            let (second, tail) = rest[1..].split_once(sep)?;
            let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            let (third, rest) = tail.split_at(end);
            let (year, month, day) = match (first.len(), third.len(), sep) {
                (4, 1..=2, _) => (first, second, third),
                (1..=2, 4, '/') => (third, first, second),
                _ => return None,
            };
            Some((date(digits(year)?, digits(month)?, digits(day)?)?, rest))
        }
        Some(' ') if first.len() <= 2 => named_date(text),
        _ if first.len() == 8 => {
            let date = date(digits(&first[..4])?, digits(&first[4..6])?, digits(&first[6..])?)?;
            Some((date, rest))
        }
        _ => None,
    }
}

/// `[Wed,] Mar 4[,] 2026 ..` and `[Wed,] 4 Mar 2026 ..` (the RFC 2822 form is one of these).
fn named_date(text: &str) -> Option<(Date, &str)> {
    let mut words = text.split_whitespace();
    let mut used = Vec::with_capacity(3);
    while used.len() < 3 {
        let word = words.next()?;
        let bare = word.trim_end_matches([',', '.']);
        if used.is_empty() && weekday(bare) {
            continue;
        }
        used.push((word, bare));
    }
    let (month, day) = match (month(used[0].1), month(used[1].1)) {
        (Some(m), None) => (m, digits(used[1].1)?),
        (None, Some(m)) => (m, digits(used[0].1)?),
        _ => return None,
    };
    let year = used[2].1;
    if year.len() != 4 {
        return None;
    }
    let date = date(digits(year)?, month.into(), day)?;
    let end = used[2].0.as_ptr() as usize - text.as_ptr() as usize + used[2].0.len();
    Some((date, &text[end..]))
}

fn weekday(word: &str) -> bool {
    word.len() >= 3
        && in_names(word, &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"])
            .is_some()
}

fn month(word: &str) -> Option<i8> {
    (word.len() >= 3).then(|| in_names(word, super::MONTHS)).flatten().map(|i| i as i8 + 1)
}

fn in_names(word: &str, names: &[&str]) -> Option<usize> {
    let word = word.to_ascii_lowercase();
    names.iter().position(|n| n.starts_with(&word))
}

/// `HH[:MM[:SS[.f]]]`, `HHMM[SS]`, `4pm`, `4:30 PM`, then an optional offset.
fn clock(text: &str) -> Option<(Time, Option<Offset>)> {
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.' | ','))).unwrap_or(text.len());
    let (clock, rest) = text.split_at(end);
    let mut rest = rest.trim();
    let (mut hour, minute, second, nanos) = fields(clock)?;
    let lower = rest.to_ascii_lowercase();
    let suffix = ["am", "pm"].into_iter().find(|s| lower.starts_with(s));
    match suffix {
        Some(which) => {
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour = hour % 12 + if which == "pm" { 12 } else { 0 };
            rest = rest[2..].trim();
        }
        // A bare number is an hour only with am or pm.
        None if clock.len() <= 2 => return None,
        None => {}
    }
    let time = Time::new(hour as i8, minute as i8, second as i8, nanos).ok()?;
    let offset = if rest.is_empty() { None } else { Some(parse_offset(rest)?) };
    Some((time, offset))
}

fn fields(clock: &str) -> Option<(i32, i32, i32, i32)> {
    let (whole, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let parts: Vec<&str> = if whole.contains(':') {
        whole.split(':').collect()
    } else {
        match whole.len() {
            1 | 2 => vec![whole],
            4 => vec![&whole[..2], &whole[2..]],
            6 => vec![&whole[..2], &whole[2..4], &whole[4..]],
            _ => return None,
        }
    };
    if parts.len() > 3 || parts.iter().any(|p| p.is_empty() || p.len() > 2) || fraction.len() > 9 {
        return None;
    }
    let get = |i: usize| parts.get(i).map_or(Some(0), |p| digits(p));
    let mut nanos = 0;
    if !fraction.is_empty() {
        if parts.len() != 3 {
            return None;
        }
        nanos = digits(fraction)? * 10_i32.pow(9 - fraction.len() as u32);
    }
    Some((get(0)?, get(1)?, get(2)?, nanos))
}

/// `Z`, `UTC`, `GMT`, `+HH`, `+HHMM`, `+HH:MM`, `+HH:MM:SS`.
fn parse_offset(text: &str) -> Option<Offset> {
    if matches!(text.to_ascii_lowercase().as_str(), "z" | "utc" | "gmt") {
        return Some(Offset::UTC);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let rest = &text[1..];
    let parts: Vec<&str> = if rest.contains(':') {
        rest.split(':').collect()
    } else {
        match rest.len() {
            2 if rest.is_ascii() => vec![rest],
            4 if rest.is_ascii() => vec![&rest[..2], &rest[2..]],
            _ => return None,
        }
    };
    if parts.len() > 3 || parts.iter().any(|p| p.len() != 2) {
        return None;
    }
    let get = |i: usize| parts.get(i).map_or(Some(0), |p| digits(p));
    let (hours, minutes, seconds) = (get(0)?, get(1)?, get(2)?);
    if hours > 24 || minutes > 59 || seconds > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60 + seconds)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn understood_forms() {
        for (text, utc, zoned) in [
            ("2026-03-04T16:00:00.123456", "2026-03-04T16:00:00.123456Z", false),
            ("2026-03-04 16:00:00.123456", "2026-03-04T16:00:00.123456Z", false),
            ("2026-03-04T16:00:00.123456+02:00", "2026-03-04T14:00:00.123456Z", true),
            ("2026-03-04T16:00:00.123456-0700", "2026-03-04T23:00:00.123456Z", true),
            ("2026-03-04T16:00Z", "2026-03-04T16:00:00Z", true),
            ("2026-03-04t16:00:01z", "2026-03-04T16:00:01Z", true),
            ("20260304T160001Z", "2026-03-04T16:00:01Z", true),
            ("2026-03-04 16:00:00", "2026-03-04T16:00:00Z", false),
            ("2026-03-04 16:00:00 UTC", "2026-03-04T16:00:00Z", true),
            ("2026-03-04", "2026-03-04T00:00:00Z", false),
            ("3/4/2026 6:07", "2026-03-04T06:07:00Z", false),
            ("3/4/2026 6:07:08", "2026-03-04T06:07:08Z", false),
            ("2026/03/04 06:07:08.5", "2026-03-04T06:07:08.5Z", false),
            ("Mar 4 2026 4pm", "2026-03-04T16:00:00Z", false),
            ("March 4, 2026 12:30 AM", "2026-03-04T00:30:00Z", false),
            ("Wed, 04 Mar 2026 16:00:00 GMT", "2026-03-04T16:00:00Z", true),
        ] {
            let parsed = parse_timestamp(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(parsed.or_utc().to_string(), utc, "{text}");
            assert_eq!(parsed.offset.is_some(), zoned, "{text}");
        }
    }

    #[test]
    fn numbers_that_are_no_month_or_day_are_not_cut_down_to_one() {
        for text in ["2026-257-04", "1/260/2026", "257/4/2026", "2026-03-99", "20261301", "Mar 260 2026"] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_before_the_year_one_are_refused() {
        for text in ["0000-01-01", "0000-12-31T23:00:00Z", "0001-01-01T00:00:00+01:00", "1/1/0000"] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
        for text in ["0001-01-01T00:00:00Z", "0000-12-31T23:00:00-01:00", "0001-01-01T01:00:00+01:00"] {
            let at = parse_timestamp(text).unwrap().or_utc();
            assert_eq!(super::super::format_timestamp(at), "0001-01-01T00:00:00.000000+00:00", "{text}");
        }
    }

    #[test]
    fn ambiguous_and_wrong_forms() {
        for text in [
            "",
            "now",
            "16:00",
            "2026",
            "13/4/2026",
            "4.3.2026",
            "3/4/26 1:00",
            "2026-13-01",
            "2026-02-30T00:00:00",
            "2026-03-04T25:00",
            "2026-03-04T16",
            "2026-03-04T16:00+1",
            "2026-03-04T16:00:00+99:00",
            "Mar 4",
            "Mar 4 26",
            "2026-03-04 13pm",
            "2026-03-04T16:00:00.1234567890",
            "2026-03-04T16:00:00.12345é",
        ] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = parse_timestamp(&text);
        }

        #[test]
        fn near_misses_do_not_panic(text in "[0-9TZ:.+/é -]{20,34}") {
            let _ = parse_timestamp(&text);
        }

        #[test]
        fn canonical_text_round_trips(micros in -2_000_000_000_000_000_i64..4_000_000_000_000_000) {
            let at = Timestamp::from_microsecond(micros).unwrap();
            let text = crate::time::format_timestamp(at);
            prop_assert_eq!(parse_timestamp(&text).unwrap().or_utc(), at);
        }
    }
}
