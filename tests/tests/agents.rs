//! The life of installed agents, from `vctl install` to `vctl remove`, with the real programs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::wait::until;
use volttron_utils::home::process_started;

const PATIENCE: Duration = Duration::from_secs(30);

fn listener() -> String {
    program("volttron-listener").display().to_string()
}

/// The pid as scripts find it: between the first brackets.
fn pid(platform: &Platform, identity: &str) -> Option<u32> {
    let text = platform.row(identity)["status"].as_str()?.to_owned();
    text.strip_prefix("running [")?.strip_suffix(']')?.parse().ok()
}

fn running(platform: &Platform, identity: &str) -> u32 {
    until("the agent to run", PATIENCE, || pid(platform, identity))
}

fn end(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("signal the agent");
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_agent_runs_as_long_as_its_operator_wants() {
    let platform = Platform::start();
    let installed = platform.install_listener(&["--tag", "hall", "--start"]);
    let uuid = installed["agent_uuid"].as_str().expect("a uuid").to_owned();
    assert_eq!((&installed["tag"], &installed["started"]), (&"hall".into(), &true.into()));

    let row = platform.row("listener-1");
    assert_eq!(row["status"], format!("running [{}]", installed["pid"]));
    assert_eq!(row["health"]["message"], "GOOD", "as soon as install returned");
    assert_eq!(row["agent_uuid"], uuid.as_str());
    let first = running(&platform, "listener-1");

    assert_eq!(platform.vctl_ok(&["start", &uuid]), "", "it runs: nothing to say");
    assert_eq!(
        platform.vctl_ok(&["stop", "--tag", "hall"]),
        format!("Stopping {uuid} volttron-listener-0.1.0\n")
    );
    assert_eq!(platform.row("listener-1")["status"], "0");
    assert_eq!(platform.row("listener-1")["health"], "");
    assert!(process_started(first).is_none());
    platform.vctl_ok(&["start", "listener-1"]);
    assert_eq!(platform.row("listener-1")["health"]["message"], "GOOD", "as soon as start returned");
    let second = running(&platform, "listener-1");
    platform.vctl_ok(&["restart", "--all-tagged"]);
    let third = running(&platform, "listener-1");
    assert!(first != second && second != third);

    let auth = fs::read_to_string(platform.home().join("auth.json")).expect("auth.json");
    assert!(auth.contains("\"listener-1\""));
    assert_eq!(
        platform.vctl_ok(&["remove", &uuid, "-f"]),
        format!("Removing {uuid} volttron-listener-0.1.0\n")
    );
    assert!(process_started(third).is_none());
    let auth = fs::read_to_string(platform.home().join("auth.json")).expect("auth.json");
    assert!(!auth.contains("\"listener-1\""), "its entry goes with it");
    assert_eq!(fs::read_dir(platform.home().join("agents")).expect("agents").count(), 0);
    assert_eq!(platform.vctl_json(&["status"]), serde_json::json!({}));
}

#[test]
fn a_crash_shows_its_code_before_the_agent_is_back() {
    let platform = Platform::start();
    platform.install_listener(&["--vip-identity", "one", "--start"]);
    let first = running(&platform, "one");
    end(first, Signal::KILL);
    until("the exit code", PATIENCE, || (platform.row("one")["status"] == "-9").then_some(()));
    assert_ne!(running(&platform, "one"), first);
    until("its health", PATIENCE, || (platform.row("one")["health"]["message"] == "GOOD").then_some(()));
}

#[test]
fn a_killed_platform_leaves_no_orphan_and_comes_back_with_the_same_agents() {
    let mut platform = Platform::start();
    let one = platform.install_listener(&["--vip-identity", "one", "--enable", "--start"]);
    let two = platform.install_listener(&["--vip-identity", "two", "--priority", "70", "--start"]);
    platform.install_listener(&["--vip-identity", "three"]);
    let before = [running(&platform, "one"), running(&platform, "two")];
    platform.kill();
    for pid in before {
        until("an orphan to end", PATIENCE, || process_started(pid).is_none().then_some(()));
    }
    platform.launch();
    for (identity, installed) in [("one", &one), ("two", &two)] {
        assert!(!before.contains(&running(&platform, identity)));
        assert_eq!(platform.row(identity)["agent_uuid"], installed["agent_uuid"]);
    }
    assert_eq!(platform.row("three")["status"], "", "not enabled, not started");
    platform.vctl_ok(&["shutdown", "--platform"]);
    assert!(!platform.home().join("VOLTTRON_PID").exists());
}

#[test]
fn a_forced_install_replaces_the_program_and_nothing_else() {
    let platform = Platform::start();
    let config = platform.home().join("my.config");
    fs::write(&config, "{\"log-level\": \"INFO\"} # note\n").expect("write");
    let config = config.display().to_string();
    let before = platform.install_listener(&[
        "--vip-identity",
        "one",
        "--agent-config",
        &config,
        "--tag",
        "t",
        "--start",
    ]);
    let dir = platform.home().join("agents/one");
    let key = fs::read(dir.join("keystore.json")).expect("keys");
    fs::write(dir.join("data/kept"), "data").expect("write");
    let first = running(&platform, "one");

    let refused = platform.vctl(&["--json", "install", &listener(), "--vip-identity", "one"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("Identity already exists.  Pass --force option to re-install."));
    assert_eq!(running(&platform, "one"), first, "a refusal changes nothing");

    let after = platform.install_listener(&["--vip-identity", "one", "--force"]);
    assert_eq!(after["agent_uuid"], before["agent_uuid"]);
    assert_eq!(
        (&after["starting"], &after["started"]),
        (&true.into(), &true.into()),
        "it ran, so it runs again"
    );
    assert_ne!(running(&platform, "one"), first);
    assert_eq!(fs::read(dir.join("keystore.json")).expect("keys"), key);
    assert_eq!(fs::read_to_string(dir.join("data/kept")).expect("data"), "data");
    assert_eq!(platform.row("one")["agent_tag"], "t");
    // The paths that programs written for 9.x read.
    let older: PathBuf = platform.home().join("agents").join(after["agent_uuid"].as_str().expect("a uuid"));
    assert_eq!(fs::read_to_string(older.join("IDENTITY")).expect("IDENTITY"), "one");
    let info = older.join("volttron-listener-0.1.0/volttron-listener-0.1.0.dist-info");
    assert!(fs::read_to_string(info.join("config")).expect("config").contains("log-level"));
}

#[test]
fn a_start_that_fails_says_why() {
    let platform = Platform::start();
    platform.install_listener(&["--vip-identity", "bad", "--env", "VOLTTRON_SERVERKEY=nonsense"]);
    let output = platform.vctl(&["start", "bad"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("bad did not come up") && text.contains("VOLTTRON_SERVERKEY"), "{text}");
    let output =
        platform.vctl(&["--json", "install", &listener(), "--vip-identity", "bad", "--force", "--start"]);
    assert!(output.status.success(), "with --json the object tells: {output:?}");
    let object: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(object["started"], true, "the forced install dropped the bad variable");
}

#[test]
fn files_answer_when_the_platform_does_not_run() {
    let mut platform = Platform::start();
    let installed = platform.install_listener(&["--vip-identity", "one"]);
    let uuid = installed["agent_uuid"].as_str().expect("a uuid").to_owned();
    let online = platform.vctl_json(&["list"]);
    platform.terminate();
    assert_eq!(platform.vctl_json(&["list"]), online);
    assert!(platform.vctl_ok(&["enable", "-p", "7", "one"]).contains("with priority 07"));
    platform.vctl_ok(&["tag", "one", "roof"]);
    assert_eq!(platform.vctl_ok(&["tag", "one"]), "roof\n");
    let row = platform.vctl_json(&["list"])["one"].clone();
    assert_eq!((&row["PRI"], &row["agent_tag"]), (&"07".into(), &"roof".into()));
    platform.vctl_ok(&["disable", &uuid]);
    assert_eq!(platform.vctl_json(&["list"])["one"]["PRI"], "");
    assert_eq!(platform.vctl(&["tag", "nobody", "x"]).status.code(), Some(10));
    for command in [&["peerlist"][..], &["status"], &["start", "one"], &["config", "list"]] {
        let output = platform.vctl(command);
        assert_eq!(output.status.code(), Some(10), "{command:?}");
        let expected = "VOLTTRON is not running. This command requires VOLTTRON platform to be running\n";
        assert_eq!(stderr(&output), expected);
    }
}

#[test]
fn scripts_get_the_codes_and_texts_they_know() {
    let platform = Platform::start();
    let none = platform.vctl(&["list"]);
    assert_eq!((none.status.code(), stderr(&none).as_str()), (Some(0), "No installed Agents found\n"));
    for command in
        [&["start", "none"][..], &["stop", "none"], &["restart", "none"], &["start", "--all-tagged"]]
    {
        let output = platform.vctl(command);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {output:?}");
    }
    for command in [&["start", "--all-tag"][..], &["stop", "--tagg", "x"], &["start"], &["nonsense"]] {
        assert_eq!(platform.vctl(command).status.code(), Some(2), "{command:?}");
    }
    let missing = platform.vctl(&["--json", "install", "/no/such.whl"]);
    assert!(!missing.status.success() && stderr(&missing).contains("Invalid file /no/such.whl"));
    let reserved = platform.vctl(&["install", &listener(), "--vip-identity", "platform.auth"]);
    assert!(!reserved.status.success() && stderr(&reserved).contains("belongs to the platform"));
    let peers = platform.vctl_ok(&["peerlist"]);
    assert!(peers.lines().any(|line| line == "control") && peers.lines().any(|line| line == "config.store"));
    platform.vctl_ok(&["config", "store", "one", "config", "--raw"]);
    platform.vctl_ok(&["config", "delete", "one", "config"]);
    let output = platform.vctl(&["config", "get", "one", "config"]);
    assert_eq!(output.status.code(), Some(20));
    assert!(stderr(&output).contains("No configuration file \"config\" for VIP IDENTIY one"), "{output:?}");
}
