use std::io::Write;

use volttron_utils::home::Home;

use super::super::entry::{Entry, Mechanism};
use super::super::file::{AuthFile, List};
use super::super::state::AuthOptions;
use super::super::table::{Presented, Verdict};
use super::*;

fn key(n: usize) -> String {
    format!("{n:A<43}")
}

fn document(entries: &[usize]) -> String {
    let mut file = AuthFile::default();
    for n in entries {
        file.add(List::Allow, Entry::curve(&format!("a{n}"), &key(*n)), false).unwrap();
    }
    file.to_text()
}

fn knows(state: &AuthState, n: usize) -> bool {
    let key = key(n);
    let p = Presented { domain: "vip", address: "x", mechanism: Mechanism::Curve, credentials: &key };
    matches!(state.snapshot().table.authenticate(p), Verdict::Allowed { .. })
}

struct Fixture {
    _dir: tempfile::TempDir,
    home: Home,
    state: AuthState,
    changes: tokio::sync::watch::Receiver<u64>,
}

impl Fixture {
    /// With entry 1 in force and the watcher running.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        fs::write(home.auth_file(), document(&[1])).unwrap();
        let state = AuthState::open(&home, AuthOptions::default()).unwrap();
        let changes = state.changes();
        tokio::spawn(run(state.clone(), home.protected_topics()));
        Self { _dir: dir, home, state, changes }
    }

    /// Waits for changes until `done`; the limit only keeps a failing test from hanging.
    async fn until(&mut self, done: impl Fn(&AuthState) -> bool) {
        let wait = async {
            while !done(&self.state) {
                self.changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the edit is noticed");
    }
}

#[tokio::test]
async fn edits_in_every_style_are_noticed() {
    let mut f = Fixture::new();
    let path = f.home.auth_file();
    // In place, as an editor or a script does.
    fs::write(&path, document(&[1, 2])).unwrap();
    f.until(|s| knows(s, 2)).await;
    // By rename, as programs of ours do.
    let temp = path.with_extension("new");
    fs::write(&temp, document(&[3])).unwrap();
    fs::rename(&temp, &path).unwrap();
    f.until(|s| knows(s, 3) && !knows(s, 1)).await;
    // Deleted and made again.
    fs::remove_file(&path).unwrap();
    fs::write(&path, document(&[4])).unwrap();
    f.until(|s| knows(s, 4)).await;
    // Through a slow writer that leaves the file broken for a while.
    let text = document(&[5]);
    let mut file = fs::File::create(&path).unwrap();
    for part in text.as_bytes().chunks(text.len() / 3 + 1) {
        file.write_all(part).unwrap();
        file.sync_all().unwrap();
        tokio::task::yield_now().await;
        assert!(knows(&f.state, 4) || knows(&f.state, 5), "the last good state stays in force");
    }
    drop(file);
    f.until(|s| knows(s, 5)).await;
}

#[tokio::test]
async fn protected_topics_are_watched_too() {
    let mut f = Fixture::new();
    fs::write(f.home.protected_topics(), r#"{"write-protect": [{"topic": "t", "capabilities": "c"}]}"#)
        .unwrap();
    f.until(|s| s.snapshot().protected.required("t").is_some()).await;
    fs::remove_file(f.home.protected_topics()).unwrap();
    f.until(|s| s.snapshot().protected.required("t").is_none()).await;
}

#[tokio::test]
async fn an_edit_before_the_watcher_runs_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    fs::write(home.auth_file(), document(&[1])).unwrap();
    let state = AuthState::open(&home, AuthOptions::default()).unwrap();
    fs::write(home.auth_file(), document(&[1, 2])).unwrap();
    let changes = state.changes();
    tokio::spawn(run(state.clone(), home.protected_topics()));
    let mut f = Fixture { _dir: dir, home, state, changes };
    f.until(|s| knows(s, 2)).await;
}
