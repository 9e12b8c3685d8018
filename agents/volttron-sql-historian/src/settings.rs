//! What the `connection` and `tables_def` options mean (historians.md 5).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use volttron_client::historian::base_options;
use volttron_client::historian::config::normalise_keys;
use volttron_client::program::OptionText;

/// How the database keeps its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// Write-ahead log: one fsync per batch, queries do not wait for writes. The default.
    Wal,
    /// Rollback journal, as the original: for databases that programs without write permission read directly.
    Delete,
}

impl Journal {
    /// The pragma's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wal => "WAL",
            Self::Delete => "DELETE",
        }
    }
}

/// Names of the tables, prefix applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Readings.
    pub data: String,
    /// Topics, with metadata in databases since 4.0.0.
    pub topics: String,
    /// Metadata in older databases.
    pub meta: String,
    /// Index of aggregates.
    pub aggregate_topics: String,
    /// What each aggregate is made of.
    pub aggregate_meta: String,
}

/// Everything the store needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The database file.
    pub database: PathBuf,
    /// How long to wait for a lock.
    pub timeout: Duration,
    /// Journal mode.
    pub journal: Journal,
    /// Table names.
    pub tables: Tables,
}

/// A connection that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// Known to the original, not to this agent.
    #[error("connection type `{0}` is not built; `sqlite` is")]
    Type(String),
    /// Something in it has the wrong form.
    #[error("option `{key}`: {why}")]
    Option {
        /// The option.
        key: String,
        /// What was expected.
        why: String,
    },
}

/// The options of this historian: those that all historians have, and where its database is.
pub fn options() -> Vec<OptionText> {
    let mut all = base_options();
    all.extend([
        (
            "connection",
            json!({"type": "sqlite", "params": {"database": DEFAULT_DATABASE, "timeout": 10, "journal_mode": "wal"}}),
            "The database: a file, by default in the agent's data directory; how many seconds to wait for its lock; \
             `wal`, or `delete` for programs that read it without permission to write",
        ),
        (
            "tables_def",
            json!({"table_prefix": "", "data_table": "data", "topics_table": "topics", "meta_table": "meta"}),
            "Names of the tables, and what is put before each with an underscore",
        ),
    ]);
    all
}

fn bad(key: &str, why: &str) -> BadSettings {
    BadSettings::Option { key: key.into(), why: why.into() }
}

/// Name of the database when the configuration names none.
const DEFAULT_DATABASE: &str = "historian.sqlite";

impl Settings {
    /// Reads the options. Without `connection` the database is `historian.sqlite` in the agent's data directory.
    pub fn parse(raw: &Map<String, Value>, data_dir: &Path) -> Result<Self, BadSettings> {
        let map = normalise_keys(raw);
        let connection = section(&map, "connection")?;
        let kind = match connection.get("type") {
            None | Some(Value::Null) => "sqlite",
            Some(Value::String(s)) => s.as_str(),
            Some(_) => return Err(bad("connection.type", "must be text")),
        };
        if !matches!(kind.to_ascii_lowercase().as_str(), "sqlite" | "sqlite3") {
            return Err(BadSettings::Type(kind.to_owned()));
        }
        let params = section(&connection, "params")?;
        let database = match params.get("database") {
            None | Some(Value::Null) => DEFAULT_DATABASE,
            Some(Value::String(s)) if s == ":memory:" => {
                return Err(bad(
                    "connection.params.database",
                    "must be a file: memory cannot be shared with queries",
                ));
            }
            Some(Value::String(s)) if !s.trim().is_empty() => s.as_str(),
            Some(_) => return Err(bad("connection.params.database", "must be a file name")),
        };
        let timeout = match params.get("timeout") {
            None | Some(Value::Null) => Duration::from_secs(10),
            Some(v) => v
                .as_f64()
                .and_then(|s| Duration::try_from_secs_f64(s).ok())
                .ok_or_else(|| bad("connection.params.timeout", "must be a number of seconds"))?,
        };
        let journal = match params.get("journal_mode").map(|v| v.as_str().map(str::to_ascii_lowercase)) {
            None => Journal::Wal,
            Some(Some(s)) if s == "wal" => Journal::Wal,
            Some(Some(s)) if s == "delete" => Journal::Delete,
            Some(_) => return Err(bad("connection.params.journal_mode", "must be `wal` or `delete`")),
        };
        let tables = Tables::parse(&section(&map, "tables_def")?)?;
        Ok(Self { database: resolve(database, data_dir), timeout, journal, tables })
    }
}

impl Tables {
    /// Reads `tables_def`: names and a prefix that is put before each with an underscore.
    pub fn parse(def: &Map<String, Value>) -> Result<Self, BadSettings> {
        let text = |key: &str, default: &str| match def.get(key) {
            None | Some(Value::Null) => Ok(default.to_owned()),
            Some(Value::String(s)) if !s.contains('\0') => Ok(s.clone()),
            Some(_) => Err(bad(&format!("tables_def.{key}"), "must be text")),
        };
        let prefix = match text("table_prefix", "")? {
            p if p.is_empty() => p,
            p => format!("{p}_"),
        };
        let (data, topics, meta) =
            (text("data_table", "data")?, text("topics_table", "topics")?, text("meta_table", "meta")?);
        Ok(Self {
            data: format!("{prefix}{data}"),
            aggregate_topics: format!("{prefix}aggregate_{topics}"),
            aggregate_meta: format!("{prefix}aggregate_{meta}"),
            topics: format!("{prefix}{topics}"),
            meta: format!("{prefix}{meta}"),
        })
    }
}

fn section(map: &Map<String, Value>, key: &str) -> Result<Map<String, Value>, BadSettings> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(o)) => Ok(normalise_keys(o)),
        Some(_) => Err(bad(key, "must be a map")),
    }
}

/// With a directory part a path is used as it is, `~` and variables expanded; a bare name is in the data directory.
fn resolve(database: &str, data_dir: &Path) -> PathBuf {
    let expanded = expand(database, |name| std::env::var(name).ok());
    let path = PathBuf::from(expanded);
    let bare = path.parent().is_none_or(|p| p.as_os_str().is_empty());
    if bare { data_dir.join(path) } else { path }
}

/// `~`, `$NAME` and `${NAME}`; unknown variables stay as written.
fn expand(text: &str, var: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    if let Some(tail) = text.strip_prefix('~').filter(|t| t.is_empty() || t.starts_with('/'))
        && let Some(home) = var("HOME")
    {
        out.push_str(&home);
        rest = tail;
    }
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let (name, after) = if let Some(inner) = tail.strip_prefix('{') {
            inner.split_once('}').unwrap_or(("", tail))
        } else {
            let end = tail.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(tail.len());
            tail.split_at(end)
        };
        if let Some(value) = var(name).filter(|_| !name.is_empty()) {
            out.push_str(&value);
            rest = after;
        } else {
            out.push('$');
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(v: &Value) -> Result<Settings, BadSettings> {
        Settings::parse(v.as_object().unwrap(), Path::new("/agent/data"))
    }

    #[test]
    fn options_are_described_as_they_are_read() {
        let described: Map<String, Value> =
            options().into_iter().map(|(key, default, _)| (key.to_owned(), default)).collect();
        let dir = Path::new("/data");
        assert_eq!(Settings::parse(&described, dir), Settings::parse(&Map::new(), dir));
    }

    #[test]
    fn paths() {
        let var = |n: &str| match n {
            "HOME" => Some("/home/v".to_owned()),
            "SITE" => Some("s1".to_owned()),
            _ => None,
        };
        for (given, want) in [
            ("~/h.sqlite", "/home/v/h.sqlite"),
            ("~other/h", "~other/h"),
            ("$SITE/h", "s1/h"),
            ("a/${SITE}x/$SITE.db", "a/s1x/s1.db"),
            ("a/$NO/${NO}/$", "a/$NO/${NO}/$"),
        ] {
            assert_eq!(expand(given, var), want, "{given}");
        }
        for (given, want) in [
            ("h.sqlite", "/agent/data/h.sqlite"),
            ("data/h.sqlite", "data/h.sqlite"),
            ("/x/h", "/x/h"),
            ("./h", "./h"),
        ] {
            assert_eq!(resolve(given, Path::new("/agent/data")), Path::new(want), "{given}");
        }
    }

    #[test]
    fn defaults_and_prefix() {
        let s = parse(&json!({})).unwrap();
        assert_eq!(s.database, Path::new("/agent/data/historian.sqlite"));
        assert_eq!((s.timeout, s.journal), (Duration::from_secs(10), Journal::Wal));
        assert_eq!(s.tables.data, "data");
        assert_eq!(s.tables.aggregate_topics, "aggregate_topics");
        let s = parse(&json!({
            "connection": {"type": "sqlite", "params": {"database": "/d/h", "timeout": 15, "journal_mode": "DELETE"}},
            "tables-def": {"table-prefix": "site1", "data_table": "readings"}
        }))
        .unwrap();
        assert_eq!((s.timeout, s.journal), (Duration::from_secs(15), Journal::Delete));
        assert_eq!((s.tables.data.as_str(), s.tables.meta.as_str()), ("site1_readings", "site1_meta"));
        assert_eq!(s.tables.aggregate_meta, "site1_aggregate_meta");
    }

    #[test]
    fn what_cannot_be_used_says_so() {
        for v in [
            json!({"connection": "sqlite"}),
            json!({"connection": {"type": 5}}),
            json!({"connection": {"type": "mysql"}}),
            json!({"connection": {"params": {"database": 5}}}),
            json!({"connection": {"params": {"database": ":memory:"}}}),
            json!({"connection": {"params": {"timeout": "long"}}}),
            json!({"connection": {"params": {"timeout": -1}}}),
            json!({"connection": {"params": {"journal_mode": "off"}}}),
            json!({"tables_def": {"data_table": 7}}),
        ] {
            assert!(parse(&v).is_err(), "{v}");
        }
    }
}
