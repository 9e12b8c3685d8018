//! From what `dictConfig` takes to what the log here can do.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use volttron_utils::logging::Level;

use super::super::format::Format;
use super::super::rotation::{Rotation, When};
use super::super::{Handler, Route};
use super::{Document, LogConfig};
use crate::options::LogTarget;

/// Keys of every handler.
const OF_ANY_HANDLER: [&str; 4] = ["class", "level", "formatter", "filters"];
const SUPPORTED: &str = "StreamHandler, FileHandler, NullHandler, handlers.WatchedFileHandler, \
                         handlers.RotatingFileHandler, handlers.TimedRotatingFileHandler";

/// The classes of handlers there are, with their parameters in Python's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Stream,
    File,
    Rotating,
    TimedRotating,
    Null,
}

impl Class {
    /// `handlers.X`, `logging.handlers.X` and `X` are the same.
    fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix("logging.").unwrap_or(name);
        Some(match name.strip_prefix("handlers.").unwrap_or(name) {
            "StreamHandler" => Self::Stream,
            "FileHandler" | "WatchedFileHandler" => Self::File,
            "RotatingFileHandler" => Self::Rotating,
            "TimedRotatingFileHandler" => Self::TimedRotating,
            "NullHandler" => Self::Null,
            _ => return None,
        })
    }

    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Stream => &["stream"],
            Self::File => &["filename", "mode", "encoding", "delay", "errors"],
            Self::Rotating => &["filename", "mode", "maxBytes", "backupCount", "encoding", "delay", "errors"],
            Self::TimedRotating => &[
                "filename",
                "when",
                "interval",
                "backupCount",
                "encoding",
                "delay",
                "utc",
                "atTime",
                "errors",
            ],
            Self::Null => &[],
        }
    }
}

/// Names of what a class of handlers is made with, in order.
pub(super) fn parameters(class: &str) -> Option<&'static [&'static str]> {
    Class::named(class).map(Class::parameters)
}

type Bad = (Option<usize>, String);

/// Translates a document that stood in this file.
pub(super) fn translate(document: &Document, path: &Path, text: &str) -> Result<LogConfig, Bad> {
    let mut translator = Translator { document, warnings: Vec::new() };
    let top = translator.map("", &document.value)?;
    match top.get("version").and_then(Value::as_i64) {
        Some(1) => {}
        Some(other) => {
            return Err(translator.bad("/version", format!("version {other} is not known; it is 1")));
        }
        None => return Err((None, "\"version\": 1 is missing".to_owned())),
    }
    let incremental = top.get("incremental").is_some_and(is_true);
    let (names, handlers) = if incremental { Default::default() } else { translator.handlers(top)? };
    let mut config = LogConfig {
        path: path.to_owned(),
        text: text.to_owned(),
        warnings: Vec::new(),
        handlers,
        root: None,
        loggers: Vec::new(),
        levels: Vec::new(),
    };
    if let Some(root) = top.get("root") {
        let root = translator.map("/root", root)?;
        config.levels.extend(translator.level("/root", root)?.map(|level| (String::new(), level)));
        translator.unfiltered("/root", root);
        let handlers = translator.handlers_of("/root", root, &names)?;
        // A root without any would lose everything.
        config.root = Some(handlers).filter(|handlers| !handlers.is_empty() && !incremental);
    }
    if let Some(loggers) = top.get("loggers") {
        for (name, logger) in translator.map("/loggers", loggers)? {
            let pointer = format!("/loggers/{}", escaped(name));
            let logger = translator.map(&pointer, logger)?;
            // 0 is to ask the logger above.
            let level = translator.level(&pointer, logger)?.filter(|level| *level > 0);
            config.levels.extend(level.map(|level| (name.clone(), level)));
            translator.unfiltered(&pointer, logger);
            let handlers = translator.handlers_of(&pointer, logger, &names)?;
            let propagate = logger.get("propagate").is_none_or(is_true);
            if !incremental && (!handlers.is_empty() || !propagate) {
                config.loggers.push(Route { name: name.clone(), handlers, propagate });
            }
        }
    }
    config.warnings = translator.warnings;
    Ok(config)
}

/// As Python sees it.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

struct Translator<'a> {
    document: &'a Document,
    warnings: Vec<String>,
}

impl Translator<'_> {
    fn bad(&self, pointer: &str, why: impl Into<String>) -> Bad {
        (self.document.line_of(pointer), why.into())
    }

    fn warn(&mut self, pointer: &str, what: &str) {
        let line = self.document.line_of(pointer).map_or_else(String::new, |line| format!(" (line {line})"));
        self.warnings.push(format!("log-config{line}: {what}"));
    }

    fn map<'v>(&self, pointer: &str, value: &'v Value) -> Result<&'v Map<String, Value>, Bad> {
        let what = if pointer.is_empty() { "the configuration" } else { pointer.trim_start_matches('/') };
        value.as_object().ok_or_else(|| self.bad(pointer, format!("{what} has to be a dict")))
    }

    /// A level by name or number, as Python spells them.
    fn level(&self, pointer: &str, map: &Map<String, Value>) -> Result<Option<i64>, Bad> {
        let level = match map.get("level") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(name)) if name == "NOTSET" => Some(0),
            Some(Value::String(name)) => name.parse().ok().or_else(|| Level::parse(name).map(Level::number)),
            Some(_) => None,
        };
        level.map(Some).ok_or_else(|| {
            let why = format!(
                "{} is no level: a number, DEBUG, INFO, WARNING, ERROR, CRITICAL or NOTSET",
                map.get("level").unwrap_or(&Value::Null)
            );
            self.bad(&format!("{pointer}/level"), why)
        })
    }

    fn unfiltered(&mut self, pointer: &str, map: &Map<String, Value>) {
        if map.get("filters").and_then(Value::as_array).is_some_and(|filters| !filters.is_empty()) {
            self.warn(&format!("{pointer}/filters"), "filters are not followed");
        }
    }

    /// The handlers that a logger names.
    fn handlers_of(
        &self,
        pointer: &str,
        map: &Map<String, Value>,
        names: &[String],
    ) -> Result<Vec<usize>, Bad> {
        let pointer = format!("{pointer}/handlers");
        let items = match map.get("handlers") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.bad(&pointer, "handlers has to be a list of names")),
        };
        let one = |item: &Value| {
            let at = item.as_str().and_then(|name| names.iter().position(|known| known == name));
            at.ok_or_else(|| self.bad(&pointer, format!("there is no handler {item}")))
        };
        items.iter().map(one).collect()
    }

    /// All handlers, with their names.
    fn handlers(&mut self, top: &Map<String, Value>) -> Result<(Vec<String>, Vec<Handler>), Bad> {
        let formats = self.formats(top)?;
        let (mut names, mut handlers) = (Vec::new(), Vec::new());
        if let Some(all) = top.get("handlers") {
            for (name, handler) in self.map("/handlers", all)? {
                let pointer = format!("/handlers/{}", escaped(name));
                let handler = self.map(&pointer, handler)?;
                handlers.push(self.handler(&pointer, name, handler, &formats)?);
                names.push(name.clone());
            }
        }
        Ok((names, handlers))
    }

    fn formats(&mut self, top: &Map<String, Value>) -> Result<Vec<(String, Format)>, Bad> {
        let mut formats = Vec::new();
        if let Some(all) = top.get("formatters") {
            for (name, formatter) in self.map("/formatters", all)? {
                let pointer = format!("/formatters/{}", escaped(name));
                let formatter = self.map(&pointer, formatter)?;
                let format = format(formatter).unwrap_or_else(|what| {
                    let text = format!(
                        "the formatter {name} cannot be followed ({what}); lines look as usual with it"
                    );
                    self.warn(&pointer, &text);
                    Format::Platform
                });
                formats.push((name.clone(), format));
            }
        }
        Ok(formats)
    }

    fn handler(
        &mut self,
        pointer: &str,
        name: &str,
        map: &Map<String, Value>,
        formats: &[(String, Format)],
    ) -> Result<Handler, Bad> {
        let class_name = map.get("class").or_else(|| map.get("()")).and_then(Value::as_str);
        let Some(class_name) = class_name else {
            return Err(self.bad(pointer, format!("the handler {name} has no class")));
        };
        let class = Class::named(class_name).ok_or_else(|| {
            let why = format!(
                "the handler {name} is a {class_name}, which is not supported; supported are {SUPPORTED}"
            );
            self.bad(&format!("{pointer}/class"), why)
        })?;
        let known = |key: &&String| {
            let key = key.as_str();
            key == "()" || OF_ANY_HANDLER.contains(&key) || class.parameters().contains(&key)
        };
        if let Some(other) = map.keys().find(|key| !known(key)) {
            let why = format!("the handler {name}: {class_name} has no parameter {other}");
            return Err(self.bad(&format!("{pointer}/{}", escaped(other)), why));
        }
        self.unfiltered(pointer, map);
        let format = match map.get("formatter") {
            // As in Python: nothing but the message.
            None | Some(Value::Null) => Format::parse("%(message)s", None).unwrap_or_default(),
            Some(wanted) => {
                let found = formats.iter().find(|(name, _)| Some(name.as_str()) == wanted.as_str());
                let missing =
                    || self.bad(&format!("{pointer}/formatter"), format!("there is no formatter {wanted}"));
                found.map(|(_, format)| format.clone()).ok_or_else(missing)?
            }
        };
        let level = self.level(pointer, map)?.unwrap_or(0);
        let target = self.target(pointer, name, class, map)?;
        let rotation = self.rotation(pointer, class, map)?;
        // A file that rotates goes on.
        let begin_empty = map.get("mode").and_then(Value::as_str).is_some_and(|mode| mode.starts_with('w'))
            && rotation.when == When::Never;
        Ok(Handler { target, rotation, begin_empty, level, format })
    }

    fn target(
        &self,
        pointer: &str,
        name: &str,
        class: Class,
        map: &Map<String, Value>,
    ) -> Result<LogTarget, Bad> {
        match class {
            Class::Null => return Ok(LogTarget::Nowhere),
            Class::Stream => {
                return match map.get("stream") {
                    None | Some(Value::Null) => Ok(LogTarget::Stderr),
                    Some(Value::String(text)) if text == "ext://sys.stderr" => Ok(LogTarget::Stderr),
                    Some(Value::String(text)) if text == "ext://sys.stdout" => Ok(LogTarget::Stdout),
                    Some(other) => {
                        let why = format!("{other} is neither ext://sys.stdout nor ext://sys.stderr");
                        Err(self.bad(&format!("{pointer}/stream"), why))
                    }
                };
            }
            Class::File | Class::Rotating | Class::TimedRotating => {}
        }
        let file = map.get("filename").and_then(Value::as_str).filter(|text| !text.is_empty());
        let file = file.ok_or_else(|| self.bad(pointer, format!("the handler {name} has no filename")))?;
        if file.starts_with("ext://") || file.starts_with("cfg://") {
            let why = format!("{file} is not looked up; name the file itself");
            return Err(self.bad(&format!("{pointer}/filename"), why));
        }
        let path = PathBuf::from(file);
        Ok(LogTarget::File(std::path::absolute(&path).unwrap_or(path)))
    }

    fn rotation(&mut self, pointer: &str, class: Class, map: &Map<String, Value>) -> Result<Rotation, Bad> {
        let number = |key: &str| match map.get(key) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => value.as_u64().ok_or_else(|| {
                self.bad(&format!("{pointer}/{key}"), format!("{key} has to be a whole number, not {value}"))
            }),
        };
        let keep = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        match class {
            Class::Rotating => Ok(match (number("maxBytes")?, number("backupCount")?) {
                // As in Python.
                (0, _) | (_, 0) => Rotation::default(),
                (max_bytes, count) => Rotation { when: When::Size(max_bytes), keep: keep(count) },
            }),
            Class::TimedRotating => {
                let when = map.get("when").and_then(Value::as_str).unwrap_or("h");
                let interval = map.get("interval").map_or(Some(1), Value::as_u64);
                if !matches!(&*when.to_ascii_uppercase(), "MIDNIGHT" | "D") || interval != Some(1) {
                    let why = format!(
                        "when {when:?} with interval {} is not supported; \"midnight\" and \"D\" with interval 1 are",
                        map.get("interval").unwrap_or(&Value::from(1))
                    );
                    return Err(self.bad(&format!("{pointer}/when"), why));
                }
                // Python keeps all with 0.
                let count = number("backupCount")?;
                let keep = if count == 0 { u32::MAX } else { keep(count) };
                for key in ["utc", "atTime"] {
                    if map.get(key).is_some_and(is_true) {
                        let text = format!("{key} is not followed: files are put aside at local midnight");
                        self.warn(&format!("{pointer}/{key}"), &text);
                    }
                }
                Ok(Rotation { when: When::Daily, keep })
            }
            Class::Stream | Class::File | Class::Null => Ok(Rotation::default()),
        }
    }
}

/// What a formatter does; on failure, what of it cannot be done.
fn format(formatter: &Map<String, Value>) -> Result<Format, String> {
    let text = |key: &str| formatter.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let class = text("()").or_else(|| text("class")).unwrap_or("logging.Formatter");
    match class.rsplit('.').next() {
        Some("AgentFormatter") => return Ok(Format::Platform),
        Some("Formatter") => {}
        _ => return Err(format!("class {class}")),
    }
    if let Some(style) = text("style").filter(|style| *style != "%") {
        return Err(format!("style {style}"));
    }
    let format = text("format").or_else(|| text("fmt")).unwrap_or("%(message)s");
    Format::parse(format, text("datefmt"))
}
