//! Times the reading commands of `vctl` on a platform with many agents, and what memory they take; prints figures as JSON.
//! `cargo xtask bench-ctl` runs it: `vctl_speed RUNNING INSTALLED ROUNDS [PYTHON]`. With a Python interpreter the `vctl`
//! of the Python platform is timed in turn with ours, on a platform of its own without agents.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Map, Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::python::PythonPlatform;

const READS: [&str; 12] = [
    "--help",
    "list",
    "--json list",
    "status",
    "--json status",
    "health agent.0",
    "peerlist",
    "config list",
    "auth list",
    "auth publickey",
    "rpc list control",
    "metrics",
];
/// Those that the Python `vctl` has as well.
const PYTHON_READS: [&str; 5] = ["--help", "status", "--json status", "peerlist", "config list"];

/// Milliseconds of one run.
fn time(mut command: Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let from = Instant::now();
    let status = command.status().expect("run vctl");
    let took = from.elapsed().as_secs_f64() * 1e3;
    assert!(status.success(), "{command:?}: {status}");
    took
}

/// Megabytes at most in memory, as the system counted when the process ended.
fn memory(command: &Command, dir: &Path) -> f64 {
    let report = dir.join("peak");
    let mut timed = Command::new("/usr/bin/time");
    timed
        .args(["-f", "%M", "-o"])
        .arg(&report)
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    timed.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    timed.status().expect("run /usr/bin/time (Debian's package time)");
    let text = std::fs::read_to_string(&report).expect("what time reports");
    text.lines().last().and_then(|kb| kb.parse::<f64>().ok()).expect("kilobytes") / 1024.0
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn ours(platform: &Platform, line: &str) -> Command {
    let mut command = platform.command("vctl");
    command.args(line.split(' '));
    command
}

fn furnish(running: usize, installed: usize) -> Platform {
    let platform = Platform::start();
    let listener = program("volttron-listener").display().to_string();
    for n in 0..installed {
        let identity = format!("agent.{n}");
        let start: &[&str] = if n < running { &["--start"] } else { &[] };
        platform.vctl_ok(&[&["install", &listener, "--vip-identity", &identity], start].concat());
    }
    platform
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args[at].parse::<usize>().expect("a number");
    let (running, installed, rounds) = (number(0), number(1), number(2));
    let platform = furnish(running, installed);
    let python = args.get(3).map(|python| PythonPlatform::start_with(Path::new(python), |_| {}));
    let dir = tempfile::tempdir().expect("a directory");
    let (mut times, mut theirs) = (Map::new(), Map::new());
    let mut all: Vec<(Vec<f64>, Vec<f64>)> = vec![(Vec::new(), Vec::new()); READS.len()];
    for _ in 0..rounds {
        for (line, (ms, python_ms)) in READS.iter().zip(&mut all) {
            ms.push(time(ours(&platform, line)));
            if let Some(python) = python.as_ref().filter(|_| PYTHON_READS.contains(line)) {
                let mut command = python.command("vctl");
                command.args(line.split(' '));
                python_ms.push(time(command));
            }
        }
    }
    for (line, (ms, python_ms)) in READS.iter().zip(all) {
        let command = ours(&platform, line);
        let peak = median((0..rounds.min(5)).map(|_| memory(&command, dir.path())).collect());
        times.insert((*line).to_owned(), json!({"ms": median(ms), "mb": peak}));
        if !python_ms.is_empty() {
            theirs.insert((*line).to_owned(), json!(median(python_ms)));
        }
    }
    println!(
        "{}",
        Value::Object(Map::from_iter([
            ("ours".to_owned(), times.into()),
            ("python_ms".to_owned(), theirs.into())
        ]))
    );
}
