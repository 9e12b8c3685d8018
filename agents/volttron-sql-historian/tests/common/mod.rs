//! A historian without a bus: engine, SQLite store, a directory of its own.

#![allow(dead_code, clippy::unwrap_used, missing_docs)] // each test uses its part

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Map, Value, json};
use volttron_client::historian::query::Arguments;
use volttron_client::historian::status::Status;
use volttron_client::historian::{Captured, Engine, EngineOptions, HistorianConfig, Source, StoreFactory};
use volttron_sql_historian::SqlFactory;

pub struct World {
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("historian.sqlite")
    }

    pub fn factory(&self, config: &Value) -> Arc<dyn StoreFactory> {
        SqlFactory::from_config(config.as_object().unwrap(), self.dir.path()).shared()
    }

    pub fn start(&self, config: &Value) -> Engine {
        let (base, problems) = HistorianConfig::parse(config.as_object().unwrap());
        assert!(problems.is_empty(), "{problems:?}");
        Engine::start(EngineOptions {
            identity: "platform.historian".into(),
            data_dir: self.dir.path().to_owned(),
            config: base,
            factory: Some(self.factory(config)),
        })
        .unwrap()
    }

    pub fn db(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

/// `2026-03-04T10:MM:SS` canonical.
pub fn at(second: u32) -> String {
    format!("2026-03-04T10:{:02}:{:02}.000000+00:00", second / 60, second % 60)
}

pub fn point(topic: &str, second: u32, value: &str) -> Captured {
    Captured {
        source: Source::Scrape,
        topic: topic.into(),
        ts: at(second).into(),
        value: value.into(),
        headers: "{}".into(),
        meta: None,
        out_of_tolerance: false,
    }
}

pub fn with_meta(mut p: Captured, meta: &Value) -> Captured {
    p.meta = meta.as_object().cloned();
    p
}

/// Inserts and waits until the store has everything.
pub async fn store(engine: &Engine, points: Vec<Captured>) {
    engine.insert_points(points).await.unwrap();
    until(engine, |s| s.cache_count == 0 && s.accepted > 0).await;
}

pub async fn until(engine: &Engine, what: impl FnMut(&Status) -> bool) -> Status {
    let mut status = engine.status();
    let got = tokio::time::timeout(Duration::from_secs(30), status.wait_for(what)).await;
    got.expect("the status comes in time").expect("the writer runs").clone()
}

/// Runs `query` with these arguments; errors as their text.
pub async fn query(engine: &Engine, v: Value) -> Result<Value, String> {
    let Value::Object(mut map) = v else { panic!("object") };
    let mut take = |k: &str| map.remove(k).unwrap_or(Value::Null);
    let arguments = Arguments {
        topic: take("topic"),
        start: take("start"),
        end: take("end"),
        agg_type: take("agg_type"),
        agg_period: take("agg_period"),
        skip: take("skip"),
        count: take("count"),
        order: take("order"),
        topic_pattern: take("topic_pattern"),
    };
    assert!(map.is_empty(), "{map:?}");
    let text = engine.query(&arguments).await.map_err(|e| e.to_string())?;
    Ok(serde_json::from_str(&text).unwrap())
}

pub fn object(v: Value) -> Map<String, Value> {
    match v {
        Value::Object(m) => m,
        other => panic!("not an object: {other}"),
    }
}

pub fn empty() -> Value {
    json!({})
}
