//! A home from an archive: first all of it is read and checked, then it is unpacked beside the home, and one rename makes
//! it the home.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::statvfs;
use volttron_utils::files::FileLock;
use volttron_utils::home::Home;

use super::relocate::relocate;
use super::verify::{self, verify};
use super::{AgentNote, BackupError, Link, Manifest, Progress, Workplace, io_error};
use crate::install::python::on_path;
use crate::ops::doctor::size;

/// Room that is left on the disk.
const SPARE_BYTES: u64 = 16 << 20;

/// What to restore.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The archive.
    pub archive: PathBuf,
    /// The home that is to be.
    pub home: Home,
    /// Move aside what is there.
    pub force: bool,
    /// Only read and check the archive.
    pub check: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The archive's list.
    pub manifest: Manifest,
    /// Where the former home went.
    pub moved_aside: Option<PathBuf>,
    /// Files that named the home's former place and name the present one now.
    pub renamed: Vec<PathBuf>,
    /// Agents whose programs have to be installed again.
    pub without_program: Vec<AgentNote>,
    /// What is not as it was.
    pub warnings: Vec<String>,
}

/// Makes a home from an archive: the whole of it, or nothing.
pub fn restore(request: &RestoreRequest, progress: &Progress) -> Result<Restored, BackupError> {
    let RestoreRequest { archive, home, force, check } = request;
    // The way through links, so that the rename happens beside the directory itself.
    let place = fs::canonicalize(home.path()).unwrap_or_else(|_| home.path().to_owned());
    let beside = place.parent().unwrap_or(Path::new("/")).to_owned();
    let existing = if *check { Vec::new() } else { present(&place)? };
    if !existing.is_empty() && !force {
        return Err(BackupError::NotEmpty(place));
    }
    let room = room(&beside)?;
    let compressed = fs::metadata(archive).map_err(io_error("read", archive))?.len();
    progress.begin(0);
    let manifest = verify(archive, room, progress)?;
    let bytes: u64 = manifest.files.iter().map(|f| f.size).sum();
    tracing::debug!(compressed, bytes, "the archive is whole");
    let mut restored = Restored {
        moved_aside: None,
        renamed: Vec::new(),
        without_program: without_program(&manifest),
        warnings: warnings(&manifest),
        manifest,
    };
    if *check {
        return Ok(restored);
    }
    progress.begin(bytes);
    // Held until the former home is out of the way, so that no platform starts in it meanwhile.
    let lock = take(home, &place)?;
    fs::create_dir_all(&beside).map_err(io_error("make", &beside))?;
    let staged = Workplace::open(&place, "restoring")?;
    unpack(archive, room, &restored.manifest, staged.path(), progress)?;
    for link in &restored.manifest.interpreters {
        interpreter(link, staged.path(), &mut restored.warnings)?;
    }
    let from = PathBuf::from(&restored.manifest.home);
    restored.renamed =
        relocate(staged.path(), &from, home.path()).map_err(io_error("write in", staged.path()))?;
    set_directories(&restored.manifest, staged.path())?;
    let flushed = fs::File::open(staged.path()).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    flushed.map_err(io_error("write", staged.path()))?;
    let (staged, staged_lock) = staged.keep();
    restored.moved_aside = put_in_place(&staged, &place, !existing.is_empty())?;
    drop((lock, staged_lock));
    Ok(restored)
}

/// What is in the place of the home. Not what tells nothing: a lock file that a check leaves behind.
pub(in crate::ops) fn present(place: &Path) -> Result<Vec<PathBuf>, BackupError> {
    match fs::read_dir(place) {
        Ok(entries) => Ok(entries.flatten().map(|e| e.path()).collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(io_error("read", place)(e)),
    }
}

fn take(home: &Home, place: &Path) -> Result<Option<FileLock>, BackupError> {
    let in_use = || {
        BackupError::InUse(format!(
            "a platform runs in {}; stop it first: vctl shutdown --platform",
            home.path().display()
        ))
    };
    if home.running().is_some() {
        return Err(in_use());
    }
    let path = home.lock_file();
    if !place.is_dir() || !path.exists() {
        return Ok(None);
    }
    FileLock::try_acquire(&path).map_err(io_error("lock", &path))?.map(Some).ok_or_else(in_use)
}

/// Free bytes on the disk of a directory that may still have to be made.
pub(in crate::ops) fn room(dir: &Path) -> Result<u64, BackupError> {
    let existing = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    let stat = statvfs(existing).map_err(|e| io_error("look at", existing)(e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize).saturating_sub(SPARE_BYTES))
}

fn unpack(
    archive: &Path,
    room: u64,
    manifest: &Manifest,
    staged: &Path,
    progress: &Progress,
) -> Result<(), BackupError> {
    for directory in &manifest.directories {
        make_dirs(&staged.join(&directory.path))?;
    }
    let files: BTreeMap<&str, &super::File> = manifest.files.iter().map(|f| (f.path.as_str(), f)).collect();
    let changed = |path: &str| BackupError::Damaged {
        path: archive.to_owned(),
        why: format!("{path} changed while it was read"),
    };
    let mut written = 0;
    verify::read(archive, room, |mut member| {
        let listed = *files.get(member.path.as_str()).ok_or_else(|| changed(&member.path))?;
        let target = staged.join(&member.path);
        if let Some(parent) = target.parent() {
            make_dirs(parent)?;
        }
        let mode = file_mode(listed);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&target);
        let file = file.map_err(io_error("write", &target))?;
        let sum = verify::hash(&mut member, &file, progress, archive, &target)?;
        if sum != listed.sha256 {
            return Err(changed(&member.path));
        }
        let at = Duration::from_secs(u64::try_from(listed.modified).unwrap_or_default());
        // The umask may have taken something away.
        let finished = file.set_permissions(Permissions::from_mode(mode));
        finished
            .and_then(|()| file.set_modified(SystemTime::UNIX_EPOCH + at))
            .map_err(io_error("write", &target))?;
        written += 1;
        Ok(())
    })?;
    if written != files.len() {
        return Err(changed("its list"));
    }
    // After all files, so that none is written through one.
    for link in &manifest.links {
        let target = staged.join(&link.path);
        if let Some(parent) = target.parent() {
            make_dirs(parent)?;
        }
        symlink(&link.target, &target).map_err(io_error("make", &target))?;
    }
    Ok(())
}

/// Keys are their owner's, whatever the archive says.
fn file_mode(file: &super::File) -> u32 {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if name == "keystore" || name == "keystore.json" { 0o600 } else { (file.mode & 0o777) | 0o400 }
}

fn make_dirs(path: &Path) -> Result<(), BackupError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("make", path))
}

/// Directories get their modes last: some may not be written to.
fn set_directories(manifest: &Manifest, staged: &Path) -> Result<(), BackupError> {
    let set = |path: &Path, mode: u32| {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io_error("write", path))
    };
    for directory in manifest.directories.iter().rev() {
        set(&staged.join(&directory.path), (directory.mode & 0o777) | 0o700)?;
    }
    set(staged, 0o755)
}

/// Leads an environment to the same interpreter, or to one of the same name on PATH.
fn interpreter(link: &Link, staged: &Path, warnings: &mut Vec<String>) -> Result<(), BackupError> {
    let at = staged.join(&link.path);
    let wanted = Path::new(&link.target);
    let name = wanted.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let found = if wanted.is_file() { Some(wanted.to_owned()) } else { on_path(name) };
    if found.is_none() {
        warnings.push(format!(
            "there is no {} here; Python agents that ran with it have to be installed again",
            link.target
        ));
    }
    // Without one the link stays as it was, so that installing that Python mends it.
    let target = found.unwrap_or_else(|| wanted.to_owned());
    if let Some(parent) = at.parent() {
        make_dirs(parent)?;
    }
    symlink(&target, &at).map_err(io_error("make", &at))
}

/// The decisive step. On failure everything is as before.
pub(in crate::ops) fn put_in_place(
    staged: &Path,
    place: &Path,
    aside: bool,
) -> Result<Option<PathBuf>, BackupError> {
    let undo = |e: io::Error| {
        let _ = fs::remove_dir_all(staged);
        let hint = match e.raw_os_error() {
            Some(libc::EBUSY | libc::EXDEV) => {
                io::Error::other(format!("{e}: it is a mount point; restore into a directory below it"))
            }
            _ => e,
        };
        io_error("make", place)(hint)
    };
    let mut moved = None;
    if aside {
        let stamp = jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string();
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let to = place.with_file_name(format!("{name}.before-restore-{stamp}"));
        if to.exists() {
            return Err(undo(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} exists", to.display()),
            )));
        }
        fs::rename(place, &to).map_err(undo)?;
        moved = Some(to);
    }
    // An empty directory gives way to another one.
    if let Err(e) = fs::rename(staged, place) {
        if let Some(to) = &moved {
            let _ = fs::rename(to, place);
        }
        return Err(undo(e));
    }
    let beside = place.parent().unwrap_or(Path::new("/"));
    fs::File::open(beside).and_then(|dir| dir.sync_all()).map_err(io_error("write in", beside))?;
    Ok(moved)
}

fn is_of_other_machine(manifest: &Manifest) -> bool {
    manifest.programs && manifest.arch != std::env::consts::ARCH
}

fn without_program(manifest: &Manifest) -> Vec<AgentNote> {
    if !manifest.programs || is_of_other_machine(manifest) { manifest.agents.clone() } else { Vec::new() }
}

fn warnings(manifest: &Manifest) -> Vec<String> {
    let mut all = Vec::new();
    if is_of_other_machine(manifest) {
        all.push(format!(
            "the programs in it are for {}, and this machine is {}",
            manifest.arch,
            std::env::consts::ARCH
        ));
    }
    all
}

/// Bytes for people, of all files.
impl Manifest {
    /// How much the files take.
    pub fn size(&self) -> String {
        size(self.files.iter().map(|f| f.size).sum())
    }
}
