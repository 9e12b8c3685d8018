//! `cargo xtask bench-ctl`: how long the reading commands of `vctl` take and what memory, beside the Python `vctl` in the
//! same run; and how long it takes to install an agent from its sources.

use std::process::Command;

use serde_json::Value;

use crate::{shell, test_peers};

/// Agents that run, agents that are installed, and what each command may take.
const CROWDS: [(usize, usize, f64); 2] = [(20, 20, 50.0), (20, 500, 150.0)];
/// What each command may take with the first of them.
const GOAL_MB: f64 = 15.0;
const ROUNDS: usize = 15;
/// Seconds from the sources of an agent to a running one, once its dependencies are compiled.
const INSTALL_GOAL_S: f64 = 3.0;

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
            release_example("vctl_speed")
        };
        run.args([running, installed, rounds].map(|n| n.to_string()));
        // The Python platform has no agents; once is enough.
        run.args(python.iter().filter(|_| at == 0));
        let figures = figures("vctl_speed", &mut run)?;
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
    if !short {
        missed |= !bench_install()?;
    }
    // Times of a debug build are no statement.
    if short || !missed { Ok(()) } else { Err("vctl missed a goal".into()) }
}

/// Whether the goal was reached.
fn bench_install() -> Result<bool, String> {
    let figures = figures("install_speed", &mut release_example("install_speed"))?;
    let seconds = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    println!("vctl install DIR --start, an agent of `vctl new agent`, release build:");
    println!("  the first, dependencies included {:>8.1} s", seconds(&figures["first_s"]));
    let next: Vec<f64> = figures["next_s"].as_array().into_iter().flatten().map(seconds).collect();
    let slowest = next.iter().copied().fold(f64::NAN, f64::max);
    let kept = slowest <= INSTALL_GOAL_S;
    let each: Vec<String> = next.iter().map(|s| format!("{s:.1}")).collect();
    println!("  others, one after another        {} s{}", each.join(" "), if kept { "" } else { "  MISSED" });
    println!("  goal {INSTALL_GOAL_S:.0} s");
    Ok(kept)
}

fn release_example(name: &str) -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "volttron-tests", "--example", name, "--"]);
    cargo
}

fn figures(name: &str, run: &mut Command) -> Result<Value, String> {
    let out = run.output().map_err(|e| format!("cannot start {name}: {e}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    serde_json::from_slice(&out.stdout).map_err(|e| format!("{name}: {e}"))
}
