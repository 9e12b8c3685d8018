//! From `tracing` events to log lines. Targets become dotted logger names; fields besides the message follow it.

use std::fmt::Write;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::metadata::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use volttron_utils::logging::{Level, Source};

use super::Log;

pub(super) struct Lines {
    log: Log,
}

impl Lines {
    pub(super) fn new(log: Log) -> Self {
        Self { log }
    }
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

/// Traces are one step below what Python knows; shown only from level 9 down.
fn number_of(level: tracing::Level) -> i64 {
    if level == tracing::Level::TRACE { 5 } else { level_of(level).number() }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let lowest = self.log.0.levels.lowest();
        number_of(*metadata.level()) >= lowest
            && self.log.0.levels.allow(&dotted(metadata.target()), number_of(*metadata.level()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.log.0.levels.lowest() {
            ..=9 => LevelFilter::TRACE,
            10..=19 => LevelFilter::DEBUG,
            20..=29 => LevelFilter::INFO,
            30..=39 => LevelFilter::WARN,
            _ => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let name = dotted(metadata.target());
        let when = Timestamp::now();
        self.log.submit(&name, number_of(*metadata.level()), |format| {
            let mut text = Text::default();
            event.record(&mut text);
            let source = Source::Platform { name: &name, line: metadata.line().unwrap_or(0).into() };
            format.line(when, source, level_of(*metadata.level()), &text.0)
        });
    }
}

fn dotted(target: &str) -> String {
    target.replace("::", ".")
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            let fields = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{fields}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.insert_str(0, value);
        } else {
            let _ = write!(self.0, " {}={value}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    use super::super::rotation::Rotation;
    use super::super::{Levels, Log, Setup};
    use super::*;
    use crate::options::LogTarget;

    #[test]
    fn events_become_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.log");
        let levels = Levels::new(30, &[("loud.one".to_owned(), 10)]);
        let target = LogTarget::File(path.clone());
        let log = Log::open(Setup::simple(target, Rotation::default(), levels)).unwrap();
        let subscriber = tracing_subscriber::registry().with(Lines::new(log.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "a::b", peer = "x", count = 3, "slow {}", "peer");
            tracing::info!(target: "a::b", "not shown");
            tracing::debug!(target: "loud::one", "shown");
        });
        log.flush(Duration::from_secs(10));
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains(" () a.b [") && lines[0].ends_with("] WARNING: slow peer peer=x count=3"),
            "{text}"
        );
        assert!(lines[1].ends_with("] DEBUG: shown"));
        // `2026-03-04 16:00:00,123 () ...`
        assert_eq!(lines[0].as_bytes()[19], b',');
    }
}
