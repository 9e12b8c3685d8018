use proptest::prelude::*;

use super::super::entry::{FIELDS, Filter, Mechanism};
use super::*;

const KEY: &str = "pU3b6KfN0yVt8qXw1ZsLr5DdGhJ2mAc9EeTiOoPkB4s";

fn key(n: usize) -> String {
    format!("{n:A<43}")
}

fn parse(text: &str) -> Parsed {
    AuthFile::parse(text).unwrap()
}

fn allow(file: &AuthFile) -> Vec<Value> {
    file.entries(List::Allow).map(Entry::to_value).collect()
}

#[test]
fn the_current_version_is_written_as_it_was_read() {
    let text = format!(
        r#"{{
  "allow": [
    {{
      "domain": null,
      "address": [
        "127.0.0.1",
        "/localhost:.*/"
      ],
      "mechanism": "CURVE",
      "credentials": "{KEY}",
      "groups": [
        "g"
      ],
      "roles": [],
      "capabilities": {{
        "edit_config_store": {{
          "identity": "a"
        }},
        "x": null
      }},
      "rpc_method_authorizations": {{
        "echo": [
          "cap"
        ]
      }},
      "comments": "caf\u00e9",
      "user_id": "a",
      "identity": "a",
      "enabled": true,
      "note": {{
        "kept": 1.0
      }}
    }},
    {{
      "credentials": "too short",
      "user_id": "kept aside"
    }}
  ],
  "deny": [],
  "groups": {{
    "g": [
      "r"
    ]
  }},
  "roles": {{
    "r": [
      "x"
    ]
  }},
  "version": {{
    "major": 1,
    "minor": 4
  }},
  "more": [
    true
  ]
}}
"#
    );
    let parsed = parse(&text);
    assert_eq!(parsed.file.to_text(), text);
    assert!(!parsed.upgraded());
    assert_eq!(
        parsed.warnings,
        [
            "allow entry 1 (user_id kept aside) is ignored but kept: Invalid CURVE public key: 43 characters are needed, not 9"
        ]
    );
    assert_eq!(allow(&parsed.file).len(), 1);
    let entry = parsed.file.entries(List::Allow).next().unwrap();
    assert!(entry.roles.is_empty(), "roles of groups must not leak into the document");
}

#[test]
fn comments_are_tolerated() {
    let text = format!(
        "# c\n{{ // d\n \"allow\": [/* e */ {{\"credentials\": \"{KEY}\", \"user_id\": \"a#b\"}}],\n \"version\": {{\"major\": 1, \"minor\": 4}}}}"
    );
    let parsed = parse(&text);
    assert_eq!(parsed.file.entries(List::Allow).next().unwrap().user_id, "a#b");
}

#[test]
fn empty_and_versionless_texts() {
    for text in ["", "  \n", "{}"] {
        let parsed = parse(text);
        assert!(parsed.upgraded() && parsed.from == Version::ZERO, "{text:?}");
        assert_eq!(parsed.file.entries(List::Allow).count(), 0);
        assert_eq!(parsed.file.version(), CURRENT);
    }
}

#[test]
fn shapes_that_are_refused() {
    for bad in [
        "[]",
        "{",
        "nonsense",
        r#"{"allow": {}}"#,
        r#"{"deny": 1}"#,
        r#"{"groups": []}"#,
        r#"{"roles": "x"}"#,
        r#"{"version": 1}"#,
        r#"{"version": {"major": "1"}}"#,
    ] {
        assert!(AuthFile::parse(bad).is_err(), "{bad}");
    }
    let newer = AuthFile::parse(r#"{"version": {"major": 2, "minor": 0}}"#).unwrap_err();
    assert!(newer.to_string().starts_with("version 2.0 is newer than this program reads (1.4)"), "{newer}");
    let later = parse(r#"{"version": {"major": 1, "minor": 9}}"#);
    assert!(
        !later.upgraded() && later.file.to_text().contains("\"minor\": 9"),
        "a later minor version is not lowered"
    );
}

#[test]
fn version_0_splits_credentials() {
    let old = format!(
        r#"{{"allow": [{{"credentials": "CURVE:{KEY}", "user_id": "a", "capabilities": ["c"]}},
            {{"credentials": "NULL"}}, {{"credentials": "PLAIN:pw", "user_id": "p"}},
            {{"credentials": "/CURVE:.*/"}}, {{"credentials": "/.*/"}}, {{}}, {{"credentials": "{KEY}"}}, 5]}}"#
    );
    let parsed = parse(&old);
    let got: Vec<_> =
        parsed.file.entries(List::Allow).map(|e| (e.mechanism, e.credentials.to_value())).collect();
    assert_eq!(
        got,
        [(Mechanism::Curve, json!(KEY)), (Mechanism::Null, Value::Null), (Mechanism::Plain, json!("pw"))]
    );
    let first = parsed.file.entries(List::Allow).next().unwrap();
    assert_eq!(
        Value::Object(first.capabilities.clone()),
        json!({"c": null, "edit_config_store": {"identity": "a"}})
    );
    let second = parsed.file.entries(List::Allow).nth(1).unwrap();
    assert_eq!(second.user_id.len(), 36);
    assert_eq!(second.capabilities["edit_config_store"], json!({"identity": second.user_id}));
    assert_eq!(
        parsed.warnings,
        ["5 of 8 entries of version 0.0 have no credentials of a known form and are dropped"]
    );
}

#[test]
fn version_1_0_makes_user_ids_unique() {
    let old = format!(
        r#"{{"version": {{"major": 1, "minor": 0}}, "allow": [
            {{"credentials": "{}", "user_id": "a"}}, {{"credentials": "{}", "user_id": "a"}}, {{"credentials": "{}"}}]}}"#,
        key(1),
        key(2),
        key(3)
    );
    let file = parse(&old).file;
    let ids: Vec<_> = file.entries(List::Allow).map(|e| e.user_id.clone()).collect();
    assert_eq!((ids[0].as_str(), ids[1].len(), ids[2].len()), ("a", 36, 36));
    assert_ne!(ids[1], ids[2]);
}

#[test]
fn version_1_1_grants_the_own_store() {
    let entry = |id: &str, caps: &str| {
        format!(r#"{{"credentials": "{KEY}", "user_id": "{id}", "capabilities": {caps}}}"#)
    };
    let old = format!(
        r#"{{"version": {{"major": 1, "minor": 1}}, "allow": [{}, {}, {}, {}]}}"#,
        entry("a", r#"["x"]"#),
        entry("control", "null"),
        entry("platform.agent", r#""y""#),
        entry("b", r#"{"edit_config_store": {"identity": "/.*/"}}"#)
    );
    let got: Vec<Value> =
        parse(&old).file.entries(List::Allow).map(|e| Value::Object(e.capabilities.clone())).collect();
    assert_eq!(
        got,
        [
            json!({"x": null, "edit_config_store": {"identity": "a"}}),
            json!({"edit_config_store": {"identity": "/.*/"}}),
            json!({"y": null, "edit_config_store": {"identity": "/.*/"}}),
            json!({"edit_config_store": {"identity": "/.*/"}}),
        ]
    );
}

#[test]
fn versions_1_2_and_1_3_keep_their_entries() {
    for minor in [2, 3] {
        let old = format!(
            r#"{{"version": {{"major": 1, "minor": {minor}}}, "allow": [{{"credentials": "{KEY}", "user_id": "a", "capabilities": {{"x": null}}, "custom": 1}}]}}"#
        );
        let parsed = parse(&old);
        assert!(parsed.upgraded());
        let entry = parsed.file.entries(List::Allow).next().unwrap();
        assert_eq!(
            Value::Object(entry.capabilities.clone()),
            json!({"x": null}),
            "nothing is granted by these steps"
        );
        assert_eq!(entry.extra["custom"], json!(1));
        assert!(parsed.file.to_text().contains("\"minor\": 4"));
    }
}

#[test]
fn adding_refuses_collisions_and_overwrites_in_place() {
    let mut file = AuthFile::default();
    file.add(List::Allow, Entry::curve("a", &key(1)), false).unwrap();
    file.add(List::Allow, Entry::curve("b", &key(2)), false).unwrap();
    let refused = |file: &mut AuthFile, e: Entry| file.add(List::Allow, e, false).unwrap_err().to_string();
    assert_eq!(refused(&mut file, Entry::curve("b", &key(3))), "user_id b is already in use at index [1]");
    assert_eq!(
        refused(&mut file, Entry::curve("c", &key(1))),
        "entry matches domain, address and credentials at index [0]"
    );
    assert_eq!(
        refused(&mut file, Entry::curve("c", "short")),
        "Invalid CURVE public key: 43 characters are needed, not 5"
    );
    // The lists are separate, and another address makes another entry.
    file.add(List::Deny, Entry::curve("a", &key(1)), false).unwrap();
    let mut elsewhere = Entry::curve("c", &key(1));
    elsewhere.address = "10.0.0.1".into();
    file.add(List::Allow, elsewhere, false).unwrap();
    file.add(List::Allow, Entry::curve("d", &key(2)), true).unwrap();
    let ids: Vec<_> = file.entries(List::Allow).map(|e| e.user_id.as_str()).collect();
    assert_eq!(ids, ["a", "d", "c"]);
}

#[test]
fn indices_count_valid_entries_and_leave_kept_ones_alone() {
    let text = format!(
        r#"{{"version": {{"major": 1, "minor": 4}}, "allow": [{{"credentials": "bad0"}}, {{"credentials": "{}", "user_id": "a"}},
            {{"credentials": "bad1"}}, {{"credentials": "{}", "user_id": "b"}}, {{"credentials": "{}", "user_id": "c"}}]}}"#,
        key(1),
        key(2),
        key(3)
    );
    let mut file = parse(&text).file;
    assert_eq!(file.remove(List::Allow, &[99]).unwrap_err().to_string(), "Invalid index: [99]");
    assert_eq!(file.remove(List::Allow, &[0, 3, -1]).unwrap_err().to_string(), "Invalid indices: [3, -1]");
    assert_eq!(file.entries(List::Allow).count(), 3, "all or none");
    file.update(List::Allow, 1, Entry::curve("b2", &key(2))).unwrap();
    assert!(file.update(List::Allow, 1, Entry::curve("c", &key(2))).is_err());
    file.remove(List::Allow, &[0, 2]).unwrap();
    let written: Value = serde_json::from_str(&file.to_text()).unwrap();
    let creds: Vec<_> = written["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["credentials"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(creds, ["bad0".to_owned(), "bad1".to_owned(), key(2)]);
}

#[test]
fn by_credentials() {
    let mut file = AuthFile::default();
    file.add(List::Allow, Entry::curve("a", &key(1)), false).unwrap();
    let mut two = Entry::curve("b", &key(2));
    two.credentials = Filter::Many(vec![key(2), key(3)]);
    file.add(List::Allow, two, false).unwrap();
    assert_eq!(file.find_by_credentials(List::Allow, &key(3)).len(), 1);
    assert_eq!(file.find_by_credentials(List::Deny, &key(3)).len(), 0);
    assert_eq!(file.remove_by_credentials(List::Allow, &key(3)), 1);
    assert_eq!(file.remove_by_credentials(List::Allow, &key(3)), 0);
    assert_eq!(file.entries(List::Allow).count(), 1);
}

#[test]
fn groups_and_roles_are_checked() {
    let mut file = AuthFile::default();
    assert_eq!(file.set_groups(&json!([])).unwrap_err().to_string(), "groups parameter must be dict");
    assert_eq!(
        file.set_groups(&json!({"g": "r"})).unwrap_err().to_string(),
        "each value of the groups dict must be a list"
    );
    assert_eq!(file.set_roles(&json!(1)).unwrap_err().to_string(), "roles parameter must be dict");
    file.set_groups(&json!({"g": ["r"]})).unwrap();
    file.set_roles(&json!({"r": ["c"]})).unwrap();
    assert_eq!(
        file.to_rpc(),
        json!({"allow_list": [], "deny_list": [], "groups": {"g": ["r"]}, "roles": {"r": ["c"]}, "version": {"major": 1, "minor": 4}})
    );
}

#[test]
fn own_entries_are_put_in_place_and_only_when_different() {
    let mut file = AuthFile::default();
    assert!(file.put_by_user_id(Entry::curve("control", &key(1))));
    assert!(file.put_by_user_id(Entry::curve("platform.control", &key(1))));
    assert!(!file.put_by_user_id(Entry::curve("control", &key(1))));
    assert!(file.put_by_user_id(Entry::curve("control", &key(2))));
    let ids: Vec<_> = file.entries(List::Allow).map(|e| e.user_id.as_str()).collect();
    assert_eq!(ids, ["control", "platform.control"]);
}

fn arb_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zA-Z/#é\"']{0,6}".prop_map(Value::from),
        Just(json!(KEY)),
        Just(json!("/.*/")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[a-z]{0,4}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn arb_entry() -> impl Strategy<Value = Value> {
    let fields = proptest::sample::subsequence(FIELDS.to_vec(), 0..FIELDS.len());
    (fields, proptest::collection::vec(arb_json(), FIELDS.len()), proptest::option::of(arb_json())).prop_map(
        |(fields, values, extra)| {
            let mut map: Map<String, Value> = fields.into_iter().map(str::to_owned).zip(values).collect();
            map.entry("credentials").or_insert_with(|| json!(KEY));
            if let Some(extra) = extra {
                map.insert("unknown".into(), extra);
            }
            Value::Object(map)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(
        allow in proptest::collection::vec(prop_oneof![arb_entry(), arb_json()], 0..5),
        deny in proptest::collection::vec(arb_entry(), 0..3),
        minor in 0..6_u64,
    ) {
        let text = json!({"deny": deny, "allow": allow, "version": {"major": 1, "minor": minor}, "own": 1}).to_string();
        let first = AuthFile::parse(&text).unwrap();
        let written = first.file.to_text();
        let second = AuthFile::parse(&written).unwrap();
        prop_assert_eq!(&second.file, &first.file);
        prop_assert_eq!(second.file.to_text(), written);
        let total = serde_json::from_str::<Value>(&text).unwrap();
        let kept = serde_json::from_str::<Value>(&first.file.to_text()).unwrap();
        prop_assert_eq!(kept["allow"].as_array().unwrap().len(), total["allow"].as_array().unwrap().len());
    }

    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        let _ = AuthFile::parse(&text);
    }
}
