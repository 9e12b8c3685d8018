//! dropin.md, Files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use volttron_tests::platform::public_key;
use volttron_utils::keys::{KeyPair, keystore};

use crate::site::{Mode, SHORT, Site, eventually};

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
    fs::write(path, text).expect("write a file");
}

fn write_keys(path: &Path) -> KeyPair {
    let keys = KeyPair::generate();
    let text = json!({"public": keys.public.to_string(), "secret": keys.secret.reveal().as_str()});
    put(path, &serde_json::to_string_pretty(&text).expect("JSON"));
    keys
}

/// An entry as scripts write them: fields of their own, others left out.
fn entry(user_id: &str, keys: &KeyPair) -> Value {
    json!({
        "user_id": user_id, "identity": user_id, "credentials": keys.public.to_string(), "mechanism": "CURVE",
        "capabilities": {"edit_config_store": {"identity": user_id}}, "note of the script": user_id
    })
}

async fn every_key_of_the_config_file_is_accepted(mode: Mode) {
    let mut site = Site::prepare(mode);
    for line in [
        "bind-web-address = http://127.0.0.1:1",
        "web-ssl-cert = /nonexistent/cert.pem",
        "web-ssl-key = /nonexistent/key.pem",
        "volttron-central-address = http://127.0.0.1:2",
        "volttron-central-serverkey = x",
        "agent-isolation-mode = False",
        "agent-monitor-frequency = 600",
    ] {
        site.platform.configure(line);
    }
    if mode == Mode::Authenticated {
        site.platform.configure("allow-auth = True");
    }
    site.platform.launch();
    let control = site.control().await;
    let name = control.router_request("query", vec!["instance-name".into()]).await.expect("an answer");
    assert_eq!(name[1].as_ref(), b"site1");
}

async fn keys_that_are_there_are_used_and_never_replaced(mode: Mode) {
    let mut site = Site::prepare(mode);
    let home = site.platform.home().to_owned();
    let own = write_keys(&home.join("keystore"));
    let agent = write_keys(&home.join("keystores/agent/keystore.json"));
    let control = write_keys(&home.join("keystores/control/keystore.json"));
    let tool = write_keys(&home.join("keystores/control.connection/keystore.json"));
    let files: Vec<PathBuf> = [
        "keystore",
        "keystores/agent/keystore.json",
        "keystores/control/keystore.json",
        "keystores/control.connection/keystore.json",
    ]
    .iter()
    .map(|name| home.join(name))
    .collect();
    let before: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("keys")).collect();
    let other_host = json!({"10.1.2.3:22916": agent.public.to_string()});
    put(&home.join("known_hosts"), &other_host.to_string());
    let script = json!({
        "version": {"major": 1, "minor": 4}, "groups": {}, "roles": {}, "deny": [],
        "allow": [entry("control", &control), entry("agent", &agent), entry("control.connection", &tool)]
    });
    if mode == Mode::Authenticated {
        put(&home.join("auth.json"), &script.to_string());
    }
    site.platform.launch();
    let connection = site.connect("agent", &agent).await;
    connection.call("config.store", "list_configs").arg("agent").send_value().await.expect("its own store");
    site.platform.vctl_ok(&["peerlist"]);
    let after: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("keys")).collect();
    assert_eq!(before, after);
    let hosts = read(&home.join("known_hosts"));
    assert_eq!(hosts["10.1.2.3:22916"], other_host["10.1.2.3:22916"], "entries of others stay");
    if mode == Mode::Authenticated {
        let address = site.platform.address().replace("tcp://", "");
        assert_eq!(hosts[&address], own.public.to_string());
        assert_eq!(site.platform.server_key(), public_key(&home.join("keystore")));
    }
}

async fn without_authentication_there_are_no_keys_and_no_auth_json(mode: Mode) {
    let site = Site::start(mode);
    site.listener("listener", &[]);
    let home = site.platform.home();
    let made = |name: &str| home.join(name).exists();
    let expected = mode == Mode::Authenticated;
    assert_eq!((made("keystore"), made("auth.json"), made("known_hosts")), (expected, expected, expected));
    assert_eq!(made("keystores"), expected, "keys of services");
    let list = site.platform.vctl_ok(&["auth", "list"]);
    assert_eq!(list.starts_with("No entries in "), mode == Mode::Open, "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_auth_json_keep_their_order_and_their_unknown_fields() {
    let mut site = Site::prepare(Mode::Authenticated);
    let home = site.platform.home().to_owned();
    let mut allow = Vec::new();
    // One entry per built-in identity, with keys of the script, and two of its own in between.
    for user in [
        "zulu",
        "control",
        "platform.auth",
        "config.store",
        "platform.health",
        "keydiscovery",
        "alpha",
        "control.connection",
        "platform",
    ] {
        let keys = write_keys(&home.join(format!("keystores/{user}/keystore.json")));
        allow.push(entry(user, &keys));
    }
    let order: Vec<String> = allow.iter().map(|e| e["user_id"].as_str().expect("text").to_owned()).collect();
    let script = json!({
        "version": {"major": 1, "minor": 4}, "groups": {}, "roles": {}, "deny": [], "allow": allow,
        "of the script": [1, 2]
    });
    put(&home.join("auth.json"), &serde_json::to_string_pretty(&script).expect("JSON"));
    site.platform.launch();
    let zulu = keystore::load(&home.join("keystores/zulu/keystore.json")).expect("keys");
    site.connect("zulu", &zulu).await;
    // Force a rewrite: an agent's entry is added.
    site.listener("listener", &[]);
    let auth = read(&home.join("auth.json"));
    let now: Vec<&str> =
        auth["allow"].as_array().expect("a list").iter().filter_map(|e| e["user_id"].as_str()).collect();
    let kept: Vec<&str> = now.iter().copied().filter(|user| order.iter().any(|o| o == user)).collect();
    assert_eq!(kept, order);
    assert!(now.contains(&"listener"));
    assert_eq!(auth["of the script"], json!([1, 2]));
    for name in ["zulu", "alpha"] {
        let entry =
            auth["allow"].as_array().expect("a list").iter().find(|e| e["user_id"] == name).expect("there");
        assert_eq!(entry["note of the script"], name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_written_auth_json_is_tolerated_and_read_again() {
    let site = Site::start(Mode::Authenticated);
    let old_keys = site.platform.admit("old", &json!({"c": null}));
    let old = site.connect("old", &old_keys).await;
    let file = site.platform.home().join("auth.json");
    let good = fs::read_to_string(&file).expect("auth.json");
    for broken in [&good[..good.len() / 2], "", "{"] {
        fs::write(&file, broken).expect("write");
        // Longer than a change takes to be noticed: the last good state is still in force.
        let caps =
            old.call("platform.auth", "get_capabilities").arg("old").send_value().await.expect("an answer");
        assert_eq!(caps, json!({"c": null}));
        let again = site.connect(&format!("old.{}", broken.len()), &old_keys).await;
        again.close().await;
    }
    let new = KeyPair::generate();
    let mut auth: Value = serde_json::from_str(&good).expect("JSON");
    auth["allow"].as_array_mut().expect("a list").push(entry("new", &new));
    // In two pieces, as a program that overwrites the file in place does.
    let text = auth.to_string();
    fs::write(&file, &text[..text.len() / 3]).expect("write");
    fs::write(&file, &text).expect("write");
    site.connect("new", &new).await;
    assert!(read(&file)["allow"].as_array().expect("a list").iter().any(|e| e["user_id"] == "new"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_entry_leaves_its_owners_session_and_refuses_the_next_connection() {
    let site = Site::start(Mode::Authenticated);
    let keys = site.platform.admit("gone", &json!({}));
    let session = site.connect("gone", &keys).await;
    let file = site.platform.home().join("auth.json");
    let mut auth = read(&file);
    auth["allow"].as_array_mut().expect("a list").retain(|e| e["user_id"] != "gone");
    fs::write(&file, auth.to_string()).expect("write");
    let control = site.control().await;
    eventually("the deletion", || async {
        let all =
            control.call("platform.auth", "get_user_to_capabilities").send_value().await.expect("an answer");
        all.get("gone").is_none()
    })
    .await;
    session.publish("still/here", &1).await.expect("the session stays up");
    session.call("control", "peerlist").send_value().await.expect("and is served");
    assert!(site.try_connect("gone", &keys, SHORT).await.is_none(), "the next connection is refused");
    session.peerlist().await.expect("also after that");
}

async fn files_of_other_platforms_do_not_stop_the_start(mode: Mode) {
    let mut site = Site::prepare(mode);
    let home = site.platform.home().to_owned();
    let wrong = json!({"other": {"instance-name": "other", "vip-address": "tcp://127.0.0.1:9", "serverkey": "wrong"}});
    put(&home.join("external_address.json"), &json!(["tcp://127.0.0.1:9", "nonsense"]).to_string());
    put(&home.join("external_platform_discovery.json"), &wrong.to_string());
    site.platform.launch();
    site.platform.vctl_ok(&["peerlist"]);
    // While running as well.
    put(&home.join("external_platform_discovery.json"), "{");
    put(&home.join("external_address.json"), "[]");
    site.platform.vctl_ok(&["peerlist"]);
    assert_eq!(site.platform.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_written_while_running_are_used() {
    let site = Site::start(Mode::Authenticated);
    let keys = write_keys(&site.platform.home().join("keystores/script.agent/keystore.json"));
    let text = site.platform.vctl_ok(&[
        "auth",
        "add",
        "--user_id",
        "script.agent",
        "--credentials",
        &keys.public.to_string(),
    ]);
    assert!(text.starts_with("added entry "), "{text}");
    site.connect("script.agent", &keys).await;
}

async fn others_find_the_files_they_read(mode: Mode) {
    let site = Site::prepare(mode);
    let home = site.platform.home().to_owned();
    let mut site = site;
    let config = home.join("my.config");
    put(&config, "{\"a\": 1}\n");
    site.platform.launch();
    let pid = fs::read_to_string(home.join("VOLTTRON_PID")).expect("VOLTTRON_PID");
    assert_eq!(pid, site.platform.pid().to_string(), "decimal and nothing else");
    let uuid = site.listener("listener", &["--agent-config", config.to_str().expect("text")]);
    let agent = home.join("agents").join(&uuid);
    assert_eq!(fs::read_to_string(agent.join("IDENTITY")).expect("IDENTITY").trim(), "listener");
    // <name-version>/<name-version>.dist-info/config, whatever the version is.
    let listed = site.platform.vctl_json(&["list"]);
    let name = listed["listener"]["name"].as_str().or(listed["listener"]["AGENT"].as_str()).expect("a name");
    let info = agent.join(name).join(format!("{name}.dist-info"));
    assert_eq!(fs::read_to_string(info.join("config")).expect("config"), "{\"a\": 1}\n");
    if mode == Mode::Authenticated {
        assert_eq!(public_key(&info.join("keystore.json")).len(), 43);
        assert_eq!(public_key(&home.join("keystores/control.connection/keystore.json")).len(), 43);
    }
    site.platform.vctl_ok(&["config", "store", "listener", "c", config.to_str().expect("text"), "--json"]);
    let store = read(&home.join("configuration_store/listener.store"));
    assert_eq!((&store["c"]["type"], &store["c"]["data"]), (&json!("json"), &json!("{\"a\": 1}\n")));
    assert!(store["c"]["modified"].is_string());
}

crate::in_both_modes! {
    every_key_of_the_config_file_is_accepted,
    keys_that_are_there_are_used_and_never_replaced,
    without_authentication_there_are_no_keys_and_no_auth_json,
    files_of_other_platforms_do_not_stop_the_start,
    others_find_the_files_they_read,
}
