//! A home that the Python platform 10.0.5rc4 made, with its own tools.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::CallErrorKind;
use volttron_tests::platform::Platform;
use volttron_tests::probe::{self, Seen, peer};
use volttron_tests::python::{PythonPlatform, interpreter};
use volttron_tests::wait::until;
use volttron_utils::keys::{KeyPair, keystore};

use crate::old::{Old, command, fails, item, keystore as keystore_text, matches_the_schema, run, snapshot};

const PATIENCE: Duration = Duration::from_secs(90);

/// Runs its `vctl`, again where it did not answer: it gives up early while the platform starts.
fn vctl(platform: &PythonPlatform, words: &[&str]) -> String {
    let mut last = None;
    for _ in 0..4 {
        let output = platform.command("vctl").args(words).output().expect("run vctl");
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        last = Some(output);
    }
    panic!("{words:?}: {last:?}")
}

/// Furnishes the platform with its own tools, and says whether all of it came true.
fn furnish(platform: &PythonPlatform, operator: &KeyPair, probe: &KeyPair) {
    let dir = platform.directory("files");
    fs::write(dir.join("config.json"), "{\"interval\": 60 }").expect("write");
    fs::write(dir.join("ahu.csv"), "Point,Units\nFan,on\n").expect("write");
    let file = |name: &str| dir.join(name).display().to_string();
    vctl(
        platform,
        &["install", "volttron-listener", "--vip-identity", "listener", "--tag", "hall", "--priority", "30"],
    );
    vctl(platform, &["config", "store", "listener", "config", &file("config.json")]);
    vctl(platform, &["config", "store", "listener", "registry_configs/ahu.csv", &file("ahu.csv"), "--csv"]);
    for (user, keys, capability) in [("operator", operator, "probe_secret"), ("probe", probe, "nothing")] {
        let key = keys.public.to_string();
        vctl(
            platform,
            &["auth", "add", "--user_id", user, "--credentials", &key, "--capabilities", capability],
        );
    }
}

#[test]
fn a_home_of_10_x_with_its_agent_keys_configurations_and_capabilities() {
    let Some(python) = interpreter() else { return };
    let (operator, probe_keys) = (KeyPair::generate(), KeyPair::generate());
    let mut old = PythonPlatform::start_with(&python, |_| {});
    furnish(&old, &operator, &probe_keys);
    let mut new = Platform::prepare();
    new.serves(old.port());
    fs::remove_file(new.home().join("config")).expect("an empty home");
    let (from, python) = (old.vh().display().to_string(), python.display().to_string());
    let to = new.home().display().to_string();
    let words = ["--json", "migrate", &from, "--to", &to, "--yes", "--python", &python];
    // Programs that make environments leave files in HOME, which is not the new home.
    let elsewhere = tempfile::tempdir().expect("a directory");

    // Not while it runs.
    let said = fails(&run(elsewhere.path(), &words), "VT1703");
    assert!(said.contains("vctl shutdown --platform"), "{said}");
    old.stop();
    let before = snapshot(&old.vh());
    let output = run(elsewhere.path(), &words);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(snapshot(&old.vh()), before, "the old home is only read");
    assert_eq!((&report["generation"], &report["to_finish"]), (&json!("10.x"), &json!([])), "{report:#}");
    let agent = item(&report, "agent", "listener");
    assert_eq!(agent["facts"]["program"], "environment", "{agent}");
    let uuid = fs::read_to_string(old.vh().join("agents/listener/UUID")).expect("a uuid");
    for name in [
        "keystore",
        "known_hosts",
        "auth.json",
        "configuration_store/listener.store",
        "agents/listener/keystore.json",
    ] {
        let (was, is) = (
            fs::read(old.vh().join(name)).expect("a file"),
            fs::read(new.home().join(name)).expect("a file"),
        );
        // Keystores are written anew with the same keys.
        assert!(was == is || name.ends_with("keystore.json"), "{name}");
    }
    // Root makes it for the one who owned the old one.
    let owner = |path: &Path| fs::metadata(path).expect("a file").uid();
    for name in ["", "keystore", "agents/listener/agent.json", "bin"] {
        assert_eq!(owner(&new.home().join(name)), owner(&old.vh()), "{name}");
    }
    let keys =
        |home: &Path| keystore::load(&home.join("agents/listener/keystore.json")).expect("keys").public;
    assert_eq!(keys(&old.vh()), keys(new.home()));

    new.launch();
    until("the listener to be well", PATIENCE, || {
        (new.row("listener")["health"]["message"] == "GOOD").then_some(())
    });
    let row = new.row("listener");
    assert_eq!((&row["agent_uuid"], &row["agent_tag"]), (&json!(uuid), &json!("hall")));
    assert_eq!(new.vctl_json(&["list"])["listener"]["PRI"], "30");
    assert_eq!(new.vctl_json(&["config", "get", "listener", "config"]), json!({"interval": 60}));
    let csv = new.vctl_json(&["config", "get", "listener", "registry_configs/ahu.csv"]);
    assert_eq!(csv, json!([{"Point": "Fan", "Units": "on"}]));
    capabilities_count(&new, &operator, probe_keys);

    // Not while it runs.
    fails(&new.vctl(&["--json", "migrate", "--undo", "--force"]), "VT1703");

    // It has changed by running, which nobody loses by a habit; then the site is what it was.
    assert_eq!(new.terminate(), 0);
    let said = fails(&new.vctl(&["--json", "migrate", "--undo", "--yes"]), "VT1707");
    assert!(said.contains("auth.json has changed"), "{said}");
    let undone = new.vctl_json(&["migrate", "--undo", "--force"]);
    matches_the_schema(&undone, "migrate_undo");
    assert_eq!(undone["from"], fs::canonicalize(old.vh()).expect("a path").display().to_string());
    assert!(!new.home().exists());
    assert_eq!(snapshot(&old.vh()), before);
    old.start_again();
    assert!(vctl(&old, &["list"]).contains("listener"));
    old.stop();
}

/// The rules of the old platform decide about calls on the new one.
fn capabilities_count(new: &Platform, operator: &KeyPair, probe_keys: KeyPair) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (probe, mut seen) = probe::connect("probe", &new.address(), &new.server_key(), probe_keys).await;
        assert!(matches!(seen.recv().await, Some(Seen::Start)));
        let operator = peer("operator", &new.address(), &new.server_key(), operator.clone()).await;
        let answer: Value = operator.call("probe", "guarded").send().await.expect("allowed");
        assert_eq!(answer, "seen");
        let denied = probe.cx().call("probe", "guarded").send::<Value>().await.expect_err("not allowed");
        assert_eq!(denied.kind(), CallErrorKind::Denied);
        probe.stop().await;
    });
}

/// Without Python at hand an agent keeps all but its program, and another program takes its place.
#[test]
fn an_agent_without_a_program_is_completed_by_another_one() {
    let mut new = Platform::prepare();
    let port = new.address().rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
    fs::remove_file(new.home().join("config")).expect("an empty home");
    let old = Old::make(port);
    fs::remove_dir_all(old.path().join("agents")).expect("agents of 9.x");
    let uuid = "825b800c-770f-42bd-b5eb-558868538ee2";
    for (name, text) in [
        ("UUID", uuid),
        ("NAME", "volttron-listener-0.2.0rc0"),
        ("TAG", "hall"),
        ("AUTOSTART", "30"),
        ("config", "{}\n"),
        ("keystore.json", &keystore_text(&old.agent_keys)),
        ("data/notes.txt", "kept"),
    ] {
        old.write(&format!("agents/old.agent/{name}"), text);
    }
    let to = new.home().display().to_string();
    let from = old.path().display().to_string();
    let before = snapshot(&old.path());
    // There is no Python on this PATH.
    let output = command(old.dir.path())
        .env("PATH", old.dir.path())
        .args(["--json", "migrate", &from, "--to", &to, "--yes"])
        .output()
        .expect("run vctl");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(snapshot(&old.path()), before);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    matches_the_schema(&report, "migrate");
    let agent = item(&report, "agent", "old.agent");
    assert_eq!((&report["generation"], &agent["facts"]["program"]), (&json!("10.x"), &json!("none")));
    assert!(agent["text"].as_str().expect("text").contains("there is no Python on this machine"), "{agent}");
    let finish = "vctl install pypi:volttron-listener==0.2.0rc0 --vip-identity old.agent --force";
    assert_eq!((&report["to_finish"], &agent["command"]), (&json!([finish]), &json!(finish)));

    new.launch();
    assert_eq!(new.row("old.agent")["agent_uuid"], uuid);
    new.install_listener(&["--vip-identity", "old.agent", "--force", "--start"]);
    until("the new program to be well", PATIENCE, || {
        (new.row("old.agent")["health"]["message"] == "GOOD").then_some(())
    });
    let row = new.row("old.agent");
    assert_eq!((&row["agent_uuid"], &row["agent_tag"]), (&json!(uuid), &json!("hall")));
    let key = keystore::load(&new.home().join("agents/old.agent/keystore.json")).expect("keys").public;
    assert_eq!(key, old.agent_keys.public);
    assert_eq!(fs::read_to_string(new.home().join("agents/old.agent/data/notes.txt")).expect("data"), "kept");
    assert_eq!(new.vctl_json(&["list"])["old.agent"]["PRI"], "30");
    assert_eq!(new.terminate(), 0);
}

/// An agent that its platform never gave a key gets one, and is let in by whoever knows that it should be.
#[test]
fn an_agent_without_keys_is_let_in_by_its_operator() {
    let mut new = Platform::prepare();
    let port = new.address().rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
    fs::remove_file(new.home().join("config")).expect("an empty home");
    let old = Old::make(port);
    fs::remove_dir_all(old.path().join("agents")).expect("agents of 9.x");
    for (name, text) in
        [("UUID", "825b800c-770f-42bd-b5eb-558868538ee2"), ("NAME", "pump-1.0"), ("config", "{}\n")]
    {
        old.write(&format!("agents/pump/{name}"), text);
    }
    let (from, to) = (old.path().display().to_string(), new.home().display().to_string());
    let words = ["--json", "migrate", &from, "--to", &to, "--yes", "--no-environments"];
    let output = run(old.dir.path(), &words);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let key = keystore::load(&new.home().join("agents/pump/keystore.json")).expect("keys").public;
    assert_eq!(item(&report, "agent", "pump")["facts"]["public_key"], key.to_string());
    let command = report["to_finish"][1].as_str().expect("a command").to_owned();
    new.launch();
    let rules = |new: &Platform| fs::read_to_string(new.home().join("auth.json")).expect("rules");
    assert!(!rules(&new).contains(&key.to_string()), "a migration lets nobody in");
    let words: Vec<&str> = command.strip_prefix("vctl ").expect("vctl").split('\'').collect();
    let mut args: Vec<&str> = words[0].split_whitespace().collect();
    args.push(words[1]);
    new.vctl_ok(&args);
    new.install_listener(&["--vip-identity", "pump", "--force", "--start"]);
    until("the agent to be well", PATIENCE, || {
        (new.row("pump")["health"]["message"] == "GOOD").then_some(())
    });
    assert_eq!(new.terminate(), 0);
}
