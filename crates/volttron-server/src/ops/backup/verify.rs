//! Reading an archive from its first to its last byte without writing anything: whether it is what a backup is.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path};

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

use super::{
    BackupError, FILES, FORMAT, HEAD, Head, Manifest, Progress, TAIL, is_inside, is_interpreter, leads_inside,
};
use crate::ops::doctor::size;

/// Most members of an archive.
const MAX_MEMBERS: usize = 1_000_000;
/// Most bytes of the first member, of the list, and of a long name.
const MAX_HEAD_BYTES: u64 = 64 << 10;
const MAX_LIST_BYTES: u64 = 512 << 20;
const MAX_NAME_BYTES: u64 = 4096;
/// Most zeros behind the last member.
const MAX_PADDING_BYTES: usize = 64 << 10;
const PIECE_BYTES: usize = 128 * 1024;

/// A member that is a file of the home.
pub(super) struct Member<'a> {
    /// Below the home.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Its contents.
    pub contents: &'a mut dyn Read,
}

/// Goes through all members, in order, and gives each file of the home to `take`; the list at the end. `room_bytes` bounds
/// what all files together may have. `path` names the archive in errors.
pub(super) fn read(
    path: &Path,
    room_bytes: u64,
    mut take: impl FnMut(Member<'_>) -> Result<(), BackupError>,
) -> Result<Manifest, BackupError> {
    let file = fs::File::open(path).map_err(super::io_error("read", path))?;
    let damaged = |e: io::Error| match e.get_ref().and_then(|inner| inner.downcast_ref::<BackupError>()) {
        Some(BackupError::Interrupted) => BackupError::Interrupted,
        _ => BackupError::Damaged { path: path.to_owned(), why: e.to_string() },
    };
    let hostile = |why: String| BackupError::Hostile { path: path.to_owned(), why };
    let not_ours = |why: &str| BackupError::NotABackup { path: path.to_owned(), why: why.to_owned() };
    let mut archive = Archive::new(GzDecoder::new(io::BufReader::with_capacity(PIECE_BYTES, file)));
    let (mut members, mut bytes) = (0, 0_u64);
    let mut long_name: Option<String> = None;
    let mut list: Option<Manifest> = None;
    // Raw: the library would read a long name of any length into memory.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let first = members == 0;
        let mut entry = entry.map_err(|e| if first { not_ours(&e.to_string()) } else { damaged(e) })?;
        members += 1;
        if members > MAX_MEMBERS {
            return Err(hostile(format!("it has more than {MAX_MEMBERS} members")));
        }
        if list.is_some() {
            return Err(hostile("there is something behind its list".to_owned()));
        }
        let (kind, size_bytes) = (entry.header().entry_type(), entry.header().entry_size().map_err(damaged)?);
        if kind == EntryType::GNULongName && !first {
            let text = text(&mut entry, size_bytes, MAX_NAME_BYTES)
                .map_err(|_| hostile("a name is too long".into()))?;
            long_name = Some(text.trim_end_matches('\0').to_owned());
            continue;
        }
        let own = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = long_name.take().unwrap_or(own);
        if first {
            if kind != EntryType::Regular || name != HEAD {
                return Err(not_ours(&format!("it begins with {name}")));
            }
            check_head(&text(&mut entry, size_bytes, MAX_HEAD_BYTES).map_err(damaged)?, path)?;
            continue;
        }
        if kind != EntryType::Regular {
            return Err(hostile(format!("{name} is no regular file")));
        }
        if name == TAIL {
            let text = text(&mut entry, size_bytes, MAX_LIST_BYTES).map_err(damaged)?;
            let read = serde_json::from_str(&text)
                .map_err(|e| damaged(io::Error::other(format!("its list: {e}"))))?;
            list = Some(read);
            continue;
        }
        let below =
            name.strip_prefix(FILES).and_then(|rest| rest.strip_prefix('/')).filter(|rest| is_inside(rest));
        let Some(below) = below else {
            return Err(hostile(format!("{name:?} would be written outside of the home")));
        };
        bytes = bytes.saturating_add(size_bytes);
        if bytes > room_bytes {
            return Err(BackupError::NoSpace {
                what: "the home in it".to_owned(),
                needed: format!("more than {}", size(room_bytes)),
                free: size(room_bytes),
                path: path.to_owned(),
            });
        }
        take(Member { path: below.to_owned(), size: size_bytes, contents: &mut entry })?;
    }
    // The checksum of the whole stands at the very end, behind the zeros that a tar ends with.
    let mut rest = archive.into_inner();
    let mut piece = [0; 512];
    let mut after = 0;
    loop {
        match rest.read(&mut piece).map_err(damaged)? {
            0 => break,
            n => after += n,
        }
        if after > MAX_PADDING_BYTES || piece.iter().any(|byte| *byte != 0) {
            return Err(hostile("there is something behind its end".to_owned()));
        }
    }
    if rest.into_inner().read(&mut piece).map_err(damaged)? > 0 {
        return Err(hostile("there is something behind its end".to_owned()));
    }
    list.ok_or_else(|| damaged(io::Error::other("its end is missing")))
}

fn check_head(text: &str, path: &Path) -> Result<(), BackupError> {
    let head: Head = serde_json::from_str(text)
        .map_err(|e| BackupError::NotABackup { path: path.to_owned(), why: format!("{HEAD}: {e}") })?;
    if head.format > FORMAT {
        return Err(BackupError::Newer { path: path.to_owned(), version: head.version, format: head.format });
    }
    Ok(())
}

fn text(from: &mut impl Read, size: u64, most: u64) -> io::Result<String> {
    if size > most {
        return Err(io::Error::other(format!("a member has {size} bytes, and {most} at most")));
    }
    let mut text = String::new();
    from.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// Copies a member, and gives the SHA-256 of what passed.
pub(super) fn hash(
    member: &mut Member<'_>,
    mut to: impl io::Write,
    progress: &Progress,
    archive: &Path,
    target: &Path,
) -> Result<String, BackupError> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let n = member.contents.read(&mut piece).map_err(|e| BackupError::Damaged {
            path: archive.to_owned(),
            why: format!("{}: {e}", member.path),
        })?;
        if n == 0 {
            return Ok(format!("{:x}", digest.finalize()));
        }
        digest.update(&piece[..n]);
        to.write_all(&piece[..n]).map_err(super::io_error("write", target))?;
        progress.add(n as u64)?;
    }
}

/// Reads the whole archive and checks all of it.
pub(super) fn verify(path: &Path, room_bytes: u64, progress: &Progress) -> Result<Manifest, BackupError> {
    let mut seen: HashMap<String, (u64, String)> = HashMap::new();
    let manifest = read(path, room_bytes, |mut member| {
        let sum = hash(&mut member, io::sink(), progress, path, path)?;
        if seen.insert(member.path.clone(), (member.size, sum)).is_some() {
            let why = format!("{} is in it twice", member.path);
            return Err(BackupError::Hostile { path: path.to_owned(), why });
        }
        Ok(())
    })?;
    let damaged = |why: String| BackupError::Damaged { path: path.to_owned(), why };
    if manifest.format > FORMAT {
        let Manifest { version, format, .. } = manifest;
        return Err(BackupError::Newer { path: path.to_owned(), version, format });
    }
    for file in &manifest.files {
        match seen.remove(&file.path) {
            None => return Err(damaged(format!("{} is in its list and not in it", file.path))),
            Some((size, sum)) if size == file.size && sum == file.sha256 => {}
            Some(_) => return Err(damaged(format!("{} is not what it was", file.path))),
        }
    }
    if let Some(extra) = seen.keys().next() {
        return Err(damaged(format!("{extra} is in it and not in its list")));
    }
    check_places(&manifest).map_err(|why| BackupError::Hostile { path: path.to_owned(), why })?;
    Ok(manifest)
}

/// Whether everything in the list is where it may be, and in nobody's way.
fn check_places(manifest: &Manifest) -> Result<(), String> {
    let mut places: HashSet<&str> = HashSet::new();
    let mut leaves: HashSet<&str> = HashSet::new();
    let files = manifest.files.iter().map(|f| f.path.as_str());
    let links = manifest.links.iter().chain(&manifest.interpreters).map(|l| l.path.as_str());
    for path in files.chain(links) {
        if !is_inside(path) || !places.insert(path) {
            return Err(format!("{path:?} is outside of the home, or there twice"));
        }
        leaves.insert(path);
    }
    for directory in &manifest.directories {
        if !is_inside(&directory.path) || !places.insert(&directory.path) {
            return Err(format!("{:?} is outside of the home, or there twice", directory.path));
        }
    }
    // Nothing lies below a file or a link.
    for place in &places {
        let above = Path::new(place).ancestors().skip(1).filter_map(Path::to_str);
        if let Some(leaf) = above.filter(|dir| !dir.is_empty()).find(|dir| leaves.contains(dir)) {
            return Err(format!("{place} is below {leaf}, which is no directory"));
        }
    }
    if let Some(link) = manifest.links.iter().find(|link| !leads_inside(&link.path, &link.target)) {
        return Err(format!("the link {} leads out of the home, to {}", link.path, link.target));
    }
    let plain = |target: &str| {
        let target = Path::new(target);
        target.is_absolute()
            && target.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
            && target.file_name().and_then(|n| n.to_str()).is_some_and(|name| name.starts_with("python"))
    };
    match manifest.interpreters.iter().find(|link| !is_interpreter(&link.path) || !plain(&link.target)) {
        Some(link) => Err(format!("the link {} leads to {}, which is no Python", link.path, link.target)),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
