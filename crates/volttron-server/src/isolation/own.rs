//! Whose files are whose: an agent's user reads its own directory and writes its data, nobody else's user either.
//!
//! All paths are walked from descriptors, without following links: what lies in the home is written by a user who is not
//! root, and must not make root touch anything else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, openat, statat,
};
use rustix::io::Errno;

use super::site::Site;
use super::users::{AgentUser, numbers};
use super::{IsolationError, file};

/// How deep an agent's data directory may be.
const MAX_DEPTH: u32 = 32;

/// The files of its directory that an agent needs. That they are its own is what keeps other agents from reading them.
const OF_AGENT: [&[u8]; 2] = [b"keystore.json", b"config"];

/// What an agent's files are to belong to.
struct Owners {
    platform: (u32, u32),
    agent: u32,
    site_gid: u32,
}

/// Hands the directory of the agent `identity` to `user`: readable to it, its `data` and `tmp` writable, nothing to others; the
/// platform keeps access through its group.
pub fn hand_over(site: &Site, identity: &str, user: &AgentUser) -> Result<(), IsolationError> {
    if !volttron_utils::identity::is_valid(identity) || identity.starts_with('.') {
        return Err(IsolationError::Request(format!("'{identity}' is not the identity of an agent")));
    }
    let owners = Owners { platform: numbers(&site.platform_user)?, agent: user.uid, site_gid: user.gid };
    let path = site.home.join("agents").join(identity);
    let failed = |e: Errno| IsolationError::File { path: path.clone(), source: e.into() };
    let home = open_dir(rustix::fs::CWD, &site.home).map_err(failed)?;
    owners.must_be_platform(&path, &fstat(&home).map_err(failed)?)?;
    let agents = open_dir(home.as_fd(), Path::new("agents")).map_err(failed)?;
    let agent = open_dir(agents.as_fd(), Path::new(identity)).map_err(failed)?;
    // Others pass through, and see nothing.
    for (dir, mode) in [(&home, 0o711), (&agents, 0o711)] {
        let now = fstat(dir).map_err(failed)?;
        owners.must_be_platform(&path, &now)?;
        fchmod(dir, Mode::from_raw_mode(mode)).map_err(failed)?;
    }
    owners.must_be_platform(&path, &fstat(&agent).map_err(failed)?)?;
    // The platform replaces files here; the agent's user, through its group, reads them.
    file(&path, give(&agent, owners.platform.0, owners.site_gid, 0o710))?;
    owners.files(&path, &agent)?;
    Ok(())
}

fn open_dir(at: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn give(what: &OwnedFd, uid: u32, gid: u32, mode: u32) -> std::io::Result<()> {
    fchown(what, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    // After the owner: changing that takes bits away.
    fchmod(what, Mode::from_raw_mode(mode))?;
    Ok(())
}

impl Owners {
    fn must_be_platform(&self, path: &Path, facts: &Stat) -> Result<(), IsolationError> {
        if facts.st_uid == self.platform.0 {
            return Ok(());
        }
        let why = "does not belong to the platform's user";
        Err(IsolationError::Request(format!("{} or a directory above it {why}", path.display())))
    }

    /// Whether a file is one that may change hands: the platform's, this agent's, or one of a former user of it.
    fn is_ours(&self, facts: &Stat) -> bool {
        let former = facts.st_uid != 0 && [self.site_gid, self.platform.1].contains(&facts.st_gid);
        facts.st_uid == self.platform.0 || facts.st_uid == self.agent || former
    }

    /// What lies directly in the agent's directory.
    fn files(&self, path: &Path, agent: &OwnedFd) -> Result<(), IsolationError> {
        self.each(path, agent, |name, kind, fd, path| match kind {
            FileType::RegularFile if OF_AGENT.contains(&name) => {
                file(path, give(fd, self.agent, self.platform.1, 0o640))
            }
            // An owner may write: who the agent's user is, and what it runs, is not the agent's to say.
            FileType::RegularFile => file(path, give(fd, self.platform.0, self.platform.1, 0o640)),
            FileType::Directory if name == b"data" || name == b"tmp" => self.data(path, fd, MAX_DEPTH),
            // Links that the platform made for readers of older layouts lie in directories of their own.
            _ => Ok(()),
        })
    }

    /// The agent's data: its own, and through its group the platform's, for backups and removal.
    fn data(&self, path: &Path, dir: &OwnedFd, depth: u32) -> Result<(), IsolationError> {
        file(path, give(dir, self.agent, self.platform.1, 0o2770))?;
        if depth == 0 {
            return Err(IsolationError::Request(format!("{} is too deep", path.display())));
        }
        self.each(path, dir, |_, kind, fd, path| match kind {
            FileType::Directory => self.data(path, fd, depth - 1),
            FileType::RegularFile => {
                let mode = file(path, fstat(fd).map_err(Into::into))?.st_mode & 0o110;
                file(path, give(fd, self.agent, self.platform.1, 0o660 | mode))
            }
            _ => Ok(()),
        })
    }

    /// Every file and directory of ours in `dir`, opened. Links, devices, files with several names and files of others are
    /// passed over.
    fn each(
        &self,
        path: &Path,
        dir: &OwnedFd,
        mut visit: impl FnMut(&[u8], FileType, &OwnedFd, &Path) -> Result<(), IsolationError>,
    ) -> Result<(), IsolationError> {
        let failed = |e: Errno| IsolationError::File { path: path.to_owned(), source: e.into() };
        for entry in Dir::read_from(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let before = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(facts) => facts,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(failed(e)),
            };
            let kind = FileType::from_raw_mode(before.st_mode);
            if !matches!(kind, FileType::RegularFile | FileType::Directory) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = match openat(dir, name, flags, Mode::empty()) {
                Ok(opened) => opened,
                Err(Errno::NOENT | Errno::LOOP) => continue,
                Err(e) => return Err(failed(e)),
            };
            // What was opened is what counts, whatever has happened to the name since.
            let facts = fstat(&opened).map_err(failed)?;
            let several_names = kind == FileType::RegularFile && facts.st_nlink > 1;
            if FileType::from_raw_mode(facts.st_mode) != kind || several_names || !self.is_ours(&facts) {
                continue;
            }
            let child = path.join(name.to_string_lossy().as_ref());
            visit(name.to_bytes(), kind, &opened, &child)?;
        }
        Ok(())
    }
}
