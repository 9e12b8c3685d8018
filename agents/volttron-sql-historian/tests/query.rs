//! Every result shape of the query API on SQLite (historians.md 4, acceptance check 3).

#![allow(clippy::unwrap_used)]

mod common;

use common::{World, at, empty, point, query, store, with_meta};
use serde_json::{Value, json};
use volttron_client::historian::{Engine, Reader};

async fn filled(world: &World, config: &Value) -> Engine {
    let engine = world.start(config);
    let mut points: Vec<_> = (0..5).map(|i| point("b/ahu/Temp", i, &format!("{i}.5"))).collect();
    points[0] = with_meta(points[0].clone(), &json!({"units": "F", "type": "float"}));
    points.extend((0..3).map(|i| point("b/ahu/Fan", i, &i.to_string())));
    store(&engine, points).await;
    engine
}

fn rows(list: &[(u32, Value)]) -> Value {
    list.iter().map(|(s, v)| json!([at(*s), v])).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn shapes_order_skip_count_and_case() {
    let world = World::new();
    let engine = filled(&world, &empty()).await;
    let meta = json!({"units": "F", "type": "float"});
    let temp = |l: &[(u32, f64)]| rows(&l.iter().map(|(s, v)| (*s, json!(v))).collect::<Vec<_>>());
    let all = [(0, 0.5), (1, 1.5), (2, 2.5), (3, 3.5), (4, 4.5)];
    let single = |l: &[(u32, f64)]| json!({"values": temp(l), "metadata": meta});
    let cases = [
        (json!({"topic": "b/ahu/Temp"}), single(&all)),
        (json!({"topic": ["b/ahu/Temp"]}), single(&all)),
        (json!({"topic": "B/AHU/temp"}), single(&all)),
        (json!({"topic": "b/ahu/Temp", "order": "LAST_TO_FIRST", "count": 2}), single(&[(4, 4.5), (3, 3.5)])),
        (json!({"topic": "b/ahu/Temp", "skip": 1, "count": 2}), single(&[(1, 1.5), (2, 2.5)])),
        (json!({"topic": "b/ahu/Temp", "skip": 4}), single(&[(4, 4.5)])),
        (json!({"topic": "b/ahu/Temp", "skip": 5}), json!({})),
        (json!({"topic": "b/ahu/Temp", "count": 0}), json!({})),
        (json!({"topic": "b/ahu/Temp", "start": at(1), "end": at(3)}), single(&[(1, 1.5), (2, 2.5)])),
        (json!({"topic": "b/ahu/Temp", "start": "2026-03-04 10:00:03"}), single(&[(3, 3.5), (4, 4.5)])),
        (json!({"topic": "b/ahu/Temp", "start": at(2), "end": at(2)}), single(&[(2, 2.5)])),
        (json!({"topic": "b/ahu/Temp", "end": "2026-03-04T12:00:01+02:00"}), single(&[(0, 0.5)])),
        (json!({"topic": "b/ahu/Temp", "start": "now +1d"}), json!({})),
        (json!({"topic": "b/ahu/Temp", "start": 1_772_618_404_000_i64}), single(&[(4, 4.5)])),
        (json!({"topic": "no/such"}), json!({})),
        (json!({"topic": []}), json!({})),
        (json!({"topic": ["no/such", "neither"]}), json!({})),
        (
            json!({"topic": ["b/ahu/Temp", "B/ahu/Fan"], "count": 1, "order": "LAST_TO_FIRST"}),
            json!({"values": {"b/ahu/Temp": temp(&[(4, 4.5)]), "B/ahu/Fan": rows(&[(2, json!(2))])}, "metadata": {}}),
        ),
        (
            json!({"topic": ["b/ahu/Temp", "no/such"], "count": 1}),
            json!({"values": {"b/ahu/Temp": temp(&[(0, 0.5)])}, "metadata": {}}),
        ),
        (
            json!({"topic": ["b/ahu/Temp", "b/ahu/Fan"], "start": "2030-01-01"}),
            json!({"values": {"b/ahu/Temp": [], "b/ahu/Fan": []}, "metadata": {}}),
        ),
        (
            json!({"topic_pattern": "fan$"}),
            json!({"values": {"b/ahu/Fan": rows(&[(0, json!(0)), (1, json!(1)), (2, json!(2))])}, "metadata": {}}),
        ),
    ];
    for (arguments, want) in cases {
        assert_eq!(query(&engine, arguments.clone()).await, Ok(want), "{arguments}");
    }
    for bad in [json!({}), json!({"topic": "b/ahu/Temp", "agg_type": "avg"}), json!({"topic_pattern": "("})] {
        assert!(query(&engine, bad.clone()).await.is_err(), "{bad}");
    }
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_row_guard_marks_what_it_cuts() {
    let world = World::new();
    let engine = filled(&world, &json!({"query_max_rows": 6})).await;
    let cut = query(&engine, json!({"topic": ["b/ahu/Temp", "b/ahu/Fan"]})).await.unwrap();
    assert_eq!(cut["truncated"], true);
    assert_eq!(cut["values"]["b/ahu/Temp"].as_array().unwrap().len(), 5);
    assert_eq!(cut["values"]["b/ahu/Fan"].as_array().unwrap().len(), 1);
    let whole = query(&engine, json!({"topic": ["b/ahu/Temp", "b/ahu/Fan"], "count": 3})).await.unwrap();
    assert_eq!(whole.get("truncated"), None);
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn topics_follow_the_latest_spelling_and_metadata() {
    let world = World::new();
    let engine = filled(&world, &empty()).await;
    store(&engine, vec![with_meta(point("B/ahu/TEMP", 9, "9"), &json!({"units": "C"}))]).await;
    let list = engine.read(Reader::topic_list).await.unwrap();
    assert_eq!(list, ["B/ahu/TEMP", "b/ahu/Fan"]);
    let found = engine.read(|r| r.topics_by_pattern("AHU/t")).await.unwrap();
    assert_eq!(found, [("B/ahu/TEMP".to_owned(), 1)]);
    let asked = ["b/ahu/temp".to_owned(), "b/ahu/Fan".to_owned(), "none".to_owned()];
    let meta = engine.read(move |r| r.topics_metadata(&asked)).await.unwrap();
    assert_eq!(Value::Object(meta), json!({"b/ahu/temp": {"units": "C"}, "b/ahu/Fan": {}}));
    assert_eq!(
        query(&engine, json!({"topic": "b/ahu/temp"})).await.unwrap()["values"].as_array().unwrap().len(),
        6
    );
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn aggregates_are_listed_and_queried() {
    let world = World::new();
    let engine = filled(&world, &empty()).await;
    assert_eq!(engine.read(Reader::aggregate_topics).await.unwrap(), Vec::<Value>::new());
    assert_eq!(
        query(&engine, json!({"topic": "b/ahu/Temp", "agg_type": "avg", "agg_period": "1h"})).await,
        Ok(json!({}))
    );
    let db = world.db();
    db.execute_batch(
        r#"CREATE TABLE aggregate_topics (agg_topic_id INTEGER PRIMARY KEY, agg_topic_name TEXT NOT NULL,
              agg_type TEXT NOT NULL, agg_time_period TEXT NOT NULL, UNIQUE(agg_topic_name, agg_type, agg_time_period));
           CREATE TABLE aggregate_meta (agg_topic_id INTEGER NOT NULL PRIMARY KEY, metadata TEXT NOT NULL);
           CREATE TABLE avg_1h (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, agg_value REAL NOT NULL, topics TEXT,
              UNIQUE(topic_id, ts));
           INSERT INTO aggregate_topics VALUES (4, 'b/ahu/Temp', 'avg', '1h'), (5, 'flow_sum', 'avg', '1h');
           INSERT INTO aggregate_meta VALUES (4, '{"configured_topics": ["b/ahu/Temp"]}'), (5, '{''configured_topics'': u''b/.*''}');
           INSERT INTO avg_1h VALUES ('2026-03-04T11:00:00.000000+00:00', 4, 2.5, '[1]');"#,
    )
    .unwrap();
    assert_eq!(
        engine.read(Reader::aggregate_topics).await.unwrap(),
        [json!(["b/ahu/Temp", "avg", "1h", ["b/ahu/Temp"]]), json!(["flow_sum", "avg", "1h", "b/.*"])]
    );
    let want = json!({"values": [["2026-03-04T11:00:00.000000+00:00", 2.5]], "metadata": {"units": "F", "type": "float"}});
    for (kind, period) in [("avg", "1h"), ("AVG", "60m")] {
        let asked = json!({"topic": "b/AHU/temp", "agg_type": kind, "agg_period": period});
        assert_eq!(query(&engine, asked).await, Ok(want.clone()), "{kind} {period}");
    }
    let hostile =
        json!({"topic": "b/ahu/Temp", "agg_type": "avg_1h; DROP TABLE data; --", "agg_period": "1h"});
    assert_eq!(query(&engine, hostile).await, Ok(json!({})));
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn every_json_value_comes_back_as_it_went_in() {
    let world = World::new();
    let engine = world.start(&empty());
    let values = [
        "1",
        "1.0",
        "-0.5",
        "18446744073709551615",
        "true",
        "null",
        "\"text\"",
        "\"\\u00e9\"",
        "[1, \"a\"]",
        "{\"a\": {}}",
    ];
    let points = values.iter().enumerate().map(|(i, v)| point("t", i as u32, v)).collect();
    store(&engine, points).await;
    // What Python wrote: NaN is no JSON and becomes null.
    world.db().execute("INSERT INTO data VALUES (?, 1, 'NaN')", [at(50)]).unwrap();
    let got = query(&engine, json!({"topic": "t"})).await.unwrap();
    for (i, row) in got["values"].as_array().unwrap().iter().enumerate() {
        let want = values.get(i).copied().unwrap_or("null");
        assert_eq!(row[1], serde_json::from_str::<Value>(want).unwrap(), "{want}");
    }
    engine.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_long_query_is_cut_off_and_capture_goes_on() {
    let world = World::new();
    let engine = world.start(&json!({"query_timeout": 0.05}));
    store(&engine, vec![point("t", 1, "1")]).await;
    // A view that takes for ever to read stands in for years of data.
    world
        .db()
        .execute_batch(
            "CREATE TABLE aggregate_topics (agg_topic_id INTEGER PRIMARY KEY, agg_topic_name, agg_type, agg_time_period);
             INSERT INTO aggregate_topics VALUES (1, 't', 'slow', '1h');
             CREATE VIEW slow_1h AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                 SELECT 'x' AS ts, 1 AS topic_id, 1 AS agg_value FROM n WHERE i < 0;",
        )
        .unwrap();
    let error =
        query(&engine, json!({"topic": "t", "agg_type": "slow", "agg_period": "1h"})).await.unwrap_err();
    assert!(error.contains("cancelled"), "{error}");
    store(&engine, vec![point("t", 2, "2")]).await;
    engine.stop().await;
}
