use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::state::AuthOptions;
use super::*;

fn fixture() -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    home.create_dirs().unwrap();
    (dir, home)
}

fn start(home: &Home) -> (AuthState, KeyPair) {
    let state = AuthState::open(home, AuthOptions::default()).unwrap();
    let addresses = [home.default_vip_socket().parse().unwrap(), "tcp://127.0.0.1:22916".parse().unwrap()];
    let keys = prepare(home, &state, &addresses).unwrap();
    (state, keys)
}

fn allow(home: &Home) -> Vec<Value> {
    let doc: Value = serde_json::from_str(&fs::read_to_string(home.auth_file()).unwrap()).unwrap();
    doc["allow"].as_array().unwrap().clone()
}

#[test]
fn a_first_start_makes_keys_entries_and_known_hosts() {
    let (_dir, home) = fixture();
    let (state, server) = start(&home);
    let entries = allow(&home);
    let ids: Vec<&str> = entries.iter().map(|e| e["user_id"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        [
            "platform",
            "control.connection",
            "config.store",
            "platform.config_store",
            "platform.auth",
            "control",
            "platform.control",
            "keydiscovery",
            "platform_web",
            "platform.web"
        ]
    );
    assert_eq!(entries[0]["credentials"], json!(server.public.to_string()));
    assert_eq!(entries[0]["identity"], Value::Null);
    assert_eq!(entries[1]["identity"], json!("control.connection"));
    assert_eq!(
        entries[1]["capabilities"],
        json!({"edit_config_store": {"identity": "/.*/"}, "modify_rpc_method_allowance": null, "allow_auth_modifications": null})
    );
    assert!(entries.iter().all(|e| e["comments"] == json!(COMMENT) && e["enabled"] == json!(true)));
    let control = keystore::load(&home.keystores("control")).unwrap().public.to_string();
    assert_eq!((&entries[5]["credentials"], &entries[6]["credentials"]), (&json!(control), &json!(control)));
    assert_eq!(fs::metadata(home.auth_file()).unwrap().permissions().mode() & 0o777, 0o600);
    let hosts: Value = serde_json::from_str(&fs::read_to_string(home.known_hosts()).unwrap()).unwrap();
    let key = server.public.to_string();
    assert_eq!(hosts, json!({"@": key, "127.0.0.1:22916": key}));
    let snapshot = state.snapshot();
    assert!(snapshot.table.capabilities_of("platform_web").unwrap().contains_key("allow_auth_modifications"));
    assert!(snapshot.table.capabilities_of("platform.health").is_none());
}

#[test]
fn a_second_start_changes_nothing() {
    let (_dir, home) = fixture();
    let (_, first) = start(&home);
    let text = fs::read_to_string(home.auth_file()).unwrap();
    // A comment would be lost by a rewrite, so its survival shows that there was none.
    fs::write(home.auth_file(), format!("# by hand\n{text}")).unwrap();
    let (_, second) = start(&home);
    assert_eq!(first.public, second.public);
    assert!(fs::read_to_string(home.auth_file()).unwrap().starts_with("# by hand\n"));
}

#[test]
fn entries_and_keys_prepared_by_others_are_used_in_their_order() {
    let (_dir, home) = fixture();
    let mine = KeyPair::generate();
    keystore::write(&home.keystores("control"), &mine).unwrap();
    let agent = KeyPair::generate().public.to_string();
    let doc = json!({
        "allow": [
            {"credentials": agent, "user_id": "agent1", "identity": "agent1", "mine": [1, 2]},
            {"credentials": KeyPair::generate().public.to_string(), "user_id": "control", "note": "kept",
             "rpc_method_authorizations": {"start_agent": ["may_start"]}, "capabilities": {}, "enabled": false},
        ],
        "version": {"major": 1, "minor": 4}, "other": true
    });
    fs::write(home.auth_file(), doc.to_string()).unwrap();
    start(&home);
    let entries = allow(&home);
    assert_eq!(entries[0]["mine"], json!([1, 2]));
    assert_eq!(entries[1]["user_id"], json!("control"));
    assert_eq!(entries[1]["credentials"], json!(mine.public.to_string()));
    assert_eq!((&entries[1]["note"], &entries[1]["enabled"]), (&json!("kept"), &json!(true)));
    assert_eq!(entries[1]["rpc_method_authorizations"], json!({"start_agent": ["may_start"]}));
    assert_eq!(entries[2]["user_id"], json!("platform"));
    assert_eq!(keystore::load(&home.keystores("control")).unwrap().public, mine.public);
    let text = fs::read_to_string(home.auth_file()).unwrap();
    assert!(text.contains("\"other\": true"));
}

#[test]
fn an_old_file_is_upgraded_with_one_backup() {
    let (dir, home) = fixture();
    let agent = KeyPair::generate().public.to_string();
    fs::write(
        home.auth_file(),
        format!(r#"{{"allow": [{{"credentials": "CURVE:{agent}", "user_id": "old"}}]}}"#),
    )
    .unwrap();
    let (state, _) = start(&home);
    let backups = fs::read_dir(dir.path()).unwrap().filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_str().unwrap().contains(".bak")
    });
    assert_eq!(backups.count(), 1);
    assert!(state.snapshot().table.admit("old", &agent, true).is_ok());
}

#[test]
fn files_that_cannot_be_read_explain_themselves() {
    let (_dir, home) = fixture();
    let open = || AuthState::open(&home, AuthOptions::default());
    fs::write(home.auth_file(), r#"{"version": {"major": 2, "minor": 0}}"#).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(error.contains("auth.json: version 2.0 is newer"), "{error}");
    fs::write(home.auth_file(), "{}").unwrap();
    fs::write(home.protected_topics(), "{").unwrap();
    let error = open().unwrap_err().to_string();
    assert!(error.contains("protected_topics.json: not JSON"), "{error}");
}

#[test]
fn without_authentication_no_file_is_touched() {
    let (dir, home) = fixture();
    fs::write(home.auth_file(), "not even JSON").unwrap();
    let before = fs::read_dir(dir.path()).unwrap().count();
    AuthState::open(&home, AuthOptions { enabled: false, ..AuthOptions::default() }).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
}
