//! The historian's durable points per second, by the load program among its examples.

use serde_json::Value;

use crate::shell;

/// Durable points per second that a machine with a disk of 400 fsync/s must reach.
const GOAL_PER_S: f64 = 25_000.0;
const PACKAGE: &str = "volttron-sql-historian";

/// One run of the load program.
struct Round {
    accepted_per_s: f64,
    stored_per_s: f64,
    cpu_us: f64,
    disk_fsyncs_per_s: f64,
}

/// Medians over the rounds, as `cargo xtask bench` shows them.
pub struct Report {
    pub rounds: usize,
    pub points: u64,
    /// Points per second that were durable in the cache.
    pub accepted_per_s: f64,
    /// Points per second that were in SQLite and out of the cache.
    pub stored_per_s: f64,
    pub cpu_us_per_point: f64,
    /// What the disk under it does by itself, measured before each round.
    pub disk_fsyncs_per_s: f64,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.stored_per_s >= GOAL_PER_S
    }

    pub fn text(&self) -> String {
        format!(
            "historian, SQLite: {:.0} durable points/s (goal {GOAL_PER_S:.0}: {}), {:.0}/s acknowledged, {:.1} us CPU a \
             point; {} points a round, {} rounds; the disk by itself: {:.0} fsync/s",
            self.stored_per_s,
            if self.passed() { "ok" } else { "MISSED" },
            self.accepted_per_s,
            self.cpu_us_per_point,
            self.points,
            self.rounds,
            self.disk_fsyncs_per_s,
        )
    }
}

/// Measures; `short` is one small round for CI.
pub fn bench(short: bool) -> shell::Outcome<Report> {
    let (rounds, points) = if short { (1, 60_000) } else { (5, 500_000) };
    let mut build = shell::cargo();
    build.args(["build", "--release", "--package", PACKAGE, "--example", "historian_load"]);
    shell::run(&mut build)?;
    let done: Vec<Round> = (0..rounds).map(|_| round(points)).collect::<Result<_, _>>()?;
    let median = |f: fn(&Round) -> f64| {
        let mut all: Vec<f64> = done.iter().map(f).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Ok(Report {
        rounds,
        points,
        accepted_per_s: median(|r| r.accepted_per_s),
        stored_per_s: median(|r| r.stored_per_s),
        cpu_us_per_point: median(|r| r.cpu_us),
        disk_fsyncs_per_s: median(|r| r.disk_fsyncs_per_s),
    })
}

fn round(points: u64) -> shell::Outcome<Round> {
    // On the disk of the build, not in a memory file system that a temporary directory may be.
    let mut run = shell::cargo();
    run.args(["run", "--quiet", "--release", "--package", PACKAGE, "--example", "historian_load", "--"]);
    run.args(["--points", &points.to_string()]).arg("--dir").arg(shell::target_dir());
    let out = run.output().map_err(|e| format!("cannot start cargo: {e}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    let figures: Value = serde_json::from_slice(&out.stdout).map_err(|e| format!("historian_load: {e}"))?;
    let get = |key: &str| figures[key].as_f64().ok_or_else(|| format!("historian_load gave no {key}"));
    Ok(Round {
        accepted_per_s: get("accepted_per_s")?,
        stored_per_s: get("stored_per_s")?,
        cpu_us: get("cpu_us_per_point")?,
        disk_fsyncs_per_s: get("disk_fsyncs_per_s")?,
    })
}
