//! Plays the core's simulated worlds: `sim [--seed N] [--seeds COUNT] [--from N]`. Prints figures, or the first failure
//! with the last events and the seed that replays it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;

use volttron_server::sim::run_seed;

fn main() -> ExitCode {
    let (mut first, mut count) = (0u64, 10_000u64);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let number = args.next().and_then(|text| text.parse().ok());
        match (arg.as_str(), number) {
            ("--seed", Some(seed)) => (first, count) = (seed, 1),
            ("--seeds", Some(seeds)) => count = seeds,
            ("--from", Some(seed)) => first = seed,
            _ => {
                eprintln!("usage: sim [--seed N] [--seeds COUNT] [--from N]");
                return ExitCode::from(2);
            }
        }
    }
    let (mut steps, mut deliveries, mut lost, mut calls) = (0u64, 0u64, 0u64, 0u64);
    let (mut refused, mut crashes, mut restarts) = (0u64, 0u64, 0u64);
    for seed in first..first.saturating_add(count) {
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
        "core world: {count} seeds from {first}, {steps} steps, {deliveries} deliveries, {lost} lost where a queue was full, \
         {calls} calls done, {refused} refused, {crashes} crashes, {restarts} restarts: every promise kept"
    );
    ExitCode::SUCCESS
}
