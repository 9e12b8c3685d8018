//! Times `vctl install DIR --start` of agents made by `vctl new agent`: the first one compiles all dependencies, the others
//! only themselves. Prints seconds as JSON. `cargo xtask bench-ctl` runs it.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;
use volttron_tests::generated;
use volttron_tests::platform::Platform;

/// Agents after the first.
const NEXT: usize = 3;

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("run it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A crate that is ready to install, with a lock file.
fn crate_named(name: &str, platform: &Platform, workshop: &Path) {
    run(platform
        .command("vctl")
        .args(["new", "agent", name, "--yes", "--author", "A. Thor"])
        .current_dir(workshop));
    let directory = workshop.join(name);
    generated::lock(&directory);
    // Takes out of it what the crate does not need, as cargo wants it for `--locked`.
    run(Command::new("cargo").args(["update", "--workspace", "--offline", "--quiet"]).current_dir(directory));
}

/// Seconds until it is installed and runs.
fn install(name: &str, platform: &Platform, workshop: &Path) -> f64 {
    let mut vctl = platform.command("vctl");
    vctl.args(["install", &format!("./{name}"), "--start"])
        .current_dir(workshop)
        .env("CARGO_HOME", generated::of_the_user("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", generated::of_the_user("RUSTUP_HOME", ".rustup"))
        .env("CARGO_NET_OFFLINE", "true");
    let from = Instant::now();
    run(&mut vctl);
    from.elapsed().as_secs_f64()
}

fn main() {
    let workshop = tempfile::tempdir().expect("a directory");
    generated::workshop_in(workshop.path());
    let mut platform = Platform::prepare();
    generated::build_with_what_is_built(platform.home());
    platform.launch();
    let names: Vec<String> = (0..=NEXT).map(|n| format!("agent-{n}")).collect();
    for name in &names {
        crate_named(name, &platform, workshop.path());
    }
    let seconds: Vec<f64> = names.iter().map(|name| install(name, &platform, workshop.path())).collect();
    println!("{}", json!({"first_s": seconds[0], "next_s": seconds[1..]}));
}
