//! `vctl man DIR`: manual pages of the programs, for packages.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::args::Cli;
use super::output::Output;
use crate::ops::OpError;

/// Arguments of `vctl man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Directory for the pages
    pub dir: PathBuf,
}

/// Writes a page for each program and each verb.
pub(super) fn man(args: &ManArgs, out: &mut Output) -> Result<u8, OpError> {
    let failed = |source| OpError::File { what: args.dir.display().to_string(), source };
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    let small = [super::pkg::Cli::command(), super::home_upgrade::Cli::command()];
    let large = [Cli::command(), crate::options::command(), crate::cfg::command()];
    for command in large.into_iter().chain(small) {
        clap_mangen::generate_to(command, &args.dir).map_err(failed)?;
    }
    out.line(&format!("Manual pages written to {}", args.dir.display()));
    Ok(0)
}
