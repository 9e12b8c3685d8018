//! A directory in memory that stops or fails where it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use volttron_utils::files::FileLock;

use crate::files::Files;

/// What happens to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Never,
    /// The process ends before operation `n`.
    Crash(usize),
    /// The process ends after operation `n`, before it hears of it.
    CrashAfter(usize),
    /// Operation `n` fails, later ones work.
    Fail(usize),
}

/// The disk. Clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Writing operations since the fault was set.
    done: usize,
    fault: Fault,
    /// Whether the fault has happened.
    struck: bool,
}

impl SimDisk {
    /// A disk with these files and no fault.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(State { files, done: 0, fault: Fault::Never, struck: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All files.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().files.clone()
    }

    /// Sets what happens from now on.
    pub fn set_fault(&self, fault: Fault) {
        let mut state = self.state();
        (state.done, state.fault, state.struck) = (0, fault, false);
    }

    /// Writing operations since the fault was set.
    pub fn operations(&self) -> usize {
        self.state().done
    }

    /// Whether the process is dead by its fault.
    pub fn crashed(&self) -> bool {
        let state = self.state();
        state.struck && matches!(state.fault, Fault::Crash(_) | Fault::CrashAfter(_))
    }

    /// Whether the fault has happened.
    pub fn struck(&self) -> bool {
        self.state().struck
    }

    /// Writes a file as somebody else would, whatever the fault.
    pub fn edit(&self, name: &str, contents: &str) {
        self.state().files.insert(name.to_owned(), contents.as_bytes().to_vec());
    }

    fn operation(&self, run: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> io::Result<()> {
        let mut state = self.state();
        let at = state.done;
        state.done += 1;
        let (stopped, applied) = match state.fault {
            Fault::Never => (false, true),
            Fault::Crash(n) => (at >= n, false),
            Fault::CrashAfter(n) => (at >= n, at == n),
            Fault::Fail(n) => (at == n, false),
        };
        if !stopped || applied {
            run(&mut state.files);
        }
        if stopped {
            state.struck = true;
            return Err(io::Error::other("the simulated disk"));
        }
        Ok(())
    }
}

impl Files for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.state().files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.operation(|files| drop(files.insert(name.to_owned(), contents.to_vec())))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operation(|files| {
            if let Some(contents) = files.remove(from) {
                files.insert(to.to_owned(), contents);
            }
        })
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.operation(|files| drop(files.remove(name)))
    }
    fn lock(&self, _: &str) -> io::Result<Option<FileLock>> {
        Ok(None)
    }
    fn show(&self, name: &str) -> String {
        name.to_owned()
    }
}
