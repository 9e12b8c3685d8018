//! The few things that installing does with files, each of them whole or not there at all after a power cut, and durable
//! when it returns.
//!
//! Must never know what is in a file. Tests have another implementation, which fails and stops where it is told to.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use volttron_utils::files;

/// Changes of files and directories.
pub trait Disk: Debug + Send + Sync {
    /// Makes a directory and its parents; one that exists is fine.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes or replaces a file, whole.
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;
    /// Copies a program to a name that is not taken. It may be half done after a power cut.
    fn copy_program(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames a file (over another one if need be) or a directory (to a name that is not taken).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a symbolic link; one that is there already is fine.
    fn link(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// Removes a file, or a directory with all that is in it. It may be half gone after a power cut; what is not there is
    /// fine.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes what nobody waits for; it may go on behind, and end in the middle.
    fn discard(&self, path: &Path) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        files::create_dir(path, 0o755)
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        files::write_atomic(path, bytes, mode)
    }

    fn copy_program(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut program = fs::File::create_new(to)?;
        io::copy(&mut fs::File::open(from)?, &mut program)?;
        program.set_permissions(fs::Permissions::from_mode(0o755))?;
        program.sync_all()?;
        files::sync_dir(to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        files::rename(from, to)
    }

    fn link(&self, target: &Path, link: &Path) -> io::Result<()> {
        match std::os::unix::fs::symlink(target, link) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => Ok(()),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(e) => Err(e),
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(()) => files::sync_dir(path),
        }
    }

    fn discard(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        // An environment of a Python agent has thousands of files. What fails is tried again with the next installation.
        std::thread::Builder::new().name("discard".into()).spawn(move || RealDisk.remove(&path)).map(drop)
    }
}
