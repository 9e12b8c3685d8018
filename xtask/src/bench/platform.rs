//! The platform as its operator meets it: time from launch to the first answer, `vctl status` with twenty agents,
//! memory of the idle platform and of a listener.
//!
//! Memory is what `/proc` says: `VmRSS` of processes that go on, `VmHWM` of `vctl`, sampled until it ends.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use volttron_tests::{
    fifty::{Fifty, Times},
    platform::Platform,
    programs::program,
    wait::until,
};

use super::{
    frames::joiner,
    options::Options,
    process::Role,
    report::{Goal, median, print_goals},
    setup::{Keys, Outcome},
};

const AGENTS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long processes are left alone before their memory at rest is read.
const REST: Duration = Duration::from_secs(5);

const START: &str = "cold start to first `vctl status`";
const STATUS: &str = "`vctl status`, 20 agents";
const IDLE: &str = "platform at rest";
const JOIN: &str = "1,000 agents join, all usable";
const JOINERS: usize = 1000;
const FIFTY: &str = "50 agents";
const FLAT: &str = "growth over 10 million messages";
/// Messages of [`FLAT`], and before the first look.
const MANY: u64 = 10_000_000;
const FIRST: u64 = 1_000_000;

/// Measures and prints; `false` when a goal is missed.
pub fn run(options: &Options) -> Outcome<bool> {
    let mut goals = Vec::new();
    if options.wants(START) {
        eprintln!("== {START}");
        goals.push(cold_start(options)?);
    }
    if options.wants(STATUS) || options.wants(IDLE) {
        eprintln!("== {IDLE}; {STATUS}");
        goals.extend(memory_and_status(options)?);
    }
    if options.wants(JOIN) {
        eprintln!("== {JOIN}");
        goals.push(join(options)?);
    }
    if options.wants(FIFTY) {
        eprintln!("== {FIFTY}");
        goals.extend(fifty(options)?);
    }
    if options.wants(FLAT) {
        eprintln!("== {FLAT}");
        goals.push(flat_memory(options)?);
    }
    if !goals.is_empty() {
        print_goals(&goals);
    }
    // Times in CI are its neighbours' as well.
    Ok(options.short || goals.iter().all(Goal::passed))
}

/// As a script that starts the platform and asks until it answers. Each round has a new home: keys are made, too.
fn cold_start(options: &Options) -> Outcome<Goal> {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let mut platform = Platform::prepare();
        let from = Instant::now();
        platform.spawn();
        until("an answer", PATIENCE, || platform.vctl(&["status"]).status.success().then_some(()));
        rounds.push(from.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Goal { name: START.into(), value: median(rounds), limit: 500.0, unit: "ms" })
}

/// All connect at the same moment with CURVE, say hello, subscribe, and get one publication.
fn join(options: &Options) -> Outcome<Goal> {
    let dir = tempfile::tempdir()?;
    let peers = if options.short { JOINERS / 10 } else { JOINERS };
    let keys = Keys::generate((0..peers).map(joiner)).write(dir.path())?.to_string_lossy().into_owned();
    let mut rounds = Vec::new();
    for _ in 0..options.rounds.min(3) {
        let bus = Role::start("ours", &keys, &[])?;
        let load = Role::start("load-join", &keys, &[bus.line()?, peers.to_string()])?;
        let result: serde_json::Value = serde_json::from_str(&load.line()?)?;
        eprintln!("   {peers} agents: {result}");
        rounds.push(result["usable_ms"].as_f64().ok_or("the load printed no figure")?);
    }
    Ok(Goal { name: JOIN.into(), value: median(rounds), limit: 10_000.0, unit: "ms" })
}

/// Starting with the platform, missing one that ended, stopping all.
fn fifty(options: &Options) -> Outcome<Vec<Goal>> {
    let mut fifty = Fifty::install();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let times: Vec<_> = (0..options.rounds.min(5)).map(|_| runtime.block_on(fifty.measure())).collect();
    let of = |time: fn(&Times) -> Duration| median(times.iter().map(|t| time(t).as_secs_f64() * 1e3));
    let goal = |what: &str, value, limit| Goal { name: format!("{FIFTY}{what}"), value, limit, unit: "ms" };
    Ok(vec![
        goal(" autostarted, all GOOD", of(|t| t.up), 5_000.0),
        goal(", the end of one noticed", of(|t| t.noticed), 100.0),
        goal(" stopped", of(|t| t.down), 3_000.0),
    ])
}

/// The bus's memory after the first million relayed messages and after the last.
fn flat_memory(options: &Options) -> Outcome<Goal> {
    let many = if options.short { MANY / 50 } else { MANY };
    let bus = Role::start("ours", "-", &[])?;
    let endpoint = bus.line()?;
    let mut total = 0;
    let mut first = None;
    while total < many {
        let load = Role::start("load-relay", "-", &[endpoint.clone(), "5000".to_owned(), "256".to_owned()])?;
        let result: serde_json::Value = serde_json::from_str(&load.line()?)?;
        total += result["total"].as_u64().ok_or("the load printed no total")?;
        let memory = memory_mb(bus.pid(), "VmRSS")?;
        eprintln!("   {total} messages: {memory:.1} MB");
        if total >= FIRST.min(many / 2) {
            first.get_or_insert(memory);
        }
    }
    let growth = memory_mb(bus.pid(), "VmRSS")? - first.ok_or("no messages")?;
    Ok(Goal { name: FLAT.into(), value: growth, limit: 1.0, unit: "MB" })
}

fn memory_and_status(options: &Options) -> Outcome<Vec<Goal>> {
    let platform = Platform::start();
    std::thread::sleep(REST);
    let idle = memory_mb(platform.pid(), "VmRSS")?;
    let listener = program("volttron-listener").display().to_string();
    for n in 0..AGENTS {
        platform.vctl_ok(&["install", &listener, "--vip-identity", &format!("listener.{n}"), "--start"]);
    }
    std::thread::sleep(REST);
    let status = platform.vctl_json(&["status"]);
    let pids: Vec<u32> = status.as_object().into_iter().flatten().filter_map(|(_, row)| pid(row)).collect();
    if pids.len() != AGENTS {
        return Err(format!("{} of {AGENTS} agents run", pids.len()).into());
    }
    let listeners = pids.iter().map(|pid| memory_mb(*pid, "VmRSS")).collect::<Outcome<Vec<_>>>()?;
    let with_agents = memory_mb(platform.pid(), "VmRSS")?;
    let asked: Vec<(f64, f64)> =
        (0..options.rounds.max(5)).map(|_| ask_status(&platform)).collect::<Outcome<_>>()?;
    let (times, peaks) = (asked.iter().map(|a| a.0), asked.iter().map(|a| a.1));
    Ok(vec![
        Goal { name: STATUS.into(), value: median(times), limit: 50.0, unit: "ms" },
        Goal { name: format!("{STATUS}, peak memory"), value: median(peaks), limit: 15.0, unit: "MB" },
        Goal { name: IDLE.into(), value: idle, limit: 20.0, unit: "MB" },
        Goal { name: "platform with 20 agents".into(), value: with_agents, limit: 40.0, unit: "MB" },
        Goal { name: "a listener".into(), value: median(listeners), limit: 8.0, unit: "MB" },
    ])
}

fn pid(row: &serde_json::Value) -> Option<u32> {
    row["status"].as_str()?.strip_prefix("running [")?.strip_suffix(']')?.parse().ok()
}

/// One `vctl status`: its time in ms and its peak memory in MB.
fn ask_status(platform: &Platform) -> Outcome<(f64, f64)> {
    let from = Instant::now();
    let mut child =
        platform.command("vctl").arg("status").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut peak: f64 = 0.0;
    loop {
        if let Some(status) = child.try_wait()? {
            let took = from.elapsed().as_secs_f64() * 1e3;
            return if status.success() { Ok((took, peak)) } else { Err("vctl status failed".into()) };
        }
        // Between its end and our noticing there is nothing left to read.
        peak = peak.max(memory_mb(child.id(), "VmHWM").unwrap_or(0.0));
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A line of `/proc/PID/status`, which are in KiB.
fn memory_mb(pid: u32, field: &str) -> Outcome<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: f64 = line.and_then(|l| l.split_whitespace().next()).ok_or("no such line")?.parse()?;
    Ok(kib / 1024.0)
}
