//! Recognising what is to be installed.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::InstallError;

/// A source this version installs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory with a `Cargo.toml`.
    Crate(PathBuf),
    /// A program for this machine.
    Program(PathBuf),
}

/// What `text` is.
pub fn recognise(text: &str) -> Result<Source, InstallError> {
    let path = Path::new(text);
    let unsupported = |why: &str| InstallError::Unsupported { path: text.to_owned(), why: why.to_owned() };
    let works = "This version installs crate directories and programs built from volttron-client";
    if path.is_dir() {
        if path.join("Cargo.toml").is_file() {
            return Ok(Source::Crate(absolute(path)?));
        }
        let python = ["setup.py", "pyproject.toml"].iter().any(|f| path.join(f).exists());
        return Err(unsupported(&if python {
            format!("this is a Python package. {works}")
        } else {
            format!("there is no Cargo.toml in this directory. {works}")
        }));
    }
    if path.is_file() {
        let mut magic = [0; 4];
        let elf =
            fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF";
        if elf {
            return Ok(Source::Program(absolute(path)?));
        }
        return Err(unsupported(&format!("this is not a program for this machine. {works}")));
    }
    let like_a_path = text.contains(['/', '.']) && !text.contains('@');
    if like_a_path || text.is_empty() {
        return Err(InstallError::Missing(text.to_owned()));
    }
    Err(unsupported(&format!("there is no such file. If it is the name of a crate on a registry: {works}")))
}

fn absolute(path: &Path) -> Result<PathBuf, InstallError> {
    super::file(path, path.canonicalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_recognised_or_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("crate")).unwrap();
        fs::write(at("crate/Cargo.toml"), "").unwrap();
        fs::create_dir_all(at("python")).unwrap();
        fs::write(at("python/setup.py"), "").unwrap();
        fs::write(at("text"), "hello").unwrap();
        fs::write(at("program"), b"\x7fELF....").unwrap();
        let go = |name: &str| recognise(at(name).to_str().unwrap());
        assert!(matches!(go("crate"), Ok(Source::Crate(_))));
        assert!(matches!(go("program"), Ok(Source::Program(_))));
        for (name, expected) in [("python", "Python"), ("text", "not a program"), ("a.whl", "Invalid file")] {
            let error = go(name).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert!(recognise("volttron-listener").unwrap_err().to_string().contains("registry"));
    }
}
