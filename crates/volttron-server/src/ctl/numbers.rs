//! Numbers as people type them on the command line: what is none is refused in words that say what is needed. Must never
//! decide what a number is good for.

use std::str::FromStr;
use std::time::Duration;

/// A time in seconds.
pub(super) fn seconds_of(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|number| Duration::try_from_secs_f64(*number).is_ok());
    number.ok_or_else(|| "a number of seconds is needed, such as 2.5".to_owned())
}

/// A time in milliseconds.
pub(super) fn milliseconds_of(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|ms: &f64| Duration::try_from_secs_f64(ms / 1000.0).is_ok());
    number.ok_or_else(|| "a number of milliseconds is needed, such as 20".to_owned())
}

/// A number without a fraction.
pub(super) fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| "a whole number is needed, such as 5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_finite_and_not_negative() {
        for (text, number) in [("0", 0.0), (" 2.5", 2.5), ("1e3", 1000.0)] {
            assert_eq!(seconds_of(text), Ok(number), "{text}");
            assert_eq!(milliseconds_of(text), Ok(number), "{text}");
        }
        for text in ["", "-1", "nan", "inf", "1e30", "never", "1,5"] {
            assert!(seconds_of(text).is_err() && milliseconds_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(whole::<usize>("8"), Ok(8));
        assert!(whole::<u64>("-1").is_err() && whole::<i64>("1.5").is_err());
    }
}
