//! What SQLite histories hold, as historians of every generation lay them out: tables with a time, a topic and a value.

use std::fmt::Write;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// What a history holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds {
    /// Readings.
    pub rows: u64,
    /// Time of the first and the last, as text.
    pub span: Option<(String, String)>,
    /// It waits to be stored: the cache of a historian.
    pub cache: bool,
}

impl Holds {
    /// For people.
    pub fn text(&self) -> String {
        let what = if self.cache { "waiting readings" } else { "readings" };
        match &self.span {
            Some((first, last)) => format!("{} {what}, {first} to {last}", self.rows),
            None => format!("{} {what}", self.rows),
        }
    }

    /// For programs.
    pub fn facts(&self) -> Value {
        json!({
            "rows": self.rows, "cache": self.cache,
            "first": self.span.as_ref().map(|s| &s.0), "last": self.span.as_ref().map(|s| &s.1),
        })
    }
}

/// Looks into a database without changing anything, not even beside it: what has not been moved out of its write-ahead log
/// is not seen. None if it is no history.
pub(super) fn peek(path: &Path) -> Result<Option<Holds>, String> {
    let mut plain = String::new();
    for c in path.to_string_lossy().chars() {
        match c {
            '%' | '?' | '#' => drop(write!(plain, "%{:02x}", u32::from(c))),
            c => plain.push(c),
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:{plain}?immutable=1"), flags);
    db.and_then(|db| holds(&db)).map_err(|e| e.to_string())
}

/// Looks into a copy, and brings what its log holds into it.
pub(super) fn settle(path: &Path) -> Result<Option<Holds>, String> {
    Connection::open(path).and_then(|db| holds(&db)).map_err(|e| e.to_string())
}

fn holds(db: &Connection) -> rusqlite::Result<Option<Holds>> {
    let mut tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut found: Option<Holds> = None;
    for table in tables {
        let name = table.replace('"', "\"\"");
        let mut columns = db.prepare(&format!("PRAGMA table_info(\"{name}\")"))?;
        let columns: Vec<String> =
            columns.query_map([], |row| row.get(1))?.collect::<rusqlite::Result<_>>()?;
        if !["ts", "topic_id", "value_string"].iter().all(|c| columns.iter().any(|own| own == c)) {
            continue;
        }
        let question =
            format!("SELECT count(*), CAST(min(ts) AS TEXT), CAST(max(ts) AS TEXT) FROM \"{name}\"");
        let (rows, first, last): (i64, Option<String>, Option<String>) =
            db.query_row(&question, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let all = found.get_or_insert_default();
        all.rows += u64::try_from(rows).unwrap_or_default();
        all.cache |= table == "outstanding" || table == "time_error";
        all.span = match (all.span.take(), first.zip(last)) {
            (Some((a, b)), Some((first, last))) => Some((a.min(first), b.max(last))),
            (one, other) => one.or(other),
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn histories_tell_rows_and_span_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd % name?.sqlite");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE data (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL);
             CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT);
             INSERT INTO data VALUES ('2024-01-02T00:00:00', 1, '1'), ('2023-05-01T00:00:00', 1, '2');",
        )
        .unwrap();
        drop(db);
        let before = fs::read(&path).unwrap();
        let holds = peek(&path).unwrap().unwrap();
        assert_eq!(holds.text(), "2 readings, 2023-05-01T00:00:00 to 2024-01-02T00:00:00");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), before);
        // What is in the log counts in a copy.
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.execute_batch("INSERT INTO data VALUES ('2025-01-01T00:00:00', 1, '3')").unwrap();
        for end in ["", "-wal"] {
            fs::copy(
                dir.path().join(format!("odd % name?.sqlite{end}")),
                dir.path().join(format!("copy{end}")),
            )
            .unwrap();
        }
        assert_eq!(peek(&path).unwrap().unwrap().rows, 2);
        assert_eq!(settle(&dir.path().join("copy")).unwrap().unwrap().rows, 3);
        drop(db);
        let other = dir.path().join("other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (n)").unwrap();
        assert_eq!(peek(&other).unwrap(), None);
        fs::write(&other, b"SQLite format 3\0 and no more").unwrap();
        assert!(peek(&other).is_err());
    }
}
