//! A home that the Python platform 10.0.5rc4 made, with its own tools.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::CallErrorKind;
use volttron_tests::platform::Platform;
use volttron_tests::probe::{self, Seen, peer};
use volttron_tests::python::{PythonPlatform, interpreter};
use volttron_tests::wait::until;
use volttron_utils::keys::{KeyPair, keystore};

use crate::old::{fails, item, run, snapshot};

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
    let keys = |home: &std::path::Path| {
        keystore::load(&home.join("agents/listener/keystore.json")).expect("keys").public
    };
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

    // It has changed by running, which nobody loses by a habit; then the site is what it was.
    assert_eq!(new.terminate(), 0);
    let said = fails(&new.vctl(&["--json", "migrate", "--undo", "--yes"]), "VT1707");
    assert!(said.contains("auth.json has changed"), "{said}");
    let undone = new.vctl_json(&["migrate", "--undo", "--force"]);
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
