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
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// What the names of its files begin with on the whole disk.
    prefix: &'static str,
}

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
        let state = State { files, done: 0, fault: Fault::Never, struck: false };
        Self { state: Arc::new(Mutex::new(state)), prefix: "" }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A directory of the same disk.
    #[must_use]
    pub fn within(&self, prefix: &'static str) -> Self {
        Self { state: self.state.clone(), prefix }
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// All files.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let own = |(name, contents): (&String, &Vec<u8>)| {
            Some((name.strip_prefix(self.prefix)?.to_owned(), contents.clone()))
        };
        state.files.iter().filter_map(own).collect()
    }

    /// Sets what happens from now on.
    pub fn set_fault(&self, fault: Fault) {
        let mut state = self.state();
        (state.done, state.fault, state.struck) = (0, fault, false);
    }

    /// Writing operations since the fault was set.
    #[cfg(test)]
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
        let name = self.full(name);
        self.state().files.insert(name, contents.as_bytes().to_vec());
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
        let state = self.state();
        Ok(state.files.keys().filter_map(|name| name.strip_prefix(self.prefix)).map(str::to_owned).collect())
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.state().files.get(&self.full(name)).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.operation(|files| drop(files.insert(self.full(name), contents.to_vec())))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operation(|files| {
            if let Some(contents) = files.remove(&self.full(from)) {
                files.insert(self.full(to), contents);
            }
        })
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.operation(|files| drop(files.remove(&self.full(name))))
    }
    fn lock(&self, _: &str) -> io::Result<Option<FileLock>> {
        Ok(None)
    }
    fn show(&self, name: &str) -> String {
        name.to_owned()
    }
}
