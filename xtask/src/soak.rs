//! `cargo xtask soak`: the long forms of the tests in `tests/tests/soak/`, which kill or freeze real processes, and of
//! the historian's own crash test.

use clap::ValueEnum;

use crate::shell::{Outcome, cargo, step};

/// Options of `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Args {
    /// Which; all without
    #[arg(value_enum)]
    runs: Vec<Run>,
    /// How often each of them kills
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Repeats the moments of a former run
    #[arg(long)]
    seed: Option<u64>,
    /// How many agents of a crowd are killed
    #[arg(long, default_value_t = 10_000)]
    kills: u32,
    /// How long to publish past the frozen subscriber, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// As short as in CI
    #[arg(long, conflicts_with_all = ["rounds", "kills", "seconds"])]
    short: bool,
}

/// What there is to run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Run {
    /// Kill the historian under load
    Historian,
    /// Kill the platform under load and start it again
    Platform,
    /// Kill the driver and the listener under load, in turn
    Agent,
    /// Install, upgrade, roll back and remove, and kill vctl or the platform in the middle
    Versions,
    /// Kill twenty agents at random
    Crowd,
    /// Publish at full speed past subscribers that do not read
    FrozenSubscriber,
    /// Kill the historian's engine alone, without a platform
    HistorianLibrary,
}

impl Run {
    /// Package, test program and test.
    fn test(self) -> [&'static str; 3] {
        match self {
            Self::Historian => ["volttron-tests", "soak", "historian"],
            Self::Platform => ["volttron-tests", "soak", "platform"],
            Self::Agent => ["volttron-tests", "soak", "agent"],
            Self::Versions => ["volttron-tests", "soak", "versions"],
            Self::Crowd => ["volttron-tests", "soak", "crowd"],
            Self::FrozenSubscriber => ["volttron-tests", "soak", "frozen_subscriber"],
            Self::HistorianLibrary => {
                ["volttron-sql-historian", "crash", "every_acknowledged_point_is_stored_exactly_once"]
            }
        }
    }
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    let runs = if args.runs.is_empty() { Run::value_variants() } else { &args.runs };
    if runs.iter().any(|run| *run != Run::HistorianLibrary) {
        step("build the programs", cargo().args(["build", "--workspace", "--bins"]))?;
    }
    for run in runs {
        let [package, program, test] = run.test();
        let mut soak = cargo();
        soak.args(["test", "-q", "-p", package, "--test", program, "--", "--nocapture", "--exact", test]);
        if !args.short {
            for name in ["VOLTTRON_SOAK_ROUNDS", "HISTORIAN_CRASH_ROUNDS"] {
                soak.env(name, args.rounds.to_string());
            }
            soak.env("VOLTTRON_SOAK_KILLS", args.kills.to_string());
            soak.env("VOLTTRON_SOAK_SECONDS", args.seconds.to_string());
        }
        if let Some(seed) = args.seed {
            soak.env("VOLTTRON_SOAK_SEED", seed.to_string());
        }
        step(&format!("soak: {}", test.replace('_', " ")), &mut soak)?;
    }
    Ok(())
}
