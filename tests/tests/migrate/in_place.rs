//! `volttron-upgrade`: a home of 9.x brought up to date where it is, and what `--from` does.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;

use crate::old::{NAME, Old, UUID, snapshot};

fn upgrade(old: &Old, args: &[&str]) -> Output {
    let mut command = Command::new(program("volttron-upgrade"));
    command.env_clear().env("VOLTTRON_HOME", old.path()).env("HOME", old.dir.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(args).stdin(Stdio::null()).output().expect("run volttron-upgrade")
}

fn report(old: &Old, args: &[&str]) -> Value {
    let output = upgrade(old, &[&["--json"], args].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn kinds(report: &Value) -> Vec<&str> {
    report["changes"].as_array().expect("a list").iter().map(|c| c["kind"].as_str().expect("text")).collect()
}

/// A home as 7.x leaves it: keys among the data, an entry without identity, a cache beside the code, the former name of a
/// setting.
fn as_seven(old: &Old) {
    let package = format!("agents/{UUID}/{NAME}");
    let keys = old.path().join(format!("{package}/{NAME}.dist-info/keystore.json"));
    fs::rename(keys, old.path().join(format!("{package}/{NAME}.agent-data/keystore.json"))).expect("moved");
    old.history(&format!("{package}/backup.sqlite"), 3);
    old.write(&format!("{package}/backup.sqlite-wal"), "a log");
    let config = fs::read_to_string(old.path().join("config")).expect("config");
    old.write("config", &format!("{config}# who runs them\nsecure-agent-users = False\n"));
    let mut rules: Value =
        serde_json::from_str(&fs::read_to_string(old.path().join("auth.json")).expect("rules"))
            .expect("JSON");
    rules["allow"][0].as_object_mut().expect("an entry").remove("identity");
    old.write("auth.json", &rules.to_string());
}

#[test]
fn a_home_is_brought_up_to_date_once() {
    let old = Old::make(22916);
    as_seven(&old);
    let mut before = snapshot(&old.path());
    let planned = report(&old, &["--dry-run"]);
    assert_eq!(planned["done"], false);
    let mut after = snapshot(&old.path());
    for lock in [&mut before, &mut after] {
        lock.retain(|name, _| !name.ends_with("volttron.lock"));
    }
    assert_eq!(after, before, "a dry run writes nothing");

    let done = report(&old, &[]);
    assert_eq!((&done["done"], &done["changes"]), (&json!(true), &planned["changes"]));
    assert_eq!(kinds(&done), ["keys", "auth", "cache", "cache", "config"]);
    let package = old.path().join(format!("agents/{UUID}/{NAME}"));
    let data = package.join(format!("{NAME}.agent-data"));
    assert!(package.join(format!("{NAME}.dist-info/keystore.json")).is_file());
    assert!(data.join("backup.sqlite").is_file() && data.join("backup.sqlite-wal").is_file());
    assert!(!data.join("keystore.json").exists() && !package.join("backup.sqlite").exists());
    assert!(package.join("beside.db").is_file(), "what is no cache stays");
    let config = fs::read_to_string(old.path().join("config")).expect("config");
    assert!(
        config.contains("agent-isolation-mode = False") && !config.contains("secure-agent-users"),
        "{config}"
    );
    assert!(config.contains("# who runs them") && config.contains("old-option = 1"), "{config}");
    let rules: Value =
        serde_json::from_str(&fs::read_to_string(old.path().join("auth.json")).expect("rules"))
            .expect("JSON");
    assert_eq!(rules["allow"][0]["identity"], "old.agent");
    assert_eq!(rules["allow"][1]["credentials"], old.operator.public.to_string());

    let again = upgrade(&old, &[]);
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(text.ends_with(": nothing to do\n") && again.status.success(), "{again:?}");
}

#[test]
fn nothing_is_overwritten() {
    let old = Old::make(22916);
    as_seven(&old);
    let package = format!("agents/{UUID}/{NAME}");
    let taken = [
        format!("{package}/{NAME}.agent-data/backup.sqlite"),
        format!("{package}/{NAME}.dist-info/keystore.json"),
    ];
    for path in &taken {
        old.write(path, "mine");
    }
    old.write("config", "[volttron]\nagent-isolation-mode = True\nsecure-agent-users = False\n");
    let done = report(&old, &[]);
    assert_eq!(kinds(&done), ["config"]);
    // Both places, and a key that is none.
    assert_eq!(done["left"].as_array().map(Vec::len), Some(3), "{done}");
    for path in &taken {
        assert_eq!(fs::read_to_string(old.path().join(path)).expect("kept"), "mine");
    }
    let config = fs::read_to_string(old.path().join("config")).expect("config");
    assert_eq!(config, "[volttron]\nagent-isolation-mode = True\n");
}

#[test]
fn a_home_in_use_or_no_home_is_refused() {
    let platform = Platform::start();
    let run = |args: &[&str]| platform.command("volttron-upgrade").args(args).output().expect("run it");
    let output = run(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("volttron-upgrade: error: ") && said.contains("is in use: a platform runs in it"),
        "{said}"
    );
    assert_eq!(run(&["--vhome", "/no/such/home"]).status.code(), Some(2));
    assert_eq!(run(&["--yes"]).status.code(), Some(2), "only with --from");
}

#[test]
fn from_another_home_it_migrates() {
    let old = Old::make(22916);
    let before = snapshot(&old.path());
    let (from, to) = (old.path().display().to_string(), old.new_home().display().to_string());
    let report = report(&old, &["--from", &from, "--to", &to, "--yes", "--no-environments"]);
    assert_eq!((&report["generation"], &report["done"]), (&json!("9.x"), &json!(true)));
    assert!(old.new_home().join("auth.json").is_file());
    assert_eq!(snapshot(&old.path()), before);
}
