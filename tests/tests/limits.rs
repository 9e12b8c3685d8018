//! Agents in control groups (`agent-cgroup`), with real groups: needs the right to make some, and is left out (aloud) without.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed; one that is skipped says so"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(30);

/// A group that was delegated to a platform.
struct Delegated(PathBuf);

impl Delegated {
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let Some(place) = mount.and_then(|line| line.split(' ').nth(1)) else {
            eprintln!("LEFT OUT: no control groups of version 2 are mounted");
            return None;
        };
        let path = Path::new(place).join(format!("volttron-test-{name}-{}", std::process::id()));
        // A controller reaches a group if the one above passes it on.
        for controller in ["memory", "cpu", "pids"] {
            let _ = fs::write(Path::new(place).join("cgroup.subtree_control"), format!("+{controller}"));
        }
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                eprintln!("LEFT OUT: {}: {error}", path.display());
                None
            }
        }
    }

    fn has(&self, controller: &str) -> bool {
        let offered = fs::read_to_string(self.0.join("cgroup.controllers")).expect("controllers");
        let has = offered.split_whitespace().any(|name| name == controller);
        if !has {
            eprintln!("LEFT OUT: no controller `{controller}` of version 2 here");
        }
        has
    }

    fn group(&self, identity: &str) -> PathBuf {
        self.0.join("agents").join(identity)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let gone = |path: &Path| fs::remove_dir(path).is_ok() || !path.exists();
        until("the groups to be empty", PATIENCE, || {
            let agents = self.0.join("agents");
            for entry in fs::read_dir(&agents).into_iter().flatten().flatten() {
                gone(&entry.path());
            }
            (gone(&agents) && gone(&self.0)).then_some(())
        });
    }
}

fn edit(platform: &Platform, identity: &str, change: impl FnOnce(&mut Value)) {
    let path = platform.home().join("agents").join(identity).join("agent.json");
    let mut manifest = serde_json::from_str(&fs::read_to_string(&path).expect("read")).expect("JSON");
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).expect("write agent.json");
}

/// A listener that first leaves a process behind that is in no process group of its own; its number is in `data/left`.
fn install(platform: &Platform, identity: &str, limits: &Value) {
    let listener = program("volttron-listener").display().to_string();
    platform.vctl_ok(&["install", &listener, "--vip-identity", identity]);
    edit(platform, identity, |manifest| {
        let script = format!("setsid sleep 1000 & echo $! > data/left; exec {listener}");
        manifest["exec"] = "/bin/sh".into();
        manifest["args"] = json!(["-c", script]);
        manifest["limits"] = limits.clone();
    });
}

fn left(platform: &Platform, identity: &str) -> String {
    let path = platform.home().join("agents").join(identity).join("data/left");
    fs::read_to_string(path).expect("a number").trim().to_owned()
}

fn lives(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains(['Z', 'X']))
}

#[test]
fn what_an_agent_left_behind_ends_with_it() {
    let Some(delegated) = Delegated::new("end") else { return };
    let mut platform = Platform::prepare();
    platform.configure(&format!("agent-cgroup = {}", delegated.0.display()));
    platform.launch();
    install(&platform, "one", &json!({}));
    platform.vctl_ok(&["start", "one"]);
    let status = platform.vctl_json(&["status"]);
    assert_eq!(status["one"]["protection"]["cgroup"], delegated.group("one").display().to_string());
    let inside = fs::read_to_string(delegated.group("one").join("cgroup.procs")).expect("processes");
    assert_eq!(inside.lines().count(), 2, "the listener and what it left: {inside}");
    let pid = left(&platform, "one");
    assert!(lives(&pid));
    platform.vctl_ok(&["stop", "one"]);
    assert!(!lives(&pid));
    assert!(!delegated.group("one").exists());

    // So does what a platform that was killed left behind.
    platform.vctl_ok(&["start", "one"]);
    let pid = left(&platform, "one");
    platform.kill();
    assert!(lives(&pid));
    platform.launch();
    until("the leftover to end", PATIENCE, || (!lives(&pid)).then_some(()));
    until("its group to go", PATIENCE, || (!delegated.group("one").exists()).then_some(()));
    platform.terminate();
}

#[test]
fn without_a_group_it_stays() {
    let platform = Platform::start();
    install(&platform, "one", &json!({}));
    platform.vctl_ok(&["start", "one"]);
    let pid = left(&platform, "one");
    platform.vctl_ok(&["stop", "one"]);
    assert!(lives(&pid));
    let number = pid.parse().ok().and_then(rustix::process::Pid::from_raw).expect("a number");
    rustix::process::kill_process(number, rustix::process::Signal::KILL).expect("kill");
}

#[test]
fn limits_that_cannot_be_kept_are_told_or_refused() {
    let mut platform = Platform::prepare();
    platform.configure("agent-pids-max = 64");
    platform.launch();
    install(&platform, "one", &json!({"memory_max": 1_000_000_000}));
    platform.vctl_ok(&["start", "one"]);
    let protection = platform.vctl_json(&["status"])["one"]["protection"].clone();
    let none = json!({"memory_max": null, "cpu_max": null, "pids_max": null, "require": false});
    assert_eq!(protection["limits"], none);
    assert_eq!(
        protection["missing"],
        json!([
            "memory.max = 1000000000 (agent-cgroup is not set)",
            "pids.max = 64 (agent-cgroup is not set)"
        ])
    );
    assert!(platform.log().contains("WARNING: one: missing: memory.max"), "{}", platform.log());
    platform.vctl_ok(&["stop", "one"]);

    for (limits, why) in [
        (
            json!({"memory_max": 1_000_000_000, "require": true}),
            "its limits are required, and cannot be kept",
        ),
        (json!({"memory_max": 0}), "a limit of 0"),
        (json!({"memory": 5}), "unknown field `memory`"),
    ] {
        edit(&platform, "one", |manifest| manifest["limits"] = limits);
        let output = platform.vctl(&["start", "one"]);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(why), "{said}");
    }
    let _ = std::process::Command::new("kill").args(["-KILL", &left(&platform, "one")]).status();
}

#[test]
fn a_platform_says_why_it_cannot_make_groups() {
    let platform = Platform::prepare();
    platform.configure("agent-cgroup = /proc");
    let refused = platform.command("volttron").output().expect("volttron runs");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("/proc is not a control group of version 2"), "{said}");
}

#[test]
fn an_agent_cannot_have_more_processes_than_it_is_given() {
    let Some(delegated) = Delegated::new("pids") else { return };
    if !delegated.has("pids") {
        return;
    }
    let mut platform = Platform::prepare();
    platform.configure(&format!("agent-cgroup = {}", delegated.0.display()));
    platform.launch();
    let listener = program("volttron-listener").display().to_string();
    platform.vctl_ok(&["install", &listener, "--vip-identity", "one"]);
    edit(&platform, "one", |manifest| {
        // Fork until it fails; the listener needs two threads after that.
        let script = format!(
            "import os, signal\nchildren = []\ntry:\n    while len(children) < 200:\n        pid = os.fork()\n        \
             if pid == 0: signal.pause()\n        children.append(pid)\nexcept OSError as error:\n    \
             open('data/forks', 'w').write(f'{{len(children)}} {{error.errno}}')\nfor pid in children: \
             os.kill(pid, 9); os.waitpid(pid, 0)\nos.execv({listener:?}, [{listener:?}])\n"
        );
        manifest["exec"] = "/usr/bin/python3".into();
        manifest["args"] = json!(["-c", script]);
        manifest["limits"] = json!({"pids_max": 24, "require": true});
    });
    platform.vctl_ok(&["start", "one"]);
    // 24 with itself; EAGAIN.
    let forks = fs::read_to_string(platform.home().join("agents/one/data/forks")).expect("it failed");
    assert_eq!(forks, "23 11");
    assert_eq!(platform.vctl_json(&["status"])["one"]["protection"]["limits"]["pids_max"], 24);
    platform.terminate();
}
