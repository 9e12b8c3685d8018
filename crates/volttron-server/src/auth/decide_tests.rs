use std::fs;

use serde_json::json;
use volttron_utils::home::Home;
use volttron_utils::keys::KeyPair;

use super::super::entry::Entry;
use super::super::file::List;
use super::super::state::AuthOptions;
use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    state: AuthState,
}

fn fixture(options: AuthOptions) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let state = AuthState::open(&Home::new(dir.path()).unwrap(), options).unwrap();
    Fixture { dir, state }
}

fn connect(state: &AuthState, key: &PublicKey, address: &str) -> ZapAnswer {
    state.decide(&ZapRequest { domain: "vip", address, credentials: Credentials::Curve(key.as_bytes()) })
}

fn add(state: &AuthState, list: List, identity: &str, key: PublicKey) {
    state.change(|f| f.add(list, Entry::curve(identity, &key.to_string()), false)).unwrap();
}

fn pending(state: &AuthState) -> Vec<(String, u64)> {
    state.with_pending(|p| p.iter().map(|r| (r.credentials.clone(), r.retries)).collect())
}

#[test]
fn an_unknown_key_is_refused_later_and_later_and_becomes_pending() {
    let f = fixture(AuthOptions::default());
    let key = KeyPair::generate().public;
    let mut delays = Vec::new();
    for _ in 0..4 {
        let ZapAnswer::Deny { delay } = connect(&f.state, &key, "10.0.0.7") else { panic!("let in") };
        delays.push(delay);
    }
    assert!(delays[0] <= Duration::from_secs(1));
    assert!(delays.windows(2).all(|w| w[1] > w[0]), "{delays:?}");
    assert_eq!(pending(&f.state), [(key.to_string(), 4)]);
    add(&f.state, List::Allow, "a", key);
    assert_eq!(connect(&f.state, &key, "10.0.0.7"), ZapAnswer::Allow { user_id: key.to_string() });
    assert!(pending(&f.state).is_empty());
}

#[test]
fn a_denied_key_counts_on_its_entry() {
    let f = fixture(AuthOptions::default());
    let key = KeyPair::generate().public;
    add(&f.state, List::Deny, "d", key);
    add(&f.state, List::Allow, "a", key);
    assert!(matches!(connect(&f.state, &key, "10.0.0.7"), ZapAnswer::Deny { .. }));
    assert_eq!(f.state.with_pending(|p| p.denied_retries("d")), 1);
    assert!(pending(&f.state).is_empty());
}

#[test]
fn null_and_plain_need_a_null_entry() {
    let f = fixture(AuthOptions::default());
    let ask = |credentials| f.state.decide(&ZapRequest { domain: "vip", address: "127.0.0.1", credentials });
    assert!(matches!(ask(Credentials::Null), ZapAnswer::Deny { .. }));
    let mut entry = Entry::curve("n", "");
    entry.mechanism = Mechanism::Null;
    f.state.change(|file| file.add(List::Allow, entry, false)).unwrap();
    assert_eq!(ask(Credentials::Null), ZapAnswer::Allow { user_id: String::new() });
    assert!(matches!(ask(Credentials::Plain { username: b"n", password: b"" }), ZapAnswer::Deny { .. }));
}

#[test]
fn setup_mode_lets_in_and_hands_over_for_writing() {
    let f = fixture(AuthOptions { setup_mode: true, ..AuthOptions::default() });
    let key = KeyPair::generate().public;
    assert_eq!(connect(&f.state, &key, "10.0.0.7"), ZapAnswer::Allow { user_id: key.to_string() });
    let mut accepted = f.state.take_accepted().unwrap();
    assert_eq!(accepted.try_recv().unwrap().credentials, key.to_string());
    // Nobody writes any more: no unbounded memory, and no let-in without an entry.
    drop(accepted);
    assert!(matches!(connect(&f.state, &key, "10.0.0.7"), ZapAnswer::Deny { .. }));
    let denied = KeyPair::generate().public;
    add(&f.state, List::Deny, "d", denied);
    assert!(matches!(connect(&f.state, &denied, "10.0.0.7"), ZapAnswer::Deny { .. }));
}

#[test]
fn without_authentication_everybody_is_let_in_but_not_as_a_service() {
    let f = fixture(AuthOptions { enabled: false, ..AuthOptions::default() });
    let ask = |credentials| f.state.decide(&ZapRequest { domain: "vip", address: "127.0.0.1", credentials });
    assert_eq!(ask(Credentials::Null), ZapAnswer::Allow { user_id: String::new() });
    assert!(f.state.admit("anyone", None).is_ok());
    assert!(f.state.admit("control.connection.1", None).is_ok());
    assert_eq!(f.state.admit("control", None), Err(Refusal::ServiceIdentity));
    assert!(Policy::publish(&f.state, "anyone", "topic").is_ok());
    assert!(!f.state.enabled());
}

#[test]
fn identities_are_refused_by_name() {
    let f = fixture(AuthOptions::default());
    let (mine, other) = (KeyPair::generate().public, KeyPair::generate().public);
    add(&f.state, List::Allow, "mine", mine);
    assert!(f.state.admit("mine", Some(&mine.to_string())).is_ok());
    assert_eq!(f.state.admit("mine", Some(&other.to_string())), Err(Refusal::BoundToOtherKey));
    assert_eq!(f.state.admit("mine", None), Err(Refusal::BoundToOtherKey));
    assert_eq!(f.state.admit("platform.auth", Some(&mine.to_string())), Err(Refusal::ServiceIdentity));
    let unbound = fixture(AuthOptions { bind_identity_to_key: false, ..AuthOptions::default() });
    add(&unbound.state, List::Allow, "mine", mine);
    assert!(unbound.state.admit("mine", Some(&other.to_string())).is_ok());
}

#[test]
fn protected_topics_need_all_capabilities_and_a_known_user() {
    let f = fixture(AuthOptions::default());
    let home = Home::new(f.dir.path()).unwrap();
    fs::write(
        home.protected_topics(),
        r#"{"write-protect": [{"topic": "prot", "capabilities": ["cap1", "cap2"]}]}"#,
    )
    .unwrap();
    let before = Policy::generation(&f.state);
    f.state.reload_protected(false).unwrap();
    assert!(Policy::generation(&f.state) > before, "kept decisions must be asked again");
    for (name, caps) in [("one", vec!["cap1"]), ("both", vec!["cap2", "cap1", "more"])] {
        let mut entry = Entry::curve(name, &KeyPair::generate().public.to_string());
        for cap in caps {
            entry = entry.with_capability(cap, json!(null));
        }
        f.state.change(|file| file.add(List::Allow, entry, false)).unwrap();
    }
    let publish = |who: &str, topic: &str| Policy::publish(&f.state, who, topic);
    assert!(publish("both", "prot/x").is_ok() && publish("nobody", "free").is_ok());
    let required = vec!["cap1".to_owned(), "cap2".to_owned()];
    assert_eq!(
        publish("one", "prot/x"),
        Err(Denied { required: required.clone(), provided_repr: "{'cap1': None}".into() })
    );
    assert_eq!(publish("nobody", "prot"), Err(Denied { required, provided_repr: "[]".into() }));
    assert!(publish("platform.health", "prot").is_ok(), "a service of the platform");
    assert!(publish("control.connection", "prot").is_err(), "not a service");
}

#[test]
fn a_refused_identity_is_logged_once() {
    let f = fixture(AuthOptions::default());
    let mut door = f.state.door();
    assert!(door.reports("control", "k") && !door.reports("control", "k") && door.reports("control", "l"));
    let logged = (0..10_000).filter(|i| door.reports(&i.to_string(), "k")).count();
    assert!(logged < 256, "{logged}");
    drop(door);
    add(&f.state, List::Allow, "a", KeyPair::generate().public);
    assert!(f.state.door().reports("control", "k"), "new rules, new reports");
}
