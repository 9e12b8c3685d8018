//! The few things that the rules and the configuration store do with files, each of them atomic and durable when it
//! returns, so that what a crash leaves behind is what a prefix of them leaves behind.
//!
//! Must never know what is in a file.

use std::fmt::Debug;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use volttron_utils::files::{self, FileLock};

/// A flat directory of files. The simulator has another implementation, which fails and stops where it is told to.
pub trait Files: Debug + Send + Sync {
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Contents of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Makes or replaces a file.
    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()>;
    /// Renames a file, over another one if need be.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Keeps other programs that ask for the same lock out until it is dropped. None where there are no others.
    fn lock(&self, name: &str) -> io::Result<Option<FileLock>>;
    /// The file's name for people.
    fn show(&self, name: &str) -> String;
}

/// A real directory.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    mode: u32,
    max_bytes: u64,
}

impl Directory {
    /// A directory that others use as well. Files are written with `mode`; one larger than `max_bytes` is not read.
    pub fn new(path: impl Into<PathBuf>, mode: u32, max_bytes: u64) -> Self {
        Self { path: path.into(), mode, max_bytes }
    }

    /// As [`Self::new`], but makes the directory if it is missing, and clears away what writes that a crash ended left
    /// half done. Only for who owns the whole directory.
    pub fn open(path: PathBuf, mode: u32, max_bytes: u64) -> io::Result<Self> {
        files::create_dir(&path, 0o755)?;
        let own = Self::new(path, mode, max_bytes);
        for name in own.list()?.iter().filter(|name| name.starts_with(files::TEMP_PREFIX)) {
            fs::remove_file(own.file(name))?;
        }
        Ok(own)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Directory and name of a path.
pub fn split(path: &Path) -> (&Path, String) {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (directory, path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|item| Ok(item?.file_name().into_string().ok()));
        let mut names: Vec<String> = names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect();
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(self.file(name))?.take(self.max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > self.max_bytes {
            let text = format!("larger than {} bytes", self.max_bytes);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(bytes)
    }

    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        files::write_atomic(&self.file(name), contents, self.mode)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        files::rename(&self.file(from), &self.file(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        files::remove(&self.file(name))
    }

    fn lock(&self, name: &str) -> io::Result<Option<FileLock>> {
        FileLock::acquire(&self.file(name)).map(Some)
    }

    fn show(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }
}
