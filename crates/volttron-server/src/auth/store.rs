//! `auth.json` on disk: read with patience for writers that are not atomic, changed under a lock, replaced
//! atomically with mode 0600, backed up before its version changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use volttron_utils::files::FileLock;

use super::file::{AuthFile, ParseError, Parsed};
use crate::files::{Directory, Files, split};

/// Largest file that is read.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Mode of the files: they say who may do what, and nobody else needs to know.
const FILE_MODE: u32 = 0o600;

/// How often and how long a change waits for somebody else's half-written file.
const ATTEMPTS: u32 = 10;
const PAUSE_MS: u64 = 30;

/// Why the file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The content is not an auth file.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseError,
    },
}

/// A failed change: the file, or the change itself.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E: std::error::Error + 'static> {
    /// The file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change was refused; nothing was written.
    #[error("{0}")]
    Refused(E),
}

/// The file and how to get at it.
#[derive(Clone, Debug)]
pub struct AuthStore {
    path: PathBuf,
    files: Arc<dyn Files>,
    name: String,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The document.
    pub parsed: Parsed,
    /// The text it was read from.
    pub text: String,
}

/// The outcome of a change.
#[derive(Debug)]
pub struct Changed<T> {
    /// What the change returned.
    pub value: T,
    /// The document after it.
    pub file: AuthFile,
    /// The text now on disk.
    pub text: String,
    /// What was not understood when reading.
    pub warnings: Vec<String>,
    /// The backup that was made.
    pub backup: Option<PathBuf>,
}

impl AuthStore {
    /// The store for the file at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let directory = split(&path).0.to_owned();
        Self::within(path, Arc::new(Directory::new(directory, FILE_MODE, MAX_FILE_BYTES)))
    }

    /// The store for the file at `path` of a directory that is reached through `files`.
    pub(crate) fn within(path: impl Into<PathBuf>, files: Arc<dyn Files>) -> Self {
        let path = path.into();
        let name = split(&path).1;
        Self { path, files, name }
    }

    /// Another file of the same directory as text, `None` if there is none.
    pub(super) fn read_beside(&self, path: &Path) -> io::Result<Option<String>> {
        match self.files.read(&split(path).1) {
            Ok(bytes) => {
                String::from_utf8(bytes).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file once; `None` if there is none.
    pub fn read(&self) -> Result<Option<Loaded>, StoreError> {
        let text = self.read_beside(&self.path).map_err(|e| self.io("read", e))?;
        let Some(text) = text else { return Ok(None) };
        match AuthFile::parse(&text) {
            Ok(parsed) => Ok(Some(Loaded { parsed, text })),
            Err(source) => Err(StoreError::Parse { path: self.path.clone(), source }),
        }
    }

    /// Reads the file; waits a little for one that is being written. An empty file is such a one too.
    pub fn read_patiently(&self) -> Result<Option<Loaded>, StoreError> {
        let mut attempt = 1;
        loop {
            let result = self.read();
            let unfinished = match &result {
                Ok(loaded) => loaded.as_ref().is_some_and(|l| l.text.trim().is_empty()),
                Err(StoreError::Parse { source, .. }) => !matches!(source, ParseError::Newer(_)),
                Err(StoreError::Io { .. }) => false,
            };
            if !unfinished || attempt == ATTEMPTS {
                return result;
            }
            attempt += 1;
            sleep(Duration::from_millis(PAUSE_MS));
        }
    }

    /// Changes the file: lock, read, `change`, write. `absent` is the document to start from when there is no file.
    /// Nothing is written when the text stays the same. Blocks; may take a third of a second.
    pub fn change<T, E: std::error::Error + 'static>(
        &self,
        absent: AuthFile,
        change: impl FnOnce(&mut AuthFile) -> Result<T, E>,
    ) -> Result<Changed<T>, ChangeError<E>> {
        let _lock = self.lock()?;
        let loaded = self.read_patiently()?;
        let (mut file, old_text, upgraded, warnings) = match loaded {
            // Somebody emptied it to write it anew: that was no decision to forget everything.
            Some(l) if l.text.trim().is_empty() => (absent, None, false, Vec::new()),
            Some(l) => {
                let upgraded = l.parsed.upgraded();
                (l.parsed.file, Some(l.text), upgraded, l.parsed.warnings)
            }
            None => (absent, None, false, Vec::new()),
        };
        let before = (!upgraded).then(|| file.clone());
        let value = change(&mut file).map_err(ChangeError::Refused)?;
        if let (Some(text), true) = (&old_text, before.as_ref() == Some(&file)) {
            return Ok(Changed { value, file, text: text.clone(), warnings, backup: None });
        }
        let backup = match &old_text {
            Some(text) if upgraded && !text.trim().is_empty() => Some(self.back_up(text)?),
            _ => None,
        };
        let text = file.to_text();
        self.files.replace(&self.name, text.as_bytes()).map_err(|e| self.io("write", e))?;
        Ok(Changed { value, file, text, warnings, backup })
    }

    /// `auth.json.<uuid>.bak`, as the original names it.
    fn back_up(&self, text: &str) -> Result<PathBuf, StoreError> {
        let name = format!("{}.{}.bak", self.name, uuid::Uuid::new_v4());
        let path = self.path.with_file_name(&name);
        match self.files.replace(&name, text.as_bytes()) {
            Ok(()) => Ok(path),
            Err(source) => Err(StoreError::Io { action: "write", path, source }),
        }
    }

    /// Taken by every program of ours that changes the file, so that none loses the other's change. A file of its
    /// own, because the auth file itself is replaced.
    fn lock(&self) -> Result<Option<FileLock>, StoreError> {
        let name = format!(".{}.lock", self.name);
        let path = self.path.with_file_name(&name);
        self.files.lock(&name).map_err(|source| StoreError::Io { action: "lock", path, source })
    }

    fn io(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::Io { action, path: self.path.clone(), source }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
