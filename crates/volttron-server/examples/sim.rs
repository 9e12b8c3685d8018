//! Plays the core's simulated worlds: `sim [--seed N] [--seeds COUNT] [--from N]`. Prints figures, or the first failure
//! with the last events and the seed that replays it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;

use volttron_router::sim::seeds::{USAGE, seeds};
use volttron_server::sim::run_seed;

fn main() -> ExitCode {
    let Some(seeds) = seeds(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (mut steps, mut deliveries, mut lost, mut calls) = (0u64, 0u64, 0u64, 0u64);
    let (mut refused, mut crashes, mut restarts) = (0u64, 0u64, 0u64);
    for seed in seeds.clone() {
        match run_seed(seed) {
            Ok(world) => {
                steps += u64::from(world.steps);
                deliveries += world.deliveries;
                lost += world.lost;
                calls += world.calls;
                refused += world.refused;
                crashes += world.crashes;
                restarts += world.restarts;
            }
            Err(failure) => {
                eprintln!("core world:\n{failure}\nreplay with: cargo xtask sim --world core --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "core world: {} seeds from {}, {steps} steps, {deliveries} deliveries, {lost} lost where a queue was full, \
         {calls} calls done, {refused} refused, {crashes} crashes, {restarts} restarts: every promise kept",
        seeds.end - seeds.start,
        seeds.start
    );
    ExitCode::SUCCESS
}
