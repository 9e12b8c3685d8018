//! The checks that need a tool of their own: licences and banned crates, changes of public interfaces, combinations of
//! features. A tool that is not there is named, with the command that installs it, and its check is left out.

use std::process::Command;

use crate::shell::{Outcome, cargo, step, succeeds};

/// Libraries whose interface others build on.
const LIBRARIES: [&str; 2] = ["volttron-utils", "volttron-client"];

/// Runs every check whose tool is installed.
pub fn run() -> Outcome {
    if installed("deny") {
        // Advisories are left to CI: they need a database from the network, and what was well yesterday fails today.
        step(
            "licences, banned crates, sources",
            cargo().args(["deny", "check", "bans", "licenses", "sources"]),
        )?;
    }
    if installed("semver-checks") {
        for library in LIBRARIES {
            interface(library)?;
        }
    }
    if installed("hack") {
        let mut hack = cargo();
        hack.args([
            "hack",
            "check",
            "--quiet",
            "--feature-powerset",
            "--depth",
            "2",
            "--no-dev-deps",
            "--lib",
        ]);
        for library in LIBRARIES.iter().chain(&["volttron-router", "volttron-server"]) {
            hack.args(["--package", library]);
        }
        step("combinations of features", &mut hack)?;
    }
    Ok(())
}

fn installed(tool: &str) -> bool {
    let there = succeeds(cargo().args([tool, "--version"]));
    if !there {
        eprintln!("== left out: cargo-{tool} is not installed (`cargo install --locked cargo-{tool}`)");
    }
    there
}

/// Compares a library with what its last version tag has.
fn interface(library: &str) -> Outcome {
    let mut git = Command::new("git");
    git.args(["describe", "--tags", "--abbrev=0", "--match", &format!("{library}-v*")]);
    let tag = git.current_dir(crate::shell::workspace_root()).output().map_err(|e| format!("git: {e}"))?;
    if !tag.status.success() {
        eprintln!("== left out: {library} has no version tag yet to compare its interface with");
        return Ok(());
    }
    let tag = String::from_utf8_lossy(&tag.stdout).trim().to_owned();
    let mut semver = cargo();
    semver.args(["semver-checks", "--package", library, "--baseline-rev", &tag]);
    step(&format!("interface of {library} since {tag}"), &mut semver)
}
