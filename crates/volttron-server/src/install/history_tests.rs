//! Which versions are kept, and which one a rollback means.

use serde_json::json;

use super::*;

fn manifest(version: &str) -> Manifest {
    serde_json::from_value(json!({
        "format": 1, "package": "p", "version": version, "exec": format!("bin/p-{version}/p"), "runtime": "native",
    }))
    .unwrap()
}

fn upgrade(history: &mut History, from: &str, to: &str) {
    let old = Version { number: history.present, manifest: manifest(from), config: None, failed: false };
    history.succeed(old, &manifest(to));
    history.note(What::Upgrade, &manifest(to), "me", Outcome::Trial, "");
}

fn back(history: &mut History, from: &str, failed: bool) -> Option<String> {
    let number = history.target(None).ok()?.number;
    let old = Version { number: history.present, manifest: manifest(from), config: None, failed };
    history.go_back(old, number).map(|v| v.manifest.version)
}

#[test]
fn going_back_twice_goes_back_two_versions() {
    let mut history = History::default();
    upgrade(&mut history, "1", "2");
    upgrade(&mut history, "2", "3");
    assert_eq!(back(&mut history, "3", false).as_deref(), Some("2"));
    assert_eq!(back(&mut history, "2", false).as_deref(), Some("1"));
    assert!(history.target(None).unwrap_err().contains("kept are: 2, 3"));
    assert_eq!(history.target(Some("3")).unwrap().number, 3, "and forward again by name");
    assert!(history.target(Some("7")).unwrap_err().contains("version 7 is not kept"));
    upgrade(&mut history, "1", "4");
    assert_eq!((history.present, back(&mut history, "4", false).as_deref()), (4, Some("3")));
}

#[test]
fn a_version_that_failed_is_no_target_and_goes_first() {
    let mut history = History::default();
    for failing in 2..20_u32 {
        upgrade(&mut history, "1", &failing.to_string());
        let number = history.present;
        assert!(history.trial.is_none());
        history.trial = Some(Trial { number, terms: Terms { period_s: 1.0, good: false } });
        assert!(!history.conclude(number + 1, Outcome::Passed, ""));
        assert!(history.conclude(number, Outcome::RolledBack, "it ended"));
        assert!(!history.conclude(number, Outcome::Passed, ""), "only once");
        assert_eq!(back(&mut history, &failing.to_string(), true).as_deref(), Some("1"));
        assert_eq!(history.present, 1);
    }
    assert_eq!(history.versions.len(), MAX_VERSIONS);
    assert!(history.versions.iter().all(|v| v.failed));
}

#[test]
fn a_version_that_was_replaced_on_trial_is_no_target() {
    let mut history = History::default();
    upgrade(&mut history, "1", "2");
    history.trial = Some(Trial { number: 2, terms: Terms { period_s: 1.0, good: false } });
    let old = Version { number: 2, manifest: manifest("2"), config: None, failed: false };
    history.succeed(old, &manifest("3"));
    assert!(history.versions[1].failed && history.trial.is_none());
    assert_eq!(history.events[0].outcome, Outcome::Replaced);
    assert_eq!(history.target(None).unwrap().number, 1);
    assert_eq!(history.target(Some("2")).unwrap().number, 2, "by name all the same");
}

#[test]
fn the_ledger_is_bounded() {
    let mut history = History::default();
    for n in 0..100 {
        upgrade(&mut history, &n.to_string(), &(n + 1).to_string());
    }
    assert_eq!((history.versions.len(), history.events.len()), (MAX_VERSIONS, MAX_EVENTS));
    assert_eq!(back(&mut history, "100", false).as_deref(), Some("99"));
    let text = history.to_text();
    let again: History = serde_json::from_str(&text).unwrap();
    assert_eq!(again.to_text(), text);
}
