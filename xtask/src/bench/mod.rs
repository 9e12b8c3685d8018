//! `cargo xtask bench`: how fast the platform is and what it needs, beside a peer measured in the same run.
//!
//! Owns the cases, their processes and the gates. The bus is compared with bare libzmq and the Python platform (`cases`),
//! with other brokers (`brokers`), and with the Python platform under the same Python agents (`python`); the whole platform has goals in milliseconds and megabytes
//! (`platform`); the historian is put beside its disk. Every figure is the median over rounds in which the contestants
//! run in shuffled order, each in fresh processes.
//!
//! The measuring runs in a release build with the feature `bench`; without it this module only starts that build,
//! so that the other tasks stay quick to compile. Start reading at `cases.rs`.

use std::process::ExitCode;

#[cfg(feature = "bench")]
mod brokers;
#[cfg(feature = "bench")]
mod cases;
#[cfg(feature = "bench")]
mod contestant;
#[cfg(feature = "bench")]
mod frames;
#[cfg(feature = "bench")]
mod load;
#[cfg(feature = "bench")]
mod options;
#[cfg(feature = "bench")]
mod ours;
#[cfg(feature = "bench")]
mod platform;
#[cfg(feature = "bench")]
mod process;
#[cfg(feature = "bench")]
mod python;
#[cfg(feature = "bench")]
mod raw;
#[cfg(feature = "bench")]
mod report;
#[cfg(feature = "bench")]
mod rpc;
#[cfg(feature = "bench")]
mod setup;

/// `cargo xtask bench [--short] [--rounds N] [--seconds S] [--only WORD] [--no-python] [--no-gate]`; see [`options::Options`].
#[cfg(feature = "bench")]
pub fn run(args: &[String]) -> ExitCode {
    let done = match args {
        [role, rest @ ..] if role == "role" => setup::play(rest),
        _ => options::Options::parse(args).and_then(|options| all(&options)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Every part that is asked for; `false` when one misses a goal.
#[cfg(feature = "bench")]
fn all(options: &options::Options) -> setup::Outcome<bool> {
    let mut passed = cases::run(options)?;
    brokers::run(options)?;
    passed &= platform::run(options)?;
    passed &= !options.with_python || python::run(options)?;
    if options.wants("historian") {
        let report = crate::historian::bench(options.short)?;
        println!("\n{}", report.text());
        // A disk cannot be hurried; the short form only shows that it works.
        passed &= options.short || report.passed();
    }
    Ok(passed || !options.gated)
}

/// Builds what is measured, and starts the measuring program.
#[cfg(not(feature = "bench"))]
pub fn run(args: &[String]) -> ExitCode {
    let programs = ["volttron-server", "volttron-listener"];
    let mut build = crate::shell::cargo();
    build.args(["build", "--release", "--quiet", "--bins"]);
    for program in programs {
        build.args(["--package", program]);
    }
    if let Err(e) = crate::shell::run(&mut build) {
        eprintln!("bench: {e}");
        return ExitCode::FAILURE;
    }
    let mut command = crate::shell::cargo();
    command.args(["run", "--release", "--quiet", "--package", "xtask", "--features", "bench", "--", "bench"]);
    match command.args(args).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench: cannot start cargo: {e}");
            ExitCode::FAILURE
        }
    }
}
