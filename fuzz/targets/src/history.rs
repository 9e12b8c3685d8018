//! Bytes as what historians read: messages of the bus, their own configuration, questions, old databases.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use volttron_client::historian::capture::{Capture, Inbound};
use volttron_client::historian::query::{Arguments, normalise_period};
use volttron_client::historian::text::is_stamp;
use volttron_client::historian::{HistorianConfig, Rule};
use volttron_sql_historian::{Settings, pyliteral};
use volttron_utils::json;

/// The bytes as one document with any of the members `topic`, `headers`, `message`, `config` and `query`. Every
/// reading has a canonical time and a value that is JSON, and there are no more of them than the message has places.
pub fn historian(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(value) = pyliteral::to_value(&text) {
        assert!(json::to_string(&value).is_ok());
    }
    if let Ok(period) = normalise_period(&text) {
        assert_eq!(normalise_period(&period).as_ref(), Ok(&period));
    }
    let Ok(document) = json::from_str::<Map<String, Value>>(&text) else { return };
    let now: Timestamp = "2026-03-04T16:00:00.5Z".parse().expect("a time");
    let part = |name: &str| document.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let config = part("config");
    let (settings, _) = HistorianConfig::parse(&config);
    let _ = Settings::parse(&config, "/agent/data".as_ref());
    let topic = document.get("topic").and_then(Value::as_str).unwrap_or("devices/campus/building/unit/all");
    let headers = part("headers");
    let message = document.get("message").unwrap_or(&Value::Null);
    let places = data.len();
    let mut capture = Capture::new(Arc::new(settings), "platform.historian");
    for rule in [Rule::Device, Rule::Analysis, Rule::Log, Rule::Record] {
        let found = capture.message(rule, Inbound { topic, headers: &headers, message, now });
        assert!(found.points.len() <= places.max(1), "{} readings", found.points.len());
        for point in &found.points {
            assert!(is_stamp(&point.ts), "{}", point.ts);
            assert!(json::from_str::<Value>(&point.value).is_ok(), "{}", point.value);
            assert!(json::from_str::<Map<String, Value>>(&point.headers).is_ok(), "{}", point.headers);
        }
    }
    question(&document, now);
}

fn question(document: &Map<String, Value>, now: Timestamp) {
    let query = document.get("query").cloned().unwrap_or_else(|| json!({}));
    let get = |name: &str| query.get(name).cloned().unwrap_or_default();
    let arguments = Arguments {
        topic: get("topic"),
        start: get("start"),
        end: get("end"),
        agg_type: get("agg_type"),
        agg_period: get("agg_period"),
        skip: get("skip"),
        count: get("count"),
        order: get("order"),
        topic_pattern: get("topic_pattern"),
    };
    match arguments.check(now, 1000) {
        Ok(asked) => {
            for time in [asked.query.start, asked.query.end].into_iter().flatten() {
                assert!(is_stamp(&time), "{time} is compared with stamps");
            }
        }
        Err(bad) => assert!(matches!(bad.exception, "TypeError" | "ValueError") && !bad.text.is_empty()),
    }
}
