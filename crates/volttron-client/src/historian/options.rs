//! What the base options of a historian mean, for `--describe` and the documentation (historians.md 2).

use serde_json::{Value, json};

use crate::options::OptionText;

/// Key, default and meaning of every base option; a historian adds its own.
pub fn base_options() -> Vec<OptionText> {
    let none = Value::Null;
    vec![
        (
            "retry_period",
            json!(300),
            "Seconds until a failed write is tried again; new data triggers it earlier",
        ),
        ("submit_size_limit", json!(1000), "Records per batch handed to the store"),
        (
            "max_time_publishing",
            json!(30),
            "Seconds that writing may go on without emptying the cache before the historian counts as backlogged",
        ),
        (
            "message_publish_count",
            json!(10_000),
            "A line in the log after each so many stored records; 0 = none",
        ),
        (
            "backup_storage_limit_gb",
            none.clone(),
            "Most that the cache may take, in GiB; the oldest go first",
        ),
        ("backup_storage_report", json!(0.9), "Part of that from which the cache counts as full"),
        ("history_limit_days", none.clone(), "Values older than the newest minus so many days are removed"),
        ("storage_limit_gb", none.clone(), "Most that the store may take, in GiB; the oldest go first"),
        ("readonly", json!(false), "Answer queries only: no capture, no cache"),
        ("capture_device_data", json!(true), "Keep what is published below devices/"),
        ("capture_analysis_data", json!(true), "Keep what is published below analysis/"),
        ("capture_log_data", json!(true), "Keep what is published below datalogger/"),
        ("capture_record_data", json!(true), "Keep what is published below record/"),
        (
            "custom_topics",
            json!({}),
            "More topics: capture_device_data and so on, each with a list of prefixes",
        ),
        (
            "device_data_filter",
            json!({}),
            "Keep only these: a part of the path, with a list of points, as often as needed",
        ),
        (
            "topic_replace_list",
            json!([]),
            "Rename topics: a list of {\"from\": text, \"to\": text}, in order",
        ),
        ("all_platforms", json!(false), "Keep what other platforms publish, too"),
        (
            "time_tolerance",
            none,
            "Seconds that a timestamp may be off; what is further off is put aside in the cache",
        ),
        ("time_tolerance_topics", json!(["devices"]), "Which topics that holds for"),
        ("cache_only_enabled", json!(false), "Cache, but do not write to the store"),
        ("gather_timing_data", json!(false), "Add a timing_data header"),
        ("sync_timestamp", json!(false), "Store SynchronizedTimeStamp instead of TimeStamp"),
        ("queue_limit", json!(100_000), "Most points that wait in memory; when it is full, capture waits"),
        ("query_timeout", json!(120), "Longest run of one query, in seconds"),
        (
            "query_max_rows",
            json!(1_000_000),
            "Most rows that one query returns; beyond it the answer says `truncated`",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::super::config::HistorianConfig;
    use super::*;

    #[test]
    fn every_option_is_described_as_it_is_read() {
        let options = base_options();
        let defaults: Map<String, Value> =
            options.iter().map(|(key, default, _)| ((*key).to_owned(), default.clone())).collect();
        assert_eq!(HistorianConfig::parse(&defaults), (HistorianConfig::default(), Vec::new()));
        let shown = format!("{:#?}", HistorianConfig::default());
        let fields: Vec<&str> = shown
            .lines()
            .filter_map(|line| {
                line.strip_prefix("    ").filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase()))
            })
            .filter_map(|line| line.split_once(':').map(|(name, _)| name))
            .collect();
        assert_eq!(options.iter().map(|(key, ..)| *key).collect::<Vec<_>>(), fields);
    }
}
