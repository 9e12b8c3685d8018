//! `cargo xtask sim`: the router's simulated worlds, by default as many as count as a clean run.

use crate::shell::{Outcome, cargo, step};

/// Options of `cargo xtask sim`.
#[derive(clap::Args)]
pub struct Args {
    /// How many seeds to play, from 0
    #[arg(long, default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
    /// Replay this one seed
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    let (option, number) = args.seed.map_or(("--seeds", args.seeds), |seed| ("--seed", seed));
    let mut sim = cargo();
    sim.args(["run", "--release", "-p", "volttron-router", "--features", "sim", "--example", "sim", "--"]);
    step("simulated worlds", sim.args([option, &number.to_string()]))
}
