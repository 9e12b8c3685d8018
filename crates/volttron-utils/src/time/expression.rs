//! Time expressions of historian queries: `now`, `now -1h`, `now -1d -30m`, epoch milliseconds, dates
//! (historians.md section 4).

use jiff::{SignedDuration, Timestamp};

use super::parse::parse_timestamp;

/// An expression that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read time expression {text:?}: {why}")]
pub struct BadExpression {
    /// The whole expression.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// Evaluates an expression at the instant `now`. Dates without zone are UTC, quoted ones are local
/// (topics-and-time.md section 5); signed steps may follow either `now` or a quoted date.
pub fn parse_expression(text: &str, now: Timestamp) -> Result<Timestamp, BadExpression> {
    let at = evaluate(text, now)?;
    if super::has_canonical_form(at) {
        return Ok(at);
    }
    Err(BadExpression { text: text.to_owned(), why: "the result is before the year 1".to_owned() })
}

fn evaluate(text: &str, now: Timestamp) -> Result<Timestamp, BadExpression> {
    let bad = |why: String| BadExpression { text: text.to_owned(), why };
    let trimmed = text.trim();
    let lower = trimmed.to_ascii_lowercase();
    if lower.starts_with("now") {
        return steps(&trimmed[3..], now).map_err(bad);
    }
    if let Some(quote) = trimmed.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &trimmed[1..];
        let end = inner.find(quote).ok_or_else(|| bad("the quote is not closed".to_owned()))?;
        let base = parse_timestamp(&inner[..end]).map_err(|e| bad(e.to_string()))?.or_local();
        return steps(&inner[end + 1..], base).map_err(bad);
    }
    // Eight digits are a date; epoch milliseconds of that length would be hours after 1970 began.
    if trimmed.len() > 8 && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        let millis = trimmed.parse().map_err(|_| bad("the number is too large".to_owned()))?;
        return Timestamp::from_millisecond(millis).map_err(|_| bad("the number is too large".to_owned()));
    }
    parse_timestamp(trimmed).map(super::parse::Parsed::or_utc).map_err(|e| bad(e.to_string()))
}

/// Applies `-1d -30m +2 hours ..` to `base`.
fn steps(text: &str, base: Timestamp) -> Result<Timestamp, String> {
    let (mut at, mut rest) = (base, text.trim_start());
    while !rest.is_empty() {
        let sign = match rest.as_bytes()[0] {
            b'-' => -1,
            b'+' => 1,
            _ => return Err(format!("{rest:?} should begin with + or -")),
        };
        rest = rest[1..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let number: i64 = number.parse().map_err(|_| "a number is missing or too large".to_owned())?;
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (word, tail) = tail.split_at(end);
        let seconds = unit_seconds(word).ok_or_else(|| format!("{word:?} is no unit (d, h, m and s are)"))?;
        let step = number.checked_mul(seconds * sign).ok_or("a number is too large")?;
        at = at.checked_add(SignedDuration::from_secs(step)).map_err(|_| "the result is out of range")?;
        rest = tail.trim_start();
    }
    Ok(at)
}

fn unit_seconds(word: &str) -> Option<i64> {
    Some(match word.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 7 * 86_400,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions() {
        let now: Timestamp = "2026-03-04T16:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("now", "2026-03-04T16:00:00Z"),
            (" NOW ", "2026-03-04T16:00:00Z"),
            ("now -1h", "2026-03-04T15:00:00Z"),
            ("now-1h", "2026-03-04T15:00:00Z"),
            ("now -1d -30m", "2026-03-03T15:30:00Z"),
            ("now - 2 days + 5 seconds", "2026-03-02T16:00:05Z"),
            ("1772640000000", "2026-03-04T16:00:00Z"),
            ("20260304", "2026-03-04T00:00:00Z"),
            ("2026-03-04 16:00:00", "2026-03-04T16:00:00Z"),
            ("\"2026-03-04T16:00:00Z\" -1d", "2026-03-03T16:00:00Z"),
        ] {
            assert_eq!(parse_expression(text, now).unwrap().to_string(), expected, "{text}");
        }
        for text in [
            "",
            "now 1h",
            "now -h",
            "now -1x",
            "now -99999999999999999999s",
            "now -9223372036854775807d",
            "'2026",
            "now -99999999h",
            "\"0001-01-02\" -9d",
        ] {
            assert!(parse_expression(text, now).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(now)?[-+ 0-9dhms'\"é:]{0,30}") {
            let _ = parse_expression(&text, Timestamp::UNIX_EPOCH);
        }
    }
}
