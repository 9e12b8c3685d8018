//! `kill -9` at random moments under load: every acknowledged point is in the database exactly once
//! (historians.md 11, check 1).
//!
//! The historian runs in a child process (this test binary once more), which inserts as fast as it can and writes one
//! line for each acknowledgement. The parent kills it after a random number of lines, again and again in the same
//! directory, then lets the historian drain and compares. `HISTORIAN_CRASH_ROUNDS` sets how often; `cargo xtask soak
//! historian-library` uses that for the long form.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{World, point, until};
use serde_json::{Value, json};
use volttron_client::historian::{Captured, Engine, EngineOptions, HistorianConfig};
use volttron_sql_historian::SqlFactory;

const DIR: &str = "HISTORIAN_CRASH_DIR";
const FROM: &str = "HISTORIAN_CRASH_FROM";
const ROUNDS: &str = "HISTORIAN_CRASH_ROUNDS";
/// Loads inserted at the same time, as several callers of `insert` do.
const WRITERS: u64 = 4;
/// Points per load; a kill in between must not split what is acknowledged.
const LOAD: u64 = 25;
const TOPICS: u64 = 40;

/// Small batches, so that many kills fall between the store's commit and the cache's deletion.
fn config() -> Value {
    json!({"submit_size_limit": 60, "message_publish_count": 0})
}

fn start(dir: &Path) -> Engine {
    let config = config();
    let (base, _) = HistorianConfig::parse(config.as_object().unwrap());
    let factory = SqlFactory::from_config(config.as_object().unwrap(), dir).shared();
    let data_dir = dir.to_owned();
    Engine::start(EngineOptions { identity: "h".into(), data_dir, config: base, factory: Some(factory) })
        .unwrap()
}

/// The point of a number: topic, time and value follow from it.
fn numbered(n: u64) -> Captured {
    let (second, topic) = (n / TOPICS, n % TOPICS);
    let mut p = point(&format!("load/t{topic}"), 0, &n.to_string());
    p.ts = format!(
        "2026-{:02}-01T{:02}:{:02}:{:02}.{:06}+00:00",
        1 + second / 86_400,
        second / 3600 % 24,
        second / 60 % 60,
        second % 60,
        topic
    )
    .into();
    p
}

/// Runs only as the child.
#[test]
fn child_inserts_until_killed() {
    let (Ok(dir), Ok(from)) = (std::env::var(DIR), std::env::var(FROM)) else { return };
    let from: u64 = from.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = start(Path::new(&dir));
        let write = |writer: u64| {
            let engine = &engine;
            async move {
                for i in 0.. {
                    let first = from + (i * WRITERS + writer) * LOAD;
                    let points = (first..first + LOAD).map(numbered).collect();
                    engine.insert_points(points).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {first}").unwrap();
                    out.flush().unwrap();
                }
            }
        };
        tokio::join!(write(0), write(1), write(2), write(3));
    });
}

/// Runs the child, kills it after `lines` acknowledgements, returns the first number of each acknowledged load.
fn run_and_kill(dir: &Path, from: u64, lines: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_inserts_until_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acked = Vec::new();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut take = |line: String| {
        // The test harness prints lines of its own.
        if let Some((_, n)) = line.rsplit_once("ack ") {
            acked.push(n.parse().unwrap());
        }
        acked.len()
    };
    for line in out.by_ref() {
        if take(line.unwrap()) >= lines {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it acknowledged before it died counts as well.
    for line in out.map_while(Result::ok) {
        take(line);
    }
    assert!(acked.len() >= lines, "the child ended by itself");
    acked
}

/// Splitmix64: random enough to choose moments, and a seed repeats a run.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[tokio::test(flavor = "current_thread")]
async fn every_acknowledged_point_is_stored_exactly_once() {
    let rounds: u64 = std::env::var(ROUNDS).ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let mut seed = std::process::id().into();
    println!("seed {seed}, {rounds} rounds");
    let world = World::new();
    let mut acked = BTreeSet::new();
    let mut from = 0;
    for _ in 0..rounds {
        let lines = 1 + next(&mut seed) % 60;
        let loads = run_and_kill(world.dir.path(), from, lines as usize);
        acked.extend(loads.into_iter().flat_map(|first| first..first + LOAD));
        // Loads of the four writers overlap; the next child starts well above anything this one may have sent.
        from = acked.last().unwrap() / LOAD * LOAD + 100 * LOAD;
    }
    let engine = start(world.dir.path());
    engine.insert_points(vec![numbered(from)]).await.unwrap();
    until(&engine, |s| s.cache_count == 0 && s.stored > 0).await;
    engine.stop().await;
    let db = world.db();
    let count = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(
        count("SELECT COUNT(*) FROM (SELECT 1 FROM data GROUP BY topic_id, ts HAVING COUNT(*) > 1)"),
        0
    );
    let mut q =
        db.prepare("SELECT topic_name, ts, value_string FROM data JOIN topics USING (topic_id)").unwrap();
    let mut stored = BTreeSet::new();
    let mut rows = q.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (topic, ts, value): (String, String, String) =
            (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        let n: u64 = value.parse().unwrap();
        let want = numbered(n);
        assert_eq!((topic.as_str(), ts.as_str()), (want.topic.as_str(), &*want.ts));
        assert!(stored.insert(n), "{n} is stored twice");
    }
    let lost: Vec<_> = acked.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged points are lost: {lost:?}", lost.len(), acked.len());
    let healthy: String = db.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(healthy, "ok");
    println!("{} points acknowledged, {} stored, none lost, none twice", acked.len(), stored.len());
}
