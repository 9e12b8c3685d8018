//! `cargo xtask coverage`: which lines of the decoders the tests run, the short form of fuzzing among them.
//!
//! Needs only what comes with the compiler (`rustup component add llvm-tools`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::shell::{Outcome, cargo, step, target_dir, workspace_root};

/// Options of `cargo xtask coverage`.
#[derive(clap::Args)]
pub struct Args {
    /// Fail when fewer of the lines are run, in percent of each file
    #[arg(long, default_value_t = 0.0)]
    least: f64,
}

/// What reads something that came from outside: a file, a frame, a person. Paths in the workspace.
const DECODERS: &[&str] = &[
    "agents/volttron-platform-driver/src/modbus/codec.rs",
    "agents/volttron-platform-driver/src/modbus/number.rs",
    "agents/volttron-platform-driver/src/modbus/registry.rs",
    "agents/volttron-platform-driver/src/modbus/settings.rs",
    "agents/volttron-platform-driver/src/modbus/transform.rs",
    "agents/volttron-platform-driver/src/overrides.rs",
    "agents/volttron-platform-driver/src/replay.rs",
    "agents/volttron-platform-driver/src/settings.rs",
    "agents/volttron-sql-historian/src/pyliteral.rs",
    "agents/volttron-sql-historian/src/settings.rs",
    "crates/volttron-client/src/channel/",
    "crates/volttron-client/src/config/mirror.rs",
    "crates/volttron-client/src/driver/rows.rs",
    "crates/volttron-client/src/historian/capture.rs",
    "crates/volttron-client/src/historian/config.rs",
    "crates/volttron-client/src/historian/query.rs",
    "crates/volttron-client/src/historian/text.rs",
    "crates/volttron-client/src/web/callbacks.rs",
    "crates/volttron-router/src/",
    "crates/volttron-server/src/auth/entry.rs",
    "crates/volttron-server/src/auth/file.rs",
    "crates/volttron-server/src/auth/pattern.rs",
    "crates/volttron-server/src/auth/protected.rs",
    "crates/volttron-server/src/auth/table.rs",
    "crates/volttron-server/src/auth/upgrade.rs",
    "crates/volttron-server/src/front/zap.rs",
    "crates/volttron-server/src/metrics/mod.rs",
    "crates/volttron-server/src/options/file.rs",
    "crates/volttron-server/src/services/auth/reported.rs",
    "crates/volttron-server/src/services/config_store/entry.rs",
    "crates/volttron-server/src/services/config_store/store.rs",
    "crates/volttron-server/src/services/rpc_pubsub.rs",
    "crates/volttron-server/src/supervisor/installed.rs",
    "crates/volttron-utils/src/address.rs",
    "crates/volttron-utils/src/config/",
    "crates/volttron-utils/src/headers.rs",
    "crates/volttron-utils/src/health.rs",
    "crates/volttron-utils/src/identity.rs",
    "crates/volttron-utils/src/json/",
    "crates/volttron-utils/src/jsonrpc",
    "crates/volttron-utils/src/keys/",
    "crates/volttron-utils/src/logging.rs",
    "crates/volttron-utils/src/pattern.rs",
    "crates/volttron-utils/src/time/",
    "crates/volttron-utils/src/topic.rs",
    "crates/volttron-utils/src/vip/",
    "crates/volttron-zmq/src/monitor.rs",
];

/// The packages whose tests need no other programs.
const PACKAGES: &[&str] = &[
    "volttron-fuzz-targets",
    "volttron-utils",
    "volttron-router",
    "volttron-client",
    "volttron-server",
    "volttron-platform-driver",
    "volttron-sql-historian",
];

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    let tools = tools()?;
    let kept = target_dir().join("coverage");
    let profiles = kept.join("profiles");
    // Profiles of an earlier run would count lines that no test runs any more.
    if profiles.exists() {
        fs::remove_dir_all(&profiles).map_err(|e| format!("cannot remove {}: {e}", profiles.display()))?;
    }
    let programs = programs(&kept, &profiles)?;
    let merged = kept.join("merged.profdata");
    let inputs: Vec<PathBuf> = fs::read_dir(&profiles)
        .map_err(|e| format!("no test wrote a profile to {}: {e}", profiles.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let mut merge = Command::new(tools.join("llvm-profdata"));
    step("merge the profiles", merge.args(["merge", "-sparse", "-o"]).arg(&merged).args(inputs))?;
    let low = table(&lines(&tools, &merged, &programs)?, args.least);
    if low == 0 { Ok(()) } else { Err(format!("{low} decoders are below {} %", args.least)) }
}

/// Runs the tests with instruments; gives the test programs.
fn programs(kept: &Path, profiles: &Path) -> Outcome<Vec<PathBuf>> {
    let tests = |list: bool| {
        let mut command = cargo();
        command
            .args(["test", "--lib", "--tests", "--no-fail-fast"])
            .args(PACKAGES.iter().flat_map(|p| ["-p", p]));
        if list {
            command.args(["--no-run", "--message-format=json"]);
        }
        command
            .env("CARGO_TARGET_DIR", kept)
            .env("RUSTFLAGS", "-C instrument-coverage")
            .env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"));
        command
    };
    if let Err(error) = step("run the tests with instruments", &mut tests(false)) {
        eprintln!("{error}; the figures are of what ran");
    }
    let mut listing = tests(true);
    let output = listing.stderr(Stdio::null()).output().map_err(|e| format!("cannot run cargo: {e}"))?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect())
}

/// Lines that were run and lines there are, by file.
fn lines(tools: &Path, merged: &Path, programs: &[PathBuf]) -> Outcome<Vec<(String, u64, u64)>> {
    let mut export = Command::new(tools.join("llvm-cov"));
    export.args(["export", "--summary-only", "--instr-profile"]).arg(merged);
    for program in programs {
        export.arg("--object").arg(program);
    }
    let output = export.output().map_err(|e| format!("cannot run llvm-cov: {e}"))?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("llvm-cov: {e}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let root = workspace_root();
    let files = report["data"][0]["files"].as_array().cloned().unwrap_or_default();
    let mut lines: Vec<_> = files
        .iter()
        .filter_map(|file| {
            let path = Path::new(file["filename"].as_str()?).strip_prefix(&root).ok()?;
            let path = path.to_str()?.to_owned();
            let decoder = DECODERS.iter().any(|decoder| path.starts_with(decoder));
            let wanted = decoder && !path.contains("tests") && !path.contains("/sim/");
            let figure = |name: &str| file["summary"]["lines"][name].as_u64();
            wanted.then_some((path, figure("covered")?, figure("count")?))
        })
        .collect();
    lines.sort();
    Ok(lines)
}

/// Prints the figures; gives how many files are below `least` percent.
#[allow(clippy::print_stdout, reason = "the result of the task")]
fn table(files: &[(String, u64, u64)], least: f64) -> usize {
    let percent = |run: u64, all: u64| 100.0 * run as f64 / all.max(1) as f64;
    println!("{:<62} {:>6} {:>6} {:>7}", "decoder", "run", "lines", "%");
    for (path, run, all) in files {
        println!("{path:<62} {run:>6} {all:>6} {:>7.1}", percent(*run, *all));
    }
    let sum = |part: fn(&(String, u64, u64)) -> u64| files.iter().map(part).sum::<u64>();
    let (run, all) = (sum(|file| file.1), sum(|file| file.2));
    println!("{:<62} {run:>6} {all:>6} {:>7.1}", "all", percent(run, all));
    files.iter().filter(|(_, run, all)| percent(*run, *all) < least).count()
}

/// Where the compiler keeps llvm-profdata and llvm-cov.
fn tools() -> Outcome<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir"]).current_dir(workspace_root());
    let output = rustc.output().map_err(|e| format!("cannot run rustc: {e}"))?;
    let library = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let tools = library.parent().map(|folder| folder.join("bin")).unwrap_or_default();
    if tools.join("llvm-cov").exists() {
        return Ok(tools);
    }
    Err("coverage needs the compiler's own tools: `rustup component add llvm-tools`".to_owned())
}
