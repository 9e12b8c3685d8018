//! `cargo xtask bench`: how fast the bus is, always as a ratio to bare libzmq in the same run.
//!
//! Owns the cases, their processes and the gates. Every figure is the median over rounds in which the contestants run
//! in shuffled order, each in fresh processes: a router on one side, its load on the other, so that neither's threads
//! hide in the other's.
//!
//! The measuring runs in a release build with the feature `bench`; without it this module only starts that build,
//! so that the other tasks stay quick to compile. Start reading at `cases.rs`.

use std::process::ExitCode;

#[cfg(feature = "bench")]
mod cases;
#[cfg(feature = "bench")]
mod contestant;
#[cfg(feature = "bench")]
mod frames;
#[cfg(feature = "bench")]
mod load;
#[cfg(feature = "bench")]
mod ours;
#[cfg(feature = "bench")]
mod process;
#[cfg(feature = "bench")]
mod raw;
#[cfg(feature = "bench")]
mod report;
#[cfg(feature = "bench")]
mod rpc;
#[cfg(feature = "bench")]
mod setup;

/// `cargo xtask bench [--short] [--rounds N] [--seconds S] [--only WORD] [--no-gate]`.
///
/// `--short`: fewer, shorter rounds and gates with room for noise, for CI. `--only`: cases whose name contains WORD.
#[cfg(feature = "bench")]
pub fn run(args: &[String]) -> ExitCode {
    let done = match args {
        [role, rest @ ..] if role == "role" => setup::play(rest),
        _ => cases::run(args),
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

/// Builds and starts the measuring program.
#[cfg(not(feature = "bench"))]
pub fn run(args: &[String]) -> ExitCode {
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
