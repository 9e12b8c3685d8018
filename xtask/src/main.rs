//! `cargo xtask`: everything a developer runs that is not plain cargo.
//!
//! Owns the demo, the test command with the installation of what tests need, and the long runs (`bench`, `soak`,
//! `sim`, `fuzz`). It must never hold product code: whatever it needs of the platform it uses from the outside,
//! through the binaries or the public crates.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod check;
mod check_tools;
mod config_store;
mod coverage;
mod ctl;
mod demo;
mod dist;
mod fuzz;
mod historian;
mod shell;
mod sim;
mod soak;
mod test;
mod test_peers;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the VOLTTRON workspace", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything, start a platform with three agents and show live points and history
    Demo(demo::Args),
    /// Install what the tests need (Debian and PyPI packages) and run them all
    Test(test::Args),
    /// Format, lint and structure checks; licences, interfaces and features where the tools for them are installed
    Check,
    /// Package every public crate, build each alone, and write a static registry with all they need
    Dist(dist::Args),
    /// Play the simulated worlds of the router and of the whole core
    Sim(sim::Args),
    /// Run the fuzz targets (nightly compiler, cargo-fuzz)
    Fuzz(fuzz::Args),
    /// Show which lines of the decoders the tests run
    Coverage(coverage::Args),
    /// Measure the bus against bare libzmq and the Python platform, start, memory and historian: [--short] [--rounds N] [--seconds S] [--only WORD] [--no-gate]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<String>,
    },
    /// Points per second the historian makes durable, beside what the disk does
    BenchHistorian {
        /// One small round, for CI; the goal is shown but not demanded
        #[arg(long)]
        short: bool,
    },
    /// Kill parts of a working platform again and again, freeze a subscriber, and look what becomes of the data
    Soak(soak::Args),
    /// Time and memory of the reading commands of vctl with 20 and with 500 agents, beside the Python vctl
    BenchCtl {
        /// A small round of a debug build, for CI; only checks that it works
        #[arg(long)]
        short: bool,
        /// Without the Python vctl
        #[arg(long)]
        no_python: bool,
    },
    /// Time to apply 10,000 configurations at once, with the agent they are for running
    BenchConfigStore {
        /// One small round, for CI; only checks that it works
        #[arg(long)]
        short: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Check => check::run(),
        Task::Dist(args) => dist::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Coverage(args) => coverage::run(&args),
        Task::Bench { args } => return bench::run(&args),
        Task::BenchHistorian { short } => bench_historian(short),
        Task::Soak(args) => soak::run(&args),
        Task::BenchCtl { short, no_python } => ctl::bench(short, !no_python),
        Task::BenchConfigStore { short } => config_store::bench(short),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench_historian(short: bool) -> shell::Outcome {
    let report = historian::bench(short)?;
    println!("{}", report.text());
    if short || report.passed() { Ok(()) } else { Err("the historian missed its goal".into()) }
}
