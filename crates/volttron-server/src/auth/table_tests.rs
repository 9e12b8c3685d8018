use serde_json::json;

use super::*;

fn key(n: usize) -> String {
    format!("{n:A<43}")
}

fn curve<'a>(address: &'a str, key: &'a str) -> Presented<'a> {
    Presented { domain: "vip", address, mechanism: Mechanism::Curve, credentials: key }
}

fn table(doc: &Value) -> AuthTable {
    let mut doc = doc.clone();
    doc["version"] = json!({"major": 1, "minor": 4});
    let parsed = AuthFile::parse(&doc.to_string()).unwrap();
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    AuthTable::new(&parsed.file)
}

fn user_of(t: &AuthTable, p: Presented<'_>) -> Option<String> {
    match t.authenticate(p) {
        Verdict::Allowed { user_id, .. } => Some(user_id),
        _ => None,
    }
}

#[test]
fn plain_keys_before_expressions_then_file_order() {
    let t = table(&json!({"allow": [
        {"credentials": "/.*/", "user_id": "rx"},
        {"credentials": key(1), "user_id": "first", "address": "10.0.0.1"},
        {"credentials": [key(2), key(1)], "user_id": "second"},
        {"credentials": key(3), "user_id": "off", "enabled": false},
    ]}));
    assert_eq!(user_of(&t, curve("10.0.0.1", &key(1))).as_deref(), Some("first"));
    assert_eq!(user_of(&t, curve("10.0.0.2", &key(1))).as_deref(), Some("second"));
    assert_eq!(user_of(&t, curve("10.0.0.2", &key(2))).as_deref(), Some("second"));
    assert_eq!(
        user_of(&t, curve("10.0.0.2", &key(3))).as_deref(),
        Some("rx"),
        "a disabled entry admits nobody itself"
    );
}

#[test]
fn filters_match_whole_values() {
    let t = table(&json!({"allow": [
        {"credentials": key(1), "user_id": "a", "address": "/127\\.0\\.0\\..*/"},
        {"credentials": key(2), "user_id": "b", "address": "/a|b/"},
        {"credentials": key(3), "user_id": "c", "domain": "other"},
        {"credentials": "/x{43}/", "user_id": "d", "address": ["one", "/two+/"]},
    ]}));
    let cases = [
        ("127.0.0.1", key(1), true),
        ("1127.0.0.1", key(1), false),
        ("127.0.0.1\n", key(1), true),
        ("ab", key(2), false),
        ("a\n", key(2), false),
        ("b", key(2), true),
        ("x", key(3), false),
        ("one", "x".repeat(43), true),
        ("twooo", "x".repeat(43), true),
        ("twoa", "x".repeat(43), false),
        ("one", "x".repeat(44), false),
    ];
    for (address, key, want) in cases {
        // `.` does not match a newline, so a trailing one is refused even by `.*`.
        let want = want && !address.ends_with('\n');
        assert_eq!(user_of(&t, curve(address, &key)).is_some(), want, "{address:?} {key}");
    }
}

#[test]
fn an_expression_cannot_escape_its_anchors() {
    assert!(super::super::pattern::compile("a)|(b").is_err());
    assert!(super::super::pattern::compile("a|b").unwrap().is_match("b"));
    assert!(!super::super::pattern::compile("(?m)a$").unwrap().is_match("a\nb"));
}

#[test]
fn deny_takes_precedence() {
    let t = table(&json!({
        "allow": [{"credentials": key(1), "user_id": "a"}],
        "deny": [{"credentials": key(1), "user_id": "d", "address": "10.0.0.9"}, {"credentials": key(2), "user_id": "e", "enabled": false}],
    }));
    assert_eq!(t.authenticate(curve("10.0.0.9", &key(1))), Verdict::Denied { index: 0, user_id: "d".into() });
    assert_eq!(
        t.authenticate(curve("10.0.0.8", &key(1))),
        Verdict::Allowed { index: 0, user_id: "a".into() }
    );
    assert_eq!(t.authenticate(curve("10.0.0.8", &key(2))), Verdict::Unknown);
    assert_eq!(t.authenticate(curve("10.0.0.9", &key(1))).to_string(), "denied by deny entry 0 (user_id d)");
}

#[test]
fn mechanisms_do_not_mix() {
    let t = table(&json!({"allow": [
        {"mechanism": "PLAIN", "credentials": "pw", "user_id": "p"},
        {"mechanism": "NULL", "user_id": "n", "address": "127.0.0.1"},
    ]}));
    let with = |mechanism, credentials, address| {
        t.authenticate(Presented { domain: "vip", address, mechanism, credentials })
    };
    assert_eq!(with(Mechanism::Plain, "pw", "127.0.0.1"), Verdict::Unknown);
    assert_eq!(with(Mechanism::Curve, "pw", "127.0.0.1"), Verdict::Unknown);
    assert_eq!(with(Mechanism::Null, "", "127.0.0.1"), Verdict::Allowed { index: 1, user_id: "n".into() });
    assert_eq!(with(Mechanism::Null, "", "127.0.0.2"), Verdict::Unknown);
}

fn identities() -> AuthTable {
    table(&json!({"allow": [
        {"credentials": key(0), "user_id": "control.connection", "identity": "control.connection"},
        {"credentials": key(0), "user_id": "control", "identity": "control"},
        {"credentials": key(1), "user_id": "agent1", "identity": "agent1"},
        {"credentials": key(2), "user_id": "some-uuid", "identity": "agent2"},
        {"credentials": key(3), "user_id": "agent3"},
        {"credentials": key(4), "user_id": "agent1-backup", "identity": "agent1"},
        {"credentials": "/B.*/", "user_id": "many", "identity": "many"},
        {"credentials": key(6), "user_id": "disabled", "identity": "disabled", "enabled": false},
        {"credentials": key(7), "user_id": "v2.platform.agent", "identity": "v2.platform.agent"},
        {"mechanism": "NULL", "user_id": "nobody", "identity": "nobody"},
    ]}))
}

#[test]
fn identities_are_bound_to_keys() {
    let t = identities();
    let b = format!("B{}", "A".repeat(42));
    let cases: &[(&str, &str, bool)] = &[
        ("agent1", &key(1), true),
        ("agent1", &key(4), true),
        ("agent1", &key(2), false),
        ("agent1", "", false),
        ("agent2", &key(2), true),
        ("agent2", &key(1), false),
        ("some-uuid", &key(1), false),
        ("agent3", &key(3), true),
        ("agent3", &key(1), false),
        ("many", &b, true),
        ("many", &key(1), false),
        ("disabled", &key(6), true),
        ("disabled", &key(1), false),
        ("adhoc", &key(1), true),
        ("instance.v2.abc", &key(1), true),
        ("v2.forward.historian", &key(1), true),
        ("v2.platform.agent", &key(7), true),
        ("v2.platform.agent", &key(1), false),
        ("nobody", "", true),
        ("nobody", &key(1), false),
        // Services never, whatever the key.
        ("control", &key(0), false),
        ("platform.control", &key(0), false),
        ("platform", &key(0), false),
        ("platform.auth", &key(1), false),
        ("platform.config_store", &key(1), false),
        ("platform_web", &key(1), false),
        ("keydiscovery", &key(1), false),
        ("platform.health", &key(1), false),
        // The command line tool only with its key.
        ("control.connection", &key(0), true),
        ("control.connection.17-ab", &key(0), true),
        ("control.connection", &key(1), false),
        ("control.connection.17-ab", &key(1), false),
        ("control.connection", "", false),
        ("control.connections", &key(1), true),
    ];
    for (identity, key, want) in cases {
        assert_eq!(t.admit(identity, key, true).is_ok(), *want, "{identity} with {key:?}");
    }
}

#[test]
fn unbound_identities_still_exclude_the_platforms_own() {
    let t = identities();
    assert!(t.admit("agent1", &key(2), false).is_ok());
    for own in ["control", "platform.auth", "platform", "control.connection", "control.connection.1"] {
        assert!(t.admit(own, &key(2), false).is_err(), "{own}");
    }
}

#[test]
fn refusals_name_the_entry() {
    let t = identities();
    let text = |identity: &str| t.admit(identity, &key(5), true).unwrap_err().to_string();
    assert_eq!(text("agent2"), "identity agent2 belongs to another key (auth entry 3, user_id some-uuid)");
    assert_eq!(
        text("control"),
        "identity control belongs to the platform itself and is not accepted from a socket"
    );
    assert_eq!(
        text("control.connection.1"),
        "identity control.connection.1 needs the key of control.connection"
    );
}

#[test]
fn capabilities_of_groups_and_roles() {
    let t = table(&json!({
        "allow": [
            {"credentials": key(1), "user_id": "a", "capabilities": {"own": {"p": 1}, "r1cap": {"p": 2}}, "groups": ["g", "missing"], "roles": ["r1"]},
            {"credentials": key(2), "user_id": "b", "enabled": false, "roles": ["r1"]},
            {"credentials": key(3), "user_id": "dup", "capabilities": "one"},
            {"credentials": key(4), "user_id": "dup", "capabilities": "two"},
        ],
        "groups": {"g": ["r2", "r1"], "odd": "x"},
        "roles": {"r1": ["r1cap"], "r2": ["r2cap", {"with": {"p": 1}}]},
    }));
    assert_eq!(
        Value::Object(t.capabilities_of("a").unwrap().clone()),
        json!({"own": {"p": 1}, "r1cap": null, "r2cap": null})
    );
    assert!(t.capabilities_of("b").is_none());
    assert_eq!(t.roles_of("a"), ["r1"]);
    assert_eq!(t.groups_of("a"), ["g", "missing"]);
    assert_eq!(Value::Object(t.capabilities_of("dup").unwrap().clone()), json!({"two": null}));
    assert_eq!(t.warnings().len(), 1, "{:?}", t.warnings());
    assert_eq!(t.users().keys().collect::<Vec<_>>(), ["a", "dup"]);
}

#[test]
fn both_names_of_a_service_are_users() {
    let t = table(&json!({"allow": [
        {"credentials": key(1), "user_id": "control", "capabilities": "x"},
        {"credentials": key(2), "user_id": "platform.config_store", "capabilities": "y"},
        {"credentials": key(3), "user_id": "control.connection", "capabilities": "z"},
    ]}));
    assert_eq!(t.capabilities_of("platform.control"), t.capabilities_of("control"));
    assert!(t.capabilities_of("config.store").unwrap().contains_key("y"));
    assert!(t.capabilities_of("control.connection.12-f").unwrap().contains_key("z"));
    assert!(t.capabilities_of("control.connections").is_none());
    assert_eq!(
        t.users().keys().collect::<Vec<_>>(),
        ["control", "platform.config_store", "control.connection", "platform.control", "config.store"]
    );
}
