//! Agents that outlive their platform (`--keep-agents`) and are taken over by the next one.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use volttron_tests::platform::Platform;
use volttron_tests::wait::until;
use volttron_utils::home::process_started;

const PATIENCE: Duration = Duration::from_secs(30);

fn pid(row: &Value) -> Option<u32> {
    row["status"].as_str()?.strip_prefix("running [")?.strip_suffix(']')?.parse().ok()
}

/// Waits until the agent is well; its process.
fn well(platform: &Platform, identity: &str) -> u32 {
    until("the agent to be well", PATIENCE, || {
        let row = platform.row(identity);
        pid(&row).filter(|_| row["state"] == "running" && row["health"]["message"] == "GOOD")
    })
}

fn keeping() -> Platform {
    let mut platform = Platform::prepare();
    platform.configure("keep-agents = True");
    platform.launch();
    platform
}

fn end(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("signal the agent");
}

/// The agent hears what is published.
fn hears(platform: &Platform, identity: &str, mark: &str) {
    until("the agent to hear", PATIENCE, || {
        platform.vctl_ok(&["pub", "test/x", &format!("{mark:?}")]);
        let log = platform.vctl_ok(&["logs", identity, "-n", "1000"]);
        log.contains(mark).then_some(())
    });
}

#[test]
fn agents_outlive_their_platform_however_it_ends_and_work_on() {
    let mut platform = keeping();
    platform.install_listener(&["--vip-identity", "one", "--enable", "--start"]);
    platform.install_listener(&["--vip-identity", "two", "--start"]);
    let (one, two) = (well(&platform, "one"), well(&platform, "two"));
    assert_eq!(platform.row("one")["adopted"], false);
    hears(&platform, "one", "before");
    type Ending = fn(&mut Platform);
    let endings: [(&str, Ending); 3] = [
        ("killed", |platform| platform.kill()),
        ("stopped in order", |platform| {
            assert_eq!(platform.terminate(), 0);
        }),
        ("shut down by an operator who wants them to stay", |platform| {
            platform.vctl_ok(&["shutdown", "--platform", "--keep-agents"]);
            platform.take_child().wait().expect("wait for the platform");
        }),
    ];
    for (what, end_platform) in endings {
        end_platform(&mut platform);
        assert!(process_started(one).is_some() && process_started(two).is_some(), "{what}: they live on");
        platform.launch();
        assert_eq!(
            (well(&platform, "one"), well(&platform, "two")),
            (one, two),
            "{what}: none was started twice"
        );
        assert_eq!(platform.row("two")["adopted"], true);
        hears(&platform, "one", what);
    }
    let log = platform.vctl_ok(&["logs", "one", "-n", "1000"]);
    assert_eq!(
        log.lines().filter(|line| line.contains("Hello")).count(),
        1,
        "told once, and never again: {log}"
    );

    // Stopping works; what cannot be known is said.
    platform.vctl_ok(&["stop", "one"]);
    assert!(process_started(one).is_none());
    let row = platform.row("one");
    assert_eq!(
        (&row["status"], &row["last_exit"], &row["exit_unknown"]),
        (&"0".into(), &Value::Null, &true.into())
    );
    // One that crashes is started again, as a child of this platform.
    end(two, Signal::KILL);
    let again = until("another process", PATIENCE, || pid(&platform.row("two")).filter(|&pid| pid != two));
    let row = platform.row("two");
    assert!(row["last_crash"]["how"].as_str().is_some_and(|how| how.contains("unknown")), "{row}");
    assert_eq!((&row["last_crash"]["exit"], &row["adopted"]), (&Value::Null, &false.into()));
    platform.vctl_ok(&["shutdown", "--platform"]);
    platform.take_child().wait().expect("wait for the platform");
    assert!(process_started(again).is_none(), "an ordinary shutdown stops them");
}

#[test]
fn a_record_that_does_not_fit_takes_nobody_over() {
    let mut platform = keeping();
    platform.install_listener(&["--vip-identity", "one", "--enable", "--start"]);
    let one = well(&platform, "one");
    platform.kill();
    end(one, Signal::KILL);
    let mut stranger = Command::new("sleep").arg("600").spawn().expect("start sleep");
    let file = platform.home().join("run/agents.json");
    let text = fs::read_to_string(&file).expect("the record");
    assert!(text.contains(&one.to_string()), "{text}");
    fs::write(&file, text.replace(&one.to_string(), &stranger.id().to_string())).expect("write the record");
    platform.launch();
    let now = well(&platform, "one");
    assert!(now != one && now != stranger.id());
    assert!(stranger.try_wait().expect("look").is_none(), "the stranger is left alone");
    stranger.kill().expect("end it");
    stranger.wait().expect("wait for it");

    // A platform that keeps nobody takes over what there is, and stops it when it ends.
    platform.kill();
    let config = platform.home().join("config");
    let text = fs::read_to_string(&config).expect("config").replace("keep-agents = True", "");
    fs::write(&config, text).expect("write config");
    platform.launch();
    assert_eq!(well(&platform, "one"), now);
    let refused = platform.vctl(&["shutdown", "--platform", "--keep-agents"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("not started with --keep-agents"),
        "{refused:?}"
    );
    platform.terminate();
    assert!(process_started(now).is_none());
}
