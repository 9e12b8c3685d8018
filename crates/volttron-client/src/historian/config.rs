//! Base configuration of every historian (historians.md 2): parsing, defaults, and what is wrong with it.
//!
//! No option may stop a historian: a key of the wrong type is reported and its default used.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

/// Which rule a custom topic is captured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// `devices/.../all` messages.
    Device,
    /// `analysis/...` messages.
    Analysis,
    /// `datalogger/...` messages.
    Log,
    /// Anything else: the whole message is the value.
    Record,
}

/// One entry of `topic_replace_list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Literal text looked for, ignoring case.
    pub from: String,
    /// What takes its place.
    pub to: String,
}

/// The base options. Field names are the configuration keys.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // the keys are independent switches of the original
pub struct HistorianConfig {
    /// Longest wait before a failed write is tried again; new data triggers earlier.
    pub retry_period: Duration,
    /// Records per batch handed to the store.
    pub submit_size_limit: usize,
    /// How long writing may go on without emptying the cache before the historian counts as backlogged.
    pub max_time_publishing: Duration,
    /// Info log after each so many stored records; 0 = off.
    pub message_publish_count: u64,
    /// Cache size cap in GiB.
    pub backup_storage_limit_gb: Option<f64>,
    /// Fraction of the cap that counts as full.
    pub backup_storage_report: f64,
    /// Drop store rows older than the newest minus this many days.
    pub history_limit_days: Option<f64>,
    /// Drop the oldest store rows above this size in GiB.
    pub storage_limit_gb: Option<f64>,
    /// No capture, no cache; queries only.
    pub readonly: bool,
    /// Capture `devices/`.
    pub capture_device_data: bool,
    /// Capture `analysis/`.
    pub capture_analysis_data: bool,
    /// Capture `datalogger/`.
    pub capture_log_data: bool,
    /// Capture `record/`.
    pub capture_record_data: bool,
    /// Further topic prefixes per capture rule.
    pub custom_topics: Vec<(Rule, String)>,
    /// `{path fragment: [points]}`; when non-empty only these devices and points are kept.
    pub device_data_filter: BTreeMap<String, Vec<String>>,
    /// Applied in order to every topic before caching.
    pub topic_replace_list: Vec<Replacement>,
    /// Subscribe on federated platforms too.
    pub all_platforms: bool,
    /// Records further from now than this go to the cache's error table.
    pub time_tolerance: Option<Duration>,
    /// Prefixes the tolerance applies to.
    pub time_tolerance_topics: Vec<String>,
    /// Cache but do not write to the store.
    pub cache_only_enabled: bool,
    /// Add a `timing_data` header.
    pub gather_timing_data: bool,
    /// Store `SynchronizedTimeStamp` instead of `TimeStamp`.
    pub sync_timestamp: bool,
    /// Bound of the in-memory queue in points; when full, capture waits (ours).
    pub queue_limit: usize,
    /// Longest run of one query (ours).
    pub query_timeout: Duration,
    /// Most rows one query returns; beyond it the answer carries `truncated` (ours).
    pub query_max_rows: u64,
}

impl Default for HistorianConfig {
    fn default() -> Self {
        Self {
            retry_period: Duration::from_secs(300),
            submit_size_limit: 1000,
            max_time_publishing: Duration::from_secs(30),
            message_publish_count: 10_000,
            backup_storage_limit_gb: None,
            backup_storage_report: 0.9,
            history_limit_days: None,
            storage_limit_gb: None,
            readonly: false,
            capture_device_data: true,
            capture_analysis_data: true,
            capture_log_data: true,
            capture_record_data: true,
            custom_topics: Vec::new(),
            device_data_filter: BTreeMap::new(),
            topic_replace_list: Vec::new(),
            all_platforms: false,
            time_tolerance: None,
            time_tolerance_topics: vec!["devices".to_owned()],
            cache_only_enabled: false,
            gather_timing_data: false,
            sync_timestamp: false,
            queue_limit: 100_000,
            query_timeout: Duration::from_secs(120),
            query_max_rows: 1_000_000,
        }
    }
}

/// What a configuration could not mean; the default took its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option `{key}`: {why}")]
pub struct Problem {
    /// The key as written.
    pub key: String,
    /// What was expected.
    pub why: String,
}

/// Options as text keys with `-` and `_` treated alike: files use hyphens for some keys, the store underscores.
/// When both spellings are present the underscored one wins.
pub fn normalise_keys(raw: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in raw {
        let plain = key.replace('-', "_");
        if plain == *key || !raw.contains_key(&plain) {
            out.insert(plain, value.clone());
        }
    }
    out
}

impl HistorianConfig {
    /// Reads the base options of a historian's configuration. Unknown keys belong to the store and are left alone.
    pub fn parse(raw: &Map<String, Value>) -> (Self, Vec<Problem>) {
        let map = normalise_keys(raw);
        let mut r = Reading { map: &map, problems: Vec::new() };
        let d = Self::default();
        let config = Self {
            retry_period: r.seconds("retry_period", d.retry_period),
            submit_size_limit: r.at_least_one("submit_size_limit", d.submit_size_limit),
            max_time_publishing: r.seconds("max_time_publishing", d.max_time_publishing),
            message_publish_count: r
                .number("message_publish_count")
                .map_or(d.message_publish_count, |n| n as u64),
            backup_storage_limit_gb: r.positive("backup_storage_limit_gb"),
            backup_storage_report: r
                .number("backup_storage_report")
                .map_or(d.backup_storage_report, |n| n.clamp(0.0001, 1.0)),
            history_limit_days: r.positive("history_limit_days"),
            storage_limit_gb: r.positive("storage_limit_gb"),
            readonly: r.flag("readonly", false),
            capture_device_data: r.flag("capture_device_data", true),
            capture_analysis_data: r.flag("capture_analysis_data", true),
            capture_log_data: r.flag("capture_log_data", true),
            capture_record_data: r.flag("capture_record_data", true),
            custom_topics: r.custom_topics(),
            device_data_filter: r.device_data_filter(),
            topic_replace_list: r.topic_replace_list(),
            all_platforms: r.flag("all_platforms", false),
            time_tolerance: r.positive("time_tolerance").and_then(|s| Duration::try_from_secs_f64(s).ok()),
            time_tolerance_topics: r.texts("time_tolerance_topics").unwrap_or(d.time_tolerance_topics),
            cache_only_enabled: r.flag("cache_only_enabled", false),
            gather_timing_data: r.flag("gather_timing_data", false),
            sync_timestamp: r.flag("sync_timestamp", false),
            queue_limit: r.at_least_one("queue_limit", d.queue_limit),
            query_timeout: r.seconds("query_timeout", d.query_timeout),
            query_max_rows: r.at_least_one("query_max_rows", d.query_max_rows as usize) as u64,
        };
        (config, r.problems)
    }

    /// The topic prefixes to subscribe to and the rule for each.
    pub fn subscriptions(&self) -> Vec<(Rule, String)> {
        if self.readonly {
            return Vec::new();
        }
        let mut subs = Vec::new();
        for (on, rule, root) in [
            (self.capture_device_data, Rule::Device, "devices"),
            (self.capture_log_data, Rule::Log, "datalogger"),
            (self.capture_analysis_data, Rule::Analysis, "analysis"),
            (self.capture_record_data, Rule::Record, "record"),
        ] {
            if on {
                subs.push((rule, root.to_owned()));
            }
        }
        for custom in &self.custom_topics {
            if !subs.contains(custom) {
                subs.push(custom.clone());
            }
        }
        subs
    }
}

struct Reading<'a> {
    map: &'a Map<String, Value>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn wrong(&mut self, key: &str, why: &str) {
        self.problems.push(Problem { key: key.to_owned(), why: why.to_owned() });
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        let value = self.get(key).map(|v| v.as_bool().ok_or(()));
        match value {
            None => default,
            Some(Ok(b)) => b,
            Some(Err(())) => {
                self.wrong(key, "must be true or false");
                default
            }
        }
    }

    /// A finite number that is not negative. Numbers written as text count, as with the original's `float()`.
    fn number(&mut self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        let parsed = match value {
            Value::Number(n) => n.as_f64(),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        };
        let number = parsed.filter(|n: &f64| n.is_finite() && *n >= 0.0);
        if number.is_none() {
            self.wrong(key, "must be a number, not negative");
        }
        number
    }

    fn positive(&mut self, key: &str) -> Option<f64> {
        let n = self.number(key)?;
        if n > 0.0 {
            return Some(n);
        }
        self.wrong(key, "must be more than 0");
        None
    }

    fn seconds(&mut self, key: &str, default: Duration) -> Duration {
        let Some(n) = self.number(key) else { return default };
        Duration::try_from_secs_f64(n).unwrap_or(default)
    }

    fn at_least_one(&mut self, key: &str, default: usize) -> usize {
        match self.number(key) {
            None => default,
            Some(n) if n >= 1.0 => n as usize,
            Some(_) => {
                self.wrong(key, "must be at least 1");
                default
            }
        }
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let texts = texts_of(self.get(key)?);
        if texts.is_none() {
            self.wrong(key, "must be a list of texts");
        }
        texts
    }

    fn custom_topics(&mut self) -> Vec<(Rule, String)> {
        let Some(value) = self.get("custom_topics").cloned() else { return Vec::new() };
        let Value::Object(map) = value else {
            self.wrong("custom_topics", "must map capture handlers to lists of topic prefixes");
            return Vec::new();
        };
        let mut out = Vec::new();
        for (handler, prefixes) in map {
            let rule = match handler.as_str() {
                "capture_device_data" => Rule::Device,
                "capture_analysis_data" => Rule::Analysis,
                "capture_log_data" => Rule::Log,
                _ => Rule::Record,
            };
            match texts_of(&prefixes) {
                Some(list) => out.extend(list.into_iter().map(|p| (rule, p))),
                None => self.wrong("custom_topics", &format!("`{handler}` must be a list of topic prefixes")),
            }
        }
        out
    }

    fn device_data_filter(&mut self) -> BTreeMap<String, Vec<String>> {
        let Some(value) = self.get("device_data_filter").cloned() else { return BTreeMap::new() };
        let Value::Object(map) = value else {
            self.wrong("device_data_filter", "must map path fragments to lists of points");
            return BTreeMap::new();
        };
        let mut out = BTreeMap::new();
        for (fragment, points) in map {
            match texts_of(&points) {
                Some(list) => {
                    out.insert(fragment, list);
                }
                None => self.wrong("device_data_filter", &format!("`{fragment}` must be a list of points")),
            }
        }
        out
    }

    fn topic_replace_list(&mut self) -> Vec<Replacement> {
        let Some(value) = self.get("topic_replace_list").cloned() else { return Vec::new() };
        let Value::Array(list) = value else {
            self.wrong("topic_replace_list", "must be a list of {\"from\": text, \"to\": text}");
            return Vec::new();
        };
        let mut out = Vec::new();
        for entry in &list {
            let from = entry.get("from").and_then(Value::as_str).filter(|f| !f.is_empty());
            match (from, entry.get("to").and_then(Value::as_str)) {
                (Some(from), Some(to)) => out.push(Replacement { from: from.to_owned(), to: to.to_owned() }),
                _ => {
                    self.wrong(
                        "topic_replace_list",
                        "each entry needs a `from` that is not empty and a `to`",
                    );
                }
            }
        }
        out
    }
}

/// A list of texts; one bare text counts as a list of one.
fn texts_of(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(s) => Some(vec![s.clone()]),
        Value::Array(a) => a.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(v: Value) -> (HistorianConfig, Vec<Problem>) {
        let Value::Object(map) = v else { panic!("object") };
        HistorianConfig::parse(&map)
    }

    #[test]
    fn empty_is_the_documented_defaults() {
        let (c, problems) = parse(json!({}));
        assert_eq!(c, HistorianConfig::default());
        assert!(problems.is_empty());
        assert_eq!(c.retry_period, Duration::from_secs(300));
        assert_eq!(c.submit_size_limit, 1000);
        let subs: Vec<_> = c.subscriptions().into_iter().map(|(_, p)| p).collect();
        assert_eq!(subs, ["devices", "datalogger", "analysis", "record"]);
    }

    #[test]
    fn hyphens_and_underscores_are_alike_and_underscores_win() {
        let (c, _) = parse(json!({"retry-period": 5, "submit-size-limit": 7, "submit_size_limit": 9}));
        assert_eq!(c.retry_period, Duration::from_secs(5));
        assert_eq!(c.submit_size_limit, 9);
    }

    #[test]
    fn wrong_values_are_reported_and_never_taken() {
        let cases = [
            (json!({"retry_period": "soon"}), "retry_period"),
            (json!({"retry_period": -1}), "retry_period"),
            (json!({"submit_size_limit": 0}), "submit_size_limit"),
            (json!({"cache_only_enabled": 1}), "cache_only_enabled"),
            (json!({"cache_only_enabled": "true"}), "cache_only_enabled"),
            (json!({"history_limit_days": 0}), "history_limit_days"),
            (json!({"history_limit_days": [1]}), "history_limit_days"),
            (json!({"custom_topics": ["a"]}), "custom_topics"),
            (json!({"custom_topics": {"x": 3}}), "custom_topics"),
            (json!({"device_data_filter": {"x": 3}}), "device_data_filter"),
            (json!({"topic_replace_list": {"from": "a"}}), "topic_replace_list"),
            (json!({"topic_replace_list": [{"from": "", "to": "b"}]}), "topic_replace_list"),
            (json!({"time_tolerance_topics": 1}), "time_tolerance_topics"),
        ];
        for (raw, key) in cases {
            let (c, problems) = parse(raw.clone());
            assert_eq!(c, HistorianConfig::default(), "{raw}");
            assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), [key], "{raw}");
        }
    }

    #[test]
    fn values_are_read() {
        let (c, problems) = parse(json!({
            "retry_period": "1.5", "backup_storage_report": 7, "history_limit_days": 0.5, "time_tolerance": 10,
            "custom_topics": {"capture_device_data": ["site"], "anything": "raw", "capture_log_data": ["l"]},
            "device_data_filter": {"ahu": ["temp"]}, "topic_replace_list": [{"from": "A", "to": "b"}],
            "readonly": null, "capture_record_data": false, "connection": {"type": "sqlite"}
        }));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(c.retry_period, Duration::from_millis(1500));
        assert!((c.backup_storage_report - 1.0).abs() < f64::EPSILON);
        assert_eq!(c.history_limit_days, Some(0.5));
        assert_eq!(c.time_tolerance, Some(Duration::from_secs(10)));
        assert_eq!(c.custom_topics.len(), 3);
        assert!(c.subscriptions().contains(&(Rule::Record, "raw".to_owned())));
        assert!(!c.subscriptions().contains(&(Rule::Record, "record".to_owned())));
    }

    #[test]
    fn readonly_subscribes_to_nothing() {
        assert!(parse(json!({"readonly": true})).0.subscriptions().is_empty());
    }
}
