//! The stock Python client library against the Python platform 10.0.5rc4 and against ours, in turn, in one run.
//!
//! The clients are the same program both times, so that the difference is the platform's. What a fast platform can do
//! they cannot show: they are busy with themselves most of the time.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use volttron_client::utils::keys::KeyPair;
use volttron_tests::{
    platform::{Platform, sources},
    python::PythonPlatform,
};

use super::{options::Options, report::median, setup::Outcome};
use crate::test_peers;

/// One calls and publishes, one serves, that one and all others subscribe.
const AGENTS: usize = 11;
/// The Python platform lets nobody in now and then; a new one does.
const ATTEMPTS: usize = 3;

/// Name, place in the load's result, whether more is better.
const FIGURES: [(&str, &str, bool); 4] = [
    ("python agents: call, ms p50", "/rpc_1/p50_ms", false),
    ("python agents: calls/s, 64 in flight", "/rpc_64/calls_per_s", true),
    ("python agents: publish 1 to 1, /s", "/publish_1_to_1/deliveries_per_s", true),
    ("python agents: publish 1 to 10, /s", "/publish_1_to_10/deliveries_per_s", true),
];

/// Measures and prints. Ours must not be slower than theirs.
pub fn run(options: &Options) -> Outcome<bool> {
    if !FIGURES.iter().any(|(name, ..)| options.wants(name)) {
        return Ok(true);
    }
    let python = test_peers::set_up()?.python;
    let rounds = if options.short { 1 } else { options.rounds };
    let scale = if options.short { 0.2 } else { 1.0 };
    let mut all = Vec::new();
    for round in 0..rounds {
        eprintln!("== Python agents on both platforms, round {} of {rounds}", round + 1);
        let pair = if round % 2 == 0 {
            let theirs = on_theirs(&python, scale)?;
            (theirs, on_ours(&python, scale)?)
        } else {
            let ours = on_ours(&python, scale)?;
            (on_theirs(&python, scale)?, ours)
        };
        all.push(pair);
    }
    println!("\n{:<40} {:>12} {:>12} {:>7}", "case", "10.0.5rc4", "ours", "times");
    let mut passed = true;
    for (name, place, more_is_better) in FIGURES {
        let of = |pick: fn(&(Value, Value)) -> &Value| {
            median(all.iter().filter_map(|pair| pick(pair).pointer(place)?.as_f64()))
        };
        let (theirs, ours) = (of(|p| &p.0), of(|p| &p.1));
        let times = if more_is_better { ours / theirs } else { theirs / ours };
        passed &= options.short || times >= 1.0;
        println!("{name:<40} {theirs:>12.1} {ours:>12.1} {times:>7.2}");
    }
    Ok(passed)
}

fn keys() -> Vec<(String, KeyPair)> {
    (0..AGENTS).map(|n| (format!("load.{n}"), KeyPair::generate())).collect()
}

fn on_ours(python: &Path, scale: f64) -> Outcome<Value> {
    let mut platform = Platform::prepare();
    let keys: Vec<_> = (0..AGENTS)
        .map(|n| format!("load.{n}"))
        .map(|id| (id.clone(), platform.admit(&id, &json!({}))))
        .collect();
    platform.launch();
    load(python, &platform.address(), &platform.server_key(), &keys, scale)
}

fn on_theirs(python: &Path, scale: f64) -> Outcome<Value> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let keys = keys();
        let agents: Vec<_> = keys.iter().map(|(id, keys)| (id.as_str(), keys, json!({}))).collect();
        let platform = PythonPlatform::start(python, &agents);
        match load(python, &platform.address(), &platform.server_key(), &keys, scale) {
            Ok(figures) => return Ok(figures),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| "no attempt".into()))
}

fn load(
    python: &Path,
    address: &str,
    server_key: &str,
    keys: &[(String, KeyPair)],
    scale: f64,
) -> Outcome<Value> {
    let dir = tempfile::tempdir()?;
    let list: Vec<_> =
        keys.iter().map(|(id, k)| json!([id, k.public.to_string(), k.secret.reveal().to_string()])).collect();
    let file = dir.path().join("keys.json");
    fs::write(&file, Value::Array(list).to_string())?;
    let output = Command::new(python)
        .arg(sources().join("interop/python_load.py"))
        .args([address, server_key])
        .arg(&file)
        .arg(scale.to_string())
        .env("VOLTTRON_HOME", dir.path())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().ok_or("the load printed nothing")?;
    Ok(serde_json::from_str(last)?)
}
