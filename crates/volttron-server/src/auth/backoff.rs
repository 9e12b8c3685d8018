//! How long a refused connection waits for its refusal: at random up to a second at first, doubling while the same
//! address goes on failing, at most 100 s (auth.md section 2). Pure: the caller brings clock and dice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Longest delay.
pub const MAX_DELAY: Duration = Duration::from_secs(100);
/// Longest first delay.
pub const FIRST_DELAY_MS: u64 = 1000;
/// Addresses remembered.
pub const MAX_ADDRESSES: usize = 4096;

#[derive(Debug)]
struct Failing {
    delay: Duration,
    /// When the last refusal was due; from then on twice the delay without failure clears the address.
    due: Instant,
}

/// Delays by peer address.
#[derive(Debug, Default)]
pub struct Backoff {
    failing: HashMap<String, Failing>,
}

impl Backoff {
    /// A failure from `address`: how long its answer waits. `dice` is any random number.
    pub fn failed(&mut self, address: &str, now: Instant, dice: u64) -> Duration {
        let first = Duration::from_millis(dice % (FIRST_DELAY_MS + 1));
        let delay = match self.failing.get(address) {
            // A first delay near zero would never grow by doubling alone.
            Some(f) if !f.is_stale(now) => (f.delay * 2).max(Duration::from_millis(50)).min(MAX_DELAY),
            _ => first,
        };
        if self.failing.len() >= MAX_ADDRESSES && !self.failing.contains_key(address) {
            self.make_room(now);
        }
        self.failing.insert(address.to_owned(), Failing { delay, due: now + delay });
        delay
    }

    /// A success from `address` clears it.
    pub fn succeeded(&mut self, address: &str) {
        self.failing.remove(address);
    }

    /// Addresses remembered now.
    pub fn len(&self) -> usize {
        self.failing.len()
    }

    /// Whether no address is remembered.
    pub fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }

    fn make_room(&mut self, now: Instant) {
        self.failing.retain(|_, f| !f.is_stale(now));
        if self.failing.len() >= MAX_ADDRESSES {
            // All fresh: forget the mildest half. Costs its owners nothing but a shorter delay next time.
            let mut delays: Vec<Duration> = self.failing.values().map(|f| f.delay).collect();
            delays.sort_unstable();
            let median = delays[delays.len() / 2];
            self.failing.retain(|_, f| f.delay > median);
        }
    }
}

impl Failing {
    fn is_stale(&self, now: Instant) -> bool {
        now > self.due + self.delay * 2 + Duration::from_secs(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_forgets() {
        let (mut b, start) = (Backoff::default(), Instant::now());
        let mut delays = vec![b.failed("a", start, 700)];
        for _ in 0..9 {
            delays.push(b.failed("a", start, 700));
        }
        let ms: Vec<u128> = delays.iter().map(Duration::as_millis).collect();
        assert_eq!(ms, [700, 1400, 2800, 5600, 11200, 22400, 44800, 89600, 100_000, 100_000]);
        assert_eq!(b.failed("b", start, 1001), Duration::ZERO);
        assert_eq!(b.failed("b", start, 0).as_millis(), 50);
        b.succeeded("a");
        assert_eq!(b.failed("a", start, 3).as_millis(), 3);
        assert_eq!(b.failed("a", start + Duration::from_mins(1), 4).as_millis(), 4);
    }

    #[test]
    fn addresses_are_bounded() {
        let (mut b, start) = (Backoff::default(), Instant::now());
        for i in 0..3 * MAX_ADDRESSES as u64 {
            b.failed(&i.to_string(), start, i);
            assert!(b.len() <= MAX_ADDRESSES);
        }
    }
}
