use super::*;
use crate::auth::AuthOptions;
use crate::auth::entry::Mechanism;

fn key(n: usize) -> String {
    format!("{n:A<43}")
}

fn ids(file: &AuthFile, list: List) -> Vec<String> {
    file.entries(list).map(|e| e.user_id.clone()).collect()
}

fn with(allow: &[(&str, usize)], deny: &[(&str, usize)]) -> AuthFile {
    let mut file = AuthFile::default();
    for (list, entries) in [(List::Allow, allow), (List::Deny, deny)] {
        for (id, n) in entries {
            file.add(list, Entry::curve(id, &key(*n)), false).unwrap();
        }
    }
    file
}

#[test]
fn decisions_about_requests() {
    let request = Request::new("vip", "127.0.0.1", Mechanism::Curve, &key(9));
    let id = request.user_id.clone();
    let mut file = with(&[("a", 1)], &[]);
    decide(&mut file, Decision::Approve, &id, Some(&request)).unwrap();
    assert_eq!(ids(&file, List::Allow), ["a", id.as_str()]);
    let entry = file.entries(List::Allow).nth(1).unwrap();
    assert_eq!((entry.address.to_value(), entry.domain.to_value()), (json!("127.0.0.1"), json!("vip")));
    assert!(entry.capabilities.is_empty() && entry.identity.is_none());
    let mut file = with(&[], &[]);
    decide(&mut file, Decision::Deny, &id, Some(&request)).unwrap();
    assert_eq!((ids(&file, List::Allow).len(), ids(&file, List::Deny)), (0, vec![id.clone()]));
    let mut file = with(&[("a", 1)], &[]);
    decide(&mut file, Decision::Delete, &id, Some(&request)).unwrap();
    assert_eq!(file, with(&[("a", 1)], &[]), "a deleted request is neither allowed nor denied");
}

#[test]
fn decisions_about_entries() {
    let start = || with(&[("a", 1), ("b", 2)], &[("c", 3)]);
    let table = [
        (Decision::Approve, "c", vec!["a", "b", "c"], vec![]),
        (Decision::Approve, "a", vec!["a", "b"], vec!["c"]),
        (Decision::Deny, "a", vec!["b"], vec!["c", "a"]),
        (Decision::Deny, "c", vec!["a", "b"], vec!["c"]),
        (Decision::Delete, "a", vec!["b"], vec!["c"]),
        (Decision::Delete, "c", vec!["a", "b"], vec![]),
        (Decision::Approve, "nobody", vec!["a", "b"], vec!["c"]),
        (Decision::Deny, "nobody", vec!["a", "b"], vec!["c"]),
        (Decision::Delete, "nobody", vec!["a", "b"], vec!["c"]),
    ];
    for (decision, who, allow, deny) in table {
        let mut file = start();
        decide(&mut file, decision, who, None).unwrap();
        assert_eq!(
            (ids(&file, List::Allow), ids(&file, List::Deny)),
            (
                allow.iter().map(ToString::to_string).collect(),
                deny.iter().map(|d: &&str| (*d).to_owned()).collect()
            ),
            "{decision:?} {who}"
        );
    }
}

#[test]
fn the_platforms_own_users_cannot_be_locked_out() {
    let mut file = with(&[("control.connection", 1), ("platform.auth", 2)], &[]);
    let before = file.clone();
    for who in ["control.connection", "platform.auth", "platform", "platform.control"] {
        for decision in [Decision::Deny, Decision::Delete] {
            assert!(decide(&mut file, decision, who, None).is_err());
        }
    }
    assert_eq!(file, before);
}

fn submitted(list: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    list.iter().map(|(m, names)| ((*m).to_owned(), names.iter().map(ToString::to_string).collect())).collect()
}

#[test]
fn submitted_requirements_are_merged_the_entry_wins() {
    let mut file = AuthFile::default();
    let mut entry = Entry::curve("agent", &key(1));
    entry.rpc_method_authorizations =
        serde_json::from_value(json!({"mine": ["a"], "empty": [], "open": [""], "other": ["z"]})).unwrap();
    file.add(List::Allow, entry, false).unwrap();
    let methods =
        submitted(&[("mine", &["b"]), ("empty", &["e"]), ("open", &["o"]), ("new", &["n"]), ("none", &[])]);
    assert_eq!(merged_already(&file, "agent", &methods), None);
    let want = json!({"mine": ["a"], "empty": ["e"], "open": [""], "new": ["n"], "none": []});
    assert_eq!(json!(merge_authorizations(&mut file, "agent", &methods)), want);
    assert_eq!(
        json!(merged_already(&file, "agent", &methods).unwrap()),
        want,
        "the second time nothing changes"
    );
    let before = file.clone();
    assert_eq!(json!(merge_authorizations(&mut file, "agent", &methods)), want);
    assert_eq!(file, before);
    let stored = &file.entries(List::Allow).next().unwrap().rpc_method_authorizations;
    assert_eq!(stored["other"], json!(["z"]));
    assert_eq!(merge_authorizations(&mut file, "stranger", &methods), None);
    assert_eq!(merged_already(&file, "stranger", &methods), Some(None));
}

#[test]
fn requirements_are_added_and_taken_away() {
    let mut file = with(&[("agent", 1)], &[]);
    let mut step = |names: &[&str], add: bool| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert!(adjust_authorizations(&mut file, "agent", "m", &names, add));
        file.entries(List::Allow).next().unwrap().required_for("m")
    };
    assert_eq!(step(&["a", "b"], true), ["a", "b"]);
    assert_eq!(step(&["b", "c"], true), ["a", "b", "c"]);
    assert_eq!(step(&["a"], false), ["b", "c"]);
    assert_eq!(step(&["c", "b"], false), [""]);
    assert_eq!(step(&["d"], true), ["d"], "an explicit `unrestricted` ends with the first requirement");
    assert!(!adjust_authorizations(&mut file, "stranger", "m", &[], true));
}

#[tokio::test]
async fn setup_mode_writes_one_entry_per_connection() {
    let dir = tempfile::tempdir().unwrap();
    let home = volttron_utils::home::Home::new(dir.path()).unwrap();
    let state = AuthState::open(&home, AuthOptions { setup_mode: true, ..AuthOptions::default() }).unwrap();
    let (tx, rx) = mpsc::channel(8);
    for n in [1, 2, 1] {
        tx.send(Request::new("vip", "10.0.0.1", Mechanism::Curve, &key(n))).await.unwrap();
    }
    drop(tx);
    write_accepted(state.clone(), rx).await;
    let snapshot = state.snapshot();
    let entries: Vec<&Entry> = snapshot.file.entries(List::Allow).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].comments.as_deref(), Some(SETUP_COMMENT));
    assert_eq!(entries[0].user_id.len(), 36);
}
