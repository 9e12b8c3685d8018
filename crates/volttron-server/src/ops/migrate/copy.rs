//! Copying pieces of the old home into the one that is being made.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use super::MigrateError;
use super::plan::Carried;
use super::tree::What;
use crate::ops::backup::{Progress, io_error};

/// How much is copied before it is asked whether to go on.
const STEP: usize = 1 << 20;

/// Copies pieces of `from` to their places in `to`. Directories get their modes when all is in them.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    carried: &[Carried],
    progress: &Progress,
) -> Result<(), MigrateError> {
    for one in carried {
        let target = to.join(&one.place);
        if let Some(parent) = target.parent() {
            make_dirs(parent)?;
        }
        match &one.piece.what {
            What::Directory => make_dirs(&target)?,
            What::Link(leads_to) => symlink(leads_to, &target).map_err(io_error("make", &target))?,
            What::File | What::Database => {
                let mode = file_mode(&one.place, one.piece.mode);
                file(&from.join(&one.piece.path), &target, mode, progress)?;
            }
        }
    }
    for one in carried.iter().rev().filter(|one| one.piece.what == What::Directory) {
        let target = to.join(&one.place);
        fs::set_permissions(&target, Permissions::from_mode(one.piece.mode | 0o700))
            .map_err(io_error("write", &target))?;
    }
    Ok(())
}

/// Keys are their owner's, whatever they were; no settings are programs.
fn file_mode(place: &str, mode: u32) -> u32 {
    let name = place.rsplit('/').next().unwrap_or_default();
    match name {
        "keystore" | "keystore.json" | "auth.json" => 0o600,
        "config" if place == "config" => 0o644,
        _ => mode | 0o400,
    }
}

fn file(from: &Path, to: &Path, mode: u32, progress: &Progress) -> Result<(), MigrateError> {
    // A link that took the file's place meanwhile is not followed.
    let mut source = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(from)
        .map_err(io_error("read", from))?;
    let meta = source.metadata().map_err(io_error("read", from))?;
    let mut target =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(to).map_err(io_error("write", to))?;
    let mut piece = vec![0; STEP];
    loop {
        let n = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(io_error("read", from)(e).into()),
        };
        target.write_all(&piece[..n]).map_err(io_error("write", to))?;
        progress.add(n as u64)?;
    }
    // The umask may have taken something away.
    target.set_permissions(Permissions::from_mode(mode)).map_err(io_error("write", to))?;
    if let Ok(modified) = meta.modified() {
        target.set_modified(modified).map_err(io_error("write", to))?;
    }
    Ok(())
}

fn make_dirs(path: &Path) -> Result<(), MigrateError> {
    Ok(fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io_error("make", path))?)
}

/// Gives a home that root has made to the owner of the old one, whose platform is to run in it.
pub(super) fn hand_over(from: &Path, home: &Path) -> Result<(), MigrateError> {
    let owner = fs::metadata(from).map_err(io_error("look at", from))?;
    let (uid, gid) = (owner.uid(), owner.gid());
    if !rustix::process::geteuid().is_root() || uid == 0 {
        return Ok(());
    }
    give(home, uid, gid)
}

fn give(path: &Path, uid: u32, gid: u32) -> Result<(), MigrateError> {
    lchown(path, Some(uid), Some(gid)).map_err(io_error("give away", path))?;
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        for entry in fs::read_dir(path).map_err(io_error("read", path))?.flatten() {
            give(&entry.path(), uid, gid)?;
        }
    }
    Ok(())
}
