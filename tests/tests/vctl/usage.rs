//! What somebody typed wrongly, or set wrongly in a file: it is told before anything happens, with exit code 2, to people
//! and to programs.

use std::fs;
use std::process::{Output, Stdio};

use serde_json::Value;
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is said about a line that is to fail with this code.
fn refused(platform: &Platform, line: &[&str], code: i32) -> String {
    let output = platform.vctl(line);
    assert_eq!(output.status.code(), Some(code), "{line:?}: {output:?}");
    stderr(&output)
}

fn listener() -> String {
    program("volttron-listener").display().to_string()
}

#[test]
fn settings_before_any_section_count_and_bad_ones_name_their_line() {
    let platform = Platform::start();
    let file = platform.home().join("more");
    let path = file.to_str().expect("text");
    for text in ["timeout = 0.0001\n", "[global]\ntimeout = 0.0001\n", "[volttron-ctl]\ntimeout 0.0001\n"] {
        fs::write(&file, text).expect("write");
        let told = refused(&platform, &["-c", path, "peerlist"], 75);
        assert!(told.contains("operation timed out"), "{told}");
    }
    // Typed ones count more; what is the server's is none of ours.
    fs::write(&file, "timeout = 0.0001\nvip-address = tcp://127.0.0.1:1\nlog = /nowhere/x\nautostart = no\n")
        .expect("write");
    platform.vctl_ok(&["-c", path, "-t", "30", "peerlist"]);
    fs::write(&file, "# note\n[global]\ntimeout = abc\n").expect("write");
    let told = refused(&platform, &["-c", path, "peerlist"], 2);
    assert!(told.contains("more (line 3): timeout: a number of seconds is needed"), "{told}");
}

#[test]
fn the_options_are_shown_with_and_without_a_command() {
    let platform = Platform::prepare();
    for line in [&["--show-config"][..], &["--show-config", "status"], &["-t", "3", "--show-config"]] {
        let shown = platform.vctl_ok(line);
        let names: Vec<&str> = shown.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(
            names.contains(&"timeout") && names.contains(&"volttron_home") && names.is_sorted(),
            "{shown}"
        );
    }
    assert!(platform.vctl_ok(&[]).contains("Usage:"));
}

#[test]
fn mistakes_on_the_command_line_are_code_2_before_anything_happens() {
    let platform = Platform::start();
    platform.vctl_ok(&["install", &listener(), "--vip-identity", "pump"]);
    platform.vctl_ok(&["install", &listener(), "--vip-identity", "pump.two"]);
    let long = "x".repeat(65);
    for (line, part) in [
        (&["upgrade", "pump", "--auto-rollback", "xx"][..], "xx is no period; write 60s, 2m or 1h"),
        (&["upgrade", "pump", "--auto-rollback", "0s"], "0s is no period"),
        (&["tag", "pump", &long], "a tag has at most 64 characters, this one has 65"),
        (
            &["install", &listener(), "--vip-identity", "new", "--tag", &long],
            "a tag has at most 64 characters",
        ),
        (&["enable", "-p", "x", "pump"], "Received: x."),
        (&["enable", "-p", "100", "pump"], "Received: 100."),
        (&["--vhome", "/srv/typo", "list"], "--vhome /srv/typo: there is no such directory"),
        (&["--vhome", "/srv/typo", "status"], "--vhome /srv/typo: there is no such directory"),
    ] {
        let told = refused(&platform, line, 2);
        assert!(told.contains(part), "{line:?}: {told}");
    }
    assert_eq!(platform.vctl_json(&["list"]).as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(platform.row("pump")["agent_tag"], "");
    platform.vctl_ok(&["tag", "pump", &long[1..]]);
    let told = refused(&platform, &["history", "pump*"], 10);
    assert!(told.contains("multiple agents selected: pump*\n") && told.contains("by its uuid"), "{told}");
}

#[test]
fn a_home_without_agents_and_one_that_is_still_to_be_made_are_no_mistakes() {
    let dir = tempfile::tempdir().expect("a directory");
    let list = |home: &std::path::Path, arg: bool| {
        let mut command = std::process::Command::new(program("vctl"));
        command.env_remove("VOLTTRON_HOME");
        if arg {
            command.arg("--vhome").arg(home)
        } else {
            command.env("VOLTTRON_HOME", home)
        };
        command.arg("list").output().expect("run vctl")
    };
    for output in [list(dir.path(), true), list(&dir.path().join("fresh"), false)] {
        assert_eq!(
            (output.status.code(), stderr(&output).as_str()),
            (Some(0), "No installed Agents found\n")
        );
    }
}

#[test]
fn programs_that_ask_for_json_get_errors_as_json() {
    let platform = Platform::start();
    for (line, code) in [
        (&["start"][..], 2),
        (&["--nonsense"], 2),
        (&["config", "delete", "pump"], 2),
        (&["logs", "nobody"], 10),
        (&["list", "nobody"], 10),
        (&["status", "nobody"], 10),
        (&["start", "nobody"], 0),
        (&["diff", "-f", "/nowhere"], 2),
        (&["apply", "-f", "/nowhere"], 2),
        (&["remove", "nobody"], 10),
        (&["sub", "--count", "x"], 2),
    ] {
        let line = [&["--json"], line].concat();
        let told = refused(&platform, &line, code);
        let error = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).next();
        let error = error.unwrap_or_else(|| panic!("{line:?}: {told}"));
        assert!(
            error["error"]["message"].is_string() && error["error"]["code"].is_string(),
            "{line:?}: {told}"
        );
        assert!(code == 0 || error["error"]["exit_code"] == code, "{line:?}: {told}");
    }
}

#[test]
fn a_removed_agents_data_can_be_kept() {
    let platform = Platform::start();
    for name in ["pump", "fan"] {
        platform.vctl_ok(&["install", &listener(), "--vip-identity", name, "--start"]);
    }
    fs::write(platform.home().join("agents/pump/data/history"), "2026").expect("write");
    let said = platform.vctl_ok(&["remove", "--keep-data", "pump", "fan"]);
    let places: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("Its data is kept in ")).collect();
    let [place] = places[..] else { panic!("{said}") };
    assert!(place.starts_with(platform.home().join("backups/pump-").to_str().expect("text")), "{said}");
    assert_eq!(fs::read_to_string(format!("{place}/history")).expect("the data"), "2026");
    assert_eq!(platform.vctl_json(&["list"]), serde_json::json!({}));
}

#[test]
fn a_backup_may_go_through_a_pipe_but_not_to_a_terminal() {
    let platform = Platform::prepare();
    let archive = platform.home().with_extension("tgz");
    let file = fs::File::create(&archive).expect("a file");
    let output = platform.command("vctl").args(["backup", "-"]).stdout(file).stderr(Stdio::piped()).output();
    let told = stderr(&output.expect("run vctl"));
    assert!(told.contains("to standard output (") && !told.contains("(0 "), "{told}");
    let path = archive.to_str().expect("text");
    assert!(platform.vctl_ok(&["restore", path, "--check"]).contains("is whole: 0 agents"));
    fs::remove_file(&archive).expect("remove");
    assert!(!std::path::Path::new("-").exists());
    let mut backup = platform.command("vctl");
    let mut backup = volttron_tests::terminal::Dialogue::start(backup.args(["backup", "-"]));
    backup.expect("nothing for a terminal");
    assert_eq!(backup.end().0.code(), Some(2));
}
