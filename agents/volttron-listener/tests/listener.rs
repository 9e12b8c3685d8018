//! The listener on a platform in memory.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use volttron_client::AgentBuilder;
use volttron_client::testing::TestPlatform;
use volttron_client::utils::config::parse_config;
use volttron_listener::{Config, Listener};

#[tokio::test]
async fn it_listens_to_everything_and_beats() {
    let platform = TestPlatform::new().await;
    let mut beats = platform.watch("heartbeat/").await;
    let listener = platform.agent("listener", Listener::new(Config::default())).await;
    assert_eq!(listener.cx().heartbeat().period(), Duration::from_secs(5));
    beats.assert_published("heartbeat/listener", &json!("GOOD")).await;
    let alice = platform.peer("alice").await;
    assert_eq!(alice.publish("anything/at/all", &json!([1])).await.unwrap(), 1);
    listener.stop().await;
}

#[tokio::test]
async fn the_store_entry_wins_and_may_change() {
    let platform = TestPlatform::new().await;
    platform.set_config("listener", "config", json!({"topic": "devices/", "heartbeat_period": 7})).await;
    let agent = Arc::new(Listener::new(Config::default()));
    let builder = AgentBuilder::shared(agent.clone()).identity("listener").connector(platform.bus());
    let handle = builder.spawn().await.unwrap();
    assert!(handle.started().await);
    assert_eq!(agent.config().topic, "devices/");
    assert_eq!(handle.cx().heartbeat().period(), Duration::from_secs(7));
    let alice = platform.peer("alice").await;
    assert_eq!(alice.publish("record/x", "x").await.unwrap(), 0);
    assert_eq!(alice.publish("devices/x", "x").await.unwrap(), 1);

    // A configuration that makes no sense changes nothing and shows in the agent's health.
    let mut beats = platform.watch("heartbeat/listener").await;
    platform.set_config("listener", "config", json!({"topic": 5})).await;
    beats.assert_published("heartbeat/listener", &json!("BAD")).await;
    assert_eq!(agent.config().topic, "devices/");
}

#[test]
fn the_documented_configuration_is_the_default() {
    let readme = include_str!("../README.md");
    let text = readme.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config: Config = serde_json::from_value(parse_config(text).unwrap()).unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn options_are_described_as_they_are_read() {
    let described: serde_json::Value =
        volttron_listener::options().into_iter().map(|(key, default, _)| (key, default)).collect();
    assert_eq!(serde_json::from_value::<Config>(described).unwrap(), Config::default());
}
