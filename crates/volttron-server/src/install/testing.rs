//! What tests of this module need: rules without a file, and a disk that stops or fails where it is told to.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use volttron_utils::keys::PublicKey;

use super::disk::{Disk, RealDisk};
use super::site::Admission;

/// Rules that nobody looks at.
#[derive(Debug)]
pub(super) struct NobodyKnown;

impl Admission for NobodyKnown {
    fn admit(&self, _: &str, _: PublicKey) -> Result<(), String> {
        Ok(())
    }
    fn forget(&self, _: PublicKey) -> Result<(), String> {
        Ok(())
    }
}

/// Rules that remember who is let in.
#[derive(Debug, Default)]
pub(super) struct Guests(pub(super) Mutex<BTreeSet<String>>);

impl Admission for Guests {
    fn admit(&self, _: &str, key: PublicKey) -> Result<(), String> {
        self.0.lock().unwrap().insert(key.to_string());
        Ok(())
    }
    fn forget(&self, key: PublicKey) -> Result<(), String> {
        self.0.lock().unwrap().remove(&key.to_string());
        Ok(())
    }
}

/// What happens to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process ends before operation `n`.
    Before(usize),
    /// The process ends in the middle of operation `n`.
    Within(usize),
    /// The process ends after operation `n`, before it hears of it.
    After(usize),
    /// Operation `n` and every later one that needs space fails.
    Full(usize),
}

/// The disk of this machine, until the fault.
#[derive(Debug)]
pub(super) struct FaultyDisk {
    fault: Fault,
    done: AtomicUsize,
}

impl FaultyDisk {
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, done: AtomicUsize::new(0) }
    }

    /// How many operations there were.
    pub(super) fn operations(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    fn operation(
        &self,
        needs_space: bool,
        whole: impl FnOnce() -> io::Result<()>,
        half: impl FnOnce(),
    ) -> io::Result<()> {
        let at = self.done.fetch_add(1, Ordering::SeqCst);
        let dead = || Err(io::Error::other("the process has ended"));
        match self.fault {
            Fault::Before(n) if at >= n => dead(),
            Fault::Within(n) | Fault::After(n) if at > n => dead(),
            Fault::Within(n) if at == n => {
                half();
                dead()
            }
            Fault::After(n) if at == n => whole().and_then(|()| dead()),
            Fault::Full(n) if at >= n && needs_space => {
                half();
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => whole(),
        }
    }
}

impl Disk for FaultyDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let half = || drop(path.parent().map(fs::create_dir_all));
        self.operation(true, || RealDisk.make_dir(path), half)
    }
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let half = || {
            let temp = path.with_file_name(".tmp-half");
            fs::write(temp, &bytes[..bytes.len() / 2]).unwrap();
        };
        self.operation(true, || RealDisk.write(path, bytes, mode), half)
    }
    fn copy_program(&self, from: &Path, to: &Path) -> io::Result<()> {
        let half = || fs::write(to, &fs::read(from).unwrap()[..1]).unwrap();
        self.operation(true, || RealDisk.copy_program(from, to), half)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(false, || RealDisk.rename(from, to), || {})
    }
    fn link(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.operation(true, || RealDisk.link(target, link), || {})
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        // What is found first goes first.
        let half = || {
            let first = fs::read_dir(path).ok().and_then(|mut d| d.next()).and_then(Result::ok);
            if let Some(entry) = first {
                RealDisk.remove(&entry.path()).unwrap();
            }
        };
        self.operation(false, || RealDisk.remove(path), half)
    }
    fn discard(&self, path: &Path) -> io::Result<()> {
        self.remove(path)
    }
}
