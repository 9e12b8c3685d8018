//! The few things the store does with files, each of them atomic and durable when it returns, so that what a crash
//! leaves behind is what a prefix of them leaves behind.

use std::path::PathBuf;
use std::{fs, io};

use volttron_utils::files;

/// A flat directory of files. The simulator has another implementation, which fails and stops where it is told to.
pub(super) trait Files: Send + Sync {
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
    /// The file's name for people.
    fn show(&self, name: &str) -> String;
}

/// A real directory.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes the directory if it is missing, and clears away what writes that a crash ended left half done.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        files::create_dir(&path, 0o755)?;
        let own = Self(path);
        for name in own.list()?.iter().filter(|name| name.starts_with(files::TEMP_PREFIX)) {
            fs::remove_file(own.0.join(name))?;
        }
        Ok(own)
    }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|item| Ok(item?.file_name().into_string().ok()));
        let mut names: Vec<String> = names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect();
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        files::write_atomic(&self.0.join(name), contents, 0o644)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        files::rename(&self.0.join(from), &self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        files::remove(&self.0.join(name))
    }

    fn show(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}
