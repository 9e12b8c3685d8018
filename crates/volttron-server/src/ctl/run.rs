//! `vctl run`: options in, the agent's output and exit code out.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use clap::Args;

use super::output::Output;
use super::{Vctl, seconds};
use crate::install::Build;
use crate::install::python::Settings;
use crate::ops::OpError;
use crate::ops::run::{Request, run as run_agent};

/// Options of `vctl run`.
#[derive(Args, Debug)]
#[command(
    after_help = "The agent gets a key pair and an entry in the rules of its own; both go when it ends.\n\n\
    Examples:\n  \
    vctl run .                                              the crate in this directory\n  \
    vctl run ./target/debug/pump-watch --vip-identity pump  a program that is built already\n  \
    vctl run . --agent-config config.yml --capability can_write\n  \
    vctl run ./my_python_agent                              a Python agent in a directory\n  \
    vctl run pypi:volttron-listener==0.2.0rc0               one from PyPI"
)]
pub struct RunArgs {
    /// Crate directory, .crate file, program, or name of a crate; of a Python agent its directory, wheel, or pypi:NAME
    path: String,
    /// VIP identity; the crate's default, made unique, if not given
    #[arg(long, value_name = "IDENTITY")]
    vip_identity: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    agent_config: Option<PathBuf>,
    /// What it may do, besides editing its own configuration entries; may be repeated
    #[arg(long = "capability", value_name = "NAME")]
    capabilities: Vec<String>,
    /// Which program, where the crate has several; which console script of a Python package
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    /// Build profile
    #[arg(long, value_name = "NAME", default_value = "dev")]
    profile: String,
    /// Interpreter for a Python agent
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Do not use the network
    #[arg(long)]
    offline: bool,
    /// Arguments of the program, after --
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// Seconds a build may take.
const BUILD_LIMIT_S: f64 = 1800.0;

pub(super) async fn run(vctl: &Vctl, args: RunArgs, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let build = Build {
        bin: args.bin.as_deref(),
        features: &[],
        no_default_features: false,
        offline: args.offline,
        profile: Some(&args.profile),
        limit: seconds(BUILD_LIMIT_S),
        verbose: vctl.verbose,
    };
    let configured = Settings::from_home(vctl.home());
    let python = Settings {
        interpreter: args.python.or(configured.interpreter.clone()),
        script: args.bin.clone(),
        offline: args.offline,
        verbose: vctl.verbose,
        ..configured
    };
    let request = Request {
        path: args.path,
        identity: args.vip_identity,
        config: args.agent_config,
        capabilities: args.capabilities,
        args: args.args,
        build,
        python,
    };
    let told = |identity: &str| out.complain(&format!("Running as {identity}; Ctrl-C stops it"));
    let status = run_agent(&session, vctl.home(), request, told).await?;
    if let Some(signal) = status.signal() {
        out.complain(&format!("The agent was killed by signal {signal}"));
    }
    // As shells do for a signal.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
