//! A home of 9.x, made of files as that platform leaves them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

use crate::old::{NAME, Old, UUID, fails, item, matches_the_schema, run, snapshot};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_report_says_what_becomes_of_everything_and_writes_nothing() {
    let old = Old::make(22916);
    let before = snapshot(old.dir.path());
    let report = old.migrated(&["--dry-run"]);
    matches_the_schema(&report, "migrate");
    assert_eq!((&report["generation"], &report["done"]), (&json!("9.x"), &json!(false)));
    assert_eq!(report["problems"], json!([]));
    let agent = item(&report, "agent", "old.agent");
    assert_eq!(agent["action"], "convert");
    for (fact, value) in [
        ("uuid", json!(UUID)),
        ("package", json!("echoclassicagent")),
        ("version", json!("3.7")),
        ("tag", json!("hall")),
        ("priority", json!("40")),
        ("enabled", json!(true)),
        ("capabilities", json!(["edit_config_store"])),
        ("public_key", json!(old.agent_keys.public.to_string())),
    ] {
        assert_eq!(agent["facts"][fact], value, "{fact}");
    }
    let history = item(&report, "history", "agents/old.agent/data/platform.historian.sqlite");
    assert_eq!(history["facts"]["rows"], 250, "{history}");
    assert_eq!(history["facts"]["first"], "2025-01-01T00:00:00.000000+00:00");
    let crashed = item(&report, "history", "agents/old.agent/data/crashed.sqlite");
    assert_eq!(crashed["facts"]["rows"], 10, "{crashed}");
    assert!(crashed["text"].as_str().expect("text").contains("and what is in its log"), "{crashed}");
    let store = item(&report, "config-store", "old.agent");
    assert_eq!(store["facts"]["types"], json!({"csv": 1, "json": 1, "raw": 1}));
    let rules = item(&report, "auth", "auth.json");
    assert_eq!((&rules["facts"]["version"], &rules["facts"]["allow"]), (&json!("1.2"), &json!(2)));
    assert_eq!(item(&report, "rabbitmq", "rabbitmq_config.yml")["action"], "leave");
    assert_eq!(item(&report, "certificates", "")["action"], "copy");
    assert_eq!(item(&report, "setting", "vip-address")["action"], "copy");
    assert!(item(&report, "setting", "old-option")["text"].as_str().expect("text").contains("ignored"));
    assert_eq!(snapshot(old.dir.path()), before);
    // The same for people; nobody is asked where nobody is.
    let (from, to) = (old.path().display().to_string(), old.new_home().display().to_string());
    let output = run(old.dir.path(), &["migrate", &from, "--to", &to]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("convert agent old.agent: echoclassicagent 3.7"), "{text}");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(snapshot(old.dir.path()), before);
}

#[test]
fn without_environments_everything_else_is_there_and_the_way_back_leaves_nothing() {
    let old = Old::make(22916);
    let before = snapshot(&old.path());
    let report = old.migrated(&["--yes", "--no-environments"]);
    assert_eq!(report["done"], true);
    let command = report["to_finish"][0].as_str().expect("a command");
    assert!(command.ends_with("--vip-identity old.agent --force"), "{command}");
    assert_eq!(snapshot(&old.path()), before, "the old home is only read");
    let new = old.new_home();
    for name in [
        "keystore",
        "keystores/control/keystore.json",
        "known_hosts",
        "auth.json",
        "protected_topics.json",
        "configuration_store/old.agent.store",
        "certificates/certs/nine-root-ca.crt",
        "web-users.json",
        "config",
        // Kept as 9.x lays it out, so that it starts with the operator's Python.
        &format!("agents/{UUID}/IDENTITY"),
        &format!("agents/{UUID}/AUTOSTART"),
        &format!("agents/{UUID}/{NAME}/{NAME}.dist-info/keystore.json"),
        &format!("agents/{UUID}/{NAME}/{NAME}.agent-data/notes/a.txt"),
    ] {
        assert_eq!(
            fs::read(new.join(name)).ok(),
            Some(fs::read(old.path().join(name)).expect("a file")),
            "{name}"
        );
    }
    for name in ["rabbitmq_config.yml", "VOLTTRON_PID"] {
        assert!(!new.join(name).exists(), "{name}");
    }
    for name in ["keystore", "auth.json", "keystores/control/keystore.json", "migration.json"] {
        let mode = fs::metadata(new.join(name)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let path = format!("agents/{UUID}/{NAME}/{NAME}.agent-data/platform.historian.sqlite");
    assert_eq!(item(&report, "history", &path)["facts"]["rows"], 250);
    let path = path.replace("platform.historian", "crashed");
    assert_eq!(item(&report, "history", &path)["facts"]["rows"], 13, "what is in the log is carried, too");
    let listed = run(old.dir.path(), &["--json", "--vhome", &new.display().to_string(), "list"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["old.agent"]["agent_uuid"], UUID);

    // Not twice over the same place, and undone only while it is what it was.
    fails(&old.migrate(&["--yes"]), "VT1704");
    fs::write(new.join("configuration_store/x.store"), "{}").expect("write");
    let said = fails(&old.undo(&["--yes"]), "VT1707");
    assert!(said.contains("configuration_store/x.store is new"), "{said}");
    fs::remove_file(new.join("configuration_store/x.store")).expect("remove");
    // Nor is it another home because somebody asked for what is not there, which leaves locks behind.
    for words in [["remove-known-host", "192.0.2.1:22916"], ["remove-group", "nobody"]] {
        let place = new.display().to_string();
        let args = [&["--vhome", &place, "auth"], &words[..]].concat();
        assert!(!run(old.dir.path(), &args).status.success(), "{words:?}");
    }
    assert!(new.join(".known_hosts.lock").exists() && new.join(".auth_changes.lock").exists());
    fs::rename(old.path(), old.dir.path().join("elsewhere")).expect("rename");
    let said = fails(&old.undo(&["--yes"]), "VT1707");
    assert!(said.contains("the only copy") && !said.contains("is new"), "{said}");
    fs::rename(old.dir.path().join("elsewhere"), old.path()).expect("rename");
    let output = old.undo(&["--yes"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(old.beside(), ["old"]);
    assert_eq!(snapshot(&old.path()), before);
    fails(&old.undo(&["--yes"]), "VT1706");
}

#[test]
fn its_agent_runs_with_its_key_configuration_and_data() {
    let Some(python) = interpreter() else { return };
    let mut platform = Platform::prepare();
    let port: u16 = platform.address().rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
    let old = Old::make(port);
    let before = snapshot(&old.path());
    fs::remove_file(platform.home().join("config")).expect("an empty home");
    let from = old.path().display().to_string();
    let python = python.display().to_string();
    let to = platform.home().display().to_string();
    // Programs that make environments leave files in HOME, which is not the new home.
    let output =
        run(old.dir.path(), &["--json", "migrate", &from, "--to", &to, "--yes", "--python", &python]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["to_finish"], json!([]), "{report:#}");
    assert_eq!(item(&report, "agent", "old.agent")["facts"]["program"], "environment");
    assert_eq!(snapshot(&old.path()), before, "the old home is only read");
    let home = platform.home().to_owned();
    let agent = home.join("agents/old.agent");
    assert_eq!(fs::read_to_string(agent.join("UUID")).expect("a uuid"), UUID);
    let config = fs::read_to_string(agent.join("config")).expect("a configuration");
    assert_eq!(config, "{\"room\": \"cellar\"} # as given");
    assert_eq!(fs::read_to_string(agent.join("data/notes/a.txt")).expect("data"), "kept");
    assert_eq!(
        fs::read_to_string(agent.join("data/beside-the-code/beside.db")).expect("data"),
        "of an older release"
    );
    let history = item(&report, "history", "agents/old.agent/data/platform.historian.sqlite");
    assert_eq!(history["facts"]["rows"], 250);
    // Its package, made a wheel again, holds code and neither keys nor data.
    let wheel = home.join("packaged/echoclassicagent-3.7-py3-none-any.whl");
    let listing =
        Command::new(&python).args(["-m", "zipfile", "-l"]).arg(&wheel).output().expect("run Python");
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    assert!(listing.contains("echo_classic/agent.py"), "{listing}");
    for name in ["keystore.json", "agent-data", "dist-info/config", "beside.db"] {
        assert!(!listing.contains(name), "{name}: {listing}");
    }
    // Nothing needs the old home any more.
    fs::rename(old.path(), old.dir.path().join("elsewhere")).expect("rename");
    platform.launch();
    until("the agent to be well", PATIENCE, || {
        (platform.row("old.agent")["health"]["message"] == "GOOD").then_some(())
    });
    let row = platform.row("old.agent");
    assert_eq!((&row["agent_uuid"], &row["agent_tag"]), (&json!(UUID), &json!("hall")));
    let found: Value =
        serde_json::from_str(&platform.vctl_ok(&["call", "old.agent", "whereabouts"])).expect("JSON");
    assert_eq!(found["room"], "cellar");
    assert_eq!(
        platform.vctl_json(&["auth", "publickey"])["old.agent"]["PUBLICKEY"],
        old.agent_keys.public.to_string()
    );
    assert_eq!(
        platform.vctl_json(&["config", "get", "old.agent", "reg/a.csv"]),
        json!([{"P": "Fan", "U": "on"}])
    );
    assert!(agent.join("data/starts").exists(), "it finds its data where it was");
    assert_eq!(platform.terminate(), 0);
}
