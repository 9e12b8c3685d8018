//! The writing side: one transaction per batch, upsert on (topic, time), topics and metadata kept up to date.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use volttron_client::historian::text::dumps;
use volttron_client::historian::{Handled, Limits, Meta, Record, Store, StoreError};

use crate::limits;
use crate::schema::{self, MetaPlace, quoted};
use crate::settings::Settings;

/// Writes batches into SQLite.
pub struct SqliteStore {
    settings: Settings,
    open: Option<Open>,
}

impl SqliteStore {
    /// A store not connected yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, open: None }
    }

    fn connect(&self) -> Result<Open, StoreError> {
        let path = &self.settings.database;
        let fail = |what: &str, e: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("database {}: {what}: {e}", path.display()))
        };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| fail("making its directory", &e))?;
        }
        let db = Connection::open(path).map_err(|e| fail("opening", &e))?;
        schema::prepare_writer(&db, &self.settings).map_err(|e| fail("preparing", &e))?;
        let place = schema::set_up(&db, &self.settings.tables).map_err(|e| fail("setting up", &e))?;
        let mut open =
            Open { db, sql: Statements::new(&self.settings, place), place, topics: Topics::default() };
        open.reload().map_err(|e| fail("reading topics", &e))?;
        Ok(open)
    }
}

impl Store for SqliteStore {
    fn setup(&mut self) -> Result<(), StoreError> {
        self.open = None;
        self.open = Some(self.connect()?);
        Ok(())
    }

    fn write(&mut self, batch: &[Record]) -> Result<Handled, StoreError> {
        let open = self.open.as_mut().ok_or_else(|| StoreError::Unavailable("not set up".into()))?;
        open.write(batch).map_err(|e| {
            let _ = open.db.execute_batch("ROLLBACK");
            let sort = classify(&e, &self.settings.database);
            // The maps may hold topics of the transaction that is gone.
            if let Err(e) = open.reload() {
                return StoreError::Unavailable(e.to_string());
            }
            sort
        })?;
        Ok(Handled::All)
    }

    fn apply_limits(&mut self, limits: &Limits, budget: Duration) -> Result<bool, StoreError> {
        let open = self.open.as_mut().ok_or_else(|| StoreError::Unavailable("not set up".into()))?;
        limits::apply(&mut open.db, &self.settings.tables.data, limits, budget).map_err(|e| {
            let _ = open.db.execute_batch("ROLLBACK");
            StoreError::Unavailable(e.to_string())
        })
    }

    fn close(&mut self) {
        self.open = None;
    }
}

/// Errors that lie in a value are refusals; all others in the database, which is tried again.
fn classify(e: &rusqlite::Error, path: &std::path::Path) -> StoreError {
    match e.sqlite_error_code() {
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
            StoreError::Refused(e.to_string())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Unavailable(format!(
            "database {} is locked: {e}. If other programs use it much, raise connection.params.timeout",
            path.display()
        )),
        None => StoreError::Refused(e.to_string()),
        Some(_) => StoreError::Unavailable(format!("database {}: {e}", path.display())),
    }
}

/// Topics by lower-case name, as the database has them.
#[derive(Default)]
struct Topics {
    /// Lower-case name to id and name as stored.
    by_name: HashMap<String, (i64, String)>,
    /// Exact names seen lately, so that the usual record needs no lower-casing.
    exact: HashMap<Arc<str>, i64>,
    meta: HashMap<i64, Arc<Meta>>,
    highest: i64,
}

struct Statements {
    insert_data: String,
    insert_topic: String,
    rename_topic: String,
    put_meta: String,
    new_topics: String,
    all_meta: String,
}

impl Statements {
    fn new(settings: &Settings, place: MetaPlace) -> Self {
        let t = &settings.tables;
        let (data, topics, meta) = (quoted(&t.data), quoted(&t.topics), quoted(&t.meta));
        Self {
            insert_data: format!(
                "INSERT OR REPLACE INTO {data} (ts, topic_id, value_string) VALUES (?, ?, ?)"
            ),
            insert_topic: format!("INSERT INTO {topics} (topic_name) VALUES (?)"),
            rename_topic: format!("UPDATE OR IGNORE {topics} SET topic_name = ? WHERE topic_id = ?"),
            put_meta: match place {
                MetaPlace::Column => format!("UPDATE {topics} SET metadata = ?2 WHERE topic_id = ?1"),
                MetaPlace::Table => {
                    format!("INSERT OR REPLACE INTO {meta} (topic_id, metadata) VALUES (?1, ?2)")
                }
            },
            new_topics: format!("SELECT topic_id, topic_name FROM {topics} WHERE topic_id > ?"),
            all_meta: match place {
                MetaPlace::Column => format!("SELECT topic_id, metadata FROM {topics}"),
                MetaPlace::Table => format!("SELECT topic_id, metadata FROM {meta}"),
            },
        }
    }
}

struct Open {
    db: Connection,
    sql: Statements,
    place: MetaPlace,
    topics: Topics,
}

impl Open {
    fn reload(&mut self) -> rusqlite::Result<()> {
        self.topics = Topics::default();
        self.load_new_topics()?;
        let mut q = self.db.prepare_cached(&self.sql.all_meta)?;
        let mut rows = q.query([])?;
        while let Some(row) = rows.next()? {
            // Metadata that is not JSON counts as none and is replaced by the next that arrives.
            let text: Option<String> = row.get(1).unwrap_or_default();
            if let Some(meta) = text.and_then(|t| serde_json::from_str(&t).ok()) {
                self.topics.meta.insert(row.get(0)?, Arc::new(meta));
            }
        }
        Ok(())
    }

    /// Topics another process added are found by their ids.
    fn load_new_topics(&mut self) -> rusqlite::Result<()> {
        let mut q = self.db.prepare_cached(&self.sql.new_topics)?;
        let mut rows = q.query([self.topics.highest])?;
        while let Some(row) = rows.next()? {
            let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
            self.topics.highest = self.topics.highest.max(id);
            self.topics.by_name.insert(name.to_lowercase(), (id, name));
        }
        Ok(())
    }

    fn write(&mut self, batch: &[Record]) -> rusqlite::Result<()> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let mut rows = Vec::with_capacity(batch.len());
        for record in batch {
            let id = self.topic_id(&record.topic)?;
            self.update_meta(id, &record.meta)?;
            rows.push((id, record));
        }
        // In the order of the (topic, time) index, so that neighbouring rows touch the same pages. The sort is stable:
        // of two spellings of a topic at one time the later record wins.
        rows.sort_by(|a, b| (a.0, &a.1.ts).cmp(&(b.0, &b.1.ts)));
        {
            let mut insert = self.db.prepare_cached(&self.sql.insert_data)?;
            for (id, record) in rows {
                insert.execute(params![record.ts, id, record.value])?;
            }
        }
        self.db.execute_batch("COMMIT")
    }

    /// Topics are unique ignoring case; a record with another spelling renames the row.
    fn topic_id(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(id) = self.topics.exact.get(name) {
            return Ok(*id);
        }
        let lower = name.to_lowercase();
        if !self.topics.by_name.contains_key(&lower) {
            self.load_new_topics()?;
        }
        let id = match self.topics.by_name.get(&lower) {
            Some((id, stored)) if **stored == **name => *id,
            Some((id, stored)) => {
                let id = *id;
                self.topics.exact.remove(stored.as_str());
                self.db.prepare_cached(&self.sql.rename_topic)?.execute(params![&**name, id])?;
                id
            }
            None => {
                self.db.prepare_cached(&self.sql.insert_topic)?.execute([&**name])?;
                let id = self.db.last_insert_rowid();
                self.topics.highest = self.topics.highest.max(id);
                id
            }
        };
        self.topics.by_name.insert(lower, (id, name.to_string()));
        self.topics.exact.insert(Arc::clone(name), id);
        Ok(id)
    }

    fn update_meta(&mut self, id: i64, meta: &Arc<Meta>) -> rusqlite::Result<()> {
        let known = self.topics.meta.get(&id);
        if known.is_some_and(|k| Arc::ptr_eq(k, meta) || k == meta) || (known.is_none() && meta.is_empty()) {
            // `{}` is still written once for a new topic, as the original does; see below.
            if known.is_some() || !self.needs_empty_meta(id)? {
                return Ok(());
            }
        }
        self.db.prepare_cached(&self.sql.put_meta)?.execute(params![id, dumps(&**meta)])?;
        self.topics.meta.insert(id, Arc::clone(meta));
        Ok(())
    }

    /// The original's reader cannot read a null in the metadata column, so new topics get `{}`.
    fn needs_empty_meta(&self, id: i64) -> rusqlite::Result<bool> {
        if self.place == MetaPlace::Table {
            return Ok(false);
        }
        let sql = self.sql.all_meta.clone() + " WHERE topic_id = ? AND metadata IS NULL";
        let found: Option<i64> = self.db.prepare_cached(&sql)?.query_row([id], |r| r.get(0)).optional()?;
        Ok(found.is_some())
    }
}
