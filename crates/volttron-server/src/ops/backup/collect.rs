//! What of a home goes into a backup.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{BackupError, Directory, Link, is_inside, is_interpreter, leads_inside, sqlite};
use crate::ops::passing::passes;

/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A file to be copied.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is.
    pub source: PathBuf,
    /// Below the home.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Bytes, as far as is known.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: i64,
    /// An SQLite database.
    pub database: bool,
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub directories: Vec<Directory>,
    pub files: Vec<Found>,
    pub links: Vec<Link>,
    pub interpreters: Vec<Link>,
    /// What is left out and was perhaps wanted.
    pub warnings: Vec<String>,
}

/// Looks through a home. `except` is the archive itself.
pub(super) fn collect(home: &Path, programs: bool, except: &Path) -> Result<Contents, BackupError> {
    let mut contents = Contents::default();
    walk(home, "", programs, except, &mut contents)?;
    let databases: HashSet<String> =
        contents.files.iter().filter(|f| f.database).map(|f| f.path.clone()).collect();
    // They belong to the state of the database at another moment.
    contents.files.retain(|file| {
        !BESIDE.iter().any(|end| file.path.strip_suffix(end).is_some_and(|path| databases.contains(path)))
    });
    Ok(contents)
}

fn walk(
    dir: &Path,
    below: &str,
    programs: bool,
    except: &Path,
    contents: &mut Contents,
) -> Result<(), BackupError> {
    let failed =
        |path: &Path, e: &std::io::Error| BackupError::Source { path: path.to_owned(), why: e.to_string() };
    let entries = fs::read_dir(dir).map_err(|e| failed(dir, &e))?;
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for source in entries {
        let Some(name) = source.file_name().and_then(|name| name.to_str()) else {
            contents.warnings.push(format!("left out, because its name is no text: {}", source.display()));
            continue;
        };
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if passes(&path) || (path == "bin" && !programs) || source == except {
            continue;
        }
        if !is_inside(&path) {
            contents.warnings.push(format!("left out, because its path is too long or deep: {path}"));
            continue;
        }
        // What disappears meanwhile was not to stay.
        let Ok(meta) = fs::symlink_metadata(&source) else { continue };
        if meta.is_dir() {
            contents
                .directories
                .push(Directory { path: path.clone(), mode: meta.permissions().mode() & 0o777 });
            walk(&source, &path, programs, except, contents)?;
        } else if meta.is_symlink() {
            link(&source, path, contents);
        } else if meta.is_file() {
            let database = is_database(&source, &meta).map_err(|e| failed(&source, &e))?;
            contents.files.push(Found {
                path,
                mode: meta.permissions().mode() & 0o777,
                size: meta.len(),
                modified: meta.mtime(),
                database,
                source,
            });
        }
    }
    Ok(())
}

fn link(source: &Path, path: String, contents: &mut Contents) {
    let Some(target) = fs::read_link(source).ok().and_then(|to| to.to_str().map(str::to_owned)) else {
        return;
    };
    if leads_inside(&path, &target) {
        contents.links.push(Link { path, target });
    } else if is_interpreter(&path) && target.starts_with('/') {
        contents.interpreters.push(Link { path, target });
    } else {
        contents.warnings.push(format!("left out, because it leads out of the home: {path} -> {target}"));
    }
}

fn is_database(path: &Path, meta: &Metadata) -> std::io::Result<bool> {
    if meta.len() < sqlite::HEADER.len() as u64 {
        return Ok(false);
    }
    match sqlite::has_header(path) {
        // It disappears, or is being written; copying it tells.
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof) => {
            Ok(false)
        }
        known => known,
    }
}
