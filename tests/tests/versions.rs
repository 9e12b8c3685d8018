//! Other versions of installed agents, with the real programs: what stays, what comes back, and who sees to it.

use std::fs;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use volttron_tests::platform::Platform;
use volttron_tests::pump::{Does, Pump};
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(60);

/// A platform, and a place for the programs to install in it.
struct Site {
    platform: Platform,
    programs: TempDir,
}

impl Site {
    /// With version 1.0.0 of the agent `pump`, which runs and has data, a tag, a priority, and a capability added by hand.
    fn new() -> Self {
        let site = Self { platform: Platform::start(), programs: tempfile::tempdir().expect("a directory") };
        let program = site.put("1.0.0", Does::Works);
        let args = ["install", &program, "--tag", "roof", "--priority", "70", "--start"];
        site.platform.vctl_json(&args);
        fs::write(site.dir().join("data/kept"), "data").expect("write");
        let key = site.key();
        let auth = site.platform.home().join("auth.json");
        let mut rules: Value =
            serde_json::from_str(&fs::read_to_string(&auth).expect("auth.json")).expect("JSON");
        let entries = rules["allow"].as_array_mut().expect("a list");
        let own = entries.iter_mut().find(|e| e["credentials"] == key.as_str()).expect("its entry");
        own["capabilities"]["by_hand"] = Value::Null;
        fs::write(&auth, rules.to_string()).expect("write");
        site
    }

    /// The program lies where the agent was installed from.
    fn put(&self, version: &str, does: Does) -> String {
        Pump::write(self.programs.path(), version, does).display().to_string()
    }

    fn dir(&self) -> std::path::PathBuf {
        self.platform.home().join("agents/pump")
    }

    fn key(&self) -> String {
        volttron_tests::platform::public_key(&self.dir().join("keystore.json"))
    }

    fn row(&self) -> Value {
        self.platform.vctl_json(&["status"])["pump"].clone()
    }

    fn history(&self) -> Value {
        self.platform.vctl_json(&["history", "pump"])
    }

    /// Everything that is to be the same in every version, and no debris.
    fn assert_kept(&self, uuid: &str, key: &str) {
        let row = self.platform.vctl_json(&["list"])["pump"].clone();
        assert_eq!(
            (&row["agent_uuid"], &row["agent_tag"], &row["PRI"]),
            (&json!(uuid), &json!("roof"), &json!("70"))
        );
        assert_eq!(self.key(), key);
        assert_eq!(fs::read_to_string(self.dir().join("data/kept")).expect("data"), "data");
        let auth = fs::read_to_string(self.platform.home().join("auth.json")).expect("auth.json");
        let auth: Value = serde_json::from_str(&auth).expect("JSON");
        let own: Vec<&Value> =
            auth["allow"].as_array().expect("a list").iter().filter(|e| e["credentials"] == key).collect();
        assert_eq!(own.len(), 1);
        assert!(own[0]["capabilities"].as_object().expect("a map").contains_key("by_hand"), "{own:?}");
        // Programs that nobody needs are deleted behind.
        until("no debris", PATIENCE, || {
            let names = ["agents", "agents/pump", "bin"].into_iter().flat_map(|dir| {
                fs::read_dir(self.platform.home().join(dir))
                    .expect("a directory")
                    .flatten()
                    .map(|e| e.file_name())
            });
            let names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
            let half = names.iter().any(|name| name.starts_with('.') && name != ".lock");
            (!half).then_some(())
        });
    }

    fn runs(&self, version: &str) -> bool {
        let row = self.row();
        row["name"] == format!("pump-{version}")
            && row["status"].as_str().is_some_and(|s| s.starts_with("running"))
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_upgrade_and_a_rollback_keep_everything_but_the_program() {
    let site = Site::new();
    let uuid = site.row()["agent_uuid"].as_str().expect("a uuid").to_owned();
    let key = site.key();
    assert_eq!(site.platform.vctl_ok(&["upgrade", "pump"]), "pump is up to date (pump-1.0.0)\n");

    site.put("2.0.0", Does::Works);
    let said = site.platform.vctl_ok(&["upgrade", "pump"]);
    assert!(said.starts_with("pump upgraded from pump-1.0.0 to pump-2.0.0, which runs ["), "{said}");
    assert!(site.runs("2.0.0"));
    site.assert_kept(&uuid, &key);

    assert_eq!(
        site.platform.vctl_ok(&["rollback", "pump"]),
        "pump rolled back from pump-2.0.0 to pump-1.0.0\n"
    );
    assert!(site.runs("1.0.0"));
    let none = site.platform.vctl(&["rollback", "pump"]);
    assert_eq!(none.status.code(), Some(20), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("kept are: 2.0.0"), "{none:?}");
    site.platform.vctl_ok(&["rollback", "pump", "--to", "2.0.0"]);
    assert!(site.runs("2.0.0"));

    site.platform.vctl_ok(&["stop", "pump"]);
    let third = site.put("3.0.0", Does::Works);
    let said = site.platform.vctl_ok(&["upgrade", "--all"]);
    assert_eq!(
        said, "pump upgraded from pump-2.0.0 to pump-3.0.0\n",
        "it did not run, so it does not run now"
    );
    site.assert_kept(&uuid, &key);
    let events = site.history()["events"].clone();
    let told: Vec<String> = events
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| format!("{} {} {}", e["what"], e["version"], e["outcome"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "install 1.0.0 done",
            "upgrade 2.0.0 passed",
            "rollback 1.0.0 done",
            "rollback 2.0.0 done",
            "upgrade 3.0.0 done"
        ]
    );
    let text = site.platform.vctl_ok(&["history", "pump"]);
    assert_eq!(text.lines().count(), 5);
    assert!(text.lines().last().expect("a line").contains(&third), "{text}");
    assert_eq!(events[4]["by"], "control.connection");
}

#[test]
fn a_version_that_does_not_come_up_is_gone_again_and_it_is_said_why() {
    let site = Site::new();
    let uuid = site.row()["agent_uuid"].as_str().expect("a uuid").to_owned();
    let key = site.key();
    for (version, does, options, why) in [
        ("2.0.0", Does::Ends(3), &[][..], "it ended with exit code 3: there is no pump here"),
        ("2.0.1", Does::Hangs, &["--agent-start-time", "2"], "it was not seen on the bus within 2 s"),
        ("2.0.2", Does::StaysBad, &["--auto-rollback", "2s"], "its health was not GOOD within 2 s"),
    ] {
        site.put(version, does);
        let done = site.platform.vctl(&[&["upgrade", "pump"], options].concat());
        let said = stdout(&done);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert!(
            said.starts_with(&format!("pump rolled back from pump-{version} to pump-1.0.0, which runs [")),
            "{said}"
        );
        assert!(said.contains(why), "{said}");
        assert!(site.runs("1.0.0"));
        site.assert_kept(&uuid, &key);
    }
    // Who wants it all the same has it.
    site.put("2.0.3", Does::StaysBad);
    site.platform.vctl_ok(&["upgrade", "pump"]);
    assert!(site.runs("2.0.3"), "BAD health is enough to have come up");
    let program = site.put("2.0.4", Does::Ends(4));
    let done = site.platform.vctl(&["install", &program, "--force", "--no-rollback"]);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert_eq!(site.row()["name"], "pump-2.0.4");
    site.assert_kept(&uuid, &key);
}

#[test]
fn a_trial_outlives_its_vctl_and_the_platform() {
    let mut site = Site::new();
    site.put("2.0.0", Does::StaysBad);
    // vctl goes as soon as the new version runs.
    let mut vctl = site
        .platform
        .command("vctl")
        .args(["upgrade", "pump", "--auto-rollback", "5s"])
        .spawn()
        .expect("run vctl");
    until("the new version", PATIENCE, || site.runs("2.0.0").then_some(()));
    vctl.kill().expect("kill vctl");
    vctl.wait().expect("wait for vctl");
    site.platform.kill();
    let trial = fs::read_to_string(site.dir().join("history.json")).expect("history");
    assert!(trial.contains("\"on trial\"") || trial.contains("\"trial\": {"), "{trial}");
    site.platform.launch();
    until("the former version", PATIENCE, || site.runs("1.0.0").then_some(()));
    let history = site.history();
    assert_eq!(history["trial"], Value::Null);
    assert_eq!(history["events"][1]["outcome"], "rolled-back", "{history}");
    assert_eq!(history["events"][2]["by"], "platform");
}

#[test]
fn what_fails_after_a_version_that_never_passed_goes_back_to_one_that_did() {
    let site = Site::new();
    site.put("2.0.0", Does::StaysBad);
    let mut vctl = site
        .platform
        .command("vctl")
        .args(["upgrade", "pump", "--auto-rollback", "300s"])
        .spawn()
        .expect("run vctl");
    until("the new version", PATIENCE, || site.runs("2.0.0").then_some(()));
    vctl.kill().expect("kill vctl");
    vctl.wait().expect("wait for vctl");
    site.put("3.0.0", Does::Ends(3));
    let done = site.platform.vctl(&["upgrade", "pump"]);
    let said = stdout(&done);
    assert!(said.starts_with("pump rolled back from pump-3.0.0 to pump-1.0.0, which runs ["), "{done:?}");
    assert!(site.runs("1.0.0"));
    let history = site.history();
    assert_eq!(history["trial"], Value::Null);
    assert_eq!(history["events"][1]["outcome"], "replaced", "{history}");
    // It can be had by name.
    site.platform.vctl_ok(&["rollback", "pump", "--to", "2.0.0"]);
    assert!(site.runs("2.0.0"));
}
