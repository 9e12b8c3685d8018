//! The database itself: schema, upsert, existing databases of the original in place, limits, trouble.

#![allow(clippy::unwrap_used)]

mod common;

use common::{World, at, empty, point, query, store, until, with_meta};
use rusqlite::Connection;
use serde_json::{Value, json};
use volttron_client::historian::Reader;

fn text(db: &Connection, sql: &str) -> String {
    db.query_row(sql, [], |r| r.get(0)).unwrap()
}

fn number(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |r| r.get(0)).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn a_new_database_has_the_tables_of_the_original() {
    let world = World::new();
    let engine = world.start(&empty());
    store(&engine, vec![with_meta(point("b/t", 1, "1.5"), &json!({"units": "F"})), point("b/u", 1, "\"x\"")])
        .await;
    engine.stop().await;
    let db = world.db();
    let columns = |table: &str| -> Vec<(String, String, i64)> {
        let sql = format!("SELECT name, type, \"notnull\" FROM pragma_table_info('{table}')");
        db.prepare(&sql)
            .unwrap()
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let column = |name: &str, kind: &str, not_null| (name.to_owned(), kind.to_owned(), not_null);
    assert_eq!(
        columns("data"),
        [column("ts", "timestamp", 1), column("topic_id", "INTEGER", 1), column("value_string", "TEXT", 1)]
    );
    assert_eq!(
        columns("topics"),
        [column("topic_id", "INTEGER", 0), column("topic_name", "TEXT", 1), column("metadata", "TEXT", 0)]
    );
    assert_eq!(text(&db, "SELECT tbl_name FROM sqlite_master WHERE name = 'data_idx'"), "data");
    assert_eq!(number(&db, "SELECT auto_vacuum FROM pragma_auto_vacuum"), 1);
    let row = text(
        &db,
        "SELECT ts || '|' || value_string || '|' || topic_name || '|' || metadata FROM data JOIN topics USING (topic_id) ORDER BY topic_id LIMIT 1",
    );
    assert_eq!(row, format!("{}|1.5|b/t|{{\"units\": \"F\"}}", at(1)));
    assert_eq!(text(&db, "SELECT metadata FROM topics WHERE topic_name = 'b/u'"), "{}");
}

#[tokio::test(flavor = "current_thread")]
async fn the_same_topic_and_time_again_replaces_the_value() {
    let world = World::new();
    let engine = world.start(&empty());
    // In one load, where the cache keeps the second back, and across loads; the last one wins.
    store(&engine, vec![point("t", 1, "1"), point("t", 1, "2"), point("T", 1, "3")]).await;
    store(&engine, vec![point("t", 1, "4")]).await;
    engine.stop().await;
    let db = world.db();
    assert_eq!(number(&db, "SELECT COUNT(*) FROM data"), 1);
    assert_eq!(text(&db, "SELECT value_string FROM data"), "4");
}

#[tokio::test(flavor = "current_thread")]
async fn prefixes_keep_two_historians_in_one_file_apart() {
    let world = World::new();
    for prefix in ["site1", "site2"] {
        let engine = world.start(&json!({"tables_def": {"table_prefix": prefix}}));
        store(&engine, vec![point(prefix, 1, "1")]).await;
        engine.stop().await;
    }
    let db = world.db();
    for prefix in ["site1", "site2"] {
        assert_eq!(number(&db, &format!("SELECT COUNT(*) FROM {prefix}_data")), 1);
        assert_eq!(text(&db, &format!("SELECT topic_name FROM {prefix}_topics")), prefix);
        let index = format!(
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = '{prefix}_data' AND sql IS NOT NULL"
        );
        assert_eq!(number(&db, &index), 1);
    }
}

/// Databases as the original's releases made them.
const DATABASES: [(&str, &str); 3] = [
    (
        "since 4.0.0",
        "PRAGMA auto_vacuum = 1;
         CREATE TABLE data (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, UNIQUE(topic_id, ts));
         CREATE INDEX data_idx ON data (ts ASC);
         CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, metadata TEXT, UNIQUE(topic_name));
         INSERT INTO topics VALUES (3, 'Campus/B1/Temp', '{\"units\": \"F\", \"type\": \"float\"}');",
    ),
    (
        "before 4.0.0",
        "CREATE TABLE data (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, UNIQUE(topic_id, ts));
         CREATE INDEX data_idx ON data (ts ASC);
         CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, UNIQUE(topic_name));
         CREATE TABLE meta (topic_id INTEGER PRIMARY KEY, metadata TEXT NOT NULL);
         INSERT INTO topics VALUES (3, 'Campus/B1/Temp');
         INSERT INTO meta VALUES (3, '{\"units\": \"F\", \"type\": \"float\"}');",
    ),
    (
        "3.x, no meta table, other order of the key",
        "CREATE TABLE data (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, UNIQUE(ts, topic_id));
         CREATE INDEX data_idx ON data (ts ASC);
         CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, UNIQUE(topic_name));
         INSERT INTO topics VALUES (3, 'Campus/B1/Temp');",
    ),
];

#[tokio::test(flavor = "current_thread")]
async fn databases_of_the_original_open_in_place() {
    for (name, schema) in DATABASES {
        let world = World::new();
        let db = world.db();
        db.execute_batch(schema).unwrap();
        db.execute("INSERT INTO data VALUES (?, 3, '70.5')", [at(1)]).unwrap();
        let before =
            text(&db, "SELECT group_concat(sql, ';') FROM sqlite_master WHERE name NOT LIKE 'meta%'");
        drop(db);
        let engine = world.start(&empty());
        let meta = json!({"units": "C", "type": "float"});
        store(&engine, vec![with_meta(point("campus/b1/temp", 2, "21.5"), &meta), point("new", 1, "1")])
            .await;
        let got = query(&engine, json!({"topic": "Campus/B1/Temp"})).await.unwrap();
        assert_eq!(got, json!({"values": [[at(1), 70.5], [at(2), 21.5]], "metadata": meta}), "{name}");
        engine.stop().await;
        let db = world.db();
        assert_eq!(text(&db, "SELECT topic_name FROM topics WHERE topic_id = 3"), "campus/b1/temp", "{name}");
        let after = text(&db, "SELECT group_concat(sql, ';') FROM sqlite_master WHERE name NOT LIKE 'meta%'");
        assert_eq!(after, before, "{name}: the schema is left alone");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn old_rows_go_by_age_and_a_wrong_clock_empties_nothing() {
    let world = World::new();
    let engine = world.start(&json!({"history_limit_days": 0.5}));
    let mut points = vec![point("t", 1, "1"), point("t", 2, "2"), point("t", 3, "3")];
    points[0].ts = "2026-03-03T10:00:00.000000+00:00".into();
    store(&engine, points).await;
    let db = world.db();
    until_gone(&engine, &db, "SELECT COUNT(*) FROM data", 2).await;
    engine.stop().await;
    // A row from the far future counts as now at most.
    let mut db = db;
    db.execute("INSERT INTO data VALUES ('2999-01-01T00:00:00.000000+00:00', 1, '9')", []).unwrap();
    let limits =
        volttron_client::historian::Limits { history_limit_days: Some(100_000.0), storage_limit_gb: None };
    volttron_sql_historian::limits::apply(&mut db, "data", &limits, std::time::Duration::from_secs(5))
        .unwrap();
    assert_eq!(number(&db, "SELECT COUNT(*) FROM data"), 3);
}

/// Limits run after the batch that made them necessary; each further batch gives them another chance to be seen.
async fn until_gone(engine: &volttron_client::historian::Engine, db: &Connection, sql: &str, want: i64) {
    let wait = async {
        while number(db, sql) != want {
            let _ = engine.read(Reader::topic_list).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.expect("the limit is applied");
}

#[test]
fn oldest_rows_go_by_size_in_slices() {
    let world = World::new();
    let mut db = world.db();
    db.execute_batch(&format!("PRAGMA auto_vacuum = 1; {}", DATABASES[0].1)).unwrap();
    let transaction = db.transaction().unwrap();
    for i in 0..20_000_u32 {
        let ts = format!("2026-03-04T{:02}:{:02}:{:02}.000000+00:00", i / 3600, i / 60 % 60, i % 60);
        transaction
            .execute("INSERT INTO data VALUES (?, 3, '\"some value that takes room\"')", [ts])
            .unwrap();
    }
    transaction.commit().unwrap();
    let limits =
        volttron_client::historian::Limits { history_limit_days: None, storage_limit_gb: Some(0.001) };
    let budget = std::time::Duration::ZERO;
    let mut slices = 0;
    while volttron_sql_historian::limits::apply(&mut db, "data", &limits, budget).unwrap() {
        slices += 1;
    }
    assert!(slices > 1);
    assert!(
        number(&db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            <= 1024 * 1024 + 8192
    );
    let left = number(&db, "SELECT COUNT(*) FROM data");
    assert!(left > 1000, "{left}");
    assert_eq!(text(&db, "SELECT MAX(ts) FROM data"), "2026-03-04T05:33:19.000000+00:00", "the newest stay");
}

#[tokio::test(flavor = "current_thread")]
async fn a_locked_database_is_waited_out_and_nothing_is_lost() {
    let world = World::new();
    let config = json!({"connection": {"params": {"timeout": 0.05}}, "retry_period": 0.05});
    let engine = world.start(&config);
    store(&engine, vec![point("t", 1, "1")]).await;
    let db = world.db();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    engine.insert_points(vec![point("t", 2, "2")]).await.unwrap();
    let status = until(&engine, |s| !s.publishing).await;
    assert!(status.reason.unwrap().contains("locked"));
    db.execute_batch("ROLLBACK").unwrap();
    until(&engine, |s| s.publishing && s.cache_count == 0).await;
    assert_eq!(number(&db, "SELECT COUNT(*) FROM data"), 2);
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_unusable_connection_keeps_everything_in_the_cache_until_corrected() {
    let world = World::new();
    let engine = world.start(&json!({"connection": {"type": "mysql"}}));
    engine.insert_points(vec![point("t", 1, "1")]).await.unwrap();
    let status = until(&engine, |s| !s.publishing).await;
    assert!(status.reason.unwrap().contains("mysql"));
    assert!(query(&engine, json!({"topic": "t"})).await.unwrap_err().contains("mysql"));
    engine.configure(volttron_client::historian::HistorianConfig::default(), Some(world.factory(&empty())));
    until(&engine, |s| s.stored == 1).await;
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn missing_rights_name_the_statements_to_run() {
    let world = World::new();
    world.db().execute_batch("CREATE TABLE topics (x); CREATE VIEW data AS SELECT 1; DROP TABLE topics; CREATE VIEW topics_ AS SELECT 1").unwrap();
    // A view in the place of a table: the index cannot be made.
    let engine = world.start(&empty());
    engine.insert_points(vec![point("t", 1, "1")]).await.unwrap();
    let status = until(&engine, |s| !s.publishing).await;
    let reason = status.reason.unwrap();
    assert!(reason.contains("CREATE TABLE IF NOT EXISTS \"data\""), "{reason}");
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn topics_of_another_process_are_noticed() {
    let world = World::new();
    let engine = world.start(&empty());
    store(&engine, vec![point("a", 1, "1")]).await;
    let db = world.db();
    db.execute_batch("INSERT INTO topics VALUES (77, 'Other/T', NULL)").unwrap();
    db.execute("INSERT INTO data VALUES (?, 77, '5')", [at(1)]).unwrap();
    assert_eq!(query(&engine, json!({"topic": "other/t"})).await.unwrap()["values"], json!([[at(1), 5]]));
    store(&engine, vec![point("other/t", 2, "6")]).await;
    assert_eq!(number(&db, "SELECT COUNT(*) FROM data WHERE topic_id = 77"), 2);
    let _: Value = query(&engine, json!({"topic": "a"})).await.unwrap();
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_rollback_journal_is_there_for_those_who_need_it() {
    let world = World::new();
    let engine = world.start(&json!({"connection": {"params": {"journal_mode": "delete"}}}));
    store(&engine, vec![point("a", 1, "1")]).await;
    assert_eq!(text(&world.db(), "SELECT journal_mode FROM pragma_journal_mode"), "delete");
    assert!(!world.dir.path().join("historian.sqlite-wal").exists());
    engine.stop().await;
}
