//! `vctl new`: the crates it writes stand alone, are formatted, and pass their own tests; the agent installs and works.
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use volttron_tests::platform::{Platform, sources};
use volttron_tests::programs::program;

/// The crates of ours that a generated crate needs, from the sources rather than from crates.io.
fn patches() -> String {
    let root = sources().parent().expect("the tests lie in the workspace").to_owned();
    let crates = ["client", "client-macros", "router", "utils", "zmq", "zmq-sys"];
    let line = |name: &str| {
        let path = root.join(format!("crates/volttron-{name}"));
        format!("volttron-{name} = {{ path = \"{}\" }}\n", path.display())
    };
    let lines: String = crates.into_iter().map(line).collect();
    format!("[patch.crates-io]\n{lines}")
}

/// A directory outside the workspace; cargo finds our crates through its configuration.
fn workshop() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(dir.path().join(".cargo")).expect("create .cargo");
    fs::write(dir.path().join(".cargo/config.toml"), patches()).expect("write the cargo configuration");
    dir
}

/// Builds are kept beside those of the workspace, so that only the first run compiles the dependencies.
fn target() -> PathBuf {
    program("vctl").ancestors().nth(2).expect("a target directory").join("generated")
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
    // The versions that the workspace was built with; cargo leaves out what is not needed.
    let lock = sources().parent().expect("the workspace").join("Cargo.lock");
    fs::copy(lock, directory.join("Cargo.lock")).expect("copy the lock file");
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
