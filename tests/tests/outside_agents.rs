//! Agents that the platform did not install: run in the foreground with `vctl run`, or enrolled with `vctl auth enroll`.
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(30);

fn rules(platform: &Platform) -> String {
    fs::read_to_string(platform.home().join("auth.json")).expect("read auth.json")
}

fn is_there(platform: &Platform, identity: &str) -> bool {
    platform.vctl_ok(&["peerlist"]).lines().any(|line| line.trim() == identity)
}

fn run_listener(platform: &Platform, identity: &str) -> Child {
    let listener = program("volttron-listener");
    let mut vctl = platform.command("vctl");
    vctl.arg("run")
        .arg(listener)
        .args(["--vip-identity", identity])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    vctl.spawn().expect("vctl runs")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).expect("send a signal");
}

#[test]
fn an_agent_in_the_foreground_has_rights_only_while_it_runs() {
    let platform = Platform::start();
    let before = rules(&platform);
    let mut run = run_listener(&platform, "guest");
    until("the guest is on the bus", PATIENCE, || is_there(&platform, "guest").then_some(()));
    assert!(rules(&platform).contains("\"guest\""));
    signal(&run, Signal::INT);
    assert_eq!(run.wait().expect("vctl ends").code(), Some(0), "an agent that is stopped ends well");
    assert!(!is_there(&platform, "guest"));
    assert_eq!(rules(&platform), before);
    let left = fs::read_dir(platform.home().join("cache/run")).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0, "what it was given is gone");

    // Killed, it cannot tidy up: the next run does.
    let mut run = run_listener(&platform, "killed");
    until("the agent is on the bus", PATIENCE, || is_there(&platform, "killed").then_some(()));
    signal(&run, Signal::KILL);
    run.wait().expect("vctl ends");
    assert!(rules(&platform).contains("\"killed\""));
    let mut run = run_listener(&platform, "guest");
    until("the guest is on the bus", PATIENCE, || is_there(&platform, "guest").then_some(()));
    assert!(!rules(&platform).contains("\"killed\""));
    signal(&run, Signal::TERM);
    run.wait().expect("vctl ends");
    assert_eq!(rules(&platform), before);
}

#[test]
fn names_of_the_platform_and_unknown_programs_are_refused() {
    let platform = Platform::start();
    let before = rules(&platform);
    let listener = program("volttron-listener").display().to_string();
    for (args, expected) in [
        (["run", &listener, "--vip-identity", "control"], "none of the platform's own"),
        (["run", "/no/such/agent", "--vip-identity", "x"], "Invalid file"),
        (["auth", "enroll", "platform.auth", "--capability=x"], "none of the platform's own"),
    ] {
        let output = platform.vctl(&args);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    assert_eq!(rules(&platform), before);
}

#[test]
fn an_enrolled_agent_runs_with_the_environment_that_was_printed() {
    let platform = Platform::start();
    let printed = platform.vctl_ok(&["auth", "enroll", "weather", "--capability", "can_forecast"]);
    let mut agent = Command::new(program("volttron-listener"));
    agent.env_clear().env("HOME", platform.home()).stdout(Stdio::null()).stderr(Stdio::null());
    for line in printed.lines() {
        let (name, value) = line.split_once('=').expect("NAME=value");
        agent.env(name, value);
    }
    assert!(printed.contains("VOLTTRON_VIP_ADDR=tcp://"), "{printed}");
    let mut agent = agent.spawn().expect("the agent starts");
    until("the enrolled agent is on the bus", PATIENCE, || is_there(&platform, "weather").then_some(()));
    assert!(rules(&platform).contains("can_forecast"));
    signal(&agent, Signal::INT);
    assert!(agent.wait().expect("the agent ends").success());
}
