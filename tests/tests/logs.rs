//! What agents write is kept in a file of their own and shown by `vctl logs`; an agent that does not come up is explained.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use volttron_tests::platform::Platform;
use volttron_tests::pump::{Does, Pump};
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(30);

fn log_lines(platform: &Platform, args: &[&str]) -> Vec<String> {
    platform.vctl_ok(&[&["logs"], args].concat()).lines().map(str::to_owned).collect()
}

#[test]
fn what_an_agent_writes_is_kept_shown_and_removed_with_it() {
    let mut platform = Platform::start();
    platform.install_listener(&["--vip-identity", "one", "--start"]);
    let file = platform.home().join("logs/one.log");
    assert_eq!(fs::metadata(&file).expect("its file").permissions().mode() & 0o777, 0o600);
    let lines = until("its greeting", PATIENCE, || {
        Some(log_lines(&platform, &["one"])).filter(|lines| lines.iter().any(|l| l.contains("Hello")))
    });
    assert!(lines[0].contains(" (volttron-listener-0.1.0 "), "{lines:?}");
    let objects = platform.vctl_ok(&["--json", "logs", "one", "-n", "1"]);
    let object: Value = serde_json::from_str(&objects).expect("one JSON object");
    assert_eq!((&object["agent"], object["time"].is_string()), (&"one".into(), true), "{object}");

    // Followed through the platform's end, when an agent has its last words, and the next start.
    let mut command = platform.command("vctl");
    command.args(["logs", "one", "-f", "-n", "0"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut follower = command.spawn().expect("start vctl");
    let mut followed = BufReader::new(follower.stdout.take().expect("piped"));
    platform.vctl_ok(&["restart", "one"]);
    let mut line = String::new();
    while !line.contains("Hello") {
        line.clear();
        assert!(followed.read_line(&mut line).expect("a line") > 0, "the follower ended");
    }
    // Nobody reads any more: it ends by itself, without a word.
    drop(followed);
    let ended = until("the follower's end", PATIENCE, || follower.try_wait().expect("wait for vctl"));
    assert!(ended.success(), "{ended:?}");

    let own = platform.vctl_ok(&["logs", "-n", "500"]);
    assert!(own.contains("platform site1 is up"), "the platform's own log: {own}");
    platform.terminate();
    assert!(!log_lines(&platform, &["one"]).is_empty(), "without a platform");
    assert!(!platform.vctl_ok(&["logs"]).is_empty());
    assert_eq!(platform.vctl(&["logs", "nobody"]).status.code(), Some(10));
    assert_eq!(platform.vctl(&["logs", "one", "--level", "loud"]).status.code(), Some(2));
    assert!(log_lines(&platform, &["one", "--level", "critical"]).is_empty());
    assert!(!log_lines(&platform, &["one", "--since", "1h"]).is_empty());
    platform.launch();
    platform.install_listener(&["--vip-identity", "one", "--force"]);
    assert!(file.exists(), "kept when it is replaced");
    platform.vctl_ok(&["remove", "one", "-f"]);
    assert!(!file.exists());
}

#[test]
fn files_do_not_grow_beyond_their_limits_and_can_be_turned_off() {
    let mut platform = Platform::prepare();
    platform.configure("agent-log-size = 600\nagent-log-files = 2");
    platform.launch();
    platform.install_listener(&["--vip-identity", "one", "--start"]);
    let logs = platform.home().join("logs");
    // Each publication that the listener hears of is a line.
    until("files put aside", PATIENCE, || {
        platform.vctl_ok(&["pub", "test/x", "\"hear, hear\""]);
        logs.join("one.log.1").exists().then_some(())
    });
    assert!(!logs.join("one.log.2").exists());
    assert!(fs::metadata(logs.join("one.log.1")).expect("there").len() <= 600 + 300, "a line may be longer");
    platform.terminate();
    platform.configure("agent-log-size = 0");
    fs::remove_dir_all(&logs).expect("remove the logs");
    platform.launch();
    platform.vctl_ok(&["start", "one"]);
    platform.vctl_ok(&["stop", "one"]);
    assert!(!logs.join("one.log").exists());
    assert_eq!(platform.row("one")["log_file"], Value::Null);
}

#[test]
fn an_agent_that_does_not_come_up_is_explained_and_its_crash_remembered() {
    let platform = Platform::start();
    let dir = tempfile::tempdir().expect("a directory");
    let bad = Pump::write(dir.path(), "1.0.0", Does::Ends(3)).display().to_string();
    platform.vctl_ok(&["install", &bad, "--vip-identity", "pump"]);
    let output = platform.vctl(&["start", "pump"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    for part in ["did not come up: it ended with exit code 3", "there is no pump here", "vctl logs pump"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    let row = platform.row("pump");
    assert_eq!((&row["last_crash"]["exit"], &row["last_crash"]["how"]), (&3.into(), &"exit code 3".into()));
    assert!(row["last_crash"]["last_error"].as_str().is_some_and(|e| e.contains("no pump")), "{row}");
    let shown = platform.vctl_ok(&["-v", "status", "pump"]);
    assert!(shown.contains("pump: crashed ") && shown.contains("exit code 3"), "{shown}");
    let plain = platform.vctl_ok(&["status", "pump"]);
    assert_eq!(plain.lines().count(), 1, "programs read this: {plain}");

    platform.install_listener(&["--vip-identity", "one", "--start"]);
    let row = platform.row("one");
    assert!(row["memory_bytes"].as_u64() > Some(1 << 20) && row["cpu_s"].is_number(), "{row}");
    assert_eq!((&row["processes"], &row["last_crash"]), (&1.into(), &Value::Null));
    assert!(row["user"].is_string());
    let text = row["status"].as_str().expect("text");
    let pid = text.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), Signal::KILL).expect("kill it");
    let back = until("its return", PATIENCE, || {
        Some(platform.row("one")).filter(|row| row["restarts"] == 1 && row["state"] == "running")
    });
    assert_eq!(back["last_crash"]["how"], "signal 9 (SIGKILL)", "remembered though it runs again");
}
