//! Configurations as files below a directory: one directory per identity, one file per configuration.
//!
//! Owns the layout ([`LAYOUT`]) and nothing else. What is read back after writing is the same, whatever the names are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use volttron_utils::identity::Identity;
use volttron_utils::{files, json};

use super::super::OpError;
use crate::services::config_store::Kind;

/// The layout, for people.
pub const LAYOUT: &str = "Layout of the directory: one directory per agent identity, below it one file per \
    configuration; the path of the file is the name of the configuration.\n\n  \
      configs/\n    platform.driver/\n      config\n      devices/campus/building/ahu1\n      \
          registry/ahu.csv\n    some.agent/\n      config.json\n\n\
    The type goes by the ending: .json and .config are JSON, .csv is CSV, other endings are raw text. Without an \
    ending it is JSON if it begins with { or [, else raw text. A file .configs.json in an agent's directory may say \
    otherwise: {\"FILE\": {\"type\": \"raw\", \"name\": \"NAME\"}}; `export` writes it where it is needed. Other files \
    that begin with a dot or end in ~ are left out.";

/// Exceptions from the plain rules, in each identity's directory.
const INDEX: &str = ".configs.json";
/// Longest file name that file systems take.
const MAX_FILE_NAME: usize = 255;

/// A configuration as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// `json`, `csv` or `raw`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text as supplied.
    pub data: String,
}

/// Configurations by identity and name.
pub type Tree = BTreeMap<String, BTreeMap<String, Item>>;

/// What the index says about a file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpError + '_ {
    |source| OpError::File { what: path.display().to_string(), source }
}

fn refused(path: &Path, why: impl std::fmt::Display) -> OpError {
    OpError::Refused(format!("{}: {why}", path.display()))
}

/// Reads a directory.
pub fn read(dir: &Path) -> Result<Tree, OpError> {
    let mut tree = Tree::new();
    for path in entries(dir)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !path.is_dir() {
            return Err(refused(&path, "is not the directory of an agent; see `vctl config apply --help`"));
        }
        Identity::new(name.as_str()).map_err(|e| refused(&path, e))?;
        tree.insert(name, read_store(&path)?);
    }
    Ok(tree)
}

fn read_store(dir: &Path) -> Result<BTreeMap<String, Item>, OpError> {
    let index = dir.join(INDEX);
    let mut index: BTreeMap<String, Exception> = match fs::read(&index) {
        Ok(bytes) => json::from_slice(&bytes).map_err(|e| refused(&index, e))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(failed(&index)(error)),
    };
    let (mut store, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(directory) = open.pop() {
        for path in entries(&directory)? {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let relative = path.strip_prefix(dir).ok().and_then(Path::to_str);
            let file = relative.ok_or_else(|| refused(&path, "the name is not UTF-8 text"))?.to_owned();
            let bytes = fs::read(&path).map_err(failed(&path))?;
            let data = String::from_utf8(bytes).map_err(|_| refused(&path, "is not UTF-8 text"))?;
            let exception = index.remove(&file).unwrap_or_default();
            let kind = exception.kind.unwrap_or_else(|| kind_of(&file, &data).to_owned());
            if Kind::parse(&kind).is_none() {
                return Err(refused(&dir.join(INDEX), format!("{kind:?} is not json, csv or raw")));
            }
            store.insert(exception.name.unwrap_or(file), Item { kind, data });
        }
    }
    Ok(store)
}

/// What lies in a directory and is meant to be read, in order.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, OpError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let entry = entry.map_err(failed(dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && !name.ends_with('~') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The type of a file without an exception.
pub fn kind_of(file: &str, data: &str) -> &'static str {
    let name = file.rsplit('/').next().unwrap_or(file);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_lowercase();
    match ending.as_str() {
        "json" | "config" => "json",
        "csv" => "csv",
        // Points and numbers in names of devices (`ahu1.2`) are no ending.
        word if !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic()) => "raw",
        _ if json::strip_comments(data).trim_start().starts_with(['{', '[']) => "json",
        _ => "raw",
    }
}

/// Writes a directory. An identity that has files there already is refused, because what is left of them would be
/// applied later on.
pub fn write(dir: &Path, tree: &Tree) -> Result<(), OpError> {
    for identity in tree.keys() {
        let own = dir.join(identity);
        if own.is_dir() && fs::read_dir(&own).map_err(failed(&own))?.next().is_some() {
            return Err(refused(&own, "is not empty; remove it first or choose another directory"));
        }
    }
    for (identity, store) in tree {
        let own = dir.join(identity);
        let mut index = BTreeMap::new();
        for (file, name) in file_names(store) {
            let item = &store[name];
            let path = own.join(&file);
            if file.split('/').any(|part| part.len() > MAX_FILE_NAME) {
                return Err(refused(&path, "the name of the configuration is too long for a file"));
            }
            // Configurations may hold passwords, so these are nobody else's.
            let parent = path.parent().unwrap_or(&own);
            files::create_dir(parent, 0o700).map_err(failed(parent))?;
            files::write_atomic(&path, item.data.as_bytes(), 0o600).map_err(failed(&path))?;
            let exception = Exception {
                kind: (kind_of(&file, &item.data) != item.kind).then(|| item.kind.clone()),
                name: (file != *name).then(|| name.clone()),
            };
            if exception != Exception::default() {
                index.insert(file, exception);
            }
        }
        if !index.is_empty() {
            let path = own.join(INDEX);
            let text = json::to_indent(&index, 2).unwrap_or_default() + "\n";
            files::write_atomic(&path, text.as_bytes(), 0o600).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// A file name for each configuration: its own name where that can be one.
fn file_names(store: &BTreeMap<String, Item>) -> Vec<(String, &String)> {
    let directories: BTreeSet<&str> =
        store.keys().flat_map(|name| name.match_indices('/').map(|(at, _)| &name[..at])).collect();
    let file = |name: &String| {
        if !is_plain(name) {
            escaped(name)
        } else if directories.contains(name.as_str()) {
            // Another configuration needs a directory of this name.
            format!("{}%", escaped(name))
        } else {
            name.clone()
        }
    };
    store.keys().map(|name| (file(name), name)).collect()
}

fn is_plain(name: &str) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, '\\' | '%');
    let fine = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.ends_with('~') && part.len() <= MAX_FILE_NAME
    };
    !name.contains(bad) && name.split('/').all(fine)
}

/// The name in one file name; percent signs occur in no other.
fn escaped(name: &str) -> String {
    let byte = |(at, b): (usize, u8)| {
        let plain = b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') || (b == b'.' && at > 0);
        if plain { char::from(b).to_string() } else { format!("%{b:02X}") }
    };
    let text: String = name.bytes().enumerate().map(byte).collect();
    if text.is_empty() { "%".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: &str, data: &str) -> Item {
        Item { kind: kind.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn types_go_by_the_ending() {
        for (file, data, kind) in [
            ("config", "{}", "json"),
            ("config", " # why\n[1]", "json"),
            ("config", "plain", "raw"),
            ("a.json", "broken", "json"),
            ("dir.csv/a.CONFIG", "", "json"),
            ("r/A.CSV", "", "csv"),
            ("notes.txt", "{}", "raw"),
            ("devices/ahu1.2", "{}", "json"),
        ] {
            assert_eq!(kind_of(file, data), kind, "{file}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_names() {
        let names = [
            "config",
            "devices/a",
            "devices/a/b",
            "devices",
            "a.csv",
            ".hidden",
            "x/.hidden/y",
            "back\\slash",
            "50%",
            "50%25",
            "a//b",
            "tail~",
            "line\nend",
            "\u{e9}",
            "",
            "..",
            "x/../y",
            ".configs.json",
            "devices%",
        ];
        let store: BTreeMap<String, Item> = names
            .iter()
            .enumerate()
            .map(|(i, name)| ((*name).to_owned(), item(["json", "csv", "raw"][i % 3], &format!("[{i}]\r\n"))))
            .collect();
        let tree = Tree::from([("some.agent".to_owned(), store), ("b".to_owned(), BTreeMap::new())]);
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &tree).unwrap();
        let mut found = read(dir.path()).unwrap();
        found.entry("b".to_owned()).or_default();
        assert_eq!(found, tree);
        assert!(dir.path().join("some.agent/devices/a/b").is_file());
        assert!(write(dir.path(), &tree).unwrap_err().to_string().contains("is not empty"));
        fs::write(dir.path().join("stray"), "").unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("not the directory of an agent"));
    }
}
