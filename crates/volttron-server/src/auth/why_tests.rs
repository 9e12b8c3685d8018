use serde_json::json;

use super::*;
use crate::auth::file::AuthFile;
use crate::auth::protected::Protected;
use crate::auth::table::AuthTable;

fn snapshot() -> Snapshot {
    let key = |n: u8| volttron_utils::keys::PublicKey::from_bytes([n; 32]).to_string();
    let entry = |n: u8, identity: &str, more: Value| {
        let mut entry = json!({"mechanism": "CURVE", "credentials": key(n), "user_id": identity,
            "identity": identity, "enabled": true});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let text = json!({
        "allow": [
            entry(1, "plain", json!({})),
            entry(2, "writer", json!({"capabilities": {"write": null}})),
            entry(3, "grouped", json!({"groups": ["operators"]})),
            entry(4, "restricted", json!({"capabilities": {"write": {"point": "a"}}})),
            entry(5, "off", json!({"enabled": false, "capabilities": {"write": null}})),
        ],
        "deny": [], "groups": {"operators": ["technician"]}, "roles": {"technician": ["write"]},
        "version": {"major": 1, "minor": 4}
    });
    let file = AuthFile::parse(&text.to_string()).unwrap().file;
    let protected = r#"{"write-protect": [{"topic": "devices", "capabilities": ["write"]}]}"#;
    Snapshot {
        table: AuthTable::new(&file),
        file,
        protected: Protected::parse(protected).unwrap(),
        generation: 1,
    }
}

fn says(access: Value, required: &[&str]) -> Declared {
    Declared { access, required: required.iter().map(|s| (*s).to_owned()).collect() }
}

#[test]
fn publishing() {
    let s = snapshot();
    for (identity, topic, allowed, word) in [
        ("plain", "devices/a", false, "plain does not hold write"),
        ("plain", "free/a", true, "allow entry 0"),
        ("writer", "devices/a", true, "by its entry"),
        ("grouped", "devices/a", true, "by role technician of group operators"),
        ("off", "devices/a", false, "disabled"),
        ("stranger", "devices/a", false, "no allow entry names stranger"),
        ("stranger", "free/a", true, "no allow entry names stranger"),
        ("control", "devices/a", true, "control"),
    ] {
        let why = publish(&s, identity, topic);
        assert_eq!(why.allowed, allowed, "{why:?}");
        assert!(why.because.iter().any(|b| b.contains(word)), "{why:?}");
        assert_eq!(why.remedy.is_some(), !allowed, "{why:?}");
    }
}

#[test]
fn calling() {
    let s = snapshot();
    let capability = json!({"kind": "capabilities", "capabilities": ["write"]});
    let own = json!({"kind": "self_or", "param": "identity", "capabilities": ["write"]});
    let callers = json!({"kind": "callers", "callers": ["plain"]});
    let either = json!({"kind": "callers_or", "callers": ["plain"], "capabilities": ["write"]});
    for (identity, declared, allowed, rule) in [
        ("stranger", says(json!({"kind": "open"}), &[]), true, "every authenticated peer"),
        ("plain", says(capability.clone(), &["write"]), false, "asks for write"),
        ("grouped", says(capability.clone(), &["write"]), true, "asks for write"),
        ("restricted", says(capability, &["write"]), true, "asks for write"),
        ("plain", says(own.clone(), &["write"]), true, "named by the argument `identity`"),
        ("plain", says(own, &["write", "more"]), false, "more imposed"),
        ("plain", says(callers.clone(), &[]), true, "for plain"),
        ("writer", says(callers.clone(), &[]), false, "alone"),
        ("plain", says(callers, &["more"]), false, "more imposed"),
        ("plain", says(either.clone(), &["write"]), true, "for plain"),
        ("writer", says(either, &["write"]), true, "asks for write"),
        // A Python agent tells its requirements only.
        ("plain", says(Value::Null, &["write"]), false, "asks for write"),
        ("plain", says(Value::Null, &[""]), true, "every authenticated peer"),
    ] {
        let why = call(&s, identity, "driver", "set_point", &declared);
        assert_eq!(why.allowed, allowed, "{why:?}");
        assert!(why.rule.contains(rule), "{why:?}");
    }
    let why = call(&s, "restricted", "driver", "set_point", &says(Value::Null, &["write"]));
    assert!(why.because.iter().any(|b| b.contains(r#"restricted to {"point":"a"}"#)), "{why:?}");
}

#[test]
fn connecting() {
    let s = snapshot();
    for (identity, allowed, rule) in [
        ("plain", true, "allow entry 0"),
        ("off", false, "disabled"),
        ("stranger", false, "no allow entry names it"),
        ("control", false, "belongs to the platform itself"),
    ] {
        let why = connect(&s, identity, true);
        assert_eq!(why.allowed, allowed, "{why:?}");
        assert!(why.rule.contains(rule), "{why:?}");
    }
}
