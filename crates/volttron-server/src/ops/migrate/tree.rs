//! Everything that lies in an old home: what there is to copy, and what cannot be.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::MigrateError;
use crate::ops::backup::{Progress, io_error, sqlite};
use crate::ops::passing::passes;

/// Deepest directory, and most files.
const MAX_DEPTH: usize = 64;
const MAX_PIECES: usize = 2_000_000;
/// What means something else in our homes, besides what passes.
const NOT_OURS: [&str; 3] = ["logs", "bin", "backups"];

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    File,
    /// An SQLite database.
    Database,
    /// A link with this target.
    Link(String),
}

/// A file, directory or link.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Below the home.
    pub path: String,
    pub what: What,
    pub mode: u32,
    pub size: u64,
}

/// An old home's files.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub pieces: Vec<Piece>,
    /// What cannot be copied, and why.
    pub left: Vec<(String, String)>,
    /// What may not be read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl Tree {
    /// Looks through a home.
    pub fn read(home: &Path, progress: &Progress) -> Result<Self, MigrateError> {
        let mut tree = Self::default();
        tree.walk(home, "", 0, progress)?;
        Ok(tree)
    }

    /// What lies at or below a path.
    pub fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Piece> {
        let inside = move |piece: &&Piece| {
            piece.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.pieces.iter().filter(inside)
    }

    /// Whether there is a file of this name.
    pub fn has_file(&self, path: &str) -> bool {
        self.pieces.iter().any(|p| p.path == path && matches!(p.what, What::File | What::Database))
    }

    fn walk(
        &mut self,
        dir: &Path,
        below: &str,
        depth: usize,
        progress: &Progress,
    ) -> Result<(), MigrateError> {
        let mut entries: Vec<PathBuf> = match fs::read_dir(dir) {
            Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
            Err(e) => {
                self.unreadable.push((below.to_owned(), e.to_string()));
                return Ok(());
            }
        };
        entries.sort();
        for source in entries {
            progress.add(0)?;
            let Some(name) = source.file_name().and_then(|n| n.to_str()) else {
                self.left.push((format!("{below}/{}", source.display()), "its name is no text".to_owned()));
                continue;
            };
            let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            if passes(&path) || NOT_OURS.contains(&path.as_str()) || name == "__pycache__" {
                continue;
            }
            let meta = fs::symlink_metadata(&source).map_err(io_error("look at", &source))?;
            if self.pieces.len() >= MAX_PIECES {
                self.left.push((path, format!("there are more than {MAX_PIECES} files")));
                return Ok(());
            }
            let mode = meta.permissions().mode() & 0o777;
            let mut add =
                |what: What, size: u64| self.pieces.push(Piece { path: path.clone(), what, mode, size });
            if meta.is_dir() {
                add(What::Directory, 0);
                if depth >= MAX_DEPTH {
                    self.left.push((path, format!("it is more than {MAX_DEPTH} directories deep")));
                } else {
                    self.walk(&source, &path, depth + 1, progress)?;
                }
            } else if meta.is_symlink() {
                match fs::read_link(&source).ok().and_then(|to| to.to_str().map(str::to_owned)) {
                    Some(target) => add(What::Link(target), 0),
                    None => self.left.push((path, "it leads to what is no text".to_owned())),
                }
            } else if meta.is_file() {
                match is_database(&source, meta.size()) {
                    Ok(true) => add(What::Database, meta.len()),
                    Ok(false) => add(What::File, meta.len()),
                    Err(e) => self.unreadable.push((path, e.to_string())),
                }
            } else {
                self.left.push((path, "it is neither a file nor a directory nor a link".to_owned()));
            }
        }
        Ok(())
    }
}

/// Opens it, too, so that what may not be read is known before anything is written.
fn is_database(path: &Path, size: u64) -> io::Result<bool> {
    if size < sqlite::HEADER.len() as u64 {
        return fs::File::open(path).map(|_| false);
    }
    sqlite::has_header(path)
}
