use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::entry::Entry;
use super::super::file::{EditError, List};
use super::*;

const KEY: &str = "pU3b6KfN0yVt8qXw1ZsLr5DdGhJ2mAc9EeTiOoPkB4s";

fn fixture() -> (tempfile::TempDir, AuthStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = AuthStore::new(dir.path().join("auth.json"));
    (dir, store)
}

fn add(store: &AuthStore) -> Changed<()> {
    store.change(AuthFile::default(), |f| f.add(List::Allow, Entry::curve("a", KEY), true)).unwrap()
}

#[test]
fn a_new_file_is_private_and_complete() {
    let (_dir, store) = fixture();
    assert!(store.read().unwrap().is_none());
    let changed = add(&store);
    assert_eq!(fs::read_to_string(store.path()).unwrap(), changed.text);
    assert_eq!(fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(changed.backup.is_none());
    assert_eq!(store.read().unwrap().unwrap().parsed.file, changed.file);
}

#[test]
fn no_change_writes_nothing() {
    let (_dir, store) = fixture();
    add(&store);
    let text = fs::read_to_string(store.path()).unwrap();
    // A comment would be lost by a rewrite, so its survival shows that there was none.
    fs::write(store.path(), format!("# mine\n{text}")).unwrap();
    add(&store);
    assert!(fs::read_to_string(store.path()).unwrap().starts_with("# mine\n"));
    let refused = store.change(AuthFile::default(), |f| f.remove(List::Allow, &[7])).unwrap_err();
    assert!(matches!(refused, ChangeError::Refused(EditError::Index(_))));
    assert!(fs::read_to_string(store.path()).unwrap().starts_with("# mine\n"));
}

#[test]
fn an_upgrade_makes_a_backup_of_the_old_text() {
    let (dir, store) = fixture();
    let old = format!(r#"{{"allow": [{{"credentials": "CURVE:{KEY}"}}]}}"#);
    fs::write(store.path(), &old).unwrap();
    let changed = store.change(AuthFile::default(), |_| Ok::<_, Infallible>(())).unwrap();
    let backup = changed.backup.unwrap();
    assert_eq!(fs::read_to_string(&backup).unwrap(), old);
    let name = backup.file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with("auth.json.") && name.contains(".bak") && name.len() == "auth.json..bak".len() + 36,
        "{name}"
    );
    assert!(!store.read().unwrap().unwrap().parsed.upgraded());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "file, backup, lock");
}

#[test]
fn a_half_written_file_is_waited_for() {
    let (_dir, store) = fixture();
    add(&store);
    let text = fs::read_to_string(store.path()).unwrap();
    fs::write(store.path(), &text[..text.len() / 2]).unwrap();
    assert!(matches!(store.read(), Err(StoreError::Parse { .. })));
    let reader = std::thread::spawn({
        let store = store.clone();
        move || store.read_patiently()
    });
    fs::write(store.path(), &text).unwrap();
    assert!(reader.join().unwrap().unwrap().is_some());
}

#[test]
fn a_broken_file_is_never_overwritten() {
    let (_dir, store) = fixture();
    fs::write(store.path(), "{ \"allow\": [").unwrap();
    let error = store.change(AuthFile::default(), |_| Ok::<_, Infallible>(())).unwrap_err();
    assert!(error.to_string().contains("auth.json: not JSON: "), "{error}");
    assert_eq!(fs::read_to_string(store.path()).unwrap(), "{ \"allow\": [");
    fs::write(store.path(), r#"{"version": {"major": 3}}"#).unwrap();
    assert!(store.change(AuthFile::default(), |_| Ok::<_, Infallible>(())).is_err());
}

#[test]
fn concurrent_changes_are_all_kept() {
    let (_dir, store) = fixture();
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let store = store.clone();
            std::thread::spawn(move || {
                store
                    .change(AuthFile::default(), |f| {
                        f.add(List::Allow, Entry::curve(&format!("a{i}"), &format!("{i:A<43}")), false)
                    })
                    .unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(store.read().unwrap().unwrap().parsed.file.entries(List::Allow).count(), 8);
}

#[test]
fn a_file_that_somebody_emptied_is_written_from_what_was_in_force() {
    let (_dir, store) = fixture();
    let in_force = add(&store).file;
    fs::write(store.path(), "").unwrap();
    store.change(in_force.clone(), |_| Ok::<_, Infallible>(())).unwrap();
    assert_eq!(store.read().unwrap().unwrap().parsed.file, in_force);
}
