//! `volttron --check-config`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::site::{Site, stdout};

fn check(site: &Site, args: &[&str]) -> Output {
    site.command_at_home("volttron").arg("--check-config").args(args).output().unwrap()
}

/// Every file below a directory, and what is in it.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(contents(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            all.insert(path, bytes);
        }
    }
    all
}

#[test]
fn all_problems_at_once_and_nothing_is_written() {
    let site = Site::new();
    let config =
        site.write("config", "[volttron]\nmessage-bus = zmq\n vip-adress = tcp://a:1\nautostart = maybe\n");
    site.write("auth.json", "{\"allow\": [\n");
    site.write("agents/half/UUID", "x");
    let before = contents(site.dir());
    let output = check(&site, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stdout(&output);
    for part in [
        &format!(
            "{}:3:2: warning: unknown option: vip-adress\n    did you mean vip-address?\n",
            config.display()
        ),
        &format!("{}:4:13: error: autostart: ", config.display()),
        "auth.json:",
        "agents/half: error: this agent is incomplete",
        "3 errors, 1 warnings; ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let output = check(&site, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["ok"], false);
    assert_eq!(value["problems"].as_array().unwrap().len(), 4);
    let unknown = value["problems"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["try"] == "did you mean vip-address?")
        .unwrap();
    assert_eq!((&unknown["line"], &unknown["column"]), (&3.into(), &2.into()));
    assert_eq!(contents(site.dir()), before);
    // A start warns about the key as well, with its line and what was probably meant.
    fs::remove_file(site.home().join("auth.json")).unwrap();
    fs::write(&config, format!("[volttron]\nvip-adress = x\nvip-address = tcp://127.0.0.1:{}\n", site.port))
        .unwrap();
    let start = site.command_at_home("start-volttron").output().unwrap();
    assert!(start.status.success(), "{start:?}");
    let log = fs::read_to_string(site.dir().join("volttron.log")).unwrap();
    assert!(log.contains("(line 2): unknown option: vip-adress (did you mean vip-address?)"), "{log}");
}

#[test]
fn a_fine_home_and_no_home_are_fine() {
    let site = Site::new();
    let output = check(&site, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(!site.home().exists());
    let up = site.command("volttron").args(["up", "--vhome"]).arg(site.home()).output().unwrap();
    assert!(up.status.success(), "{up:?}");
    let pid = site.pid();
    let output = check(&site, &["--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&value["ok"], &value["problems"]), (&true.into(), &Value::Array(Vec::new())), "{value:#}");
    assert_eq!(site.pid(), pid);
    assert!(site.vctl(&["peerlist"]).status.success());
    let usage = check(&site, &["--nope"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    let mistyped =
        site.command_at_home("volttron").arg("--check-config").env("VOLTRON_HOME", "/x").output().unwrap();
    assert!(
        mistyped.status.success() && stdout(&mistyped).contains("did you mean VOLTTRON_HOME?"),
        "{mistyped:?}"
    );
}
