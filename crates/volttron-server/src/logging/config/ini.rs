//! The form that `fileConfig` reads, turned into what `dictConfig` takes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use volttron_utils::config::parse_python;

use super::translate::parameters;
use super::{Document, Lines, stream};

/// Deepest `%(name)s` in a value of another name.
const DEPTH_MAX: usize = 10;
/// The section whose values hold for all others.
const DEFAULTS: &str = "DEFAULT";

type Bad = (Option<usize>, String);

/// A value and its line.
type Entry = (String, usize);

#[derive(Default)]
struct Section {
    line: usize,
    entries: BTreeMap<String, Entry>,
}

/// Sections by name, as `configparser` reads them.
#[derive(Default)]
struct Ini(BTreeMap<String, Section>);

impl Ini {
    fn parse(text: &str) -> Result<Self, Bad> {
        let mut ini = Self::default();
        let mut section: Option<String> = None;
        let mut key: Option<String> = None;
        for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let (number, trimmed) = (number + 1, line.trim());
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            let known = section.as_ref().and_then(|name| ini.0.get_mut(name));
            if line.starts_with([' ', '\t'])
                && let (Some(section), Some(key)) = (known, &key)
            {
                // It goes on with the value before.
                if let Some((value, _)) = section.entries.get_mut(key) {
                    value.push('\n');
                    value.push_str(trimmed);
                }
            } else if let Some(name) = trimmed.strip_prefix('[') {
                let (name, _) = name
                    .split_once(']')
                    .ok_or((Some(number), "the section name has no closing ]".to_owned()))?;
                ini.0
                    .entry(name.to_owned())
                    .or_insert_with(|| Section { line: number, ..Section::default() });
                (section, key) = (Some(name.to_owned()), None);
            } else {
                let Some(section) = section.as_ref().and_then(|name| ini.0.get_mut(name)) else {
                    return Err((Some(number), "a setting stands before the first [section]".to_owned()));
                };
                let (name, value) = trimmed
                    .split_once(['=', ':'])
                    .ok_or((Some(number), format!("{trimmed:?} is neither a [section] nor name=value")))?;
                let name = name.trim_end().to_ascii_lowercase();
                section.entries.insert(name.clone(), (value.trim_start().to_owned(), number));
                key = Some(name);
            }
        }
        Ok(ini)
    }

    fn section(&self, name: &str, wanted_by: usize) -> Result<&Section, Bad> {
        self.0
            .get(name)
            .ok_or_else(|| (Some(wanted_by).filter(|n| *n > 0), format!("there is no section [{name}]")))
    }

    /// A value as it stands.
    fn raw<'a>(&'a self, section: &'a Section, key: &str) -> Option<&'a Entry> {
        section.entries.get(key).or_else(|| self.0.get(DEFAULTS)?.entries.get(key))
    }

    /// A value with `%(name)s` replaced.
    fn value(&self, section: &Section, key: &str) -> Result<Option<Entry>, Bad> {
        let Some((text, line)) = self.raw(section, key) else { return Ok(None) };
        Ok(Some((self.interpolate(section, text, *line, 0)?, *line)))
    }

    fn interpolate(&self, section: &Section, text: &str, line: usize, depth: usize) -> Result<String, Bad> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let named = rest.strip_prefix('(').and_then(|rest| rest.split_once(")s"));
            let (name, after) =
                named.ok_or((Some(line), "% has to be followed by % or (name)s".to_owned()))?;
            let (value, _) = self
                .raw(section, &name.to_ascii_lowercase())
                .filter(|_| depth < DEPTH_MAX)
                .ok_or((Some(line), format!("%({name})s has no value")))?;
            out.push_str(&self.interpolate(section, value, line, depth + 1)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The names that a section lists.
    fn keys(&self, name: &str) -> Result<(Vec<String>, usize), Bad> {
        let section = self.section(name, 0)?;
        let (text, line) =
            self.value(section, "keys")?.ok_or((Some(section.line), format!("[{name}] has no keys=")))?;
        Ok((list(&text), line))
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// What becomes of a text.
pub(super) fn parse(text: &str) -> Result<Document, Bad> {
    let ini = Ini::parse(text)?;
    let mut lines = BTreeMap::new();
    let mut out = Map::new();
    out.insert("version".to_owned(), json!(1));
    // Python sees to it that what was there before is silent.
    let (formatters, line) = ini.keys("formatters")?;
    let formatters = named(&ini, "formatter", &formatters, line, |name, section| {
        let pointer = format!("/formatters/{name}");
        formatter(&ini, section, &pointer, &mut lines)
    })?;
    out.insert("formatters".to_owned(), formatters);
    let (handlers, line) = ini.keys("handlers")?;
    let handlers = named(&ini, "handler", &handlers, line, |name, section| {
        let pointer = format!("/handlers/{name}");
        handler(&ini, section, &pointer, &mut lines)
    })?;
    out.insert("handlers".to_owned(), handlers);
    let (loggers, line) = ini.keys("loggers")?;
    if !loggers.iter().any(|name| name == "root") {
        return Err((Some(line), "[loggers] has to list root".to_owned()));
    }
    let mut others = Map::new();
    for name in &loggers {
        let section = ini.section(&format!("logger_{name}"), line)?;
        let is_root = name == "root";
        let qualified = match ini.value(section, "qualname")? {
            Some((qualified, _)) => qualified,
            None if is_root => String::new(),
            None => return Err((Some(section.line), format!("[logger_{name}] has no qualname="))),
        };
        let pointer = if is_root {
            "/root".to_owned()
        } else {
            format!("/loggers/{}", qualified.replace('~', "~0").replace('/', "~1"))
        };
        let value = logger(&ini, section, &pointer, &mut lines)?;
        if is_root {
            out.insert("root".to_owned(), value);
        } else {
            others.insert(qualified, value);
        }
    }
    out.insert("loggers".to_owned(), others.into());
    Ok(Document { value: out.into(), lines: Lines::Known(lines) })
}

/// The sections `<kind>_<name>` of these names.
fn named(
    ini: &Ini,
    kind: &str,
    names: &[String],
    wanted_by: usize,
    mut one: impl FnMut(&str, &Section) -> Result<Value, Bad>,
) -> Result<Value, Bad> {
    let mut all = Map::new();
    for name in names {
        let section = ini.section(&format!("{kind}_{name}"), wanted_by)?;
        all.insert(name.clone(), one(name, section)?);
    }
    Ok(all.into())
}

fn formatter(
    ini: &Ini,
    section: &Section,
    pointer: &str,
    lines: &mut BTreeMap<String, usize>,
) -> Result<Value, Bad> {
    let mut out = Map::new();
    lines.insert(pointer.to_owned(), section.line);
    // These have `%` of their own.
    for key in ["format", "datefmt", "style"] {
        if let Some((text, line)) = ini.raw(section, key) {
            out.insert(key.to_owned(), text.as_str().into());
            lines.insert(format!("{pointer}/{key}"), *line);
        }
    }
    if let Some((class, line)) = ini.value(section, "class")? {
        out.insert("class".to_owned(), class.into());
        lines.insert(format!("{pointer}/class"), line);
    }
    Ok(out.into())
}

fn handler(
    ini: &Ini,
    section: &Section,
    pointer: &str,
    lines: &mut BTreeMap<String, usize>,
) -> Result<Value, Bad> {
    lines.insert(pointer.to_owned(), section.line);
    let (class, line) =
        ini.value(section, "class")?.ok_or((Some(section.line), "the handler has no class=".to_owned()))?;
    lines.insert(format!("{pointer}/class"), line);
    let literal = |(text, line): &Entry| {
        parse_python(text, stream).map_err(|e| (Some(*line + e.line - 1), format!("{text:?}: {}", e.why)))
    };
    let mut out = Map::new();
    if let Some(args) = ini.value(section, "args")? {
        let Value::Array(values) = literal(&args)? else {
            return Err((Some(args.1), "args has to be a tuple, such as ('volttron.log', 'a')".to_owned()));
        };
        if let Some(names) = parameters(&class) {
            if values.len() > names.len() {
                return Err((Some(args.1), format!("{class} takes {} arguments at most", names.len())));
            }
            for (name, value) in names.iter().zip(values) {
                out.insert((*name).to_owned(), value);
                lines.insert(format!("{pointer}/{name}"), args.1);
            }
        }
    }
    if let Some(kwargs) = ini.value(section, "kwargs")? {
        let Value::Object(values) = literal(&kwargs)? else {
            return Err((Some(kwargs.1), "kwargs has to be a dict".to_owned()));
        };
        for (name, value) in values {
            lines.insert(format!("{pointer}/{name}"), kwargs.1);
            out.insert(name, value);
        }
    }
    out.insert("class".to_owned(), class.into());
    for key in ["level", "formatter"] {
        if let Some((text, line)) = ini.value(section, key)?.filter(|(text, _)| !text.is_empty()) {
            out.insert(key.to_owned(), text.into());
            lines.insert(format!("{pointer}/{key}"), line);
        }
    }
    Ok(out.into())
}

fn logger(
    ini: &Ini,
    section: &Section,
    pointer: &str,
    lines: &mut BTreeMap<String, usize>,
) -> Result<Value, Bad> {
    let mut out = Map::new();
    lines.insert(pointer.to_owned(), section.line);
    if let Some((level, line)) = ini.value(section, "level")? {
        out.insert("level".to_owned(), level.into());
        lines.insert(format!("{pointer}/level"), line);
    }
    if let Some((handlers, line)) = ini.value(section, "handlers")? {
        out.insert("handlers".to_owned(), json!(list(&handlers)));
        lines.insert(format!("{pointer}/handlers"), line);
    }
    if let Some((propagate, line)) = ini.value(section, "propagate")? {
        let number = propagate.trim().parse::<i64>();
        let number = number.map_err(|_| (Some(line), format!("propagate is 0 or 1, not {propagate:?}")))?;
        out.insert("propagate".to_owned(), (number != 0).into());
    }
    Ok(out.into())
}
