use super::*;

const KEY: &str = "pU3b6KfN0yVt8qXw1ZsLr5DdGhJ2mAc9EeTiOoPkB4s";

fn read(text: &str) -> Result<Entry, EntryError> {
    Entry::from_value(&serde_json::from_str(text).unwrap())
}

#[test]
fn an_entry_is_written_in_the_fixed_order_with_unknown_fields_last() {
    let entry = read(&format!(
        r#"{{"zeta": [1], "enabled": true, "identity": "a", "user_id": "u", "credentials": "{KEY}", "alpha": null}}"#
    ))
    .unwrap();
    let value = entry.to_value();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys[..12], FIELDS);
    assert_eq!(keys[12..], ["zeta", "alpha"]);
    assert_eq!(Entry::from_value(&value).unwrap(), entry);
}

#[test]
fn empty_values_become_null_or_empty_collections() {
    let entry = read(&format!(
        r#"{{"domain": "", "address": [], "credentials": "{KEY}", "groups": "", "roles": null, "capabilities": [],
            "rpc_method_authorizations": "", "comments": "", "user_id": "u", "identity": "", "mechanism": ""}}"#
    ))
    .unwrap();
    let expected = format!(
        concat!(
            r#"{{"domain":null,"address":null,"mechanism":"CURVE","credentials":"{}","groups":[],"roles":[],"#,
            r#""capabilities":{{}},"rpc_method_authorizations":{{}},"comments":null,"user_id":"u","identity":null,"enabled":true}}"#
        ),
        KEY
    );
    assert_eq!(entry.to_value().to_string(), expected);
}

#[test]
fn capabilities_in_every_form() {
    let table = [
        (r#""one""#, r#"{"one":null}"#),
        (r#"["one","two"]"#, r#"{"one":null,"two":null}"#),
        (r#"["one",{"two":{"p":"v"}},{"one":{"q":1}}]"#, r#"{"one":{"q":1},"two":{"p":"v"}}"#),
        (r#"{"one":null,"two":{"p":"/.*/"}}"#, r#"{"one":null,"two":{"p":"/.*/"}}"#),
        (r#"{"one":"","two":[]}"#, r#"{"one":null,"two":null}"#),
        ("null", "{}"),
    ];
    for (text, want) in table {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(capabilities(Some(&value)).unwrap()).to_string(), want, "{text}");
    }
    for bad in ["1", r#"["a", 1]"#, r#"{"a": "text"}"#, r#"[["a"]]"#, "true"] {
        assert!(capabilities(Some(&serde_json::from_str(bad).unwrap())).is_err(), "{bad}");
    }
}

#[test]
fn invalid_entries_say_why() {
    let table = [
        ("[]", "an entry must be an object"),
        (r#"{"mechanism": "CURVE"}"#, "credentials parameter is required for mechanism CURVE"),
        (
            r#"{"mechanism": "PLAIN", "credentials": []}"#,
            "credentials parameter is required for mechanism PLAIN",
        ),
        (r#"{"credentials": "short"}"#, "Invalid CURVE public key: 43 characters are needed, not 5"),
        (r#"{"credentials": ["/.*/", ""]}"#, "Invalid CURVE public key: 43 characters are needed, not 0"),
        (r#"{"mechanism": "GSSAPI"}"#, r#"mechanism must be NULL, PLAIN or CURVE, not "GSSAPI""#),
        (
            r#"{"mechanism": "curve", "credentials": "x"}"#,
            r#"mechanism must be NULL, PLAIN or CURVE, not "curve""#,
        ),
        (r#"{"credentials": 5}"#, "credentials must be text, a list of texts or null"),
        (r#"{"credentials": "/.*/", "address": ["a", 1]}"#, "address must be text, a list of texts or null"),
        (r#"{"credentials": "/.*/", "groups": {}}"#, "groups must be a list of names"),
        (r#"{"credentials": "/.*/", "user_id": 7}"#, "user_id must be text or null"),
    ];
    for (text, want) in table {
        assert_eq!(read(text).unwrap_err().to_string(), want, "{text}");
    }
    let bad_regex = read(r#"{"credentials": "/(/"}"#).unwrap_err().to_string();
    assert!(bad_regex.starts_with("credentials: /(/ is not a regular expression: "), "{bad_regex}");
}

#[test]
fn valid_without_a_key() {
    assert!(read(r#"{"mechanism": "NULL"}"#).is_ok());
    assert!(read(r#"{"mechanism": "PLAIN", "credentials": "pw"}"#).is_ok());
    assert!(read(r#"{"credentials": "/.*/"}"#).is_ok());
}

#[test]
fn enabled_means_what_its_writer_meant() {
    for (text, want) in [
        ("true", true),
        ("false", false),
        ("null", false),
        ("0", false),
        ("1", true),
        (r#""False""#, false),
        (r#""True""#, true),
        (r#""""#, false),
    ] {
        assert_eq!(
            read(&format!(r#"{{"credentials": "/x/", "enabled": {text}}}"#)).unwrap().enabled,
            want,
            "{text}"
        );
    }
}

#[test]
fn a_missing_user_id_is_the_same_at_every_reading() {
    let text = format!(r#"{{"credentials": "{KEY}"}}"#);
    let (a, b) = (read(&text).unwrap(), read(&text).unwrap());
    assert_eq!(a.user_id, b.user_id);
    assert_eq!(a.user_id.len(), 36);
    let other = read(&format!(r#"{{"credentials": "{KEY}", "address": "127.0.0.1"}}"#)).unwrap();
    assert_ne!(a.user_id, other.user_id);
}

#[test]
fn regular_expressions_are_recognised_by_their_slashes() {
    for (text, want) in
        [("/a/", Some("a")), ("//", Some("")), ("/", None), ("/a", None), ("a/", None), ("", None)]
    {
        assert_eq!(regex_body(text), want, "{text}");
    }
}

#[test]
fn method_authorizations_read_and_refuse() {
    let entry = read(
        r#"{"credentials": "/x/", "rpc_method_authorizations": {"a": "cap", "b": ["c", "d"], "e": null}}"#,
    )
    .unwrap();
    assert_eq!(entry.required_for("a"), ["cap"]);
    assert_eq!(entry.required_for("b"), ["c", "d"]);
    assert!(entry.required_for("e").is_empty() && entry.required_for("zz").is_empty());
    assert!(read(r#"{"credentials": "/x/", "rpc_method_authorizations": {"a": [1]}}"#).is_err());
}
