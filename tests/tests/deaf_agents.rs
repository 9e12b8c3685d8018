//! Agents and their children that do not listen when they are asked to stop: nobody else waits for them, and none stays.
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::pump::{Does, Pump};
use volttron_tests::wait::until;

const LONG: Duration = Duration::from_secs(60);

/// A platform with a deaf agent that runs; its process.
fn with_deaf_agent() -> (Platform, Pid) {
    let platform = Platform::start();
    let directory = tempfile::tempdir().expect("a directory");
    let pump = Pump::write(directory.path(), "1.0.0", Does::Deaf).display().to_string();
    platform.vctl_ok(&["install", &pump, "--vip-identity", "deaf"]);
    platform.vctl_ok(&["start", "deaf", "--wait", "0"]);
    let pid = until("its process to take signals", LONG, || {
        let pid = running(&platform)?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        let both = 1 << (Signal::INT.as_raw() - 1) | 1 << (Signal::TERM.as_raw() - 1);
        (caught & both == both).then_some(pid)
    });
    (platform, pid)
}

/// The process of the deaf agent.
fn running(platform: &Platform) -> Option<Pid> {
    let status = platform.vctl_json(&["status"]);
    let text = status["deaf"]["status"].as_str()?.strip_prefix("running [")?.strip_suffix(']')?.to_owned();
    Pid::from_raw(text.parse().ok()?)
}

/// How many processes of a process group live.
fn members(group: Pid) -> usize {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let stats = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let is_member = |stat: &String| {
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let state = fields.next();
        state != Some("Z") && fields.nth(1) == Some(&group.as_raw_nonzero().to_string())
    };
    stats.filter(is_member).count()
}

fn begin(platform: &Platform, words: &[&str]) -> Child {
    let mut vctl = platform.command("vctl");
    vctl.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    vctl.spawn().expect("start vctl")
}

fn is_stopping(platform: &Platform) -> Option<()> {
    (platform.vctl_json(&["status"])["deaf"]["state"] == "stopping").then_some(())
}

fn ends_well(child: Child) {
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn others_are_installed_and_removed_while_a_deaf_agent_is_removed() {
    let (platform, pid) = with_deaf_agent();
    let first = begin(&platform, &["remove", "-f", "deaf"]);
    until("the stop", LONG, || is_stopping(&platform));
    let mut second = begin(&platform, &["remove", "-f", "deaf"]);
    let impatient = platform.vctl(&["--timeout", "0.2", "remove", "-f", "deaf"]);
    assert_eq!(impatient.status.code(), Some(75), "{impatient:?}");

    let listener = program("volttron-listener").display().to_string();
    platform.vctl_ok(&["install", &listener, "--vip-identity", "ears", "--start"]);
    platform.vctl_ok(&["install", &listener, "--vip-identity", "ears", "--force"]);
    platform.vctl_ok(&["remove", "-f", "ears"]);
    assert!(second.try_wait().expect("a child").is_none(), "the deaf agent ended by itself");

    kill_process(pid, Signal::KILL).expect("kill it");
    // Both wanted it gone, and it is.
    ends_well(first);
    ends_well(second);
    assert_eq!(platform.vctl_json(&["list"]), serde_json::json!({}));
}

#[test]
fn what_an_agent_has_started_ends_with_it() {
    let platform = Platform::start();
    let directory = tempfile::tempdir().expect("a directory");
    let pump = Pump::write(directory.path(), "1.0.0", Does::Forks).display().to_string();
    for end in ["stop", "remove"] {
        platform.vctl_ok(&["install", &pump, "--vip-identity", "deaf", "--start", "--force"]);
        let deaf = platform.home().join("agents/deaf/data/deaf");
        until("its child to be deaf", LONG, || deaf.exists().then_some(()));
        std::fs::remove_file(&deaf).expect("remove it");
        let group = running(&platform).expect("a process");
        assert!(members(group) > 1);
        platform.vctl_ok(&[end, "deaf"]);
        assert_eq!(members(group), 0, "its children live after {end}");
    }
}

#[test]
fn an_agent_that_is_being_stopped_is_started_when_it_has_ended() {
    let (platform, pid) = with_deaf_agent();
    let stop = begin(&platform, &["stop", "deaf"]);
    until("the stop", LONG, || is_stopping(&platform));
    let start = begin(&platform, &["start", "deaf", "--wait", "0"]);
    kill_process(pid, Signal::KILL).expect("kill it");
    ends_well(stop);
    ends_well(start);
    let next = running(&platform).expect("a process");
    assert_ne!(next, pid);
    // The platform would wait for it when it ends.
    let stop = begin(&platform, &["stop", "deaf"]);
    until("the stop", LONG, || is_stopping(&platform));
    kill_process(next, Signal::KILL).expect("kill it");
    ends_well(stop);
}
