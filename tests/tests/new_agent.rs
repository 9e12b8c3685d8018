//! `vctl new`: the crates it writes stand alone, are formatted, and pass their own tests; the agent installs and works.
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use volttron_tests::generated::{lock, target, workshop_in};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;

/// A directory outside the workspace; cargo finds our crates through its configuration.
fn workshop() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    workshop_in(dir.path());
    dir
}

fn cargo(args: &[&str], directory: &Path) {
    let mut cargo = Command::new("cargo");
    let status = cargo.args(args).current_dir(directory).env("CARGO_TARGET_DIR", target()).status();
    assert!(status.expect("cargo runs").success(), "cargo {args:?} in {}", directory.display());
}

fn vctl_new(kind: &str, name: &str, workshop: &Path) -> PathBuf {
    let mut vctl = Command::new(program("vctl"));
    let status =
        vctl.args(["new", kind, name, "--yes", "--author", "A. Thor <a@example.org>"]).current_dir(workshop);
    assert!(status.status().expect("vctl runs").success());
    let directory = workshop.join(name);
    // cargo leaves out what is not needed.
    lock(&directory);
    directory
}

#[test]
fn generated_crates_pass_their_own_tests_and_the_agent_installs() {
    let workshop = workshop();
    for (kind, name) in [("agent", "pump-watch"), ("driver", "volttron-boiler"), ("historian", "shelf")] {
        let directory = vctl_new(kind, name, workshop.path());
        cargo(&["fmt", "--check"], &directory);
        cargo(&["test", "--offline", "--quiet"], &directory);
    }

    let platform = Platform::start();
    // A build of its own would compile everything once more, in the release profile: the program is there already.
    let built = target().join("debug/pump-watch");
    let config = workshop.path().join("pump-watch/config.yml");
    let [built, config] = [&built, &config].map(|path| path.to_str().expect("a plain path"));
    let installed = platform.vctl_json(&["install", built, "--agent-config", config, "--start"]);
    assert_eq!(installed["started"], true, "{installed}");
    platform.vctl_ok(&["pub", "devices/campus/pump/all", "[{\"Flow\": 1}]"]);
    let identity =
        installed["vip_identity"].as_str().or(installed["identity"].as_str()).unwrap_or("pump-watch-1");
    assert_eq!(platform.vctl_ok(&["call", identity, "count"]).trim(), "1");
}

#[test]
fn what_cannot_be_a_crate_is_refused_before_anything_is_written() {
    let workshop = tempfile::tempdir().expect("a temporary directory");
    let mut vctl = Command::new(program("vctl"));
    let output = vctl.args(["new", "agent", "Pump", "--yes"]).current_dir(workshop.path()).output();
    let output = output.expect("vctl runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("new: error: name 'Pump': "), "{said}");
    assert_eq!(fs::read_dir(workshop.path()).expect("read the directory").count(), 0);
}
