//! `cargo xtask test`: installs what the tests need, then runs all of them.

use crate::shell::{Outcome, cargo, step};
use crate::{check, config_store, test_peers};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the tests that need Python peers
    #[arg(long)]
    no_interop: bool,
    /// Install what the tests need, then stop
    #[arg(long)]
    setup_only: bool,
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    let peers = if args.no_interop { None } else { Some(test_peers::set_up()?) };
    if args.setup_only {
        return Ok(());
    }
    check::structure()?;
    // The process tests start the real programs, so these must be there and be current.
    step("build the programs", cargo().args(["build", "--workspace", "--bins"]))?;
    let mut tests = cargo();
    tests.args(["test", "--workspace"]);
    if let Some(peers) = &peers {
        tests.env("VOLTTRON_TEST_PYTHON", &peers.python).env("VOLTTRON_TEST_REQUIRE_PEERS", "1");
    }
    step("tests", &mut tests)?;
    eprintln!("== many configurations at once");
    config_store::bench(true)
}
