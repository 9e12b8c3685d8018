//! Programs beside `vctl` that share its verbs: what their command lines have in common, and one run of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use volttron_utils::home::{Home, expand};

use super::output::Output;
use super::{DEFAULT_TIMEOUT, Vctl, until_interrupted};
use crate::codes::Coded;
use crate::ops::{OpError, Target};

/// Options of every such program.
#[derive(Args, Debug)]
pub(super) struct Common {
    /// Home of the platform, instead of VOLTTRON_HOME
    #[arg(long, value_name = "DIR", global = true)]
    vhome: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Say more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    // What scripts give the original: there is no log here, and nothing is said that could be left out.
    #[arg(short, long, action = clap::ArgAction::Count, global = true, hide = true)]
    quiet: u8,
    #[arg(short, long, value_name = "FILE", global = true, hide = true)]
    log: Option<PathBuf>,
}

impl Common {
    fn vctl(&self) -> Result<Vctl, OpError> {
        let home = match &self.vhome {
            Some(path) => Home::new(expand(&path.to_string_lossy())),
            None => Home::from_env(),
        }
        .map_err(|e| OpError::Usage(e.to_string()))?;
        let target = Target { home, address: None, timeout: DEFAULT_TIMEOUT, timeout_is_given: false };
        Ok(Vctl { target, json: self.json, verbose: self.verbose > 0 })
    }
}

/// Such a program, by its command line.
pub(super) trait Program: Parser {
    /// Begins its complaints.
    const NAME: &'static str;

    /// What it shares with the others.
    fn common(&self) -> &Common;

    /// Does what was asked; the exit code.
    async fn go(self, vctl: &Vctl, out: &mut Output) -> Result<u8, OpError>;
}

/// Runs it.
pub(super) fn main<P: Program>(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let program = match P::try_parse_from(line) {
        Ok(program) => program,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut out = Output::new(program.common().json);
    let vctl = program.common().vctl();
    let done = vctl.and_then(|vctl| until_interrupted(program.go(&vctl, &mut out)));
    ExitCode::from(done.unwrap_or_else(|error| {
        out.fail(&format!("{}: error: {error}", P::NAME), error.coded(), error.code());
        error.code()
    }))
}
