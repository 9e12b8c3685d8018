//! Plays the router's simulated worlds: `sim [--seed N] [--seeds COUNT] [--from N]`. Prints figures, or the first
//! failure with the seed that replays it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;

use volttron_router::sim::run_seed;

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
    let (mut steps, mut delivered, mut lost, mut refused, mut restarts) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for seed in first..first.saturating_add(count) {
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
        "router world: {count} seeds from {first}, {steps} steps, {delivered} deliveries, {lost} lost where a queue was full \
         or its owner gone, {refused} refused, {restarts} restarts: every promise kept"
    );
    ExitCode::SUCCESS
}
