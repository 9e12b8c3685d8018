//! Load on the real historian code without a bus: messages in, points durable in SQLite out. `cargo xtask bench` runs it
//! and reads the one line of JSON it prints; by hand it answers what a disk and a machine can take.
//!
//! ```text
//! historian_load [--points N] [--topics N] [--per-message N] [--batch N] [--dir DIR]
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program for people and for xtask

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use volttron_client::historian::{Engine, EngineOptions, HistorianConfig, Rule};
use volttron_sql_historian::SqlFactory;

struct Options {
    points: usize,
    topics: usize,
    per_message: usize,
    batch: usize,
    dir: Option<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut o = Options { points: 500_000, topics: 5_000, per_message: 100, batch: 1000, dir: None };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number =
            || value.parse::<usize>().ok().filter(|n| *n > 0).ok_or(format!("{name}: {value} is no count"));
        match name.as_str() {
            "--points" => o.points = number()?,
            "--topics" => o.topics = number()?,
            "--per-message" => o.per_message = number()?,
            "--batch" => o.batch = number()?,
            "--dir" => o.dir = Some(value.into()),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(o)
}

/// What the disk under `dir` does by itself: append 4 KiB, fsync, for a second.
fn fsyncs_per_second(dir: &Path) -> std::io::Result<f64> {
    let path = dir.join("fsync.probe");
    let mut file = File::create(&path)?;
    let begin = Instant::now();
    let mut n = 0u32;
    while begin.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        n += 1;
    }
    let rate = f64::from(n) / begin.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// CPU seconds by thread name. Ticks are 1/100 s on every Linux we know.
fn cpu_by_thread() -> Map<String, Value> {
    let mut out = Map::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|s| s.parse::<f64>().ok()).unwrap_or(0.0);
        let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
        let before = out.get(&name).and_then(Value::as_f64).unwrap_or(0.0);
        out.insert(name, json!(before + (ticks(11) + ticks(12)) / 100.0));
    }
    out
}

/// One `all` message of a device, as a driver publishes it.
fn message(device: usize, round: usize, points: usize) -> (String, Map<String, Value>, Value) {
    let seconds = round % 86_400;
    let ts = format!(
        "2026-03-{:02}T{:02}:{:02}:{:02}.{:06}+00:00",
        1 + round / 86_400,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        device
    );
    let headers =
        json!({"Date": ts, "TimeStamp": ts, "min_compatible_version": "3.0", "max_compatible_version": ""});
    let name = |i: usize| format!("Point{i:03}");
    let values: Map<String, Value> =
        (0..points).map(|i| (name(i), json!(20.0 + (round * 31 + i * 7) as f64 % 1000.0 / 100.0))).collect();
    let meta: Map<String, Value> =
        (0..points).map(|i| (name(i), json!({"units": "C", "type": "float", "tz": "UTC"}))).collect();
    let Value::Object(headers) = headers else { unreachable!("built as an object above") };
    (format!("devices/campus/building/device{device:04}/all"), headers, json!([values, meta]))
}

async fn run(o: &Options, dir: &Path) -> Result<Value, String> {
    let fsyncs = fsyncs_per_second(dir).map_err(|e| e.to_string())?;
    let config = HistorianConfig {
        submit_size_limit: o.batch,
        message_publish_count: 0,
        ..HistorianConfig::default()
    };
    let factory = SqlFactory::from_config(&Map::new(), dir).shared();
    let engine = Engine::start(EngineOptions {
        identity: "platform.historian".into(),
        data_dir: dir.to_owned(),
        config,
        factory: Some(factory),
    })
    .map_err(|e| e.to_string())?;
    let devices = o.topics.div_ceil(o.per_message);
    let messages = o.points.div_ceil(o.per_message);
    let total = (messages * o.per_message) as u64;
    let begin = Instant::now();
    for n in 0..messages {
        let (topic, headers, body) = message(n % devices, n / devices, o.per_message);
        // As on the bus: the body arrives as text and is decoded.
        let text = body.to_string();
        let body: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        engine.capture(Rule::Device, &topic, &headers, &body).await.map_err(|e| e.to_string())?;
    }
    let mut status = engine.status();
    status.wait_for(|s| s.accepted == total).await.map_err(|e| e.to_string())?;
    let accepted = begin.elapsed().as_secs_f64();
    status.wait_for(|s| s.stored == total && s.cache_count == 0).await.map_err(|e| e.to_string())?;
    let stored = begin.elapsed().as_secs_f64();
    let threads = cpu_by_thread();
    let cpu: f64 = threads.values().filter_map(Value::as_f64).sum();
    engine.stop().await;
    let rows = rows(&dir.join("historian.sqlite"))?;
    if rows != total {
        return Err(format!("{total} points went in, {rows} rows are in the database"));
    }
    Ok(json!({
        "points": total,
        "topics": devices * o.per_message,
        "batch": o.batch,
        "accepted_per_s": (total as f64 / accepted).round(),
        "stored_per_s": (total as f64 / stored).round(),
        "cpu_us_per_point": (cpu * 1e6 / total as f64 * 10.0).round() / 10.0,
        "cpu_s_by_thread": threads,
        "disk_fsyncs_per_s": fsyncs.round(),
    }))
}

fn rows(database: &Path) -> Result<u64, String> {
    let db = rusqlite::Connection::open(database).map_err(|e| e.to_string())?;
    let n: i64 = db.query_row("SELECT COUNT(*) FROM data", [], |r| r.get(0)).map_err(|e| e.to_string())?;
    u64::try_from(n).map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    let done = options().and_then(|o| {
        let dir = match &o.dir {
            Some(dir) => tempfile::tempdir_in(dir),
            None => tempfile::tempdir(),
        }
        .map_err(|e| e.to_string())?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(run(&o, dir.path()))
    });
    match done {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("historian_load: {why}");
            ExitCode::FAILURE
        }
    }
}
