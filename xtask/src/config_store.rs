//! `cargo xtask bench-config-store`: many configurations applied at once, through the real programs.

use std::process::Command;

use serde_json::Value;

use crate::shell;

/// What applying [`ENTRIES`] may take, from the start of `vctl` until the agent's handlers have seen all of them.
const GOAL_MS: f64 = 2000.0;
const ENTRIES: usize = 10_000;

/// Measures; `short` is one small round that only checks that it works.
pub fn bench(short: bool) -> shell::Outcome {
    let mut build = shell::cargo();
    if short {
        // As the tests build, so that nothing is compiled a second time.
        build.args(["build", "--quiet", "--workspace", "--bins", "--examples"]);
    } else {
        build.args(["build", "--release", "--package", "volttron-server", "--bins"]);
    }
    shell::run(&mut build)?;
    let (rounds, entries) = if short { (1, 400) } else { (5, ENTRIES) };
    let done: Vec<Value> = (0..rounds).map(|_| round(short, entries)).collect::<Result<_, _>>()?;
    let median = |key: &str| {
        let mut all: Vec<f64> = done.iter().filter_map(|figures| figures[key].as_f64()).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    };
    println!("config store, {entries} entries, {:.1} MB, {rounds} rounds:", median("bytes") / 1e6);
    for (key, text) in [
        ("new_applied_ms", "new: vctl config apply, on disk"),
        ("new_handled_ms", "new: until the running agent handled all"),
        ("changed_applied_ms", "all changed: vctl config apply, on disk"),
        ("changed_handled_ms", "all changed: until the running agent handled all"),
        ("unchanged_ms", "nothing changed"),
        ("twenty_stores_ms", "new, in 20 stores as one transaction"),
    ] {
        println!("  {:8.0} ms  {text}", median(key));
    }
    let worst = median("new_handled_ms").max(median("changed_handled_ms")).max(median("twenty_stores_ms"));
    println!("  goal {GOAL_MS:.0} ms: {}", if worst <= GOAL_MS { "ok" } else { "MISSED" });
    if short || worst <= GOAL_MS { Ok(()) } else { Err("the config store missed its goal".into()) }
}

fn round(short: bool, entries: usize) -> shell::Outcome<Value> {
    let mut run = if short {
        Command::new(shell::target_dir().join("debug/examples/config_store_load"))
    } else {
        let mut cargo = shell::cargo();
        cargo.args(["run", "--quiet", "--release", "--package", "volttron-tests", "--example"]);
        cargo.args(["config_store_load", "--"]);
        cargo
    };
    // On the disk of the build, not in a memory file system that a temporary directory may be.
    run.arg(entries.to_string()).env("TMPDIR", shell::target_dir());
    let out = run.output().map_err(|e| format!("cannot start config_store_load: {e}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    serde_json::from_slice(&out.stdout).map_err(|e| format!("config_store_load: {e}"))
}
