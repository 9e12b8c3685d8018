//! Plays the router's simulated worlds: `sim [--seed N] [--seeds COUNT] [--from N]`. Prints figures, or the first
//! failure with the seed that replays it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;

use volttron_router::sim::run_seed;
use volttron_router::sim::seeds::{USAGE, seeds};

fn main() -> ExitCode {
    let Some(seeds) = seeds(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (mut steps, mut delivered, mut lost, mut refused, mut restarts) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for seed in seeds.clone() {
        match run_seed(seed) {
            Ok(summary) => {
                let meter = summary.meter;
                steps += u64::from(summary.steps);
                restarts += u64::from(summary.restarts);
                delivered += meter.delivered;
                lost += meter.delivery_full + meter.delivery_gone;
                refused += meter.refused + meter.publish_denied + meter.not_allowed;
            }
            Err(failure) => {
                eprintln!(
                    "router world: {failure}\nreplay with: cargo xtask sim --world router --seed {seed}"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "router world: {} seeds from {}, {steps} steps, {delivered} deliveries, {lost} lost where a queue was full \
         or its owner gone, {refused} refused, {restarts} restarts: every promise kept",
        seeds.end - seeds.start,
        seeds.start
    );
    ExitCode::SUCCESS
}
