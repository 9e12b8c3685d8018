use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::historian::status::keys;
use crate::historian::store::{Cancel, Found, Limits, Query};

/// A store in memory whose behaviour tests switch while it runs.
#[derive(Default)]
struct Shelf {
    rows: Mutex<Vec<(String, String, String)>>,
    down: AtomicBool,
    setup_fails: AtomicBool,
    poison: Mutex<Option<String>>,
    limits: Mutex<Vec<Limits>>,
    limits_fail: AtomicBool,
    setups: AtomicU64,
    writes: AtomicU64,
}

struct Shelves(Arc<Shelf>);
struct ShelfStore(Arc<Shelf>);

impl Store for ShelfStore {
    fn setup(&mut self) -> Result<(), StoreError> {
        self.0.setups.fetch_add(1, Ordering::SeqCst);
        if self.0.setup_fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("no setup".into()));
        }
        Ok(())
    }
    fn write(&mut self, batch: &[Record]) -> Result<Handled, StoreError> {
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        if self.0.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".into()));
        }
        if let Some(poison) = &*self.0.poison.lock().unwrap()
            && batch.iter().any(|r| r.value == *poison)
        {
            return Err(StoreError::Refused("poison".into()));
        }
        let mut rows = self.0.rows.lock().unwrap();
        rows.extend(batch.iter().map(|r| (r.topic.to_string(), r.ts.clone(), r.value.clone())));
        Ok(Handled::All)
    }
    fn apply_limits(&mut self, limits: &Limits, _: Duration) -> Result<bool, StoreError> {
        self.0.limits.lock().unwrap().push(*limits);
        if self.0.limits_fail.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("no room to vacuum".into()));
        }
        Ok(false)
    }
}

impl Reader for ShelfStore {
    fn query(&mut self, _: &Query, _: &Cancel) -> Result<Found, QueryError> {
        Ok(Found::default())
    }
    fn topic_list(&mut self) -> Result<Vec<String>, QueryError> {
        Ok(vec![])
    }
    fn topics_by_pattern(&mut self, _: &str) -> Result<Vec<(String, i64)>, QueryError> {
        Ok(vec![])
    }
    fn topics_metadata(&mut self, _: &[String]) -> Result<Map<String, Value>, QueryError> {
        Ok(Map::new())
    }
    fn aggregate_topics(&mut self) -> Result<Vec<Value>, QueryError> {
        Ok(vec![])
    }
}

impl StoreFactory for Shelves {
    fn store(&self) -> Box<dyn Store> {
        Box::new(ShelfStore(Arc::clone(&self.0)))
    }
    fn reader(&self) -> Result<Box<dyn Reader>, QueryError> {
        Ok(Box::new(ShelfStore(Arc::clone(&self.0))))
    }
}

struct World {
    dir: tempfile::TempDir,
    shelf: Arc<Shelf>,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), shelf: Arc::default() }
    }
    fn start(&self, config: &Value) -> Engine {
        let (config, problems) = HistorianConfig::parse(config.as_object().unwrap());
        assert!(problems.is_empty(), "{problems:?}");
        let factory: Arc<dyn StoreFactory> = Arc::new(Shelves(Arc::clone(&self.shelf)));
        Engine::start(EngineOptions {
            identity: "platform.historian".into(),
            data_dir: self.dir.path().to_owned(),
            config,
            factory: Some(factory),
        })
        .unwrap()
    }
    fn rows(&self) -> usize {
        self.shelf.rows.lock().unwrap().len()
    }
}

/// One durable `record/<topic>` point with the given second and value.
async fn put(engine: &Engine, second: u32, value: Value) {
    let headers = json!({"Date": format!("2026-03-04T10:{:02}:{:02}", second / 60, second % 60)});
    let headers = headers.as_object().cloned().unwrap();
    engine.insert(&[("record/t".into(), headers, value)]).await.unwrap();
}

async fn until(engine: &Engine, what: impl FnMut(&Status) -> bool) -> Status {
    let mut status = engine.status();
    let got = tokio::time::timeout(Duration::from_secs(30), status.wait_for(what)).await;
    got.expect("the status comes in time").expect("the writer runs").clone()
}

#[tokio::test(flavor = "current_thread")]
async fn captured_points_reach_the_store_and_leave_the_cache() {
    let world = World::new();
    let engine = world.start(&json!({}));
    let headers = Map::new();
    for i in 0..50 {
        let message = json!([{"a": i, "b": 1.5}, {"a": {"units": "F"}}]);
        engine.capture(Rule::Device, &format!("devices/d{i}/all"), &headers, &message).await.unwrap();
    }
    let status = until(&engine, |s| s.stored == 100 && s.cache_count == 0).await;
    assert!(status.is_good());
    assert_eq!(status.accepted, 100);
    assert_eq!(world.rows(), 100);
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_that_is_down_stops_nothing_and_new_data_triggers_the_retry() {
    let world = World::new();
    world.shelf.down.store(true, Ordering::SeqCst);
    let engine = world.start(&json!({"retry_period": 3600}));
    let mut alerts = engine.alerts().unwrap();
    put(&engine, 1, json!(1)).await;
    let alert = alerts.recv().await.unwrap();
    assert_eq!(alert.key, keys::NOT_PUBLISHING);
    assert_eq!(alert.context["publishing"], false);
    let status = until(&engine, |s| !s.publishing).await;
    assert_eq!(status.reason.as_deref(), Some("down"));
    // Acknowledged all the same: it is in the cache.
    put(&engine, 2, json!(2)).await;
    world.shelf.down.store(false, Ordering::SeqCst);
    put(&engine, 3, json!(3)).await;
    let status = until(&engine, |s| s.stored == 3 && s.publishing).await;
    assert!(status.is_good(), "{status:?}");
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_failing_setup_is_tried_again_and_what_came_meanwhile_is_stored() {
    let world = World::new();
    world.shelf.setup_fails.store(true, Ordering::SeqCst);
    let engine = world.start(&json!({"retry_period": 0.05}));
    put(&engine, 1, json!(1)).await;
    until(&engine, |s| !s.publishing && s.cache_count == 1).await;
    world.shelf.setup_fails.store(false, Ordering::SeqCst);
    until(&engine, |s| s.stored == 1 && s.publishing).await;
    engine.stop().await;
    assert!(world.shelf.setups.load(Ordering::SeqCst) >= 2);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_in_the_cache_at_start_is_stored_after_a_restart() {
    let world = World::new();
    world.shelf.down.store(true, Ordering::SeqCst);
    let engine = world.start(&json!({"submit_size_limit": 3}));
    for i in 0..10 {
        put(&engine, i, json!(i)).await;
    }
    engine.stop().await;
    world.shelf.down.store(false, Ordering::SeqCst);
    let engine = world.start(&json!({"submit_size_limit": 3}));
    until(&engine, |s| s.stored == 10 && s.cache_count == 0 && !s.backlogged).await;
    let values: Vec<_> = world.shelf.rows.lock().unwrap().iter().map(|r| r.2.clone()).collect();
    assert_eq!(values, (0..10).map(|i| i.to_string()).collect::<Vec<_>>(), "oldest first");
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_poisonous_record_is_put_aside_and_reported() {
    let world = World::new();
    *world.shelf.poison.lock().unwrap() = Some("13".into());
    let engine = world.start(&json!({}));
    let mut alerts = engine.alerts().unwrap();
    for i in 10..20 {
        put(&engine, i, json!(i)).await;
    }
    let status = until(&engine, |s| s.stored == 9 && s.cache_count == 0).await;
    assert_eq!(status.rejected, 1);
    assert!(!status.is_good() && status.publishing);
    assert_eq!(alerts.recv().await.unwrap().key, keys::REJECTED);
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn maintenance_mode_caches_only_and_ends_live() {
    let world = World::new();
    let engine = world.start(&json!({"cache_only_enabled": true}));
    put(&engine, 1, json!(1)).await;
    let status = until(&engine, |s| s.cache_count == 1 && s.cache_only_enabled).await;
    assert!(status.is_good());
    assert_eq!(world.shelf.writes.load(Ordering::SeqCst), 0);
    engine.configure(HistorianConfig::default(), None);
    until(&engine, |s| s.stored == 1 && s.cache_count == 0).await;
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_new_store_takes_over_live_and_nothing_is_lost() {
    let world = World::new();
    let engine = world.start(&json!({}));
    put(&engine, 1, json!(1)).await;
    until(&engine, |s| s.stored == 1).await;
    let second = Arc::<Shelf>::default();
    engine.configure(HistorianConfig::default(), Some(Arc::new(Shelves(Arc::clone(&second)))));
    put(&engine, 2, json!(2)).await;
    until(&engine, |s| s.stored == 2).await;
    engine.stop().await;
    assert_eq!((world.rows(), second.rows.lock().unwrap().len()), (1, 1));
}

#[tokio::test(flavor = "current_thread")]
async fn limits_are_applied_apart_from_writing_and_their_failure_stops_nothing() {
    let world = World::new();
    world.shelf.limits_fail.store(true, Ordering::SeqCst);
    let engine = world.start(&json!({"history_limit_days": 0.5}));
    let mut alerts = engine.alerts().unwrap();
    put(&engine, 1, json!(1)).await;
    assert_eq!(alerts.recv().await.unwrap().key, keys::DB_SIZE);
    let status = until(&engine, |s| s.stored == 1 && s.error_managing_db_size).await;
    assert!(status.publishing && !status.is_good());
    put(&engine, 2, json!(2)).await;
    until(&engine, |s| s.stored == 2).await;
    assert_eq!(world.shelf.limits.lock().unwrap()[0].history_limit_days, Some(0.5));
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn records_out_of_tolerance_are_never_stored_and_alerted() {
    let world = World::new();
    let engine = world.start(&json!({"time_tolerance": 60, "time_tolerance_topics": ["record"]}));
    let mut alerts = engine.alerts().unwrap();
    put(&engine, 1, json!(1)).await;
    let status = until(&engine, |s| s.invalid_timestamps).await;
    assert!(!status.is_good());
    assert_eq!(alerts.recv().await.unwrap().key, keys::TIME_ERROR);
    // A record without a time header is within tolerance; in the original it ended the writer.
    engine.insert(&[("record/u".into(), Map::new(), json!(1))]).await.unwrap();
    until(&engine, |s| s.stored == 1).await;
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_cache_that_cannot_be_opened_is_reported_and_used_once_it_can() {
    let world = World::new();
    let blocked = world.dir.path().join("backup.sqlite");
    std::fs::create_dir(&blocked).unwrap();
    let engine = world.start(&json!({}));
    let mut alerts = engine.alerts().unwrap();
    assert_eq!(alerts.recv().await.unwrap().key, keys::LOOP_FAILED);
    std::fs::remove_dir(&blocked).unwrap();
    put(&engine, 1, json!(1)).await;
    until(&engine, |s| s.stored == 1 && s.publishing).await;
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_read_only_historian_takes_no_records() {
    let world = World::new();
    let engine = world.start(&json!({"readonly": true}));
    let refused = engine.insert(&[("record/t".into(), Map::new(), json!(1))]).await.unwrap_err();
    assert_eq!(refused.to_string(), "Insert not supported by this historian.");
    assert!(engine.capture(Rule::Record, "record/t", &Map::new(), &json!(1)).await.is_err());
    engine.stop().await;
    assert!(!world.dir.path().join("backup.sqlite").exists());
}

#[tokio::test(flavor = "current_thread")]
async fn insert_skips_unknown_roots_and_nonsense() {
    let world = World::new();
    let engine = world.start(&json!({}));
    let records: Vec<(String, Map<String, Value>, Value)> = vec![
        ("alerts/x".into(), Map::new(), json!(1)),
        ("devices/x/all".into(), Map::new(), json!("odd")),
        ("devices/x/all".into(), Map::new(), json!({"p": 1})),
    ];
    engine.insert(&records).await.unwrap();
    until(&engine, |s| s.stored == 1).await;
    assert_eq!(engine.refused(), 1);
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn lost_messages_are_counted_and_alerted() {
    let world = World::new();
    let engine = world.start(&json!({}));
    let mut alerts = engine.alerts().unwrap();
    engine.count_lost(0);
    engine.count_lost(3);
    engine.count_lost(4);
    let status = until(&engine, |s| s.dropped == 7).await;
    assert_eq!(status.context()["messages_dropped"], 7);
    assert_eq!(alerts.recv().await.unwrap().key, keys::QUEUE_DROPPED);
    engine.stop().await;
}
