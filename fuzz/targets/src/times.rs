//! Bytes as times: stamps, expressions of queries, schedules, headers.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use volttron_utils::headers::Headers;
use volttron_utils::json;
use volttron_utils::time::{Cron, format_offset, format_timestamp, parse_expression, parse_timestamp};

/// The bytes as every text that names a time, and as headers. A time that is understood is written in the canonical
/// form, which has a fixed length and names the same microsecond; a schedule only goes forward.
pub fn times(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let now: Timestamp = "2026-03-04T16:00:00.5Z".parse().expect("a time");
    if let Ok(parsed) = parse_timestamp(&text) {
        let _ = parsed.or_local();
        canonical(parsed.or_utc());
        for part in [parsed.civil.year(), i16::from(parsed.civil.day())] {
            assert!(text.contains(&part.to_string()), "{part} of {} is not in {text:?}", parsed.civil);
        }
        if let Some(offset) = parsed.offset.filter(|offset| offset.seconds() % 60 == 0) {
            let at = parsed.or_utc();
            let again = parse_timestamp(&format_offset(at, offset)).expect("what is written can be read");
            assert_eq!(microseconds(again.or_utc()), microseconds(at));
        }
    }
    if let Ok(at) = parse_expression(&text, now) {
        canonical(at);
    }
    if let Ok(cron) = Cron::parse(&text) {
        let mut at = now;
        for _ in 0..5 {
            let Some(next) = cron.next_after_in(at, &TimeZone::UTC) else { break };
            assert!(next > at && next.as_second() % 60 == 0, "{text:?} after {at} is {next}");
            at = next;
        }
    }
    if let Ok(headers) = json::from_slice::<Headers>(data) {
        for at in
            [headers.timestamp(), headers.date(), headers.synchronized_timestamp()].into_iter().flatten()
        {
            canonical(at);
        }
        let mut again = Headers::new();
        for (name, value) in headers.iter() {
            assert!(headers.get(name).is_some());
            again.set_default(name, value.clone());
        }
        assert!(again.len() <= headers.len());
    }
}

/// Databases and other programs rely on the canonical form being of one length.
fn canonical(at: Timestamp) {
    let text = format_timestamp(at);
    assert_eq!(text.len(), 32, "{text}");
    let again = parse_timestamp(&text).expect("the canonical form can be read").or_utc();
    assert_eq!(microseconds(again), microseconds(at), "{text}");
}

/// Rounded down, before 1970 too, as the clock time is.
fn microseconds(at: Timestamp) -> i128 {
    at.as_nanosecond().div_euclid(1000)
}
