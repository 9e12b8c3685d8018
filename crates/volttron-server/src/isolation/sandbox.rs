//! Taking rights from a process for good, without root: Landlock for files, TCP and signals, a list of forbidden system
//! calls, and no way to gain rights again.
//!
//! Everything happens in the process that becomes the agent, which has one thread, right before its program replaces it.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::calls;

/// The newest Landlock whose file rights are asked for; later ones add nothing that is used here.
const NEWEST: ABI = ABI::V6;
/// The oldest Landlock that keeps an agent from emptying files it may only read.
const CUTS_NO_FILES: i32 = 3;
/// The oldest Landlock that knows TCP ports.
const KNOWS_TCP: i32 = 4;

/// What a process may still do. Files and directories that do not exist are passed over.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// Files and directories to read, and to run programs from.
    pub read: Vec<PathBuf>,
    /// Files and directories to read and change.
    pub write: Vec<PathBuf>,
    /// Ports to connect to over TCP; all if there is no list.
    pub connect_tcp: Option<Vec<u16>>,
    /// Landlock is to be used; otherwise the lists above mean nothing.
    pub landlock: bool,
    /// Forbidden system calls are to be refused.
    pub calls: bool,
}

/// What the kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Version of Landlock; 0 without.
    pub landlock_abi: i32,
    /// System calls can be refused.
    pub calls: bool,
}

impl Support {
    /// Asks the kernel.
    pub fn of_this_kernel() -> Self {
        Self { landlock_abi: landlock_abi(), calls: calls::available() }
    }

    /// What is missing for a sandbox that deserves the name; empty if nothing is.
    pub fn missing(self, connect_tcp: bool) -> Vec<String> {
        let mut missing = Vec::new();
        let least = if connect_tcp { KNOWS_TCP } else { CUTS_NO_FILES };
        if self.landlock_abi < least {
            let has = self.landlock_abi;
            missing.push(format!("Landlock of version {least} or later (the kernel offers {has})"));
        }
        if !self.calls {
            missing.push("filters of system calls (seccomp)".to_owned());
        }
        missing
    }
}

#[allow(unsafe_code)]
fn landlock_abi() -> i32 {
    const ASK_VERSION: libc::c_ulong = 1;
    // SAFETY: without attributes the kernel reads no memory of ours and only answers with its version.
    let answer = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, ASK_VERSION)
    };
    i32::try_from(answer).unwrap_or(0).max(0)
}

impl Sandbox {
    /// Confines the calling thread, and all it becomes or starts. What was asked for is in force afterwards, or it is an
    /// error.
    pub fn enter(&self) -> io::Result<()> {
        // A memory image on disk would hold the agent's keys.
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        give_up_privileges()?;
        give_up_capabilities()?;
        if self.landlock {
            self.restrict().map_err(|e| io::Error::other(format!("cannot confine it with Landlock: {e}")))?;
        }
        // Last: what comes before needs some of these.
        if self.calls {
            calls::refuse()
                .map_err(|e| io::Error::other(format!("cannot refuse it system calls with seccomp: {e}")))?;
        }
        Ok(())
    }

    fn restrict(&self) -> Result<(), Box<dyn Error>> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .scope(Scope::Signal)?;
        if self.connect_tcp.is_some() {
            // Asked for by name, so without it there is no start.
            rules = rules
                .set_compatibility(CompatLevel::HardRequirement)
                .handle_access(AccessNet::ConnectTcp)?
                .set_compatibility(CompatLevel::BestEffort);
        }
        let special = AccessFs::MakeBlock | AccessFs::MakeChar;
        let read = AccessFs::from_read(NEWEST);
        let write = AccessFs::from_all(NEWEST) & !special & !AccessFs::Execute;
        let mut rules = rules.create()?;
        for (paths, access) in [(&self.read, read), (&self.write, write)] {
            for path in paths {
                let Ok(fd) = PathFd::new(path) else { continue };
                rules = rules.add_rule(PathBeneath::new(fd, for_kind(path, access)))?;
            }
        }
        for port in self.connect_tcp.iter().flatten() {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        if rules.restrict_self()?.ruleset == RulesetStatus::NotEnforced {
            return Err(Box::from("the kernel does not enforce it"));
        }
        Ok(())
    }
}

/// A file has no rights that only a directory has.
fn for_kind(path: &Path, access: BitFlags<AccessFs>) -> BitFlags<AccessFs> {
    if fs::metadata(path).is_ok_and(|facts| facts.is_dir()) {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    }
}

/// No program that is run from here on gains rights by being run.
#[allow(unsafe_code)]
pub(super) fn give_up_privileges() -> io::Result<()> {
    // SAFETY: takes plain numbers and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What root keeps: ports below 1024 and raw packets, as protocols of buildings use them. The rest would open what a
/// sandbox closes: with some, root looks into other processes past Landlock.
const KEPT_CAPABILITIES: [libc::c_ulong; 2] = [10, 13];

/// Takes from the program that is run next what only root has. Nothing is done for others: they have none of it.
#[allow(unsafe_code)]
fn give_up_capabilities() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for capability in (0..64).filter(|number| !KEPT_CAPABILITIES.contains(number)) {
        // SAFETY: takes plain numbers and touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            // Past the last that this kernel knows.
            return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let full = Support { landlock_abi: 7, calls: true };
        assert!(full.missing(true).is_empty());
        let old = Support { landlock_abi: 3, calls: true };
        assert!(old.missing(false).is_empty());
        assert!(old.missing(true)[0].contains("version 4 or later (the kernel offers 3)"));
        let none = Support { landlock_abi: 0, calls: false };
        assert_eq!(none.missing(false).len(), 2);
    }
}
