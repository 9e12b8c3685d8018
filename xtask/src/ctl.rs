//! `cargo xtask bench-ctl`: how long the reading commands of `vctl` take and what memory, beside the Python `vctl` in the
//! same run.

use std::process::Command;

use serde_json::Value;

use crate::{shell, test_peers};

/// Agents that run, agents that are installed, and what each command may take.
const CROWDS: [(usize, usize, f64); 2] = [(20, 20, 50.0), (20, 500, 150.0)];
/// What each command may take with the first of them.
const GOAL_MB: f64 = 15.0;
const ROUNDS: usize = 15;

/// Measures; `short` is a small round of a debug build that only checks that it works.
pub fn bench(short: bool, with_python: bool) -> shell::Outcome {
    let mut build = shell::cargo();
    if short {
        // As the tests build, so that nothing is compiled a second time.
        build.args(["build", "--quiet", "--workspace", "--bins", "--examples"]);
    } else {
        build.args([
            "build",
            "--release",
            "--package",
            "volttron-server",
            "--package",
            "volttron-listener",
            "--bins",
        ]);
    }
    shell::run(&mut build)?;
    let python = if with_python { Some(test_peers::set_up()?.python) } else { None };
    let (crowds, rounds): (&[_], _) = if short { (&[(2, 4, 50.0)], 3) } else { (&CROWDS, ROUNDS) };
    let mut missed = false;
    for (at, &(running, installed, goal_ms)) in crowds.iter().enumerate() {
        let mut run = if short {
            Command::new(shell::target_dir().join("debug/examples/vctl_speed"))
        } else {
            let mut cargo = shell::cargo();
            cargo.args([
                "run",
                "--quiet",
                "--release",
                "--package",
                "volttron-tests",
                "--example",
                "vctl_speed",
                "--",
            ]);
            cargo
        };
        run.args([running, installed, rounds].map(|n| n.to_string()));
        // The Python platform has no agents; once is enough.
        run.args(python.iter().filter(|_| at == 0));
        let out = run.output().map_err(|e| format!("cannot start vctl_speed: {e}"))?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        let figures: Value = serde_json::from_slice(&out.stdout).map_err(|e| format!("vctl_speed: {e}"))?;
        println!("vctl, {installed} agents, {running} of them running, median of {rounds}:");
        println!("  {:<20} {:>8} {:>8} {:>12}", "", "ms", "MB", "Python's ms");
        for (line, ours) in figures["ours"].as_object().into_iter().flatten() {
            let (ms, mb) = (ours["ms"].as_f64().unwrap_or(f64::NAN), ours["mb"].as_f64().unwrap_or(f64::NAN));
            let theirs =
                figures["python_ms"][line].as_f64().map_or_else(String::new, |ms| format!("{ms:.0}"));
            let kept = ms <= goal_ms && (at > 0 || mb <= GOAL_MB);
            missed |= !kept;
            println!("  {line:<20} {ms:>8.1} {mb:>8.1} {theirs:>12}{}", if kept { "" } else { "  MISSED" });
        }
        println!(
            "  goal {goal_ms:.0} ms{}",
            if at == 0 { format!(", {GOAL_MB:.0} MB") } else { String::new() }
        );
    }
    // Times of a debug build are no statement.
    if short || !missed { Ok(()) } else { Err("vctl missed a goal".into()) }
}
