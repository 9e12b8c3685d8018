//! A wheel made again of a package that lies unpacked somewhere, so that it can be installed like any other.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use volttron_utils::home::Home;

use super::Settings;
use super::interpreter::Interpreter;
use super::run::Run;
use crate::install::{InstallError, file};

const REPACK: &str = include_str!("repack.py");
/// How long it may take.
const LIMIT: Duration = Duration::from_mins(5);

/// Where a package lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpacked {
    /// A directory with its modules and its `*.dist-info`, as a 9.x platform makes one.
    Directory(PathBuf),
    /// In the interpreter's own environment, as a 10.x platform leaves it.
    Installed {
        /// Package.
        package: String,
        /// Version.
        version: String,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Bad { error: String },
    Good { wheel: PathBuf, left: Vec<String> },
}

/// Writes the wheel into `out`, and tells which files in the directory are no part of the package. Nothing else is changed,
/// and no code of the package is run.
pub async fn repack(
    home: &Home,
    from: &Unpacked,
    out: &Path,
    settings: &Settings,
) -> Result<(PathBuf, Vec<String>), InstallError> {
    let name = match from {
        Unpacked::Directory(path) => path.display().to_string(),
        Unpacked::Installed { package, version } => format!("{package}-{version}"),
    };
    let words: Vec<&OsStr> = match from {
        Unpacked::Directory(path) => vec!["directory".as_ref(), path.as_os_str()],
        Unpacked::Installed { package, version } => {
            vec!["installed".as_ref(), package.as_ref(), version.as_ref()]
        }
    };
    run(home, &name, &words, out, settings).await
}

/// A wheel of the same name in `out`, with `content` as the file `called` beside its metadata: `config`, or
/// `IDENTITY_TEMPLATE`. The other one stays as it is.
pub async fn add_to_wheel(
    home: &Home,
    wheel: &Path,
    called: &str,
    content: &str,
    out: &Path,
    settings: &Settings,
) -> Result<PathBuf, InstallError> {
    let path = out.join("added");
    file(out, std::fs::create_dir_all(out))?;
    file(&path, std::fs::write(&path, content))?;
    let words = ["add".as_ref(), wheel.as_os_str(), called.as_ref(), path.as_os_str()];
    run(home, &wheel.display().to_string(), &words, out, settings).await.map(|(wheel, _)| wheel)
}

async fn run(
    home: &Home,
    name: &str,
    words: &[&OsStr],
    out: &Path,
    settings: &Settings,
) -> Result<(PathBuf, Vec<String>), InstallError> {
    let failed = |why: String| InstallError::Python { path: name.to_owned(), why };
    file(out, std::fs::create_dir_all(out))?;
    let run = Run::new(out, &home.cache().join("pip"), LIMIT, settings.verbose);
    let python = Interpreter::find(settings.interpreter.as_deref(), &run).await.map_err(failed)?;
    let mut command = run.command(&python.program);
    // What it imports must not leave compiled files behind where it lies.
    command.env("PYTHONDONTWRITEBYTECODE", "1").args(["-c", REPACK]).args(words).arg(out);
    let said = run.answer(command, LIMIT).await.map_err(failed)?;
    match serde_json::from_str(&said)
        .map_err(|e| failed(format!("an answer of {}: {e}", python.program.display())))?
    {
        Answer::Bad { error } => Err(failed(error)),
        Answer::Good { wheel, left } => Ok((wheel, left)),
    }
}
