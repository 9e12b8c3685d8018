//! `cargo xtask sim`: the router's simulated worlds, by default as many as count as a clean run.

use crate::shell::{Outcome, cargo, step};

/// Options of `cargo xtask sim`.
#[derive(clap::Args)]
pub struct Args {
    /// How many seeds to play
    #[arg(long, default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    from: u64,
    /// Replay this one seed
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    let mut sim = cargo();
    sim.args(["run", "--release", "-p", "volttron-router", "--features", "sim", "--example", "sim", "--"]);
    match args.seed {
        Some(seed) => sim.args(["--seed", &seed.to_string()]),
        None => sim.args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]),
    };
    step("simulated worlds", &mut sim)
}
