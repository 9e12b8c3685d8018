//! Measuring rounds (`scalability_test`): from the start of a round's first scrape to its last acknowledged
//! publication. Pure; the time comes from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Most rounds that are under observation at once; the oldest is forgotten, because it will not become complete.
const MAX_OPEN: usize = 16;

/// The rounds being measured.
#[derive(Debug)]
pub struct Rounds {
    wanted: u32,
    open: BTreeMap<Timestamp, Open>,
    measured: Vec<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    began: Instant,
    finished: usize,
}

/// What a finished scrape completed.
#[derive(Clone, Debug, PartialEq)]
pub enum Completed {
    /// The round took this long; more are wanted.
    Round(Duration),
    /// It was the last one wanted.
    All {
        /// The last round.
        last: Duration,
        /// Mean of all.
        mean: Duration,
        /// Their standard deviation.
        deviation: Duration,
    },
}

impl Rounds {
    /// Measures so many complete rounds.
    pub fn new(wanted: u32) -> Self {
        Self { wanted, open: BTreeMap::new(), measured: Vec::new() }
    }

    /// A scrape of the round of this boundary begins.
    pub fn began(&mut self, boundary: Timestamp, now: Instant) {
        self.open.entry(boundary).or_insert(Open { began: now, finished: 0 });
        while self.open.len() > MAX_OPEN {
            self.open.pop_first();
        }
    }

    /// A scrape of the round has published everything, or failed. A round is complete when all `devices` have finished.
    pub fn finished(&mut self, boundary: Timestamp, now: Instant, devices: usize) -> Option<Completed> {
        let open = self.open.get_mut(&boundary)?;
        open.finished += 1;
        if open.finished < devices {
            return None;
        }
        let last = now.duration_since(open.began);
        self.open.remove(&boundary);
        self.measured.push(last);
        if self.measured.len() < self.wanted as usize {
            return Some(Completed::Round(last));
        }
        let seconds: Vec<f64> = self.measured.iter().map(Duration::as_secs_f64).collect();
        let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
        let variance = seconds.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / seconds.len() as f64;
        let (mean, deviation) = (Duration::from_secs_f64(mean), Duration::from_secs_f64(variance.sqrt()));
        Some(Completed::All { last, mean, deviation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_round_is_complete_when_every_device_has_published() {
        let mut rounds = Rounds::new(2);
        let start = Instant::now();
        let at = |s: f64| start + Duration::from_secs_f64(s);
        let boundary = |n: i64| Timestamp::from_second(n * 60).expect("time");
        assert_eq!(rounds.finished(boundary(0), at(0.0), 2), None, "a round nobody began");
        rounds.began(boundary(1), at(1.0));
        rounds.began(boundary(1), at(1.5));
        assert_eq!(rounds.finished(boundary(1), at(2.0), 2), None);
        rounds.began(boundary(2), at(61.0));
        assert_eq!(rounds.finished(boundary(1), at(3.0), 2), Some(Completed::Round(Duration::from_secs(2))));
        assert_eq!(rounds.finished(boundary(2), at(62.0), 2), None);
        assert_eq!(
            rounds.finished(boundary(2), at(65.0), 2),
            Some(Completed::All {
                last: Duration::from_secs(4),
                mean: Duration::from_secs(3),
                deviation: Duration::from_secs(1),
            })
        );
    }
}
