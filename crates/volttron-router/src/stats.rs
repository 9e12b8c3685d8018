//! Per-name statistics, off unless asked for (platform-internals.md section 5).

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value, json};
use volttron_utils::vip::{Frames, typed};

use crate::router::{SENDER, SUBSYSTEM, USER};

/// Distinct names counted per table; what comes after shares one line.
const NAMES: usize = 10_000;
const OTHERS: &str = "(other)";
/// Longest name kept, in characters: peers choose what they put into these frames.
const NAME_CHARS: usize = 255;

#[derive(Default)]
pub(crate) struct Stats {
    enabled: bool,
    /// The first instant seen: Python reports its event loop's clock, which has no meaning outside either.
    origin: Option<Instant>,
    start_s: Option<f64>,
    end_s: Option<f64>,
    error: [Counts; 4],
    unroutable: [Counts; 2],
    incoming: [Counts; 3],
    outgoing: [Counts; 3],
}

type Counts = BTreeMap<String, u64>;

/// The names under which one outgoing message is counted.
pub(crate) struct Labels {
    peer: String,
    user: String,
    subsystem: String,
}

impl Labels {
    pub fn of<F: AsRef<[u8]>>(frames: &Frames<F>) -> Self {
        Labels { peer: name(frames, SENDER), user: name(frames, USER), subsystem: name(frames, SUBSYSTEM) }
    }
}

impl Stats {
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub fn enable(&mut self, now: Instant, enable: bool) {
        let now_s = now.duration_since(*self.origin.get_or_insert(now)).as_secs_f64();
        if enable {
            *self = Stats { enabled: true, origin: self.origin, start_s: Some(now_s), ..Stats::default() };
        } else if self.enabled {
            self.enabled = false;
            self.end_s = Some(now_s);
        }
    }

    pub fn incoming<F: AsRef<[u8]>>(&mut self, now: Instant, frames: &Frames<F>) {
        self.origin.get_or_insert(now);
        if self.enabled {
            let Labels { peer, user, subsystem } = Labels::of(frames);
            count(&mut self.incoming, [peer, user, subsystem]);
        }
    }

    pub fn outgoing(&mut self, labels: Option<Labels>) {
        if let Some(Labels { peer, user, subsystem }) = labels {
            count(&mut self.outgoing, [peer, user, subsystem]);
        }
    }

    pub fn error(&mut self, labels: Option<Labels>, text: &str) {
        if let Some(Labels { peer, user, subsystem }) = labels {
            count(&mut self.error, [text.to_owned(), peer, user, subsystem]);
        }
    }

    pub fn unroutable<F: AsRef<[u8]>>(&mut self, frames: &Frames<F>, why: &str) {
        if self.enabled {
            count(&mut self.unroutable, [why.to_owned(), name(frames, SENDER)]);
        }
    }

    pub fn to_value(&self) -> Value {
        let mut value = Map::new();
        value.insert("error".into(), tables(["error", "peer", "user", "subsystem"], &self.error));
        value.insert("unroutable".into(), tables(["error", "peer"], &self.unroutable));
        value.insert("incoming".into(), tables(["peer", "user", "subsystem"], &self.incoming));
        value.insert("outgoing".into(), tables(["peer", "user", "subsystem"], &self.outgoing));
        for (key, second) in [("start", self.start_s), ("end", self.end_s)] {
            if let Some(second) = second {
                value.insert(key.into(), json!(second));
            }
        }
        Value::Object(value)
    }
}

fn name<F: AsRef<[u8]>>(frames: &Frames<F>, at: usize) -> String {
    let bytes = frames.get(at).map_or(&[][..], AsRef::as_ref);
    typed::text(&bytes[..bytes.len().min(NAME_CHARS)]).into_owned()
}

fn count<const N: usize>(tables: &mut [Counts; N], names: [String; N]) {
    for (table, name) in tables.iter_mut().zip(names) {
        if let Some(count) = table.get_mut(&name) {
            *count += 1;
        } else {
            let name = if table.len() < NAMES { name } else { OTHERS.to_owned() };
            *table.entry(name).or_default() += 1;
        }
    }
}

fn tables<const N: usize>(names: [&str; N], tables: &[Counts; N]) -> Value {
    names
        .iter()
        .zip(tables)
        .map(|(&name, counts)| (name.to_owned(), json!(counts)))
        .collect::<Map<_, _>>()
        .into()
}
