use std::os::unix::fs::PermissionsExt;

use super::*;

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn repetitions_of_a_refusal_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLog::open(&path).unwrap();
    for _ in 0..5 {
        log.refusal("publish", "a", json!({"topic": "t"}));
    }
    log.refusal("publish", "a", json!({"topic": "other"}));
    drop(log);
    let all = read(&path);
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!((&all[0]["topic"], &all[0]["kind"]), (&json!("t"), &json!("refusal")));
    assert_eq!(all[1]["topic"], "other");
    assert_eq!((&all[2]["topic"], &all[2]["repeated"]), (&json!("t"), &json!(4)));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn changes_of_the_file_are_told_one_by_one_and_appended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let (old, mut new) = (AuthFile::default(), AuthFile::default());
    let key = volttron_utils::keys::PublicKey::from_bytes([7; 32]).to_string();
    new.add(List::Allow, Entry::curve("a", &key), false).unwrap();
    new.set_roles(&json!({"r": ["c"]})).unwrap();
    AuditLog::open(&path).unwrap().changed("me", &old, &new);
    AuditLog::open(&path).unwrap().changed("me", &new, &old);
    let mut other = new.clone();
    other.for_each_allowed(|e| e.enabled = false);
    AuditLog::open(&path).unwrap().changed("me", &new, &other);
    let events: Vec<_> = read(&path).iter().map(|r| (r["event"].clone(), r["by"].clone())).collect();
    let want =
        ["allow entry added", "role set", "allow entry removed", "role removed", "allow entry changed"];
    assert_eq!(read(&path)[4]["after"], json!({"enabled": false}));
    assert_eq!(events, want.map(|event| (json!(event), json!("me"))));
}

#[test]
fn a_full_log_makes_room_and_keeps_the_former_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let mut file = Appending::open(&path).unwrap();
    for n in 0..=KEPT + 2 {
        file.append(format!("{n}\n").as_bytes()).unwrap();
        file.bytes = MAX_BYTES;
    }
    let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(
        (text("audit.log"), text("audit.log.1"), text("audit.log.4")),
        ("6\n".into(), "5\n".into(), "2\n".into())
    );
    assert!(!dir.path().join("audit.log.5").exists());
}
