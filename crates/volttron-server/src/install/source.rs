//! Recognising what is to be installed.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::InstallError;
use super::elf;
use super::named::{NamedCrate, Registry};

/// A source this version installs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory with a `Cargo.toml`.
    Crate(PathBuf),
    /// A packaged crate, `NAME-VERSION.crate`.
    Packed(PathBuf),
    /// A program for this machine.
    Program(PathBuf),
    /// The name of a crate on a registry.
    Named(NamedCrate),
    /// A directory with a `setup.py` or `pyproject.toml`.
    PythonDir(PathBuf),
    /// A Python package, built.
    Wheel(PathBuf),
    /// What pip finds: a name on PyPI, perhaps with a version.
    Requirement(String),
}

/// What kind of source the operator says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A crate directory or a Python directory
    Dir,
    /// A packaged crate (NAME-VERSION.crate)
    Crate,
    /// A program
    Bin,
    /// The name of a crate on a registry
    Registry,
    /// A Python wheel
    Wheel,
    /// What pip finds on PyPI
    Pypi,
}

const WORKS: &str = "This version installs crate directories, .crate files, programs built from volttron-client, crates by \
                     name from a registry, and Python agents (directory, wheel, pypi:NAME)";

/// What `text` is. A path that exists is one; with `kind` or `registry`, only that is considered.
pub fn recognise(text: &str, kind: Option<Kind>, registry: Option<Registry>) -> Result<Source, InstallError> {
    let path = Path::new(text);
    if let Some(requirement) = requirement(text, kind) {
        return Ok(Source::Requirement(requirement));
    }
    let by_name = registry.is_some() || kind == Some(Kind::Registry);
    let source = if by_name || !path.exists() {
        by_name_or_missing(text, by_name, registry)?
    } else if path.is_dir() {
        directory(text, path)?
    } else {
        regular_file(text, path)?
    };
    match kind {
        Some(kind) if kind != source.kind() => Err(InstallError::Unsupported {
            path: text.to_owned(),
            why: format!("this is {}, not {} as --source says", source.kind().name(), kind.name()),
        }),
        _ => Ok(source),
    }
}

impl Source {
    fn kind(&self) -> Kind {
        match self {
            Self::Crate(_) | Self::PythonDir(_) => Kind::Dir,
            Self::Packed(_) => Kind::Crate,
            Self::Program(_) => Kind::Bin,
            Self::Named(_) => Kind::Registry,
            Self::Wheel(_) => Kind::Wheel,
            Self::Requirement(_) => Kind::Pypi,
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Dir => "a directory",
            Self::Crate => "a .crate file",
            Self::Bin => "a program",
            Self::Registry => "the name of a crate",
            Self::Wheel => "a wheel",
            Self::Pypi => "a requirement for pip",
        }
    }
}

fn unsupported(text: &str, why: &str) -> InstallError {
    InstallError::Unsupported { path: text.to_owned(), why: format!("{why}. {WORKS}") }
}

/// What pip is to find, if this is for pip. The version of a crate would follow an `@`.
fn requirement(text: &str, kind: Option<Kind>) -> Option<String> {
    let marked = text.strip_prefix("pypi:").or_else(|| text.contains("==").then_some(text));
    marked.or_else(|| (kind == Some(Kind::Pypi)).then_some(text)).map(|text| text.trim().to_owned())
}

fn directory(text: &str, path: &Path) -> Result<Source, InstallError> {
    if path.join("Cargo.toml").is_file() {
        return Ok(Source::Crate(absolute(path)?));
    }
    if ["setup.py", "pyproject.toml"].iter().any(|f| path.join(f).exists()) {
        return Ok(Source::PythonDir(absolute(path)?));
    }
    let none = "there is neither Cargo.toml, setup.py nor pyproject.toml in this directory";
    Err(if NamedCrate::parse(text, None).is_some() {
        unsupported(text, &format!("{none}; --source registry takes it as a crate's name"))
    } else {
        unsupported(text, none)
    })
}

fn regular_file(text: &str, path: &Path) -> Result<Source, InstallError> {
    let mut start = Vec::new();
    super::file(path, fs::File::open(path).and_then(|f| f.take(elf::HEADER_BYTES).read_to_end(&mut start)))?;
    if start.starts_with(elf::MAGIC) {
        return match elf::check(&start) {
            Ok(()) => Ok(Source::Program(absolute(path)?)),
            Err(why) => Err(InstallError::Unsupported { path: text.to_owned(), why }),
        };
    }
    if path.extension().is_some_and(|e| e == "crate") {
        return Ok(Source::Packed(absolute(path)?));
    }
    if path.extension().is_some_and(|e| e == "whl") {
        return Ok(Source::Wheel(absolute(path)?));
    }
    Err(unsupported(text, "this is not a program for this machine"))
}

fn by_name_or_missing(text: &str, by_name: bool, registry: Option<Registry>) -> Result<Source, InstallError> {
    match NamedCrate::parse(text, registry) {
        Some(named) => Ok(Source::Named(named)),
        None if by_name => Err(InstallError::Unsupported {
            path: text.to_owned(),
            why: "this cannot be the name of a crate; it is written NAME or NAME@VERSION".into(),
        }),
        None => Err(InstallError::Missing(text.to_owned())),
    }
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
        fs::write(at("some-1.0.0.crate"), "hello").unwrap();
        fs::copy(std::env::current_exe().unwrap(), at("program")).unwrap();
        let mut foreign = fs::read(at("program")).unwrap()[..64].to_vec();
        foreign[18..20].copy_from_slice(&8_u16.to_le_bytes());
        fs::write(at("foreign"), foreign).unwrap();
        fs::create_dir_all(at("empty")).unwrap();
        fs::write(at("b.whl"), "").unwrap();
        let go = |name: &str, kind| recognise(at(name).to_str().unwrap(), kind, None);
        assert!(matches!(go("crate", None), Ok(Source::Crate(_))));
        assert!(matches!(go("program", None), Ok(Source::Program(_))));
        assert!(matches!(go("some-1.0.0.crate", None), Ok(Source::Packed(_))));
        assert!(matches!(go("python", None), Ok(Source::PythonDir(_))));
        assert!(matches!(go("b.whl", None), Ok(Source::Wheel(_))));
        for (text, kind, name) in [
            ("pypi:agent", None, "agent"),
            ("agent==1.0", None, "agent==1.0"),
            ("pypi: a >= 2", None, "a >= 2"),
            ("agent", Some(Kind::Pypi), "agent"),
        ] {
            assert_eq!(recognise(text, kind, None).unwrap(), Source::Requirement(name.to_owned()));
        }
        for (name, kind, expected) in [
            ("empty", None, "nor pyproject"),
            ("text", None, "not a program"),
            ("a.whl", None, "Invalid file"),
            ("foreign", None, "a program for mips"),
            ("program", Some(Kind::Dir), "this is a program, not a directory as --source says"),
            ("crate", Some(Kind::Registry), "cannot be the name of a crate"),
        ] {
            let error = go(name, kind).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert!(matches!(recognise("volttron-listener@1.2", None, None), Ok(Source::Named(_))));
        // The tests run in the crate's directory, where there is `src`.
        assert!(recognise("src", None, None).unwrap_err().to_string().contains("--source registry"));
        assert!(matches!(recognise("src", Some(Kind::Registry), None), Ok(Source::Named(_))));
        let registry = Some(Registry::Name("ours".into()));
        assert!(matches!(recognise("src", None, registry), Ok(Source::Named(_))));
    }
}
