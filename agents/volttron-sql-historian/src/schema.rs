//! The tables of the original, made or recognised (historians.md 5). Databases of 3.x to 10.x open in place.

use rusqlite::{Connection, OptionalExtension};

use crate::settings::{Journal, Settings, Tables};

/// Pages in the log before it is folded into the database: 16 MiB.
const CHECKPOINT_PAGES: i64 = 4000;
/// Page cache of a connection in KiB: inserts touch one index page per topic, and those should stay.
const PAGE_CACHE_KIB: i64 = 32 * 1024;

/// Where metadata of topics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaPlace {
    /// A column of the topics table (since 4.0.0).
    Column,
    /// A table of its own (before).
    Table,
}

/// An SQL identifier, quoted.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Settings of the writing connection. Every commit is on disk when it returns.
pub fn prepare_writer(db: &Connection, settings: &Settings) -> rusqlite::Result<()> {
    db.busy_timeout(settings.timeout)?;
    // Only new files take it; an existing one keeps its own, because changing it rewrites the whole database.
    db.pragma_update(None, "auto_vacuum", "FULL")?;
    db.pragma_update(None, "journal_mode", settings.journal.as_str())?;
    db.pragma_update(None, "synchronous", "FULL")?;
    if settings.journal == Journal::Wal {
        db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    }
    db.pragma_update(None, "cache_size", -PAGE_CACHE_KIB)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// The statements that make a new set of tables. Also what an operator without CREATE rights has to have run.
pub fn ddl(tables: &Tables, index: &str) -> String {
    let (data, topics) = (quoted(&tables.data), quoted(&tables.topics));
    format!(
        "CREATE TABLE IF NOT EXISTS {data} (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, \
         value_string TEXT NOT NULL, UNIQUE(topic_id, ts));\n\
         CREATE INDEX IF NOT EXISTS {} ON {data} (ts ASC);\n\
         CREATE TABLE IF NOT EXISTS {topics} (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, \
         metadata TEXT, UNIQUE(topic_name));",
        quoted(index)
    )
}

fn meta_ddl(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (topic_id INTEGER PRIMARY KEY, metadata TEXT NOT NULL)",
        quoted(&tables.meta)
    )
}

/// Makes what is missing and finds out what is there. On failure the text names the statements to run.
pub fn set_up(db: &Connection, tables: &Tables) -> Result<MetaPlace, String> {
    let run = || -> rusqlite::Result<MetaPlace> {
        if !(table_exists(db, &tables.data)? && table_exists(db, &tables.topics)?) {
            db.execute_batch(&format!(
                "BEGIN IMMEDIATE;\n{}\nCOMMIT;",
                ddl(tables, &index_name(db, tables)?)
            ))?;
        }
        let place = meta_place(db, tables)?;
        if place == MetaPlace::Table && !table_exists(db, &tables.meta)? {
            db.execute_batch(&meta_ddl(tables))?;
        }
        Ok(place)
    };
    run().map_err(|e| {
        let _ = db.execute_batch("ROLLBACK");
        format!("cannot make the tables: {e}. Have these statements run: {}", ddl(tables, "data_idx"))
    })
}

/// The original names the index `data_idx` whatever the prefix; a second set of tables in the file needs another name.
fn index_name(db: &Connection, tables: &Tables) -> rusqlite::Result<String> {
    let owner: Option<String> = db
        .query_row("SELECT tbl_name FROM sqlite_master WHERE type = 'index' AND name = 'data_idx'", [], |r| {
            r.get(0)
        })
        .optional()?;
    Ok(match owner {
        Some(table) if table != tables.data => format!("{}_idx", tables.data),
        _ => "data_idx".to_owned(),
    })
}

/// Where metadata is in this database.
pub fn meta_place(db: &Connection, tables: &Tables) -> rusqlite::Result<MetaPlace> {
    let sql = format!("SELECT 1 FROM pragma_table_info({}) WHERE name = 'metadata'", literal(&tables.topics));
    let column: Option<i64> = db.query_row(&sql, [], |r| r.get(0)).optional()?;
    Ok(if column.is_some() { MetaPlace::Column } else { MetaPlace::Table })
}

/// Table names in SQLite ignore case.
pub fn table_exists(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    db.query_row(
        "SELECT COUNT(*) FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(?)",
        [name],
        |r| r.get::<_, i64>(0),
    )
    .map(|n| n > 0)
}
