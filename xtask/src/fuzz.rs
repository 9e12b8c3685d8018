//! `cargo xtask fuzz`: every fuzz target for a while. The short form over the same targets is an ordinary test,
//! `fuzz/targets/tests/corpus.rs`.

use std::ffi::OsStr;
use std::process::Command;

use crate::shell::{Outcome, step, succeeds, workspace_root};

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// Seconds per target
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Only these targets; all without
    targets: Vec<String>,
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    if !succeeds(nightly().args(["fuzz", "--version"])) {
        return Err("fuzzing needs a nightly compiler and cargo-fuzz: \
                    `rustup toolchain install nightly` and `cargo install cargo-fuzz`"
            .to_owned());
    }
    let targets = if args.targets.is_empty() { all()? } else { args.targets.clone() };
    for target in targets {
        let limit = format!("-max_total_time={}", args.seconds);
        // New inputs go beside the committed corpus, which holds what a person chose.
        let found = workspace_root().join("fuzz/target/found").join(&target);
        std::fs::create_dir_all(&found).map_err(|e| format!("cannot make {}: {e}", found.display()))?;
        let corpus = workspace_root().join("fuzz/corpus").join(&target);
        let mut fuzz = nightly();
        fuzz.args(["fuzz", "run", &target]).args([&found, &corpus]).args([
            "--",
            &limit,
            "-rss_limit_mb=2048",
        ]);
        step(&format!("fuzz {target} for {} s", args.seconds), &mut fuzz)?;
    }
    Ok(())
}

fn nightly() -> Command {
    // Not the cargo this runs under: the plain name is rustup's, which understands `+nightly`.
    let mut command = Command::new("cargo");
    command.arg("+nightly").current_dir(workspace_root());
    command
}

/// The targets are the files in `fuzz/fuzz_targets`.
fn all() -> Outcome<Vec<String>> {
    let folder = workspace_root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new("rs")))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}
