//! `cargo xtask fuzz`: every fuzz target for a while. The short form over the same targets is an ordinary test,
//! `fuzz/targets/tests/corpus.rs`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::shell::{Outcome, step, succeeds, target_dir, workspace_root};

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// Seconds per target
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// How many targets run at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// Only these targets; all without
    targets: Vec<String>,
}

/// More than any target needs: a promise of the decoders is that a small input does not make a large memory.
const MAX_MEMORY_MB: u32 = 2048;

/// One input may take this long.
const MAX_INPUT_S: u32 = 10;

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    check_tools()?;
    let known = all()?;
    if let Some(unknown) = args.targets.iter().find(|target| !known.contains(target)) {
        return Err(format!("there is no fuzz target {unknown}; these are: {}", known.join(" ")));
    }
    let targets = if args.targets.is_empty() { &known } else { &args.targets };
    let place = Place::build()?;
    let runs = place.run_all(targets, args.seconds, usize::from(args.jobs))?;
    table(&runs);
    let failed: Vec<&Run> = runs.iter().filter(|run| !run.clean).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let lines = failed.iter().map(|run| format!("  {}: {}", run.target, run.log.display()));
    Err(format!(
        "{} of {} targets found something; the logs name the input and say why:\n{}",
        failed.len(),
        runs.len(),
        lines.collect::<Vec<_>>().join("\n")
    ))
}

fn check_tools() -> Outcome {
    if !succeeds(Command::new("cargo").args(["+nightly", "--version"])) {
        return Err("fuzzing needs a nightly compiler (the sanitizers are not in the stable one): \
                    `rustup toolchain install nightly`"
            .to_owned());
    }
    if !succeeds(nightly().args(["fuzz", "--version"])) {
        return Err("fuzzing needs cargo-fuzz: `cargo install cargo-fuzz`".to_owned());
    }
    Ok(())
}

fn nightly() -> Command {
    // Not the cargo this runs under: the plain name is rustup's, which understands `+nightly`.
    let mut command = Command::new("cargo");
    command.arg("+nightly").current_dir(workspace_root());
    command
}

/// Where the built targets are, and everything they leave behind.
struct Place {
    programs: PathBuf,
    kept: PathBuf,
}

/// How one target did.
struct Run {
    target: String,
    clean: bool,
    log: PathBuf,
    took: Duration,
    figures: Figures,
}

/// What the fuzzer says at the end.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    /// Inputs tried.
    executions: u64,
    /// Edges of the program reached.
    coverage: u64,
    /// Edges and how often they were passed, in classes.
    features: u64,
    /// Inputs that reach something no other one does.
    corpus: u64,
    /// Most memory, in MB.
    memory_mb: u64,
}

impl Place {
    /// Builds all targets, once.
    fn build() -> Outcome<Self> {
        let kept = target_dir().join("fuzz");
        let mut build = nightly();
        build.args(["fuzz", "build", "--target-dir"]).arg(&kept);
        step("build the fuzz targets", &mut build)?;
        let triple = host()?;
        Ok(Self { programs: kept.join(triple).join("release"), kept })
    }

    /// Runs the targets, `jobs` at a time; gives their figures in the order of `targets`.
    fn run_all(&self, targets: &[String], seconds: u32, jobs: usize) -> Outcome<Vec<Run>> {
        let waiting = Mutex::new(targets.iter().enumerate());
        let (done, results) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..jobs.min(targets.len()) {
                let (done, waiting) = (done.clone(), &waiting);
                scope.spawn(move || {
                    loop {
                        let next = waiting.lock().ok().and_then(|mut list| list.next());
                        let Some((at, target)) = next else { return };
                        let run = self.run_one(target, seconds);
                        if done.send((at, run)).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        drop(done);
        let mut runs: Vec<(usize, Outcome<Run>)> = results.into_iter().collect();
        runs.sort_by_key(|(at, _)| *at);
        runs.into_iter().map(|(_, run)| run).collect()
    }

    fn run_one(&self, target: &str, seconds: u32) -> Outcome<Run> {
        let made = |path: &Path| {
            fs::create_dir_all(path).map_err(|e| format!("cannot make {}: {e}", path.display()))
        };
        // New inputs go beside the committed corpus, which holds what a person chose.
        let found = self.kept.join("found").join(target);
        let failures = self.kept.join("failures").join(target);
        made(&found)?;
        made(&failures)?;
        let log = self.kept.join(format!("{target}.log"));
        let written = File::create(&log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let mut fuzzer = Command::new(self.programs.join(target));
        fuzzer
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-rss_limit_mb={MAX_MEMORY_MB}"))
            .arg(format!("-timeout={MAX_INPUT_S}"))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .arg("-print_final_stats=1")
            .arg(&found)
            .arg(workspace_root().join("fuzz/corpus").join(target))
            // SQLite's amalgamation, which the sanitizer instruments as well, defines some names twice.
            .env("ASAN_OPTIONS", "detect_odr_violation=0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(written);
        eprintln!("== fuzz {target} for {seconds} s");
        let started = Instant::now();
        let status = fuzzer.status().map_err(|e| format!("cannot run the fuzz target {target}: {e}"))?;
        let text = fs::read(&log).map_err(|e| format!("cannot read {}: {e}", log.display()))?;
        Ok(Run {
            target: target.to_owned(),
            clean: status.success(),
            log,
            took: started.elapsed(),
            figures: Figures::read(&String::from_utf8_lossy(&text)),
        })
    }
}

impl Figures {
    /// Reads what libFuzzer writes: progress lines (`#123 NEW cov: 45 ft: 67 corp: 8/9b ..`) and the final figures.
    fn read(log: &str) -> Self {
        let mut figures = Self::default();
        for line in log.lines() {
            if let Some((name, value)) = line.strip_prefix("stat::").and_then(|rest| rest.split_once(':')) {
                let value = value.trim().parse().unwrap_or(0);
                match name {
                    "number_of_executed_units" => figures.executions = value,
                    "peak_rss_mb" => figures.memory_mb = value,
                    _ => {}
                }
            } else if line.starts_with('#') {
                let mut words = line.split_whitespace();
                let number = |text: &str| text.split('/').next().and_then(|n| n.parse().ok());
                while let Some(word) = words.next() {
                    let slot = match word {
                        "cov:" => &mut figures.coverage,
                        "ft:" => &mut figures.features,
                        "corp:" => &mut figures.corpus,
                        _ => continue,
                    };
                    *slot = words.next().and_then(number).unwrap_or(*slot);
                }
            }
        }
        figures
    }
}

#[allow(clippy::print_stdout, reason = "the result of the task")]
fn table(runs: &[Run]) {
    println!(
        "{:<18} {:>8} {:>12} {:>9} {:>9} {:>8} {:>7} {:>7}  result",
        "target", "seconds", "executions", "per s", "coverage", "features", "corpus", "MB"
    );
    for run in runs {
        let f = &run.figures;
        println!(
            "{:<18} {:>8.0} {:>12} {:>9.0} {:>9} {:>8} {:>7} {:>7}  {}",
            run.target,
            run.took.as_secs_f64(),
            f.executions,
            f.executions as f64 / run.took.as_secs_f64().max(1.0),
            f.coverage,
            f.features,
            f.corpus,
            f.memory_mb,
            if run.clean { "clean" } else { "FAILED" }
        );
    }
}

/// The name of this machine's kind, where the programs are built for it.
fn host() -> Outcome<String> {
    let mut rustc = Command::new("rustc");
    let output = rustc.args(["+nightly", "-vV"]).output().map_err(|e| format!("cannot run rustc: {e}"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .ok_or_else(|| "rustc does not say what it builds for".to_owned())
}

/// The targets are the files in `fuzz/fuzz_targets`.
fn all() -> Outcome<Vec<String>> {
    let folder = workspace_root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new("rs")))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_fuzzers_log() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #1024\tNEW    cov: 120 ft: 300 corp: 42/9Kb lim: 4 exec/s: 512 rss: 40Mb L: 3/3 MS: 1 CopyPart-\n\
                   #99\tDONE   cov: 121 ft: 301 corp: 43/9Kb lim: 4 exec/s: 512 rss: 41Mb\nDone 99 runs in 2 second(s)\n\
                   stat::number_of_executed_units: 99\nstat::average_exec_per_sec:     49\nstat::peak_rss_mb: 41\n";
        let expected = Figures { executions: 99, coverage: 121, features: 301, corpus: 43, memory_mb: 41 };
        assert_eq!(Figures::read(log), expected);
        assert_eq!(Figures::read("panicked"), Figures::default());
    }
}
