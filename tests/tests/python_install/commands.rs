//! What scripts rely on when they install a Python directory (dropin.md, Commands and Files).

use std::fs;

use serde_json::{Value, json};
use volttron_tests::platform::public_key;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

use crate::site::{PATIENCE, Site, classic};

fn pid(site: &Site, identity: &str) -> Option<u32> {
    let status = site.status(identity);
    status["status"].as_str()?.strip_prefix("running [")?.strip_suffix(']')?.parse().ok()
}

#[test]
fn a_directory_is_installed_as_scripts_expect() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let text = "# for the hall\n{\"room\": \"hall\"}\n";
    let config = site.write("hall.config", text);
    let directory = classic();
    let before = fs::read_dir(&directory).expect("the agent's directory").count();
    let options = [
        "--agent-config",
        &config,
        "--vip-identity",
        "hall.agent",
        "--tag",
        "hall",
        "--start",
        "--priority",
        "20",
    ];
    let installed = site.install(&[&[&*directory], &options[..]].concat());
    let uuid = installed["agent_uuid"].as_str().expect("a uuid").to_owned();
    assert_eq!(installed["tag"], "hall");
    assert_eq!((&installed["enabling"], &installed["priority"]), (&json!(true), &json!("20")));
    assert_eq!(installed["started"], true);
    let first = pid(&site, "hall.agent").expect("a pid");
    assert_eq!(installed["pid"], first);
    assert_eq!(site.status("hall.agent")["health"]["message"], "GOOD");
    assert_eq!(
        fs::read_dir(&directory).expect("the agent's directory").count(),
        before,
        "nothing is left in it"
    );

    the_agent_finds_itself(&site, &uuid);
    // Paths of 9.x.
    let old = format!("agents/{uuid}");
    assert_eq!(site.read(format!("{old}/IDENTITY")), "hall.agent");
    assert_eq!(site.read(format!("{old}/echoclassicagent-3.7/echoclassicagent-3.7.dist-info/config")), text);
    assert_eq!(site.read("agents/hall.agent/config"), text);

    // The same identity again: refused, and nothing changes.
    let output = site.try_install(&[&[&*directory], &options[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        complaint.contains("Identity already exists.  Pass --force option to re-install."),
        "{complaint}"
    );
    assert_eq!(pid(&site, "hall.agent"), Some(first));

    // With --force it runs again under a new pid. Nothing is built or downloaded for that: there is no network here.
    let offline = [&[&*directory, "--force", "--offline"], &options[..]].concat();
    let key = public_key(&site.platform.home().join("agents/hall.agent/keystore.json"));
    site.install(&offline);
    let second = pid(&site, "hall.agent").expect("a pid");
    assert_ne!(second, first);
    assert_eq!(public_key(&site.platform.home().join("agents/hall.agent/keystore.json")), key);
    let starts = || site.read("agents/hall.agent/data/starts").lines().count();
    until("the data to be kept", PATIENCE, || (starts() == 2).then_some(()));

    // Another instance from the same source shares the environment.
    site.install(&[&directory, "--offline"]);
    assert_eq!(site.names("bin").len(), 1);
    assert_eq!(site.status("echo.classic_1")["status"], "", "never started");

    site.platform.vctl_ok(&["stop", &uuid]);
    let stopped = site.status("hall.agent")["status"].clone();
    assert!(stopped.as_str().is_some_and(|text| text.parse::<i32>() == Ok(0)), "{stopped}");
    let list = site.platform.vctl_json(&["list"]);
    assert_eq!(list["hall.agent"]["PRI"], "20");
    site.platform.vctl_ok(&["remove", &uuid]);
    assert_eq!(site.names("bin").len(), 1, "the other agent needs it");
    assert!(!site.platform.home().join(old).exists());
    site.platform.vctl_ok(&["remove", "echo.classic_1"]);
    assert_eq!(site.names("bin"), [""; 0]);
}

/// The documented environment (lifecycle.md section 5), and the directory that agents for 9.x run in.
fn the_agent_finds_itself(site: &Site, uuid: &str) {
    let found = site.call("hall.agent", "whereabouts");
    assert_eq!(found["room"], "hall");
    let home = site.platform.home().canonicalize().expect("the home");
    let package = home.join("agents").join(uuid).join("echoclassicagent-3.7");
    assert_eq!(found["cwd"], package.display().to_string());
    let environment = &found["environment"];
    let keystore = site.platform.home().join("agents/hall.agent/keystore.json");
    let keys: Value = serde_json::from_str(&site.read(&keystore)).expect("keys");
    let config = site.platform.home().join("agents/hall.agent/config").display().to_string();
    for (name, expected) in [
        ("AGENT_UUID", json!(uuid)),
        ("AGENT_VIP_IDENTITY", json!("hall.agent")),
        ("AGENT_TAG", json!("hall")),
        ("AGENT_CONFIG", json!(config)),
        ("AGENT_PUBLICKEY", keys["public"].clone()),
        ("AGENT_SECRETKEY", keys["secret"].clone()),
        ("VOLTTRON_SERVERKEY", json!(site.platform.server_key())),
        ("_LAUNCHED_BY_PLATFORM", json!("1")),
        ("AGENT_KEYSTORE", Value::Null),
    ] {
        assert_eq!(environment[name], expected, "{name}");
    }
    let root = found["python"].as_str().expect("a path");
    assert!(root.contains("/bin/echoclassicagent-3.7+"), "{root}");
    assert_eq!(environment["VIRTUAL_ENV"], root);
}
