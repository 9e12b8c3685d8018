//! `vctl backup` and `vctl restore`: a home as one file, and a home from it.
//!
//! The archive is a gzipped tar of regular files only: `volttron-backup.json` first, the files below `home/`, and
//! `manifest.json` last, which lists every file with size and SHA-256, and what is no file: directories, links, and the
//! interpreters of Python environments. [`pack`] writes it while the platform runs; [`verify`] reads all of it before
//! [`restore`] writes anything. Start reading at [`Manifest`].

mod collect;
mod pack;
mod relocate;
mod restore;
pub(in crate::ops) mod sqlite;
mod verify;
mod workplace;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

pub use pack::{PackRequest, Packed, pack, stream};
pub(in crate::ops) use relocate::relocate;
pub use restore::{RestoreRequest, Restored, restore};
pub(in crate::ops) use restore::{present, put_in_place, room};
pub(in crate::ops) use workplace::{Workplace, beside, clear_abandoned, remove_if_abandoned};

use crate::codes::{Code, Coded};

/// Version of the archive's format.
const FORMAT: u32 = 1;
/// The first and the last member, and what the others are below.
const HEAD: &str = "volttron-backup.json";
const TAIL: &str = "manifest.json";
const FILES: &str = "home";

/// Why there is no archive, or no home from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The archive is there already.
    #[error("{} exists already; choose another name, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// A file of the home.
    #[error("cannot copy {}: {why}; no archive was made", path.display())]
    Source {
        /// Which.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// Somebody else is at work.
    #[error("{0}")]
    InUse(String),
    /// Not an archive of ours.
    #[error("{} is not a backup: {why}", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// Cut short or changed.
    #[error("{} is damaged: {why}; nothing was written", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Made to do harm.
    #[error("{} is refused: {why}; nothing was written", path.display())]
    Hostile {
        /// The file.
        path: PathBuf,
        /// What it holds.
        why: String,
    },
    /// Made by a newer version.
    #[error("{} was made by volttron {version} in format {format}, and this version reads format {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Who made it.
        version: String,
        /// Its format.
        format: u32,
    },
    /// There is something already.
    #[error("{} is not empty; restore into another home (--vhome DIR), or move this one aside with --force", .0.display())]
    NotEmpty(PathBuf),
    /// Not enough room.
    #[error("{what} needs {needed} and {} has {free}; make room, or use another disk", path.display())]
    NoSpace {
        /// What does not fit.
        what: String,
        /// How much it needs.
        needed: String,
        /// How much there is.
        free: String,
        /// Where.
        path: PathBuf,
    },
    /// A file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted; nothing was left behind")]
    Interrupted,
}

impl Coded for BackupError {
    fn coded(&self) -> Code {
        match self {
            Self::Exists(_) => Code::BackupExists,
            Self::Source { .. } => Code::BackupUnreadable,
            Self::InUse(_) => Code::HomeInUse,
            Self::NotABackup { .. } => Code::NotABackup,
            Self::Damaged { .. } => Code::BackupDamaged,
            Self::Hostile { .. } => Code::BackupHostile,
            Self::Newer { .. } => Code::BackupNewer,
            Self::NotEmpty(_) => Code::HomeNotEmpty,
            Self::NoSpace { .. } => Code::NoSpace,
            Self::Io { .. } | Self::Interrupted => Code::File,
        }
    }
}

/// What [`HEAD`] says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    /// Version of the format.
    format: u32,
    /// Version of the program that made it.
    version: String,
}

/// What [`TAIL`] says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub format: u32,
    /// Version of the program that made it.
    pub version: String,
    /// When.
    pub created: String,
    /// Where the home was.
    pub home: String,
    /// The machine's kind.
    pub arch: String,
    /// Name of the platform.
    pub instance_name: String,
    /// Whether the agents' programs are in it.
    pub programs: bool,
    /// The agents.
    pub agents: Vec<AgentNote>,
    /// Directories.
    pub directories: Vec<Directory>,
    /// Regular files.
    pub files: Vec<File>,
    /// Links to elsewhere in the home, relative.
    pub links: Vec<Link>,
    /// Links of Python environments to interpreters of the machine.
    pub interpreters: Vec<Link>,
}

/// An agent, for who installs its program again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentNote {
    /// Identity.
    pub identity: String,
    /// Package and version.
    pub name: String,
    /// What `vctl install` takes.
    pub source: String,
}

/// A directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Directory {
    /// Below the home.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
}

/// A regular file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    /// Below the home.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of its contents, as hexadecimal digits.
    pub sha256: String,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970 of the last change.
    pub modified: i64,
}

/// A symbolic link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Below the home.
    pub path: String,
    /// Where it leads to.
    pub target: String,
}

/// How far it is, for whoever waits.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// Bytes done and bytes in all; the latter is 0 as long as it is not known.
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    pub(in crate::ops) fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// Counts; an error if it is to stop.
    pub(in crate::ops) fn add(&self, bytes: u64) -> Result<(), BackupError> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) { Err(BackupError::Interrupted) } else { Ok(()) }
    }
}

/// Work on a thread of its own. Dropping it stops the work and waits until it has cleared away what it began.
#[derive(Debug)]
pub struct Work<T> {
    /// How far it is.
    pub progress: Arc<Progress>,
    done: tokio::sync::oneshot::Receiver<T>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Work<T> {
    /// Begins.
    pub fn begin(work: impl FnOnce(&Progress) -> T + Send + 'static) -> io::Result<Self> {
        let progress = Arc::new(Progress::default());
        let (tell, done) = tokio::sync::oneshot::channel();
        let own = progress.clone();
        let thread = std::thread::Builder::new().name("archive".into()).spawn(move || {
            // Nobody waits any more if this fails.
            let _ = tell.send(work(&own));
        })?;
        Ok(Self { progress, done, thread: Some(thread) })
    }

    /// Waits for the result, and calls `look` from time to time.
    pub async fn wait(mut self, mut look: impl FnMut(&Progress)) -> io::Result<T> {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tokio::select! {
                result = &mut self.done => return result.map_err(|_| io::Error::other("the work ended without a result")),
                _ = ticks.tick() => look(&self.progress),
            }
        }
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether a path of an archive stays where it belongs: relative, of plain names, neither long nor deep.
fn is_inside(path: &str) -> bool {
    const MAX_BYTES: usize = 2048;
    const MAX_DEPTH: usize = 64;
    let parts: Vec<Component<'_>> = Path::new(path).components().collect();
    !path.is_empty()
        && path.len() <= MAX_BYTES
        && parts.len() <= MAX_DEPTH
        && !path.contains(['\0', '\\'])
        && parts.iter().all(|part| matches!(part, Component::Normal(_)))
        // `a//b`, `a/./b` and `a/` are other names for a file that may be there already.
        && path.split('/').all(|part| !part.is_empty() && part != ".")
}

/// Whether a link at `path` with this relative target leads to somewhere in the home. Upwards only at its beginning: behind
/// a name that is itself a link, `..` is somewhere else.
pub(in crate::ops) fn leads_inside(path: &str, target: &str) -> bool {
    let mut depth = path.split('/').count() - 1;
    let mut down = false;
    for part in Path::new(target).components() {
        match part {
            Component::Normal(_) => down = true,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 && !down => depth -= 1,
            _ => return false,
        }
    }
    !target.is_empty()
}

/// Whether this is the place of an interpreter in a Python environment: `bin/<environment>/bin/python...`.
fn is_interpreter(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["bin", _, "bin", name] if name.starts_with("python"))
}

pub(in crate::ops) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> BackupError + 'a {
    move |source| BackupError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for path in ["a", "a/b.c", "agents/x y/ü", ".hidden"] {
            assert!(is_inside(path), "{path}");
        }
        let (long, deep) = ("a".repeat(3000), "a/".repeat(65) + "a");
        for path in ["", "/a", "../a", "a/../b", "a//b", "a/./b", "a/", ".", "a\0b", "a\\b", &long, &deep] {
            assert!(!is_inside(path), "{path}");
        }
        for (path, target, expected) in [
            ("agents/u/p/config", "../../x/config", true),
            ("a/l", "b", true),
            ("a/l", "../b", true),
            ("a/l", "../../b", false),
            ("l", "/etc", false),
            ("l", "", false),
            ("a/l", "x/../b", false),
        ] {
            assert_eq!(leads_inside(path, target), expected, "{path} -> {target}");
        }
        assert!(is_interpreter("bin/e-1/bin/python3") && !is_interpreter("agents/e/bin/python3"));
        assert!(!is_interpreter("bin/e/bin/sh") && !is_interpreter("bin/e/lib/bin/python"));
    }
}
