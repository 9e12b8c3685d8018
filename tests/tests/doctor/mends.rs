//! What doctor proposes mends the fault when it is pasted, and loses nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::pump::{Does, Pump};
use volttron_tests::wait::until;
use volttron_utils::home;
use volttron_utils::keys::KeyPair;

use crate::site::{
    Home, Seed, Site, duplicate, edit_entry, exec, findings_of, fixes, mode, own, paste, require,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What doctor proposes is what mends it.
#[test]
fn proposed_commands_mend() {
    let site = Site::stopped();
    let seeds: &[(&str, Seed)] = &[
        ("VT3042", |home| {
            home.edit_json("auth.json", |auth| {
                auth["allow"].as_array_mut().expect("a list").retain(|e| e["identity"] != "pump");
            });
        }),
        ("VT3043", |home| {
            edit_entry(home, |entry| entry["credentials"] = KeyPair::generate().public.to_string().into());
        }),
        ("VT3042", |home| edit_entry(home, |entry| entry["enabled"] = false.into())),
        ("VT3045", |home| {
            // The one that the agent does not have comes first.
            home.edit_json("auth.json", |auth| {
                let entries = auth["allow"].as_array_mut().expect("a list");
                let mut copy = entries.iter().find(|e| e["identity"] == "pump").expect("its entry").clone();
                copy["user_id"] = "other".into();
                copy["credentials"] = KeyPair::generate().public.to_string().into();
                entries.insert(0, copy);
            });
        }),
        ("VT2007", |home| home.write("agents/pump/keystore.json", "{\"public\": ")),
        ("VT2007", |home| fs::remove_file(home.file("agents/pump/keystore.json")).expect("remove")),
        ("VT2007", |home| {
            home.write("keystores/control.connection/keystore.json", "[");
            home.write("keystores/control.connection/keystore.json.damaged", "former");
        }),
        ("VT2008", |home| fs::remove_file(home.file("auth.json")).expect("remove")),
        ("VT2010", |home| home.write("configuration_store/pump.store.bad-2026-01-02T0304050000", "{")),
        ("VT3061", |home| {
            fs::create_dir(home.file("agents/half")).expect("create");
            home.write("agents/half/kept", "x");
        }),
        ("VT3061", |home| home.write("agents/pump/agent.json", "{")),
        ("VT3061", |home| fs::remove_file(home.file("agents/pump/UUID")).expect("remove")),
        ("VT3062", |home| fs::remove_dir_all(home.file("bin")).expect("remove")),
        ("VT3044", |home| {
            duplicate(home, |copy| {
                copy["user_id"] = "twin".into();
                copy["identity"] = "twin".into();
            });
        }),
        ("VT3046", |home| {
            home.edit_json("known_hosts", |hosts| hosts["@"] = KeyPair::generate().public.to_string().into());
        }),
        ("VT3041", |home| mode(&home.file("keystore"), 0o604)),
        ("VT3049", |home| mode(&home.file("auth.json"), 0o620)),
        ("VT3003", |home| mode(&home.path, 0o775)),
        ("VT3031", |home| home.write("VOLTTRON_PID", "2147483647")),
        ("VT3051", |home| home.configure("instance_name = site1")),
        ("VT3062", |home| mode(&exec(home), 0o600)),
    ];
    for (code, seed) in seeds {
        let home = site.copy();
        fs::create_dir_all(home.file("agents/pump/data")).expect("create");
        home.write("agents/pump/data/readings", "of years");
        home.write("agents/pump/config", "{\"mine\": 1}");
        edit_entry(&home, |entry| {
            entry["groups"] = json!(["ops"]);
            entry["capabilities"]["can_write"] = Value::Null;
            entry["rpc_method_authorizations"] = json!({"set": ["can_write"]});
        });
        seed(&home);
        let granted = entry(&home);
        let diagnosis = home.doctor(&[]);
        let found = own(&diagnosis);
        assert!(!found.is_empty() && found.iter().all(|f| f["code"] == *code), "{code}: {diagnosis:#}");
        for fix in fixes(&found) {
            let output = paste(&home.path, fix);
            assert!(output.status.success(), "{fix}: {output:?}");
        }
        let after = home.doctor(&[]);
        assert_eq!(own(&after), Vec::<Value>::new(), "{code}: {after:#}");
        down(&home.path);
        assert_eq!(after["measured"]["agents"], 2, "{code}: {after:#}");
        assert_eq!(home.read("agents/pump/data/readings"), "of years", "{code}");
        assert_eq!(home.read("agents/pump/config"), "{\"mine\": 1}", "{code}");
        // What is granted is kept, where there is an entry to keep it.
        let now = entry(&home).expect("an entry");
        for field in ["groups", "capabilities", "rpc_method_authorizations", "user_id", "identity"] {
            assert!(granted.as_ref().is_none_or(|granted| now[field] == granted[field]), "{code}: {now:#}");
        }
        assert_eq!(now["enabled"], true, "{code}");
    }
}

/// The last entry of pump, if there are rules and it is there.
fn entry(home: &Home) -> Option<Value> {
    let auth: Value = serde_json::from_str(&fs::read_to_string(home.file("auth.json")).ok()?).expect("JSON");
    let entries = auth["allow"].as_array().expect("a list");
    entries.iter().rfind(|e| e["identity"] == "pump").cloned()
}

/// Ends the platform that a proposed command may have started.
fn down(home: &Path) {
    let output = paste(home, &format!("volttron down --vhome {}", home.display()));
    assert!(output.status.success(), "{output:?}");
}

/// Nothing is put aside over what was put aside before.
#[test]
fn what_is_put_aside_is_kept() {
    let site = Site::stopped();
    let home = site.copy();
    let keystore = "agents/pump/keystore.json";
    for content in ["{ one", "{ two"] {
        home.write(keystore, content);
        let output = paste(&home.path, fixes(&own(&home.doctor(&[])))[0]);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(home.read("agents/pump/keystore.json.damaged"), "{ one");
    assert_eq!(home.read("agents/pump/keystore.json.damaged.2"), "{ two");
    home.write("known_hosts", "[");
    home.write("known_hosts.damaged", "former");
    let output = paste(&home.path, fixes(&own(&home.doctor(&[])))[0]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(home.read("known_hosts.damaged"), "former");
    assert_eq!(home.read("known_hosts.damaged.2"), "[");
}

/// A running agent that lost its keys runs again, with its data, by either way.
#[test]
fn an_agent_without_its_keys_comes_back() {
    let programs = tempfile::tempdir().expect("a directory");
    let platform = Platform::start();
    let path = Pump::write(programs.path(), "1.0.0", Does::Works).display().to_string();
    platform.vctl_json(&["install", &path, "--vip-identity", "pump", "--start"]);
    let dir = platform.home().join("agents/pump");
    let keystore = dir.join("keystore.json");
    let former = fs::read_to_string(&keystore).expect("read");
    fs::create_dir_all(dir.join("data")).expect("create");
    fs::write(dir.join("data/readings"), "of years").expect("write");
    let doctor = || findings_of(platform.command("vctl").args(["--json", "doctor"]));
    let running =
        || platform.row("pump")["health"].as_object().is_some_and(|health| health["message"] == "GOOD");
    let well = || {
        until("the agent is well", PATIENCE, || running().then_some(()));
        let diagnosis = doctor();
        assert_eq!(own(&diagnosis), Vec::<Value>::new(), "{diagnosis:#}");
        assert_eq!(fs::read_to_string(dir.join("data/readings")).expect("read"), "of years");
    };
    well();

    fs::remove_file(&keystore).expect("remove");
    let diagnosis = doctor();
    require(
        &diagnosis,
        "VT2007",
        "fault",
        &["keystore of pump"],
        "vctl auth admit pump && vctl restart pump",
    );
    let output = paste(platform.home(), fixes(&own(&diagnosis))[0]);
    assert!(output.status.success(), "{output:?}");
    well();
    let second = fs::read_to_string(&keystore).expect("read");
    assert_ne!(second, former);

    fs::write(&keystore, "{").expect("write");
    platform.vctl_json(&["install", &path, "--vip-identity", "pump", "--force"]);
    well();
    assert_ne!(fs::read_to_string(&keystore).expect("read"), second);
    assert_eq!(fs::read_to_string(dir.join("keystore.json.damaged")).expect("read"), "{");

    // One whose files are damaged while it runs; nobody runs it twice.
    fs::write(dir.join("agent.json"), "{").expect("write");
    let diagnosis = doctor();
    require(&diagnosis, "VT3061", "fault", &["the agent pump is damaged"], "vctl install ");
    let refused = platform.vctl(&["install", &path, "--vip-identity", "pump"]);
    assert!(!refused.status.success(), "{refused:?}");
    for fix in fixes(&own(&diagnosis)) {
        let output = paste(platform.home(), fix);
        assert!(output.status.success(), "{fix}: {output:?}");
    }
    well();
    // And rules that are gone while the platform has them.
    platform.vctl_ok(&["auth", "add-role", "operator", "x"]);
    fs::remove_file(platform.home().join("auth.json")).expect("remove");
    let output = paste(platform.home(), fixes(&own(&doctor()))[0]);
    assert!(output.status.success(), "{output:?}");
    assert!(fs::read_to_string(platform.home().join("auth.json")).expect("read").contains("operator"));
    well();
    assert!(platform.vctl(&["auth", "admit", "nobody"]).status.code() == Some(1));
}

/// A name that fits leads to the home, which stays where it is.
#[test]
fn a_home_that_lies_too_deep_gets_a_short_name() {
    let site = Site::stopped();
    let mut home = site.copy();
    let deep = home.path.parent().expect("a parent").join("d".repeat(90));
    fs::rename(&home.path, &deep).expect("rename");
    home.path = deep;
    let found = own(&home.doctor(&[]));
    assert_eq!(found.len(), 1, "{found:#?}");
    let output = paste(&home.path, fixes(&found)[0]);
    assert!(output.status.success(), "{output:?}");
    let names = fs::read_dir(home.parent.path()).expect("read").flatten().map(|entry| entry.path());
    let short = names.into_iter().find(|path| path.is_symlink()).expect("a short name");
    assert_eq!(fs::canonicalize(&short).expect("a home"), fs::canonicalize(&home.path).expect("a home"));
    assert!(home::Home::new(&short).expect("a home").running().is_some());
    down(&short);
}
