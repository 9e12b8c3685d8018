use super::*;
use crate::historian::record::Source;
use serde_json::json;

fn point(topic: &str, ts: &str, value: &str) -> Captured {
    Captured {
        source: Source::Scrape,
        topic: topic.into(),
        ts: format!("2026-03-04T{ts}.000000+00:00").into(),
        value: value.into(),
        headers: r#"{"a": 1}"#.into(),
        meta: None,
        out_of_tolerance: false,
    }
}

fn add(cache: &mut Cache, points: &[Captured]) -> Round {
    cache.commit_round(&[], std::iter::once(points), None).unwrap()
}

fn ids(batch: &[Record]) -> Vec<i64> {
    batch.iter().map(|r| r.id).collect()
}

fn open() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("backup.sqlite")).unwrap();
    (dir, cache)
}

#[test]
fn oldest_time_first_and_deleted_when_handled() {
    let (dir, mut cache) = open();
    add(&mut cache, &[point("a", "12:00:00", "3"), point("b", "10:00:00", "1"), point("a", "11:00:00", "2")]);
    assert_eq!(cache.outstanding(), 3);
    let batch = cache.next_batch(2, &InFlight::default()).unwrap();
    assert_eq!(batch.iter().map(|r| r.value.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(
        (&*batch[0].topic, &*batch[0].source, batch[0].headers.as_str()),
        ("b", "scrape", r#"{"a": 1}"#)
    );
    cache.commit_round(&ids(&batch), std::iter::empty(), None).unwrap();
    assert_eq!(cache.outstanding(), 1);
    // A second report of the same ids changes nothing.
    cache.commit_round(&ids(&batch), std::iter::empty(), None).unwrap();
    assert_eq!(cache.outstanding(), 1);
    drop(cache);
    let mut cache = Cache::open(&dir.path().join("backup.sqlite")).unwrap();
    assert_eq!(cache.outstanding(), 1);
    assert_eq!(cache.next_batch(9, &InFlight::default()).unwrap()[0].value, "3");
}

#[test]
fn the_journal_is_one_that_survives_power_loss() {
    let (_dir, cache) = open();
    let get =
        |p: &str| cache.db.pragma_query_value(None, p, |r| r.get::<_, rusqlite::types::Value>(0)).unwrap();
    assert_eq!(get("journal_mode"), rusqlite::types::Value::Text("wal".into()));
    assert_eq!(get("synchronous"), rusqlite::types::Value::Integer(2));
    assert_eq!(get("auto_vacuum"), rusqlite::types::Value::Integer(2));
}

#[test]
fn records_on_their_way_are_neither_repeated_nor_overtaken() {
    let (_dir, mut cache) = open();
    add(&mut cache, &[point("a", "10:00:00", "1"), point("a", "10:00:00", "2"), point("b", "10:00:00", "3")]);
    let mut flight = InFlight::default();
    let first = cache.next_batch(10, &flight).unwrap();
    // The second value of (a, 10:00) stays for a later batch.
    assert_eq!(first.iter().map(|r| r.value.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    flight.add(Arc::new(first.clone()));
    assert!(cache.next_batch(10, &flight).unwrap().is_empty());
    cache.commit_round(&ids(&first), std::iter::empty(), None).unwrap();
    flight.finish().unwrap();
    let second = cache.next_batch(10, &flight).unwrap();
    assert_eq!(second.iter().map(|r| r.value.as_str()).collect::<Vec<_>>(), ["2"]);
}

#[test]
fn latest_metadata_wins_and_is_kept_per_source_and_topic() {
    let (dir, mut cache) = open();
    let with = |mut p: Captured, meta: Value| {
        p.meta = meta.as_object().cloned();
        p
    };
    add(&mut cache, &[with(point("a", "10:00:00", "1"), json!({"units": "F", "type": "float"}))]);
    add(&mut cache, &[with(point("a", "11:00:00", "1"), json!({"units": "C"})), point("a", "12:00:00", "1")]);
    drop(cache);
    let mut cache = Cache::open(&dir.path().join("backup.sqlite")).unwrap();
    for r in cache.next_batch(9, &InFlight::default()).unwrap() {
        assert_eq!(Value::Object((*r.meta).clone()), json!({"units": "C", "type": "float"}));
    }
}

#[test]
fn records_out_of_tolerance_go_to_the_error_table() {
    let (dir, mut cache) = open();
    let mut late = point("a", "10:00:00", "1");
    late.out_of_tolerance = true;
    add(&mut cache, &[late, point("a", "11:00:00", "2")]);
    assert!(cache.has_time_errors());
    assert_eq!(cache.outstanding(), 1);
    drop(cache);
    assert!(Cache::open(&dir.path().join("backup.sqlite")).unwrap().has_time_errors());
}

#[test]
fn a_refused_record_is_put_aside_and_the_others_go_on() {
    let (_dir, mut cache) = open();
    add(&mut cache, &[point("a", "10:00:00", "1"), point("a", "11:00:00", "2")]);
    let batch = cache.next_batch(9, &InFlight::default()).unwrap();
    cache.reject(batch[0].id, "too odd").unwrap();
    assert_eq!((cache.outstanding(), cache.rejected()), (1, 1));
    assert_eq!(cache.next_batch(9, &InFlight::default()).unwrap()[0].value, "2");
    let why: String = cache.db.query_row("SELECT error FROM rejected", [], |r| r.get(0)).unwrap();
    assert_eq!(why, "too odd");
}

#[test]
fn above_the_cap_the_oldest_rows_go_and_the_error_table_first() {
    let (_dir, mut cache) = open();
    let mut points: Vec<_> = (0..3000)
        .map(|i| {
            point("a", &format!("10:{:02}:{:02}", i / 60, i % 60), "\"0123456789012345678901234567890\"")
        })
        .collect();
    for p in &mut points[..150] {
        p.out_of_tolerance = true;
    }
    let cap = Cap { limit_gb: 0.0003, report: 0.9 };
    let round = cache.commit_round(&[], std::iter::once(points.as_slice()), Some(cap)).unwrap();
    assert!(round.full && round.trimmed > 150, "{round:?}");
    assert!(!cache.has_time_errors());
    assert_eq!(cache.outstanding() + round.trimmed, 3000);
    assert!(cache.outstanding() > 0);
    let pages = cache.used_pages().unwrap();
    assert!(pages * 4096.0 <= 0.0003 * 1024f64.powi(3));
    // Below the reporting fraction nothing is full.
    let all = cache.next_batch(3000, &InFlight::default()).unwrap();
    let round = cache.commit_round(&ids(&all), std::iter::empty(), Some(cap)).unwrap();
    assert_eq!(round, Round { full: false, trimmed: 0 });
}

#[test]
fn space_of_a_backlog_that_is_gone_is_given_back() {
    let (_dir, mut cache) = open();
    let value = format!("\"{}\"", "x".repeat(1000));
    let points: Vec<_> = (0..8000).map(|_| point("a", "10:00:00", &value)).collect();
    add(&mut cache, &points);
    let full = cache.used_pages().unwrap();
    cache.commit_round(&(1..=8000).collect::<Vec<_>>(), std::iter::empty(), None).unwrap();
    while cache.give_back_space() {}
    let pages: i64 = cache.db.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
    assert!((pages as f64) < full / 1.5, "{pages} of {full}");
    assert!(!cache.give_back_space());
}

#[test]
fn a_failed_round_leaves_no_trace() {
    let (_dir, mut cache) = open();
    cache.db.execute_batch("CREATE TRIGGER no BEFORE INSERT ON outstanding WHEN NEW.value_string = '666' BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    let mut bad = [point("new", "10:00:00", "1"), point("new", "11:00:00", "666")];
    bad[0].meta = json!({"units": "F"}).as_object().cloned();
    assert!(cache.commit_round(&[], std::iter::once(&bad[..]), None).is_err());
    assert_eq!(cache.outstanding(), 0);
    bad[1].value = "2".into();
    add(&mut cache, &bad);
    let batch = cache.next_batch(9, &InFlight::default()).unwrap();
    assert_eq!(batch.len(), 2);
    assert_eq!(&*batch[1].topic, "new");
    assert_eq!(batch[0].meta["units"], "F");
}

/// A cache as early releases made it: no header column, no error table, a UNIQUE constraint.
#[test]
fn caches_of_early_releases_are_opened_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.sqlite");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA auto_vacuum = FULL;
         CREATE TABLE outstanding (id INTEGER PRIMARY KEY, ts timestamp NOT NULL, source TEXT NOT NULL,
            topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, UNIQUE(ts, topic_id, source));
         CREATE TABLE metadata (source TEXT NOT NULL, topic_id INTEGER NOT NULL, name TEXT NOT NULL,
            value TEXT NOT NULL, UNIQUE(topic_id, source, name));
         CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, UNIQUE(topic_name));
         INSERT INTO topics VALUES (7, 'b/t');
         INSERT INTO metadata VALUES ('scrape', 7, 'units', 'F');
         INSERT INTO outstanding VALUES (41, '2026-03-04T10:00:00.000000+00:00', 'scrape', 7, '1.5');",
    )
    .unwrap();
    drop(db);
    let mut cache = Cache::open(&path).unwrap();
    assert_eq!(cache.outstanding(), 1);
    add(&mut cache, &[point("b/t", "10:00:00", "2.5"), point("b/t", "11:00:00", "3.5")]);
    let batch = cache.next_batch(9, &InFlight::default()).unwrap();
    assert_eq!(batch.iter().map(|r| r.value.as_str()).collect::<Vec<_>>(), ["2.5", "3.5"]);
    assert_eq!(batch[0].meta["units"], "F");
}

#[test]
fn a_damaged_file_is_put_aside_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.sqlite");
    std::fs::write(&path, b"this is no database, but it is long enough to look like one. ".repeat(40))
        .unwrap();
    let (cache, aside) = Cache::open_or_set_aside(&path).unwrap();
    assert_eq!(cache.outstanding(), 0);
    assert!(aside.unwrap().exists());
    drop(cache);
    assert!(Cache::open_or_set_aside(&path).unwrap().1.is_none());
    // A directory that is not there is no damage: the error is reported and the caller tries again.
    assert!(Cache::open_or_set_aside(&dir.path().join("no/such/backup.sqlite")).is_err());
}
