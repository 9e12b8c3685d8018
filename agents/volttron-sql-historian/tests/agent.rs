//! The agent on a bus: capture of what is published, RPC as callers of the original use it, live configuration, health.

#![allow(clippy::unwrap_used)]

mod common;

use common::object;
use serde_json::{Value, json};
use volttron_client::historian::HistorianAgent;
use volttron_client::testing::TestPlatform;
use volttron_client::{AgentHandle, CallError, Connection, Headers};
use volttron_sql_historian::SqlHistorian;

const HISTORIAN: &str = "platform.historian";

async fn start(platform: &TestPlatform, dir: &tempfile::TempDir, config: Value) -> AgentHandle {
    let agent = HistorianAgent::new(SqlHistorian, &object(config));
    let handle = platform.builder(HISTORIAN, agent).data_dir(dir.path()).spawn().await.unwrap();
    assert!(handle.started().await);
    handle
}

async fn ask(peer: &Connection, method: &str, arguments: Value) -> Result<Value, CallError> {
    let mut call = peer.call(HISTORIAN, method);
    for (name, value) in object(arguments) {
        call = call.named(name, value);
    }
    call.send_value().await
}

/// What was published is captured in the background: asks until the answer is there.
async fn ask_until(peer: &Connection, arguments: Value, good: impl Fn(&Value) -> bool) -> Value {
    let wait = async {
        loop {
            let got = ask(peer, "query", arguments.clone()).await;
            if let Some(value) = got.ok().filter(&good) {
                return value;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("the answer comes")
}

fn rows(v: &Value) -> usize {
    v["values"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "current_thread")]
async fn published_data_is_stored_and_queried() {
    let platform = TestPlatform::new().await;
    let dir = tempfile::tempdir().unwrap();
    let historian = start(&platform, &dir, json!({})).await;
    let peer = platform.peer("driver").await;
    let headers = |ts: &str| Headers::default().with("TimeStamp", ts).with("Date", ts);
    let all = json!([{"Temp": 21.5, "Fan": 1}, {"Temp": {"units": "C", "type": "float", "tz": "UTC"}}]);
    peer.publish_with("devices/c/b/u/all", headers("2026-03-04T10:00:00.000000+00:00"), &all).await.unwrap();
    peer.publish_with("devices/c/b/u/Temp", headers("2026-03-04T10:00:01.000000+00:00"), &json!([1, {}]))
        .await
        .unwrap();
    peer.publish_with("analysis/app/all", headers("2026-03-04T10:00:00+00:00"), &json!({"kpi": 0.5}))
        .await
        .unwrap();
    peer.publish("datalogger/x", &json!({"p": {"Readings": ["2026-03-04T10:00:00", 4], "Units": "F"}}))
        .await
        .unwrap();
    peer.publish("record/y", &json!({"any": "thing"})).await.unwrap();
    let got = ask_until(&peer, json!({"topic": "c/b/u/temp"}), |v| rows(v) == 1).await;
    let meta = json!({"units": "C", "type": "float", "tz": "UTC"});
    assert_eq!(got, json!({"values": [["2026-03-04T10:00:00.000000+00:00", 21.5]], "metadata": meta}));
    for topic in ["c/b/u/Fan", "app/kpi", "datalogger/x/p", "record/y"] {
        ask_until(&peer, json!({"topic": topic}), |v| rows(v) == 1).await;
    }
    let mut topics: Vec<String> = peer.call(HISTORIAN, "get_topic_list").send().await.unwrap();
    topics.sort();
    assert_eq!(topics, ["app/kpi", "c/b/u/Fan", "c/b/u/Temp", "datalogger/x/p", "record/y"]);
    let found = ask(&peer, "get_topics_by_pattern", json!({"topic_pattern": "/b/u/"})).await.unwrap();
    assert_eq!(found.as_object().unwrap().len(), 2);
    assert_eq!(
        ask(&peer, "get_topics_metadata", json!({"topics": "C/b/u/Temp"})).await.unwrap(),
        json!({"C/b/u/Temp": meta})
    );
    assert_eq!(ask(&peer, "get_aggregate_topics", json!({})).await.unwrap(), json!([]));
    assert_eq!(ask(&peer, "get_version", json!({})).await.unwrap(), json!("4.0.0"));
    historian.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn insert_answers_when_durable_and_errors_have_the_types_of_the_original() {
    let platform = TestPlatform::new().await;
    let dir = tempfile::tempdir().unwrap();
    let historian = start(&platform, &dir, json!({})).await;
    let peer = platform.peer("mover").await;
    let record = json!({"topic": "devices/a/all", "headers": {"Date": "2026-03-04T10:00:00"}, "message": [{"p": 1}, {}]});
    let stranger = json!({"topic": "alerts/a", "headers": {}, "message": 1});
    assert_eq!(ask(&peer, "insert", json!({"records": [record, stranger]})).await.unwrap(), Value::Null);
    historian.stop().await;
    // In the cache or already in the database: a restart brings it out.
    let historian = start(&platform, &dir, json!({})).await;
    ask_until(&peer, json!({"topic": "a/p"}), |v| rows(v) == 1).await;
    for (method, arguments, exception) in [
        ("query", json!({}), "builtins.TypeError"),
        ("query", json!({"topic": "a/p", "agg_type": "avg"}), "builtins.TypeError"),
        ("query", json!({"topic": "a/p", "start": "whenever"}), "builtins.ValueError"),
        ("get_topics_metadata", json!({"topics": 5}), "builtins.ValueError"),
        ("get_topics_by_pattern", json!({"topic_pattern": "("}), "builtins.ValueError"),
        ("insert", json!({"records": 5}), "builtins.TypeError"),
        ("insert", json!({"records": [{"topic": "devices/a/all"}]}), "builtins.KeyError"),
    ] {
        match ask(&peer, method, arguments.clone()).await {
            Err(CallError::Remote(e)) => assert_eq!(e.exc_type(), Some(exception), "{method} {arguments}"),
            other => panic!("{method} {arguments}: {other:?}"),
        }
    }
    historian.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn configuration_is_taken_live_from_the_store_over_the_file() {
    let platform = TestPlatform::new().await;
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere/second.sqlite");
    let historian = start(&platform, &dir, json!({"capture-record-data": false})).await;
    let peer = platform.peer("peer").await;
    peer.publish("record/off", &1).await.unwrap();
    peer.publish("devices/d/all", &json!({"p": 1})).await.unwrap();
    ask_until(&peer, json!({"topic": "d/p"}), |v| rows(v) == 1).await;
    assert!(!dir.path().join("elsewhere").exists());
    let config = json!({
        "capture_record_data": true, "topic_replace_list": [{"from": "on", "to": "ON"}], "retry_period": "nonsense",
        "connection": {"type": "sqlite", "params": {"database": elsewhere}},
    });
    platform.set_config(HISTORIAN, "config", config).await;
    let wait = async {
        loop {
            peer.publish("record/on", &1).await.unwrap();
            let topics: Result<Vec<String>, _> = peer.call(HISTORIAN, "get_topic_list").send().await;
            if topics.is_ok_and(|t| t == ["record/ON"]) {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait)
        .await
        .expect("the second database is filled");
    assert!(elsewhere.exists());
    historian.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_in_trouble_shows_in_health_and_alerts() {
    let platform = TestPlatform::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut alerts = platform.watch("alerts/SQLHistorian/").await;
    let historian = start(&platform, &dir, json!({"connection": {"type": "mysql"}})).await;
    let alert = alerts.next().await;
    assert_eq!(alert.headers.get_str("alert_key"), Some("historian_not_publishing"));
    let peer = platform.peer("peer").await;
    let wait = async {
        loop {
            let status: Value = peer.call(HISTORIAN, "health.get_status_json").send().await.unwrap();
            if status["status"] == "BAD" {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("BAD is told");
    assert_eq!(status["context"]["publishing"], false);
    assert!(status["context"]["reason"].as_str().unwrap().contains("mysql"));
    historian.stop().await;
}
