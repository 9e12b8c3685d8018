//! Killed at any moment, a migration leaves nothing or the whole, and so does its undoing.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::old::{NAME, Old, UUID, command, snapshot};

/// How many moments are tried.
const MOMENTS: u32 = 12;

/// What there is of the new home: nothing, or paths.
fn contents(old: &Old) -> Option<Vec<String>> {
    let home = old.new_home();
    home.exists().then(|| snapshot(&home).into_keys().collect())
}

#[test]
fn a_killed_migration_leaves_nothing_or_the_whole() {
    let old = Old::make(22916);
    for n in 0..1500 {
        old.write(&format!("agents/{UUID}/{NAME}/{NAME}.agent-data/many/{n}"), "some text");
    }
    let big = old.path().join("big.bin");
    fs::File::create(&big).and_then(|f| f.set_len(48 << 20)).expect("a large file");
    let before = snapshot(&old.path());
    let began = Instant::now();
    old.migrated(&["--yes", "--no-environments"]);
    let takes = began.elapsed();
    let whole = contents(&old).expect("a home");
    assert!(old.undo(&["--yes"]).status.success());

    let (from, to) = (old.path().display().to_string(), old.new_home().display().to_string());
    let (mut nothing, mut complete) = (0, 0);
    for moment in 1..=MOMENTS {
        let words = ["migrate", &from, "--to", &to, "--yes", "--no-environments"];
        kill_after(old.dir.path(), &words, takes * moment / MOMENTS);
        match contents(&old) {
            None => nothing += 1,
            Some(found) => {
                assert_eq!(found, whole, "after {moment} of {MOMENTS}");
                complete += 1;
                assert!(old.undo(&["--yes"]).status.success());
            }
        }
        assert_eq!(snapshot(&old.path()), before, "after {moment} of {MOMENTS}");
    }
    eprintln!("{takes:?} undisturbed; killed: {nothing} times nothing, {complete} times the whole");
    assert!(nothing > 0, "no kill came in time");
    // What the kills left is cleared away by the next one.
    old.migrated(&["--yes", "--no-environments"]);
    assert_eq!(old.beside(), ["new", "old"]);
    undo_is_killed(&old, &whole);
}

/// Starts `vctl` and kills it after this time, whatever it is at.
fn kill_after(dir: &Path, words: &[&str], time: Duration) {
    let mut child =
        command(dir).args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run vctl");
    // Not to wait for anything: the moment of the kill is what varies.
    std::thread::sleep(time);
    let _ = child.kill();
    let _ = child.wait();
}

fn undo_is_killed(old: &Old, whole: &[String]) {
    let began = Instant::now();
    assert!(old.undo(&["--yes"]).status.success());
    // Most of it is deleting what is not a home any more; what comes before is what matters.
    let takes = began.elapsed().min(Duration::from_millis(300));
    let (mut nothing, mut complete) = (0, 0);
    for moment in 1..=MOMENTS {
        if contents(old).is_none() {
            old.migrated(&["--yes", "--no-environments"]);
        }
        let to = old.new_home().display().to_string();
        let words = ["migrate", "--undo", "--to", &to, "--yes"];
        kill_after(old.dir.path(), &words, takes * moment / MOMENTS);
        match contents(old) {
            None => nothing += 1,
            Some(found) => {
                assert_eq!(found, whole, "a home that is still there is whole");
                complete += 1;
            }
        }
    }
    eprintln!("undoing within {takes:?}; killed: {nothing} times nothing, {complete} times the whole");
    if contents(old).is_none() {
        old.migrated(&["--yes", "--no-environments"]);
    }
    assert!(old.undo(&["--yes"]).status.success());
    assert_eq!(old.beside(), ["old"]);
}
