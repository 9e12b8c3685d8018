//! Where an agent's log goes: JSON lines for the platform that started it, plain lines otherwise (lifecycle.md 8).

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level as TracingLevel, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use volttron_utils::logging::{Level, Record, agent_line};

/// What is logged unless `RUST_LOG` says otherwise. The platform filters by logger as its operator wants.
const DEFAULT_FILTER: &str = "debug,volttron_client=info";

/// Starts logging to stderr. Without effect if the process logs already.
pub(super) fn start(launched_by_platform: bool) {
    let json = launched_by_platform && !std::io::stderr().is_terminal();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // Somebody else's subscriber is as good.
    let _ = tracing_subscriber::registry().with(Stderr { json }.with_filter(filter)).try_init();
}

struct Stderr {
    json: bool,
}

impl<S: Subscriber> Layer<S> for Stderr {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = line(event, Timestamp::now(), self.json);
        // Locked for the whole line; a closed stderr leaves nowhere to complain.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

fn line(event: &Event<'_>, when: Timestamp, json: bool) -> String {
    let mut message = Message::default();
    event.record(&mut message);
    let text = message.text + &message.fields;
    let meta = event.metadata();
    let name = meta.target().replace("::", ".");
    let level = level(*meta.level());
    let number = meta.line().unwrap_or(0);
    if json {
        Record::new(level, &name, number, &text, when).to_line()
    } else {
        agent_line(when, &name, number.into(), level, &text)
    }
}

fn level(level: TracingLevel) -> Level {
    match level {
        TracingLevel::ERROR => Level::Error,
        TracingLevel::WARN => Level::Warning,
        TracingLevel::INFO => Level::Info,
        _ => Level::Debug,
    }
}

/// Collects an event: its message, and other fields as `name=value` behind it.
#[derive(Default)]
struct Message {
    text: String,
    fields: String,
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.text, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Sink {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let when = "2026-11-20T17:18:47.757522Z".parse().expect("time");
            self.0.lock().expect("sink").push(line(event, when, true));
        }
    }

    #[test]
    fn the_platform_can_read_what_we_write() {
        let sink = Sink::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(sink.clone()), || {
            tracing::warn!(target: "listener::agent", point = 3, "wärm\nand {}", "so on");
        });
        let lines = sink.0.lock().expect("sink").clone();
        let [one] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(one.is_ascii() && !one.contains('\n'));
        let record = Record::parse(one).expect("a record");
        assert_eq!((record.name.as_str(), record.levelno), ("listener.agent", 30));
        assert_eq!(record.text(), "wärm\nand so on point=3");
    }
}
