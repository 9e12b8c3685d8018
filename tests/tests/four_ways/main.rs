//! One suite for agents, run in four combinations: Rust and Python (volttron 10.0.5rc4) clients on the Rust and on the
//! Python platform.

mod cases;
mod defects;
mod python_client;
mod rust_agents;
mod rust_client;
mod world;

use std::collections::BTreeMap;

use cases::CASES;
use defects::{BY_CHANCE, DEFECTS, PYTHON_ON_PYTHON, PYTHON_ON_RUST, RUST_ON_PYTHON, RUST_ON_RUST};
use volttron_tests::platform::Platform;
use volttron_tests::python::{PythonAgent, PythonPlatform, interpreter};
use world::{Site, World};

/// Case to why it failed, or none.
type Results = BTreeMap<String, Option<String>>;

/// What does not agree with the list of defects.
fn judge(combination: &str, results: &Results) -> Vec<String> {
    let mut wrong = Vec::new();
    for (case, what) in CASES {
        let is_in =
            |list: &[(&str, &str, &str)]| list.iter().any(|(c, at, _)| c == case && *at == combination);
        let listed = is_in(DEFECTS);
        match (results.get(*case), listed) {
            (None, _) => wrong.push(format!("{combination}: {case} did not run")),
            (Some(Some(why)), false) if !is_in(BY_CHANCE) => {
                wrong.push(format!("{combination}: {case} ({what}) failed: {why}"))
            }
            (Some(None), true) => {
                wrong.push(format!(
                    "{combination}: {case} passes, but is listed as a defect; take it off the list"
                ));
            }
            (Some(Some(_)), _) | (Some(None), false) => {}
        }
    }
    for case in results.keys().filter(|name| !CASES.iter().any(|(case, _)| case == name)) {
        wrong.push(format!("{combination}: {case} is not in the table"));
    }
    let failed = results.values().filter(|why| why.is_some()).count();
    eprintln!("{combination}: {} cases, {} passed, {failed} failed", results.len(), results.len() - failed);
    wrong
}

fn agree(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn on_the_rust_platform() {
    let site = Site::new("site1");
    let mut platform = Platform::prepare();
    site.furnish(platform.home());
    platform.launch();
    let world = |prefix| World::new(&site, prefix, &platform.address(), &platform.server_key());
    let mut wrong = judge(RUST_ON_RUST, &rust_client::run(&world("rs")));
    if let Some(python) = interpreter() {
        wrong.extend(judge(PYTHON_ON_RUST, &python_client::run(&python, &world("py"))));
    }
    agree(&wrong);
}

#[test]
fn on_the_python_platform() {
    let Some(python) = interpreter() else { return };
    let site = Site::new("v10");
    // Now and then a fresh Python platform lets nobody in, its own agents included; a new one does. The agent that finds
    // out stays: the platform may end when it writes to an agent that has left.
    let (platform, _first) = (0..3)
        .find_map(|_| {
            let platform = PythonPlatform::start_with(&python, |home| site.furnish(home));
            let (address, key) = (platform.address(), platform.server_key());
            let first = PythonAgent::try_start(&python, "first", &address, &key, site.keys("first"))?;
            Some((platform, first))
        })
        .expect("a Python agent joins the Python platform in one of three attempts");
    let world = |prefix| World::new(&site, prefix, &platform.address(), &platform.server_key());
    let mut wrong = judge(RUST_ON_PYTHON, &rust_client::run(&world("rs")));
    wrong.extend(judge(PYTHON_ON_PYTHON, &python_client::run(&python, &world("py"))));
    agree(&wrong);
}

#[test]
fn every_listed_defect_names_a_case_and_gives_a_reason() {
    for (case, combination, reason) in DEFECTS.iter().chain(BY_CHANCE) {
        assert!(CASES.iter().any(|(name, _)| name == case), "{case} is not in the table");
        let known = [RUST_ON_RUST, RUST_ON_PYTHON, PYTHON_ON_RUST, PYTHON_ON_PYTHON];
        assert!(known.contains(combination) && reason.len() > 20, "{case}, {combination}: {reason}");
    }
}
