//! Readers that go away, narrow terminals, platforms that end in the middle, homes of newer programs, two writers at
//! once: a clear message, the right exit code, and nothing changed by half.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::terminal::Dialogue;
use volttron_tests::wait::until;

fn listener() -> String {
    program("volttron-listener").display().to_string()
}

#[test]
fn a_command_that_shows_ends_when_its_reader_goes_away() {
    let platform = Platform::start();
    for verb in ["sub", "watch"] {
        let mut child = platform
            .command("vctl")
            .arg(verb)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start vctl");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let (send, first) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            // After the first line nobody reads any more.
            drop(send.send(lines.lines().next()));
        });
        until("a line", Duration::from_secs(30), || {
            platform.vctl_ok(&["pub", "test/x", "1"]);
            first.try_recv().ok()
        });
        reader.join().expect("the reader ends");
        until("its end", Duration::from_secs(30), || {
            platform.vctl_ok(&["pub", "test/x", "1"]);
            child.try_wait().expect("a child")
        });
        let output = child.wait_with_output().expect("it has ended");
        assert!(output.status.success() && output.stderr.is_empty(), "{verb}: {output:?}");
    }
}

#[test]
fn a_reader_that_went_away_does_not_stop_a_command_halfway() {
    let platform = Platform::start();
    for name in ["a1", "a2", "a3"] {
        platform.vctl_ok(&["install", &listener(), "--vip-identity", name]);
    }
    // Nobody reads what it prints from the first line on.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let args = ["enable", "--all"];
    let status = platform.command("vctl").args(args).stdout(writer).status().expect("run vctl");
    assert!(status.success());
    let listed = platform.vctl_json(&["list"]);
    assert!(["a1", "a2", "a3"].iter().all(|name| listed[name]["PRI"] == "50"), "{listed}");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let platform = Platform::prepare();
    for line in [&["auth", "keypair"][..], &["--json", "list"], &["export"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let mut command = platform.command("vctl");
        let output = command.args(line).stdout(full).stderr(Stdio::piped()).output().expect("run vctl");
        let why = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line:?}: {why}");
        assert!(why.contains("cannot write to standard output: No space left on device"), "{line:?}: {why}");
    }
}

#[test]
fn a_platform_that_ends_before_it_answers_is_not_waited_for() {
    let home = Platform::prepare();
    home.configure("allow-auth = False");
    // A process that is the platform, as far as anybody can tell, and answers nobody.
    let mut mute = Command::new("sleep").arg("600").spawn().expect("start sleep");
    fs::write(home.home().join("VOLTTRON_PID"), mute.id().to_string()).expect("write VOLTTRON_PID");
    let mut status = home.command("vctl");
    let status = status.arg("status").stderr(Stdio::piped()).spawn().expect("start vctl");
    until("vctl to wait for the platform", Duration::from_secs(30), || {
        let sockets = fs::read_dir(format!("/proc/{}/fd", status.id())).ok()?;
        let is_socket = |fd: &fs::DirEntry| {
            fs::read_link(fd.path()).is_ok_and(|to| to.starts_with("anon_inode:[eventpoll]"))
        };
        sockets.flatten().any(|fd| is_socket(&fd)).then_some(())
    });
    mute.kill().and_then(|()| mute.wait()).expect("kill it");
    let output = status.wait_with_output().expect("it ends");
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(10), "{why}");
    assert!(why.contains("VOLTTRON is not running"), "{why}");
}

#[test]
fn a_setting_that_is_not_in_force_yet_locks_nobody_out() {
    for (now, next) in [("True", "False"), ("False", "True")] {
        let mut platform = Platform::prepare();
        platform.configure(&format!("allow-auth = {now}"));
        platform.launch();
        platform.configure(&format!("allow-auth = {next}"));
        platform.vctl_ok(&["status"]);
        platform.vctl_ok(&["config", "store", "a", "b", "--raw", "/dev/null"]);
        platform.vctl_ok(&["shutdown", "--platform"]);
    }
}

#[test]
fn a_method_without_an_agent_is_an_error_with_a_platform_too() {
    let platform = Platform::start();
    platform.vctl_ok(&["install", &listener(), "--vip-identity", "ears"]);
    let output = platform.vctl(&["auth", "rpc", "add", "nobody.move", "may_move"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    platform.vctl_ok(&["auth", "rpc", "add", "ears.agent.version", "may_ask"]);
    assert_eq!(platform.vctl_json(&["auth", "rpc", "list"])["ears.agent.version"][0], "may_ask");
}

#[test]
fn a_signal_ends_a_question_at_once() {
    let platform = Platform::prepare();
    for (signal, code) in [(Signal::INT, 1), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut add = Dialogue::start(platform.command("vctl").args(["auth", "add"]));
        add.expect("domain");
        add.signal(signal);
        let (status, shown) = add.end();
        assert_eq!(status.code(), Some(code), "{signal:?}: {shown}");
    }
}

#[test]
fn narrow_terminals_get_the_whole_text() {
    let platform = Platform::prepare();
    for args in [&["--help"][..], &["install", "--help"], &["list"], &["config", "store", "--help"]] {
        let narrow = platform.command("vctl").args(args).env("COLUMNS", "20").output().expect("run vctl");
        assert!(narrow.status.success(), "{args:?}: {narrow:?}");
        // A word longer than a line is divided.
        let letters = |text: &[u8]| String::from_utf8_lossy(text).split_whitespace().collect::<String>();
        let wide = platform.command("vctl").args(args).env("COLUMNS", "200").output().expect("run vctl");
        assert_eq!(letters(&narrow.stdout), letters(&wide.stdout), "{args:?}");
    }
}

#[test]
fn a_platform_that_ends_in_the_middle_is_an_error_and_not_a_wait() {
    let mut platform = Platform::start();
    let mut child = platform
        .command("vctl")
        .args(["sub", "--count", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start vctl");
    until("vctl on the bus", Duration::from_secs(30), || {
        let text = platform.vctl_ok(&["call", "control", "peerlist"]);
        (text.matches("control.connection.").count() >= 2).then_some(())
    });
    platform.kill();
    let code = until("its end", Duration::from_secs(30), || child.try_wait().expect("a child"));
    assert!(!code.success(), "{code}");
    let output = child.wait_with_output().expect("it has ended");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("the platform"), "{text}");
}

#[test]
fn rules_of_a_newer_program_are_left_alone() {
    let platform = Platform::prepare();
    let file = platform.home().join("auth.json");
    let newer = r#"{"version": {"major": 2, "minor": 0}, "allow": {}}"#;
    fs::write(&file, newer).expect("write auth.json");
    let key = "0".repeat(43);
    for args in [
        &["auth", "list"][..],
        &["auth", "add-role", "r", "c"],
        &["auth", "add", "--user_id", "u", "--credentials", &key],
        &["auth", "remove", "0", "-y"],
    ] {
        let output = platform.vctl(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert!(text.contains("2.0 is newer than this program reads"), "{args:?}: {text}");
        assert_eq!(fs::read_to_string(&file).expect("auth.json"), newer);
    }
}

/// Runs commands at the same time and requires that each ends well.
fn at_once(platform: &Platform, commands: &[Vec<String>]) {
    let children: Vec<_> = commands
        .iter()
        .map(|args| {
            let mut command = platform.command("vctl");
            command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().expect("start vctl")
        })
        .collect();
    for (args, child) in commands.iter().zip(children) {
        let output = child.wait_with_output().expect("vctl ends");
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}

const WRITERS: usize = 8;

fn all_changes_stand(platform: &Platform) {
    let host = |n: usize| format!("10.0.0.{n}:22916");
    let key = "0".repeat(43);
    let commands = |words: &dyn Fn(usize) -> Vec<String>| (0..WRITERS).map(words).collect::<Vec<_>>();
    let texts = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    at_once(
        platform,
        &commands(&|n| texts(&["auth", "add-known-host", "--host", &host(n), "--serverkey", &key])),
    );
    at_once(platform, &commands(&|n| texts(&["auth", "add-role", &format!("r{n}"), "c"])));
    let hosts = platform.vctl_json(&["auth", "list-known-hosts"]);
    assert!((0..WRITERS).all(|n| hosts[host(n)] == key.as_str()), "{hosts}");
    let roles = platform.vctl_json(&["auth", "list-roles"]);
    assert!((0..WRITERS).all(|n| roles[format!("r{n}")].is_array()), "{roles}");
}

#[test]
fn changes_of_several_at_once_all_stand_without_a_platform() {
    all_changes_stand(&Platform::prepare());
}

#[test]
fn changes_of_several_at_once_all_stand_on_a_platform() {
    let platform = Platform::start();
    all_changes_stand(&platform);
    let commands = |verb: &'static str| {
        let words = move |n: usize| {
            vec![
                "config".to_owned(),
                verb.to_owned(),
                "a".to_owned(),
                format!("c{n}"),
                "-".to_owned(),
                "--raw".to_owned(),
            ]
        };
        (0..WRITERS).map(words).collect::<Vec<_>>()
    };
    at_once(&platform, &commands("store"));
    let names = platform.vctl_json(&["config", "list", "a"]);
    assert_eq!(names.as_array().map(Vec::len), Some(WRITERS), "{names}");
}

#[test]
fn one_of_two_installations_of_an_identity_is_refused() {
    let platform = Platform::start();
    let children: Vec<_> = (0..2)
        .map(|_| {
            let mut command = platform.command("vctl");
            command.args(["--json", "install", &listener(), "--vip-identity", "one"]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("start vctl")
        })
        .collect();
    let outputs: Vec<_> = children.into_iter().map(|c| c.wait_with_output().expect("vctl ends")).collect();
    let (well, refused): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.success());
    assert_eq!((well.len(), refused.len()), (1, 1), "{outputs:?}");
    let text = String::from_utf8_lossy(&refused[0].stderr).into_owned();
    assert!(refused[0].status.code() == Some(1) && text.contains("already exists"), "{text}");
    let done: Value = serde_json::from_slice(&well[0].stdout).expect("JSON");
    assert_eq!(platform.vctl_json(&["list"])["one"]["agent_uuid"], done["agent_uuid"]);
}

#[test]
fn tools_that_are_killed_in_the_middle_of_a_change_leave_a_whole_home() {
    let platform = Platform::start();
    for n in 0..5 {
        let mut command = platform.command("vctl");
        command.args(["install", &listener(), "--vip-identity", &format!("k{n}")]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start vctl");
        kill_process(Pid::from_child(&child), Signal::KILL).expect("kill vctl");
        child.wait().expect("it ends");
    }
    // Whatever became of them, the platform's list and its answers are whole, and the next one works.
    platform.vctl_json(&["status"]);
    platform.vctl_ok(&["install", &listener(), "--vip-identity", "k0", "--force"]);
    assert!(platform.vctl_json(&["list"])["k0"]["agent_uuid"].is_string());
}
