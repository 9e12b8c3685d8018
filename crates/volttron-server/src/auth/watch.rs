//! Watching `auth.json` and `protected_topics.json` for edits by other programs.
//!
//! The directory is watched, not the files: they are replaced, deleted and made again. Since a writer may be anything
//! from an atomic rename to a slow overwrite, each event starts a few looks at growing distance until one succeeds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::state::{AuthState, Reloaded};
use super::store::StoreError;

/// Pauses before the looks that follow an event. Their sum stays below the half second within which protected topics
/// have to be in force.
const LOOKS_AFTER_MS: [u64; 5] = [10, 20, 40, 60, 90];
/// How often the files are compared without an event: notification can fail (network file systems, watch limits, a
/// file that is a link into another directory).
const COMPARE_EVERY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Auth,
    Protected,
}

#[derive(Debug, Default)]
struct Flags {
    auth: AtomicBool,
    protected: AtomicBool,
    wake: Notify,
}

impl Flags {
    fn raise(&self, which: Watched) {
        match which {
            Watched::Auth => self.auth.store(true, Ordering::Release),
            Watched::Protected => self.protected.store(true, Ordering::Release),
        }
        self.wake.notify_one();
    }
}

/// Watches for ever; run it as a task of the platform. Every way of failing is logged and survived.
pub async fn run(state: AuthState, protected_path: PathBuf) {
    let auth_path = state.store().path().to_owned();
    let flags = Arc::new(Flags::default());
    let watcher = start_notify(&auth_path, &protected_path, &flags);
    if let Err(e) = &watcher {
        tracing::warn!("edits of auth.json are noticed with a delay of {} s: {e}", COMPARE_EVERY.as_secs());
    }
    let mut seen = (stamp(&auth_path), stamp(&protected_path));
    // Between the start of the platform and that of the watcher somebody may have written.
    flags.raise(Watched::Auth);
    flags.raise(Watched::Protected);
    loop {
        tokio::select! {
            () = flags.wake.notified() => {}
            () = sleep(COMPARE_EVERY) => {
                let now = (stamp(&auth_path), stamp(&protected_path));
                if now.0 != seen.0 {
                    flags.raise(Watched::Auth);
                }
                if now.1 != seen.1 {
                    flags.raise(Watched::Protected);
                }
            }
        }
        if flags.auth.swap(false, Ordering::AcqRel) {
            seen.0 = stamp(&auth_path);
            look(&state, Watched::Auth).await;
        }
        if flags.protected.swap(false, Ordering::AcqRel) {
            seen.1 = stamp(&protected_path);
            look(&state, Watched::Protected).await;
        }
    }
}

fn start_notify(
    auth: &Path,
    protected: &Path,
    flags: &Arc<Flags>,
) -> notify::Result<notify::RecommendedWatcher> {
    let names = [
        (auth.file_name().map(ToOwned::to_owned), Watched::Auth),
        (protected.file_name().map(ToOwned::to_owned), Watched::Protected),
    ];
    let flags = flags.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else {
            // Events were lost; look at everything.
            flags.raise(Watched::Auth);
            flags.raise(Watched::Protected);
            return;
        };
        if event.kind.is_access()
            && !matches!(
                event.kind,
                notify::EventKind::Access(notify::event::AccessKind::Close(notify::event::AccessMode::Write))
            )
        {
            return;
        }
        for path in &event.paths {
            for (name, which) in &names {
                if path.file_name() == name.as_deref() {
                    flags.raise(*which);
                }
            }
        }
    })?;
    let directory = auth.parent().unwrap_or(Path::new("."));
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Looks at one file until it is good, or for the last time.
async fn look(state: &AuthState, which: Watched) {
    for (i, pause) in LOOKS_AFTER_MS.into_iter().enumerate() {
        let last = i + 1 == LOOKS_AFTER_MS.len();
        sleep(Duration::from_millis(pause)).await;
        let reader = state.clone();
        let outcome = tokio::task::spawn_blocking(move || match which {
            Watched::Auth => reader.reload_auth(last),
            Watched::Protected => reader.reload_protected(last),
        })
        .await;
        match outcome {
            Ok(Ok(Reloaded::Changed)) => {
                tracing::info!("{} changed and is in force", name(which));
                return;
            }
            Ok(Ok(Reloaded::Unchanged)) => return,
            Ok(Ok(Reloaded::Incomplete)) if last => {
                tracing::warn!("{} is missing or empty; what it said before stays in force", name(which));
            }
            Ok(Err(e)) if last => report(which, &e),
            Ok(_) => {}
            Err(e) => {
                tracing::error!("reading {} failed: {e}", name(which));
                return;
            }
        }
    }
}

fn report(which: Watched, error: &StoreError) {
    tracing::error!("{error}; what {} said before stays in force", name(which));
}

fn name(which: Watched) -> &'static str {
    match which {
        Watched::Auth => "auth.json",
        Watched::Protected => "protected_topics.json",
    }
}

/// Enough of a file's state to notice that it is another one or has another content.
fn stamp(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
