//! Plays simulated worlds: `sim [--seed N] [--seeds COUNT]`. Prints a summary, or the first failure with the seed
//! that replays it.

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
            _ => {
                eprintln!("usage: sim [--seed N] [--seeds COUNT]");
                return ExitCode::from(2);
            }
        }
    }
    let (mut steps, mut delivered) = (0u64, 0u64);
    for seed in first..first.saturating_add(count) {
        match run_seed(seed) {
            Ok(summary) => {
                steps += u64::from(summary.steps);
                delivered += summary.meter.delivered;
            }
            Err(failure) => {
                eprintln!("{failure}\nreplay with: --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{count} seeds, {steps} steps, {delivered} deliveries: every promise kept");
    ExitCode::SUCCESS
}
