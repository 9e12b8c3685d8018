//! `cargo xtask sim`: the simulated worlds, by default as many as count as a clean run: that of the router alone, and
//! that of the whole core (router, rules and configuration store on a disk that crashes).

use clap::ValueEnum;

use crate::shell::{Outcome, cargo, step};

/// Which worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum World {
    /// The router alone
    Router,
    /// Router, rules and configuration store
    Core,
}

/// Options of `cargo xtask sim`.
#[derive(clap::Args)]
pub struct Args {
    /// How many seeds to play in each world
    #[arg(long, default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    from: u64,
    /// Replay this one seed
    #[arg(long)]
    seed: Option<u64>,
    /// Only this world
    #[arg(long)]
    world: Option<World>,
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    for (world, package) in [(World::Router, "volttron-router"), (World::Core, "volttron-server")] {
        if args.world.is_some_and(|only| only != world) {
            continue;
        }
        let mut sim = cargo();
        sim.args(["run", "--profile", "sim", "-p", package, "--features", "sim", "--example", "sim", "--"]);
        match args.seed {
            Some(seed) => sim.args(["--seed", &seed.to_string()]),
            None => sim.args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]),
        };
        step("simulated worlds", &mut sim)?;
    }
    Ok(())
}
