//! Runs the suite with agents of the stock Python client library, in one process.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use volttron_tests::lines::Lines;
use volttron_tests::platform::sources;

use crate::Results;
use crate::cases::{CASES, VALUES};
use crate::world::World;

/// How long all cases together, and one of [`ALONE`], may take, in seconds.
const LIMITS_S: (u64, u64) = (120, 10);

/// Cases in which the client library loses its connection and its process: each gets a process of its own, after all
/// others.
const ALONE: [&str; 2] = ["rpc.unreachable", "pubsub.protected_refused"];

pub fn run(python: &Path, world: &World<'_>) -> Results {
    let alone = |case: &&str| ALONE.contains(case);
    let mut together: Vec<&str> = CASES.iter().map(|(case, _)| *case).filter(|case| !alone(case)).collect();
    // The Python platform may end when an agent of its own library has left.
    together.sort_by_key(|case| matches!(*case, "peers.add" | "peers.drop"));
    let mut results = run_some(python, world, &together, LIMITS_S.0);
    for case in ALONE {
        let outcome = run_some(python, world, &[case], LIMITS_S.1);
        let hung = || Some("the agents do not connect, or their process hangs".to_owned());
        results.insert(case.to_owned(), outcome.get(case).cloned().unwrap_or_else(hung));
    }
    results
}

fn run_some(python: &Path, world: &World<'_>, cases: &[&str], limit_s: u64) -> Results {
    let home = tempfile::tempdir().expect("a temporary directory");
    // Where the library looks for the name it puts into alert topics.
    let config = format!("[volttron]\ninstance-name = {}\n", world.site.instance);
    std::fs::write(home.path().join("config"), config).expect("write config");
    let mut child = Command::new(python)
        .arg(sources().join("interop/four_ways.py"))
        .env("VOLTTRON_HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("start the Python agents");
    let keys = |who: &str| {
        let keys = world.keys(who);
        json!([keys.public.to_string(), keys.secret.reveal().to_string()])
    };
    let world = json!({
        "prefix": world.prefix, "address": world.address, "serverkey": world.server_key,
        "instance": world.site.instance, "values": serde_json::from_str::<Value>(VALUES).expect("JSON"),
        "keys": {"tester": keys("tester"), "mate": keys("mate"), "guest": keys("guest")},
        "cases": cases, "limit": limit_s,
    });
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "{world}").expect("the Python agents read");
    let mut lines = Lines::new(child.stdout.take().expect("piped"));
    let mut results = Results::new();
    // The program ends by itself after its limit.
    while let Some(line) = lines.wait(Duration::from_secs(limit_s + 30), |_| true) {
        if line["done"] == true {
            break;
        }
        if let Some(case) = line["case"].as_str() {
            results.insert(case.to_owned(), line["failed"].as_str().map(str::to_owned));
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    results
}
