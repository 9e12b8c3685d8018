//! From a message on the bus to readings (historians.md 1). Pure: no clock, no IO, no logging.
//!
//! A message that means nothing yields no readings and a reason; it never fails the caller.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::config::{HistorianConfig, Replacement, Rule};
use super::record::{Captured, Meta, Source};
use super::text::{dumps, parse_stamp, plain, stamp};

/// Topics the rewrite cache remembers; beyond it the cache starts over.
const REWRITE_CACHE_TOPICS: usize = 50_000;

/// One message as it came from the bus or from `insert`.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// Full topic, root included.
    pub topic: &'a str,
    /// Message headers.
    pub headers: &'a Map<String, Value>,
    /// Message body.
    pub message: &'a Value,
    /// When it arrived.
    pub now: Timestamp,
}

/// What a message yielded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Yield {
    /// Readings to keep.
    pub points: Vec<Captured>,
    /// Why the message or parts of it were left out. Empty when everything was kept or the message is of a kind
    /// that is never stored (per-point topics, filtered devices).
    pub dropped: Vec<String>,
}

impl Yield {
    fn dropped(why: impl Into<String>) -> Self {
        Self { points: Vec::new(), dropped: vec![why.into()] }
    }
}

/// The capture rules of one configuration.
#[derive(Debug)]
pub struct Capture {
    config: Arc<HistorianConfig>,
    identity: String,
    rewrites: HashMap<String, String>,
}

impl Capture {
    /// Rules as `config` says; `identity` is written into `timing_data` headers.
    pub fn new(config: Arc<HistorianConfig>, identity: &str) -> Self {
        Self { config, identity: identity.to_owned(), rewrites: HashMap::new() }
    }

    /// The rule `insert` routes a topic to; `None` for a root that is not captured.
    pub fn rule_for_root(topic: &str) -> Option<Rule> {
        [
            ("devices", Rule::Device),
            ("datalogger", Rule::Log),
            ("analysis", Rule::Analysis),
            ("record", Rule::Record),
        ]
        .into_iter()
        .find_map(|(root, rule)| topic.starts_with(root).then_some(rule))
    }

    /// Applies `rule` to one message.
    pub fn message(&mut self, rule: Rule, m: Inbound<'_>) -> Yield {
        match rule {
            Rule::Device => self.device(m),
            Rule::Analysis => self.analysis(m),
            Rule::Log => self.log(m),
            Rule::Record => self.record(m),
        }
    }

    fn device(&mut self, m: Inbound<'_>) -> Yield {
        if !(m.topic.ends_with("/all") || m.topic.ends_with("/multi")) {
            return Yield::default();
        }
        let topic = self.renamed(m.topic);
        let device = middle(&topic).to_owned();
        self.points(&topic, &device, m, true)
    }

    fn analysis(&mut self, m: Inbound<'_>) -> Yield {
        let mut topic = self.renamed(m.topic);
        if topic.ends_with('/') {
            topic.pop();
        }
        if !topic.ends_with("all") {
            topic.push_str("/all");
        }
        let device = middle(&topic).to_owned();
        self.points(&topic, &device, m, false)
    }

    /// `[values, meta]` or `{point: value}` below one path.
    fn points(&self, topic: &str, device: &str, m: Inbound<'_>, filtered: bool) -> Yield {
        let (values, meta) = match m.message {
            Value::Object(values) => (values, None),
            Value::Array(parts) => match parts.first() {
                Some(Value::Object(values)) if parts.len() <= 2 => {
                    (values, parts.get(1).and_then(Value::as_object))
                }
                _ => {
                    return Yield::dropped(format!(
                        "{topic}: neither [values, metadata] nor a map of values"
                    ));
                }
            },
            _ => return Yield::dropped(format!("{topic}: neither [values, metadata] nor a map of values")),
        };
        let wanted = if filtered { self.wanted(device) } else { Wanted::All };
        let preferred = if self.config.sync_timestamp { "SynchronizedTimeStamp" } else { "TimeStamp" };
        let time = match header(m.headers, preferred).or_else(|| header(m.headers, "Date")) {
            None => None,
            Some(text) => match stamp_of(text) {
                Ok(ts) => Some(ts),
                Err(why) => return Yield::dropped(format!("{topic}: {why}")),
            },
        };
        let late = time.is_some_and(|ts| self.exceeds_tolerance(topic, ts, m.now));
        let headers = self.headers_text(m, time.is_some().then_some(late));
        let ts: Arc<str> = stamp(time.unwrap_or(m.now)).into();
        let source = if topic.starts_with("analysis") { Source::Analysis } else { Source::Scrape };
        let points = values
            .iter()
            .filter(|(point, _)| wanted.has(point))
            .map(|(point, value)| Captured {
                source,
                topic: format!("{device}/{point}"),
                ts: Arc::clone(&ts),
                value: dumps(value),
                headers: Arc::clone(&headers),
                meta: meta.and_then(|all| all.get(point)).and_then(Value::as_object).cloned(),
                out_of_tolerance: late,
            })
            .collect();
        Yield { points, dropped: Vec::new() }
    }

    /// `{point: {"Readings", "Units", "tz", "data_type"}}`.
    fn log(&mut self, m: Inbound<'_>) -> Yield {
        let topic = self.renamed(m.topic);
        let Value::Object(data) = m.message else {
            return Yield::dropped(format!("{topic}: a log message must be a map of points"));
        };
        let mut out = Yield::default();
        for (point, item) in data {
            let (Some(readings), Some(units)) = (item.get("Readings"), item.get("Units")) else {
                out.dropped.push(format!("{topic}/{point}: Readings or Units missing"));
                continue;
            };
            let mut meta = Meta::new();
            meta.insert("units".into(), units.clone());
            meta.insert("type".into(), data_type(item.get("data_type")));
            let pairs = match log_readings(readings) {
                Ok(pairs) => pairs,
                Err(why) => {
                    out.dropped.push(format!("{topic}/{point}: {why}"));
                    continue;
                }
            };
            if let Some(tz) = item.get("tz").filter(|tz| !tz.is_null()) {
                meta.insert("tz".into(), tz.clone());
            } else if matches!(readings, Value::Array(a) if a.first().and_then(Value::as_str).is_some_and(has_utc_zone))
            {
                meta.insert("tz".into(), "UTC".into());
            }
            for (time, value) in pairs {
                let time = match time.map(stamp_of).transpose() {
                    Ok(time) => time,
                    Err(why) => {
                        out.dropped.push(format!("{topic}/{point}: {why}"));
                        continue;
                    }
                };
                let late = time.is_some_and(|ts| self.exceeds_tolerance(&topic, ts, m.now));
                out.points.push(Captured {
                    source: Source::Log,
                    topic: format!("{topic}/{point}"),
                    ts: stamp(time.unwrap_or(m.now)).into(),
                    value: dumps(value),
                    headers: self.headers_text(m, time.is_some().then_some(late)),
                    meta: Some(meta.clone()),
                    out_of_tolerance: late,
                });
            }
        }
        out
    }

    fn record(&mut self, m: Inbound<'_>) -> Yield {
        let topic = self.renamed(m.topic);
        let time = match header(m.headers, "Date").map(stamp_of).transpose() {
            Ok(time) => time,
            Err(why) => return Yield::dropped(format!("{topic}: {why}")),
        };
        let late = time.is_some_and(|ts| self.exceeds_tolerance(&topic, ts, m.now));
        let point = Captured {
            source: Source::Record,
            ts: stamp(time.unwrap_or(m.now)).into(),
            value: dumps(m.message),
            headers: self.headers_text(m, time.is_some().then_some(late)),
            meta: None,
            out_of_tolerance: late,
            topic,
        };
        Yield { points: vec![point], dropped: Vec::new() }
    }

    /// `device_data_filter`: which points of `device` are kept.
    fn wanted(&self, device: &str) -> Wanted<'_> {
        let filter = &self.config.device_data_filter;
        if filter.is_empty() {
            return Wanted::All;
        }
        Wanted::Listed(
            filter
                .iter()
                .filter(|(fragment, _)| device.contains(fragment.as_str()))
                .map(|(_, p)| p)
                .collect(),
        )
    }

    /// The full gap counts; the original compared only its seconds part, so a record one day off passed.
    fn exceeds_tolerance(&self, topic: &str, ts: Timestamp, now: Timestamp) -> bool {
        let Some(tolerance) = self.config.time_tolerance else { return false };
        self.config.time_tolerance_topics.iter().any(|p| topic.starts_with(p.as_str()))
            && now.duration_since(ts).unsigned_abs() > tolerance
    }

    /// Headers as kept with the record. The tolerance mark is added only when a tolerance is configured.
    fn headers_text(&self, m: Inbound<'_>, late: Option<bool>) -> Arc<str> {
        let mark = late.filter(|_| self.config.time_tolerance.is_some());
        if mark.is_none() && !self.config.gather_timing_data {
            return dumps(m.headers).into();
        }
        let mut headers = m.headers.clone();
        if let Some(late) = mark {
            headers.insert("time_error".into(), Value::Bool(late));
        }
        if self.config.gather_timing_data {
            let timing = headers.entry("timing_data").or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(agents) = timing {
                let mine = agents.entry(self.identity.clone()).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(phases) = mine {
                    phases.insert("collected".into(), Value::String(stamp(m.now)));
                }
            }
        }
        dumps(&headers).into()
    }

    /// `topic_replace_list`: literal, ignoring case, all entries in order.
    fn renamed(&mut self, topic: &str) -> String {
        if self.config.topic_replace_list.is_empty() {
            return topic.to_owned();
        }
        if let Some(known) = self.rewrites.get(topic) {
            return known.clone();
        }
        let renamed = rename(topic, &self.config.topic_replace_list);
        if self.rewrites.len() >= REWRITE_CACHE_TOPICS {
            self.rewrites.clear();
        }
        self.rewrites.insert(topic.to_owned(), renamed.clone());
        renamed
    }
}

enum Wanted<'a> {
    All,
    Listed(Vec<&'a Vec<String>>),
}

impl Wanted<'_> {
    fn has(&self, point: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(lists) => lists.iter().any(|list| list.iter().any(|p| p == point)),
        }
    }
}

/// Applies all replacements in order. An entry takes part when the topic *as received* contains its `from`, as in
/// the original, so a text that only an earlier entry produced is not replaced again.
pub fn rename(topic: &str, list: &[Replacement]) -> String {
    let received = topic.to_lowercase();
    let mut out = topic.to_owned();
    for r in list {
        if received.contains(&r.from.to_lowercase()) {
            out = replace_ignoring_case(&out, &r.from, &r.to);
        }
    }
    out
}

fn replace_ignoring_case(text: &str, from: &str, to: &str) -> String {
    match regex::RegexBuilder::new(&regex::escape(from)).case_insensitive(true).build() {
        Ok(pattern) => pattern.replace_all(text, regex::NoExpand(to)).into_owned(),
        // Only a `from` beyond the pattern size limit gets here; such an entry replaces nothing.
        Err(_) => text.to_owned(),
    }
}

/// The topic without its first and last segment.
fn middle(topic: &str) -> &str {
    let rest = topic.split_once('/').map_or("", |(_, rest)| rest);
    rest.rsplit_once('/').map_or("", |(path, _)| path)
}

/// Header names are case-insensitive on lookup. A null header counts as absent.
fn header<'a>(headers: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    headers
        .get(name)
        .or_else(|| headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v))
        .filter(|v| !v.is_null())
}

fn stamp_of(value: &Value) -> Result<Timestamp, String> {
    match value {
        Value::String(text) => parse_stamp(text).map_err(|e| format!("bad timestamp {text:?}: {e}")),
        other => Err(format!("bad timestamp {}", plain(other))),
    }
}

fn has_utc_zone(text: &str) -> bool {
    text.ends_with('Z') || text.ends_with("+00:00")
}

fn data_type(given: Option<&Value>) -> Value {
    match given {
        None | Some(Value::Null) => "float".into(),
        Some(Value::String(t)) if t == "double" => "float".into(),
        Some(other) => other.clone(),
    }
}

type Reading<'a> = (Option<&'a Value>, &'a Value);

/// A scalar (now), one `[timestamp, value]`, or a list of such pairs.
fn log_readings(readings: &Value) -> Result<Vec<Reading<'_>>, String> {
    let Value::Array(list) = readings else { return Ok(vec![(None, readings)]) };
    match list.as_slice() {
        [ts @ Value::String(_), value] => Ok(vec![(Some(ts), value)]),
        [] => Err("Readings is empty".into()),
        pairs => pairs
            .iter()
            .map(|p| match p.as_array().map(Vec::as_slice) {
                Some([ts, value]) => Ok((Some(ts).filter(|t| !t.is_null()), value)),
                _ => Err("Readings must be a value, [timestamp, value] or a list of such pairs".to_owned()),
            })
            .collect(),
    }
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
