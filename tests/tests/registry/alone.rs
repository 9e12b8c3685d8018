//! Of this workspace's crates an agent needs the client, and what the client itself needs, and nothing else.

use std::collections::BTreeSet;
use std::process::Command;

use volttron_test_registry::{packages_of, publishable};
use volttron_tests::platform::sources;

const CLIENT: &str = "volttron-client";

/// The packages of the workspace that `package` is built with, itself included.
fn ours(package: &str) -> BTreeSet<String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = cargo.args(["--package", package]).current_dir(sources()).output().expect("run cargo");
    assert!(output.status.success(), "cargo tree: {output:?}");
    // `name v1.0.0 (/path)`: only what has a path is ours.
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .filter(|line| line.contains("(/"))
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect()
}

#[test]
fn agents_are_built_with_the_client_and_what_it_needs() {
    let root = sources().parent().expect("the workspace").to_owned();
    let mut allowed = ours(CLIENT);
    assert!(allowed.contains("volttron-utils") && !allowed.contains("volttron-server"), "{allowed:?}");
    let packages = packages_of(&root).expect("metadata");
    let below = |p: &&serde_json::Value| p["manifest_path"].as_str().is_some_and(|m| m.contains("/agents/"));
    let agents: Vec<&str> =
        packages.iter().filter(|p| publishable(p)).filter(below).filter_map(|p| p["name"].as_str()).collect();
    assert!(agents.contains(&"volttron-listener"), "{agents:?}");
    for agent in agents {
        allowed.insert(agent.to_owned());
        let built_with = ours(agent);
        assert!(built_with.contains(CLIENT), "{agent}");
        let others: Vec<_> = built_with.difference(&allowed).collect();
        assert!(others.is_empty(), "{agent} is built with {others:?}");
        allowed.remove(agent);
    }
}
