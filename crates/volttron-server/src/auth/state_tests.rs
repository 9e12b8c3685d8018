use std::fs;

use super::super::entry::{Entry, Mechanism};
use super::super::file::EditError;
use super::*;

fn key(n: usize) -> String {
    format!("{n:A<43}")
}

fn fixture() -> (tempfile::TempDir, Home, AuthState) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    let state = AuthState::open(&home, AuthOptions::default()).unwrap();
    (dir, home, state)
}

fn add(state: &AuthState, identity: &str, n: usize) {
    state.change(|f| f.add(List::Allow, Entry::curve(identity, &key(n)), false)).unwrap();
}

fn knows(state: &AuthState, n: usize) -> bool {
    let key = key(n);
    let presented =
        Presented { domain: "vip", address: "127.0.0.1", mechanism: Mechanism::Curve, credentials: &key };
    matches!(state.snapshot().table.authenticate(presented), Verdict::Allowed { .. })
}

#[test]
fn own_changes_are_in_force_at_once_and_not_reloaded() {
    let (_dir, home, state) = fixture();
    let before = state.generation();
    add(&state, "a", 1);
    assert!(knows(&state, 1) && state.generation() > before);
    let after = state.generation();
    assert_eq!(state.reload_auth(true).unwrap(), Reloaded::Unchanged);
    let error = state.change(|f| f.add(List::Allow, Entry::curve("a", &key(2)), false)).unwrap_err();
    assert!(matches!(error, ChangeError::Refused(EditError::UserIdInUse { .. })));
    assert_eq!(state.generation(), after, "a refused change changes nothing");
    assert!(fs::read_to_string(home.auth_file()).unwrap().contains("\"user_id\": \"a\""));
}

#[test]
fn edits_of_others_are_taken_over_and_bad_ones_are_not() {
    let (_dir, home, state) = fixture();
    add(&state, "a", 1);
    let good = fs::read_to_string(home.auth_file()).unwrap();
    for cut in [0, 1, good.len() / 2, good.len() - 3] {
        fs::write(home.auth_file(), &good[..cut]).unwrap();
        for last in [false, true] {
            assert!(!matches!(state.reload_auth(last), Ok(Reloaded::Changed)), "cut at {cut}");
            assert!(knows(&state, 1));
        }
    }
    fs::remove_file(home.auth_file()).unwrap();
    assert_eq!(state.reload_auth(true).unwrap(), Reloaded::Incomplete);
    assert!(knows(&state, 1));
    fs::write(home.auth_file(), good.replace(&key(1), &key(2))).unwrap();
    assert_eq!(state.reload_auth(false).unwrap(), Reloaded::Changed);
    assert!(knows(&state, 2) && !knows(&state, 1));
}

#[test]
fn a_document_without_entries_counts_only_in_the_end() {
    let (_dir, home, state) = fixture();
    add(&state, "a", 1);
    fs::write(home.auth_file(), "{}").unwrap();
    assert_eq!(state.reload_auth(false).unwrap(), Reloaded::Incomplete);
    assert!(knows(&state, 1));
    assert_eq!(state.reload_auth(true).unwrap(), Reloaded::Changed);
    assert!(!knows(&state, 1));
}

#[test]
fn a_deleted_file_is_written_again_from_what_is_in_force() {
    let (_dir, home, state) = fixture();
    add(&state, "a", 1);
    fs::remove_file(home.auth_file()).unwrap();
    add(&state, "b", 2);
    assert!(knows(&state, 1) && knows(&state, 2));
    assert!(fs::read_to_string(home.auth_file()).unwrap().contains(&key(1)));
}

#[test]
fn protected_topics_come_and_go() {
    let (_dir, home, state) = fixture();
    let required = |state: &AuthState| state.snapshot().protected.required("t").map(<[String]>::to_vec);
    assert_eq!(state.reload_protected(true).unwrap(), Reloaded::Unchanged);
    fs::write(home.protected_topics(), r#"{"write-protect": [{"topic": "t", "capabilities": "c"}]}"#)
        .unwrap();
    assert_eq!(state.reload_protected(false).unwrap(), Reloaded::Changed);
    assert_eq!(required(&state), Some(vec!["c".to_owned()]));
    fs::write(home.protected_topics(), r#"{"write-protect": [{"top"#).unwrap();
    assert!(state.reload_protected(true).is_err());
    assert!(required(&state).is_some(), "a broken file takes no protection away");
    fs::remove_file(home.protected_topics()).unwrap();
    assert_eq!(state.reload_protected(false).unwrap(), Reloaded::Incomplete);
    assert!(required(&state).is_some());
    assert_eq!(state.reload_protected(true).unwrap(), Reloaded::Changed);
    assert!(required(&state).is_none());
}

#[test]
fn decided_requests_are_no_longer_pending() {
    let (_dir, _home, state) = fixture();
    state.with_pending(|p| {
        p.refused("vip", "127.0.0.1", Mechanism::Curve, &key(1));
        p.refused("vip", "127.0.0.1", Mechanism::Curve, &key(2));
    });
    add(&state, "a", 1);
    assert_eq!(state.with_pending(|p| p.iter().map(|r| r.credentials.clone()).collect::<Vec<_>>()), [key(2)]);
}
