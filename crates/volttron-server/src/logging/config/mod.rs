//! Logging configurations of Python's `logging.config` (`--log-config`): read, and translated to what the log here can do.
//!
//! Every form becomes what `dictConfig` takes first ([`Document`]); one translator goes on from there. Nothing is opened
//! and no code is run. What cannot be done is an error where lines would get lost or go elsewhere, and a warning where
//! they only look different.

mod ini;
mod translate;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use volttron_utils::config::{line_of, parse_python, parse_yaml};
use volttron_utils::files::read_bounded;
use volttron_utils::json;

use super::rotation::Rotation;
use super::{Handler, Levels, Route, Routes, Setup};
use crate::options::LogTarget;

/// Largest file that is read.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// What a logging configuration asks for.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The file.
    pub path: PathBuf,
    /// Its lines.
    pub text: String,
    /// What is not done as it asks.
    pub warnings: Vec<String>,
    handlers: Vec<Handler>,
    /// Handlers of the root; without, it keeps those it has.
    root: Option<Vec<usize>>,
    loggers: Vec<Route>,
    /// By name; the empty one is the root.
    levels: Vec<(String, i64)>,
}

/// Why a logging configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogConfigError {
    /// The file cannot be read.
    #[error("log-config: cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says what cannot be.
    #[error("log-config: {}{}: {why}", path.display(), line.map(|line| format!(" (line {line})")).unwrap_or_default())]
    Bad {
        /// The file.
        path: PathBuf,
        /// The line, from 1, if it is known.
        line: Option<usize>,
        /// What is wrong.
        why: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Ini,
    Json,
    Python,
    Yaml,
}

impl Form {
    /// The form and the path of what was given: a prefix counts, else the extension, else it is ini.
    fn of(given: &str) -> (Self, &str) {
        let prefixed =
            [("ini:", Self::Ini), ("json:", Self::Json), ("py:", Self::Python), ("yaml:", Self::Yaml)];
        if let Some(found) = prefixed.iter().find_map(|(p, form)| Some((*form, given.strip_prefix(p)?))) {
            return found;
        }
        let form = match Path::new(given).extension().and_then(|e| e.to_str()) {
            Some("json") => Self::Json,
            Some("py") => Self::Python,
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Ini,
        };
        (form, given)
    }
}

impl LogConfig {
    /// Reads what `--log-config` was given; `place` makes a path of what stands behind the prefix.
    pub fn read(given: &str, place: impl Fn(&str) -> PathBuf) -> Result<Self, LogConfigError> {
        let (form, path) = Form::of(given);
        let path = place(path);
        let text = read_bounded(&path, FILE_MAX_BYTES)
            .map_err(|source| LogConfigError::Io { path: path.clone(), source })?;
        Self::parse(form, &path, &text).map_err(|(line, why)| LogConfigError::Bad { path, line, why })
    }

    fn parse(form: Form, path: &Path, text: &str) -> Result<Self, (Option<usize>, String)> {
        let document = Document::parse(form, text)?;
        translate::translate(&document, path, text)
    }

    /// What goes where. `usual` is where the log goes otherwise, at the level `level`; `levels` were given by other
    /// options, and the file goes before them.
    pub fn setup(&self, usual: Handler, level: i64, levels: &[(String, i64)]) -> Setup {
        let all: Vec<(String, i64)> = levels.iter().chain(&self.levels).cloned().collect();
        let mut handlers = self.handlers.clone();
        let root = self.root.clone().unwrap_or_else(|| {
            handlers.push(usual);
            vec![handlers.len() - 1]
        });
        let routes = Routes::new(root, self.loggers.clone());
        Setup { levels: Levels::new(level, &all), handlers, routes }
    }

    /// Where all lines go, if the file says so.
    pub fn target(&self) -> Option<(LogTarget, Rotation)> {
        let handlers: Vec<&Handler> = self.root.as_ref()?.iter().map(|at| &self.handlers[*at]).collect();
        let file = handlers.iter().find(|handler| matches!(handler.target, LogTarget::File(_)));
        file.or(handlers.first()).map(|handler| (handler.target.clone(), handler.rotation))
    }
}

/// A configuration as `dictConfig` takes it, and where in the file what stands.
#[derive(Debug)]
struct Document {
    value: Value,
    lines: Lines,
}

#[derive(Debug)]
enum Lines {
    /// To be found in the text.
    Text(String),
    /// By JSON pointer.
    Known(BTreeMap<String, usize>),
}

impl Document {
    fn parse(form: Form, text: &str) -> Result<Self, (Option<usize>, String)> {
        let value = match form {
            Form::Ini => return ini::parse(text),
            Form::Json => json::parse_commented(text).map_err(|e| (None, format!("is no JSON: {e}")))?,
            Form::Yaml => parse_yaml(text).map_err(|e| (Some(e.line), format!("is no YAML: {}", e.why)))?,
            Form::Python => parse_python(text, stream).map_err(|e| {
                let why = format!(
                    "is not just a dict, such as `{{'version': 1, ...}}`: {}; write it as JSON or YAML \
                     (a name that ends in .json or .yaml)",
                    e.why
                );
                (Some(e.line), why)
            })?,
        };
        Ok(Self { value, lines: Lines::Text(text.to_owned()) })
    }

    /// The line of what a pointer names, or of what it is in.
    fn line_of(&self, pointer: &str) -> Option<usize> {
        let mut pointer = pointer;
        loop {
            let line = match &self.lines {
                Lines::Text(text) => line_of(text, pointer),
                Lines::Known(lines) => lines.get(pointer).copied(),
            };
            if line.is_some() || pointer.is_empty() {
                return line.filter(|_| !pointer.is_empty());
            }
            pointer = &pointer[..pointer.rfind('/').unwrap_or(0)];
        }
    }
}

/// The names that configurations call streams.
fn stream(name: &str) -> Option<Value> {
    matches!(name, "sys.stdout" | "sys.stderr").then(|| format!("ext://{name}").into())
}

#[cfg(test)]
mod tests;
