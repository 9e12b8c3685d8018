//! Plans from descriptions in text.

use std::fs;

use serde_json::json;
use volttron_utils::config::OptionFile;

use super::super::file::read;
use super::*;

fn wanted(text: &str) -> Wanted {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.yaml");
    fs::write(&path, text).unwrap();
    read(&[path]).unwrap()
}

fn refused(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.yaml");
    fs::write(&path, text).unwrap();
    read(&[path]).unwrap_err().to_string()
}

fn present() -> Present {
    let item = |kind: &str, data: &str| Item { kind: kind.to_owned(), data: data.to_owned() };
    let store = BTreeMap::from([
        ("config".to_owned(), item("json", "{\"a\": 1} # why")),
        ("Devices/X".to_owned(), item("csv", "P\n1\n")),
    ]);
    let key = "k".repeat(43);
    let allow = vec![
        json!({"user_id": "control", "identity": "control", "credentials": key}),
        json!({"user_id": "out", "identity": "out", "credentials": key, "capabilities": {"a": null}}),
    ];
    let mut present = Present {
        settings: OptionFile::parse(
            "[volttron]\nautostart\nvip-address = tcp://127.0.0.1:1\ninstance-name = \"a\"\n",
        )
        .unwrap(),
        store: BTreeMap::from([("driver".to_owned(), store)]),
        topics: vec![("devices".to_owned(), json!(["x"]))],
        ..Present::default()
    };
    present.rules.allow = allow;
    present.rules.groups.insert("g".to_owned(), json!(["r"]));
    present
}

fn lines(text: &str, prune: bool) -> Vec<String> {
    let plan = plan(&present(), &wanted(text), prune).unwrap();
    plan.iter().map(|c| format!("{} {}", c.sign.as_char(), c.what)).collect()
}

#[test]
fn what_is_as_wanted_is_left_alone_however_it_is_written() {
    let text = "settings: {autostart: true, vip-address: tcp://127.0.0.1:1, instance-name: a}\n\
                config-store:\n  driver:\n    /config: {json: {a: 1}}\n    Devices/X: {csv: \"P\\n1\\n\"}\n\
                auth:\n  entries:\n    - {identity: out, capabilities: [a]}\n  groups: {g: [r]}\n\
                protected-topics:\n  - {topic: devices, capabilities: [x]}\n";
    assert_eq!(lines(text, true), Vec::<String>::new());
}

#[test]
fn differences_become_changes_in_their_order() {
    let text = "settings: {autostart: null, vip-address: [tcp://127.0.0.1:1, tcp://127.0.0.1:2], allow-auth: false}\n\
                config-store:\n  driver:\n    config: {json: {a: 2}}\n    new: {raw: x}\n  other: {}\n\
                auth:\n  entries:\n    - {identity: out, capabilities: [b]}\n    - {identity: p, capabilities: [c]}\n  \
                groups: {h: []}\n\
                protected-topics: []\n\
                agents:\n  p: {source: pump, priority: 5, running: true, restart: always}\n";
    let expected = [
        "- setting autostart: True -> none",
        "~ setting vip-address: tcp://127.0.0.1:1 -> tcp://127.0.0.1:1, tcp://127.0.0.1:2",
        "+ setting allow-auth: False",
        "+ group h: []",
        "~ auth entry out",
        "~ configuration driver/config",
        "+ configuration driver/new",
        "+ agent p",
        "~ agent p: policy",
        "~ auth entry p",
        "~ agent p: starts",
    ];
    assert_eq!(lines(text, false), expected);
    let pruned = lines(text, true);
    let removed: Vec<&str> = pruned.iter().map(String::as_str).filter(|l| !expected.contains(l)).collect();
    assert_eq!(removed, ["- group g", "- protected topic devices", "- configuration driver/Devices/X"]);
    let plan = plan(&present(), &wanted(text), false).unwrap();
    let waits: Vec<&str> = plan.iter().filter(|c| c.needs_platform).map(|c| c.what.as_str()).collect();
    assert_eq!(waits, ["agent p", "agent p: policy", "auth entry p", "agent p: starts"]);
    assert_eq!(plan[4].details, ["capabilities: {\"a\":null} -> {\"b\":null}"]);
    assert_eq!(plan[5].details, ["-{\"a\": 1} # why", "+{", "+  \"a\": 2", "+}"]);
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let plan = |text: &str| plan(&present(), &wanted(text), false).unwrap_err().to_string();
    assert!(plan("auth: {entries: [{identity: nobody}]}").contains("`vctl auth enroll nobody`"));
    assert!(plan("agents: {p: {version: '1'}}").contains("add `source`"));
}

#[test]
fn descriptions_that_cannot_be_are_refused_with_their_place() {
    for (text, expected) in [
        ("settings:\n  shutdown-timeout: soon\n", "site.yaml:2:3: invalid value 'soon'"),
        ("agents:\n  control: {}\n", ":2:3: this identity belongs to the platform"),
        ("agents:\n  p:\n    config: \"{\"\n", ":3:5: neither JSON"),
        ("agents:\n  p:\n    config-file: none.json\n", "none.json: No such file"),
        ("config-store:\n  p:\n    a: {json: {}, raw: x}\n", ":3:5: exactly one of json, csv, raw and file"),
        ("config-store:\n  p:\n    a: {json: \"5\"}\n", ":3:5: p/a: "),
        (
            "auth:\n  entries:\n    - {identity: control.connection}\n",
            ":3:7: this user belongs to the platform",
        ),
        ("auth:\n  entries:\n    - {identity: a, credentials: short}\n", "Invalid CURVE public key"),
        ("auth:\n  entries:\n    - {comments: a}\n", ":3:7: an entry needs an identity or a user_id"),
        ("protected-topics:\n  - {topic: /(/, capabilities: []}\n", ":1:1: /(/ is not a regular expression"),
        ("a: [\n", "site.yaml: "),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}
