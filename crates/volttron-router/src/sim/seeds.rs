//! Which seeds a program plays, as its arguments say.

use std::ops::Range;

/// How the arguments read.
pub const USAGE: &str = "usage: sim [--seed N] [--seeds COUNT] [--from N]";

/// Seeds of the arguments (without the program's name): the one of `--seed`, else `--seeds` of them (10,000) beginning
/// with `--from` (0). Nothing if they do not read so.
///
/// ```
/// use volttron_router::sim::seeds::seeds;
/// let args = |text: &str| seeds(text.split_whitespace().map(str::to_owned));
/// assert_eq!(args("--seed 7"), Some(7..8));
/// assert_eq!(args("--seeds 10 --from 5"), Some(5..15));
/// assert_eq!(args("--seeds many"), None);
/// ```
pub fn seeds(args: impl IntoIterator<Item = String>) -> Option<Range<u64>> {
    let (mut first, mut count) = (0, 10_000);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let number = args.next()?.parse().ok()?;
        match arg.as_str() {
            "--seed" => (first, count) = (number, 1),
            "--seeds" => count = number,
            "--from" => first = number,
            _ => return None,
        }
    }
    Some(first..first.saturating_add(count))
}
