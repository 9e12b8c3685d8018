//! Writing the archive.

use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{Builder, Header};
use volttron_utils::files::{FileLock, temporary_in};
use volttron_utils::home::Home;
use volttron_utils::time::format_timestamp;

use super::collect::{Found, collect};
use super::{
    AgentNote, BackupError, FILES, FORMAT, File, HEAD, Head, Manifest, Progress, TAIL, Workplace, io_error,
    sqlite,
};
use crate::ops::doctor::install_source;
use crate::supervisor::installed;

/// How long an installation that is under way is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_RETRY: Duration = Duration::from_millis(100);
/// Files that are small enough to be read again when they change meanwhile, and how often.
const SMALL_BYTES: u64 = 8 << 20;
const ATTEMPTS: usize = 50;
const SETTLE: Duration = Duration::from_millis(20);

/// What to write.
#[derive(Clone, Debug)]
pub struct PackRequest {
    /// The home.
    pub home: Home,
    /// The archive.
    pub archive: PathBuf,
    /// With the agents' programs.
    pub programs: bool,
    /// Replace an archive that is there.
    pub force: bool,
    /// Name of the platform.
    pub instance_name: String,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its list.
    pub manifest: Manifest,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// How many SQLite databases were copied through SQLite.
    pub databases: usize,
    /// What was left out or may not be as it should.
    pub warnings: Vec<String>,
}

/// Copies a home into an archive.
pub fn pack(request: &PackRequest, progress: &Progress) -> Result<Packed, BackupError> {
    is_there(request.home.path())?;
    let archive = std::path::absolute(&request.archive).map_err(io_error("find", &request.archive))?;
    if archive.exists() && !request.force {
        return Err(BackupError::Exists(archive));
    }
    let beside = archive.parent().unwrap_or(Path::new("/")).to_owned();
    // What is installed and the rules about it stay together as long as it is held.
    let _lock = lock(&request.home)?;
    let workplace = Workplace::open(&archive, "writing")?;
    // Readable by its owner only, from the first byte on.
    let temp = temporary_in(workplace.path()).map_err(io_error("write in", &beside))?;
    let place = Place { archive: &archive, scratch: workplace.path() };
    let mut packed = write(request, &place, temp.as_file(), progress)?;
    temp.as_file().sync_all().map_err(io_error("write", &archive))?;
    let persisted = if request.force { temp.persist(&archive) } else { temp.persist_noclobber(&archive) };
    persisted.map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(archive.clone()),
        _ => BackupError::Io { action: "write", path: archive.clone(), source: e.error },
    })?;
    fs::File::open(&beside).and_then(|dir| dir.sync_all()).map_err(io_error("write in", &beside))?;
    packed.archive_bytes = fs::metadata(&archive).map_or(0, |meta| meta.len());
    Ok(packed)
}

/// Copies a home into an archive that goes where `out` leads, as it is made. One that is cut short lacks its list, and
/// is no backup.
pub fn stream(request: &PackRequest, out: impl Write, progress: &Progress) -> Result<Packed, BackupError> {
    is_there(request.home.path())?;
    let _lock = lock(&request.home)?;
    let scratch = std::env::temp_dir().join("volttron-backup");
    let workplace = Workplace::open(&scratch, "copying")?;
    let place = Place { archive: Path::new("standard output"), scratch: workplace.path() };
    write(request, &place, out, progress)
}

fn is_there(home: &Path) -> Result<(), BackupError> {
    if home.is_dir() {
        return Ok(());
    }
    Err(BackupError::Source { path: home.to_owned(), why: "there is no such directory".to_owned() })
}

/// Where an archive is written.
struct Place<'a> {
    /// What it is called.
    archive: &'a Path,
    /// A directory for copies on the way.
    scratch: &'a Path,
}

/// Writes everything, while nobody installs anything.
fn write(
    request: &PackRequest,
    place: &Place<'_>,
    out: impl Write,
    progress: &Progress,
) -> Result<Packed, BackupError> {
    let home = request.home.path();
    let mut contents = collect(home, request.programs, place.archive)?;
    progress.begin(contents.files.iter().map(|f| f.size).sum());
    let zip = GzEncoder::new(BufWriter::new(Tally { out, bytes: 0 }), Compression::fast());
    let mut writer = Writer {
        tar: Builder::new(zip),
        scratch: place.scratch.to_owned(),
        archive: place.archive.to_owned(),
        progress,
    };
    let version = crate::platform::VERSION.to_owned();
    writer.json(HEAD, &Head { format: FORMAT, version: version.clone() })?;

    let mut files = Vec::with_capacity(contents.files.len());
    let (settled, rest): (Vec<Found>, Vec<Found>) =
        std::mem::take(&mut contents.files).into_iter().partition(belongs_together);
    for (found, bytes) in read_together(settled, &request.home)? {
        files.push(writer.bytes(&found, &bytes)?);
    }
    let mut databases = 0;
    for found in rest {
        if let Some(file) = writer.file(&found, &mut databases, &mut contents.warnings)? {
            files.push(file);
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = Manifest {
        format: FORMAT,
        version,
        created: format_timestamp(jiff::Timestamp::now()),
        home: home.display().to_string(),
        arch: std::env::consts::ARCH.to_owned(),
        instance_name: request.instance_name.clone(),
        programs: request.programs,
        agents: agents(&request.home),
        directories: contents.directories,
        files,
        links: contents.links,
        interpreters: contents.interpreters,
    };
    writer.json(TAIL, &manifest)?;
    let archive_bytes = writer.finish()?.get_ref().bytes;
    Ok(Packed {
        bytes: manifest.files.iter().map(|f| f.size).sum(),
        archive_bytes,
        manifest,
        databases,
        warnings: contents.warnings,
    })
}

/// The lock of installations; none where nothing was ever installed.
fn lock(home: &Home) -> Result<Option<FileLock>, BackupError> {
    if !home.bin().is_dir() {
        return Ok(None);
    }
    let path = home.bin().join(".lock");
    let began = Instant::now();
    loop {
        match FileLock::try_acquire(&path) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) => {}
            // Nobody can change anything there: a disk that fails is often like that, and this its last backup.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(None),
            Err(error) => return Err(io_error("lock", &path)(error)),
        }
        if began.elapsed() > LOCK_PATIENCE {
            return Err(BackupError::InUse(format!(
                "an agent has been being installed for {} s; try again when that is over",
                LOCK_PATIENCE.as_secs()
            )));
        }
        sleep(LOCK_RETRY);
    }
}

fn agents(home: &Home) -> Vec<AgentNote> {
    let (agents, _) = installed::list(home);
    let note = |agent: installed::InstalledAgent| AgentNote {
        source: agent.manifest.as_ref().map(install_source).unwrap_or_default(),
        identity: agent.identity,
        name: agent.name,
    };
    agents.into_iter().map(note).collect()
}

/// Files that the platform changes together: rules, keys, configurations.
fn belongs_together(found: &Found) -> bool {
    let kept = found.path.starts_with("configuration_store/") || !found.path.contains('/');
    kept && !found.database && found.size <= SMALL_BYTES && !is_log(&found.path)
}

/// A log only grows, and what was there is whole.
fn is_log(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "log")
}

/// Reads files until none of them changed between the first and the last, and no change is half made.
fn read_together(files: Vec<Found>, home: &Home) -> Result<Vec<(Found, Vec<u8>)>, BackupError> {
    let stamp =
        |f: &Found| fs::metadata(&f.source).ok().map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
    let journal = home.configuration_store().join(".transaction");
    let mut last_error = "they change all the time".to_owned();
    for _ in 0..ATTEMPTS {
        let before: Vec<_> = files.iter().map(stamp).collect();
        let names = directory(&home.configuration_store());
        let read: io::Result<Vec<Vec<u8>>> = files.iter().map(|f| fs::read(&f.source)).collect();
        let still = before == files.iter().map(stamp).collect::<Vec<_>>()
            && names == directory(&home.configuration_store())
            && (home.running().is_none() || !journal.exists());
        match read {
            Ok(contents) if still => return Ok(files.into_iter().zip(contents).collect()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                let unreadable = files.iter().find(|f| fs::File::open(&f.source).is_err());
                let path = unreadable.map_or_else(|| home.path().to_owned(), |f| f.source.clone());
                return Err(BackupError::Source { path, why: e.to_string() });
            }
            Err(e) => last_error = e.to_string(),
        }
        sleep(SETTLE);
    }
    Err(BackupError::Source { path: home.configuration_store(), why: last_error })
}

fn directory(path: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
    names.sort();
    names
}

struct Writer<'a, W: Write> {
    tar: Builder<GzEncoder<W>>,
    scratch: PathBuf,
    archive: PathBuf,
    progress: &'a Progress,
}

impl<W: Write> Writer<'_, W> {
    fn failed(&self) -> impl Fn(io::Error) -> BackupError + use<W> {
        let path = self.archive.clone();
        move |source| BackupError::Io { action: "write", path: path.clone(), source }
    }

    fn append(&mut self, name: &str, header: &mut Header, from: impl Read) -> io::Result<()> {
        header.set_entry_type(tar::EntryType::Regular);
        self.tar.append_data(header, name, from)
    }

    fn json(&mut self, name: &str, value: &impl serde::Serialize) -> Result<(), BackupError> {
        let failed = self.failed();
        let text = serde_json::to_vec_pretty(value).map_err(|e| failed(e.into()))?;
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        self.append(name, &mut header, &text[..]).map_err(failed)
    }

    fn header(found: &Found, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_size(size);
        header.set_mode(found.mode);
        header.set_mtime(u64::try_from(found.modified).unwrap_or_default());
        header
    }

    fn listed(found: &Found, size: u64, sha256: String) -> File {
        File { path: found.path.clone(), size, sha256, mode: found.mode, modified: found.modified }
    }

    fn bytes(&mut self, found: &Found, bytes: &[u8]) -> Result<File, BackupError> {
        let size = bytes.len() as u64;
        let failed = self.failed();
        self.append(&format!("{FILES}/{}", found.path), &mut Self::header(found, size), bytes)
            .map_err(failed)?;
        self.progress.add(size)?;
        Ok(Self::listed(found, size, format!("{:x}", Sha256::digest(bytes))))
    }

    /// Any other file. None if it has disappeared.
    fn file(
        &mut self,
        found: &Found,
        databases: &mut usize,
        warnings: &mut Vec<String>,
    ) -> Result<Option<File>, BackupError> {
        if found.database {
            let copy = self.scratch.join("copy");
            let copied = sqlite::copy(&found.source, &copy);
            let result = match copied {
                Ok(()) => {
                    *databases += 1;
                    Some(self.stream(found, &copy)?)
                }
                Err(why) => {
                    warnings.push(format!(
                        "{} is no sound SQLite database and was copied as it is: {why}",
                        found.path
                    ));
                    None
                }
            };
            let _ = fs::remove_file(&copy);
            if result.is_some() {
                return Ok(result);
            }
        }
        if found.size <= SMALL_BYTES {
            return self.small(found);
        }
        let file = self.stream(found, &found.source)?;
        let changed = fs::metadata(&found.source).map_or(true, |meta| meta.mtime() != found.modified);
        if changed && !is_log(&found.path) {
            warnings.push(format!(
                "{} was written while it was copied; its copy may be of two moments",
                found.path
            ));
        }
        Ok(Some(file))
    }

    fn small(&mut self, found: &Found) -> Result<Option<File>, BackupError> {
        let stamp =
            || fs::metadata(&found.source).ok().map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
        let failed = |why: String| BackupError::Source { path: found.source.clone(), why };
        let mut bytes = Vec::new();
        for _ in 0..ATTEMPTS {
            let before = stamp();
            bytes = match fs::read(&found.source) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(failed(e.to_string())),
            };
            if before == stamp() || is_log(&found.path) {
                return self.bytes(found, &bytes).map(Some);
            }
            sleep(SETTLE);
        }
        Err(failed(format!("it changes all the time ({} bytes at last)", bytes.len())))
    }

    /// A file of any size, as long as it is now.
    fn stream(&mut self, found: &Found, from: &Path) -> Result<File, BackupError> {
        let source = |e: io::Error| BackupError::Source { path: found.source.clone(), why: e.to_string() };
        let file = fs::File::open(from).map_err(source)?;
        let size = file.metadata().map_err(source)?.len();
        let mut counted =
            Counted { from: file.take(size), hash: Sha256::new(), read: 0, progress: self.progress };
        let name = format!("{FILES}/{}", found.path);
        let appended = self.append(&name, &mut Self::header(found, size), &mut counted);
        self.progress.add(0)?;
        appended.map_err(self.failed())?;
        if counted.read != size {
            let why = format!("it became shorter while it was copied ({} of {size} bytes)", counted.read);
            return Err(BackupError::Source { path: found.source.clone(), why });
        }
        Ok(Self::listed(found, size, format!("{:x}", counted.hash.finalize())))
    }

    fn finish(self) -> Result<W, BackupError> {
        let failed = self.failed();
        let mut out = self.tar.into_inner().and_then(GzEncoder::finish).map_err(&failed)?;
        out.flush().map_err(failed)?;
        Ok(out)
    }
}

/// Counts what is written.
struct Tally<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hashes what passes.
struct Counted<'a, R> {
    from: R,
    hash: Sha256,
    read: u64,
    progress: &'a Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(into)?;
        self.hash.update(&into[..n]);
        self.read += n as u64;
        self.progress.add(n as u64).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(n)
    }
}
