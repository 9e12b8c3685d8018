//! How many log lines misbehaving peers may cause. What is over the limit is counted, so that nobody can fill the disk.

use std::time::{Duration, Instant};

use tracing::warn;

/// Most lines per [`WINDOW`].
const LINES_PER_WINDOW: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// The lines of one window.
#[derive(Debug)]
pub(super) struct Lines {
    window_start: Instant,
    written: u32,
    suppressed: u64,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        Self { window_start: now, written: 0, suppressed: 0 }
    }

    /// Whether one more line may be written in this window.
    pub(super) fn may_log(&mut self) -> bool {
        self.written += 1;
        let may = self.written <= LINES_PER_WINDOW;
        if !may {
            self.suppressed += 1;
        }
        may
    }

    /// Begins a new window when the old one is over, and says what the old one kept back.
    pub(super) fn tick(&mut self, now: Instant) {
        if now.duration_since(self.window_start) < WINDOW {
            return;
        }
        if self.suppressed > 0 {
            warn!(lines = self.suppressed, "further lines about misbehaving peers were left out");
        }
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_limited_per_window() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        assert_eq!((0..100).filter(|_| lines.may_log()).count(), LINES_PER_WINDOW as usize);
        lines.tick(now + WINDOW / 2);
        assert!(!lines.may_log());
        lines.tick(now + WINDOW);
        assert!(lines.may_log());
    }
}
