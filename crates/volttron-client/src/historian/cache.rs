//! The durable cache `backup.sqlite` (historians.md 3): schema of the original, opened in place.
//!
//! Owned by one blocking thread. A record counts as acknowledged once [`Cache::commit_round`] returned: the journal is
//! WAL with `synchronous=FULL`, so each commit is one fsync of the log and survives a power cut, and readers of the
//! file (people, backup tools) do not block it. Deletions ride along with the next insert's commit: losing one only
//! sends a record again, and stores upsert.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::flight::InFlight;
use super::record::{Captured, Meta, Record};
use super::text;

/// Rows removed at a time when the cap is exceeded.
const TRIM_ROWS: i64 = 100;
/// Rows kept in `rejected`, the place of records no store takes.
const REJECTED_ROWS: i64 = 10_000;
/// Pages in the log before it is folded back: 16 MiB, so that bursts do not pay two more fsyncs every 4 MiB.
const CHECKPOINT_PAGES: i64 = 4000;

/// Free pages that stay in the file: 4 MiB.
const KEEP_FREE_PAGES: i64 = 1024;
/// Pages given back to the file system at a time.
const SPACE_SLICE_PAGES: i64 = 512;

/// What the cache file could not do.
#[derive(Debug, thiserror::Error)]
#[error("cache {path}: {doing}: {source}")]
pub struct CacheError {
    path: PathBuf,
    doing: &'static str,
    source: rusqlite::Error,
}

impl CacheError {
    /// True when the file is damaged or no database, so that it must be put aside.
    pub fn is_damaged(&self) -> bool {
        matches!(
            self.source.sqlite_error_code(),
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
        )
    }
}

/// Cap of the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cap {
    /// Size in GiB.
    pub limit_gb: f64,
    /// Fraction of it that counts as full.
    pub report: f64,
}

/// What one round of writing to the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// The cache is at or above the reporting fraction of its cap.
    pub full: bool,
    /// Records thrown away because the cap was exceeded.
    pub trimmed: u64,
}

/// Source and topic.
type MetaKey = (Arc<str>, i64);

/// The open cache.
pub struct Cache {
    db: Connection,
    path: PathBuf,
    topic_ids: HashMap<String, i64>,
    topic_names: HashMap<i64, Arc<str>>,
    sources: Vec<Arc<str>>,
    meta: HashMap<MetaKey, Arc<Meta>>,
    outstanding: u64,
    time_errors: bool,
    rejected: u64,
    page_size: i64,
}

impl Cache {
    /// Opens or creates the cache. Existing files of the original keep their content and shape.
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        let fail = |doing: &'static str| {
            let path = path.to_owned();
            move |source| CacheError { path, doing, source }
        };
        let db = Connection::open(path).map_err(fail("opening"))?;
        prepare(&db).map_err(fail("preparing its tables"))?;
        db.set_prepared_statement_cache_capacity(32);
        let page_size = db.pragma_query_value(None, "page_size", |r| r.get(0)).map_err(fail("reading"))?;
        let mut cache = Self {
            db,
            path: path.to_owned(),
            topic_ids: HashMap::new(),
            topic_names: HashMap::new(),
            sources: Vec::new(),
            meta: HashMap::new(),
            outstanding: 0,
            time_errors: false,
            rejected: 0,
            page_size,
        };
        cache.load().map_err(fail("reading"))?;
        Ok(cache)
    }

    /// As [`Cache::open`], but a damaged file is renamed to `<name>.damaged-<time>` and a new one begun; the second
    /// part says so. Nothing but a damaged file is put aside.
    pub fn open_or_set_aside(path: &Path) -> Result<(Self, Option<PathBuf>), CacheError> {
        let damaged = match Self::open(path) {
            Ok(cache) => return Ok((cache, None)),
            Err(e) if e.is_damaged() => e,
            Err(e) => return Err(e),
        };
        let aside = with_suffix(path, &format!(".damaged-{}", jiff::Timestamp::now().as_millisecond()));
        if std::fs::rename(path, &aside).is_err() {
            return Err(damaged);
        }
        for part in ["-wal", "-shm"] {
            // The log belongs to the damaged file; a new one must not replay it. Absent is fine.
            let _ = std::fs::rename(with_suffix(path, part), with_suffix(&aside, part));
        }
        Self::open(path).map(|cache| (cache, Some(aside)))
    }

    fn load(&mut self) -> rusqlite::Result<()> {
        let mut q = self.db.prepare("SELECT topic_id, topic_name FROM topics")?;
        let mut rows = q.query([])?;
        while let Some(row) = rows.next()? {
            let (id, name): (i64, String) = (row.get(0)?, lossy(row.get_ref(1)?));
            self.topic_ids.insert(name.clone(), id);
            self.topic_names.insert(id, name.into());
        }
        drop(rows);
        drop(q);
        let mut known: HashMap<(String, i64), Meta> = HashMap::new();
        let mut q = self.db.prepare("SELECT source, topic_id, name, value FROM metadata")?;
        let mut rows = q.query([])?;
        while let Some(row) = rows.next()? {
            let key = (lossy(row.get_ref(0)?), row.get(1)?);
            known.entry(key).or_default().insert(lossy(row.get_ref(2)?), meta_value(row.get_ref(3)?));
        }
        drop(rows);
        drop(q);
        for ((source, topic), meta) in known {
            let source = intern(&mut self.sources, &source);
            self.meta.insert((source, topic), Arc::new(meta));
        }
        // Counted, not estimated from ids: the original started with a wrong figure.
        self.outstanding =
            self.db.query_row("SELECT COUNT(*) FROM outstanding", [], |r| r.get::<_, i64>(0))? as u64;
        self.rejected =
            self.db.query_row("SELECT COUNT(*) FROM rejected", [], |r| r.get::<_, i64>(0))? as u64;
        self.refresh_time_errors()
    }

    fn refresh_time_errors(&mut self) -> rusqlite::Result<()> {
        let one: Option<i64> =
            self.db.query_row("SELECT id FROM time_error LIMIT 1", [], |r| r.get(0)).optional()?;
        self.time_errors = one.is_some();
        Ok(())
    }

    /// Records waiting to be stored.
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// True while the error table holds records out of tolerance.
    pub fn has_time_errors(&self) -> bool {
        self.time_errors
    }

    /// Records put aside because the store refuses them.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// One durable round: forgets `handled`, adds `loads`, enforces the cap, commits. On error nothing changed and the
    /// same call may be made again.
    pub fn commit_round<'a>(
        &mut self,
        handled: &[i64],
        loads: impl Iterator<Item = &'a [Captured]>,
        cap: Option<Cap>,
    ) -> Result<Round, CacheError> {
        let before = (self.outstanding, self.time_errors);
        let mut fresh = Fresh::default();
        let done = self.round(handled, loads, cap, &mut fresh);
        if done.is_err() {
            // Undo what the maps learned from rows that are not there.
            let _ = self.db.execute_batch("ROLLBACK");
            (self.outstanding, self.time_errors) = before;
            for name in fresh.topics {
                if let Some(id) = self.topic_ids.remove(&name) {
                    self.topic_names.remove(&id);
                }
            }
            for (key, old) in fresh.meta.into_iter().rev() {
                match old {
                    Some(old) => self.meta.insert(key, old),
                    None => self.meta.remove(&key),
                };
            }
        }
        done.map_err(|source| CacheError { path: self.path.clone(), doing: "writing", source })
    }

    fn round<'a>(
        &mut self,
        handled: &[i64],
        loads: impl Iterator<Item = &'a [Captured]>,
        cap: Option<Cap>,
        fresh: &mut Fresh,
    ) -> rusqlite::Result<Round> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        {
            let mut delete = self.db.prepare_cached("DELETE FROM outstanding WHERE id = ?")?;
            for id in handled {
                self.outstanding = self.outstanding.saturating_sub(delete.execute([id])? as u64);
            }
        }
        for load in loads {
            for point in load {
                self.insert(point, fresh)?;
            }
        }
        let round = match cap {
            Some(cap) => self.trim(cap)?,
            None => Round::default(),
        };
        self.db.execute_batch("COMMIT")?;
        Ok(round)
    }

    fn insert(&mut self, point: &Captured, fresh: &mut Fresh) -> rusqlite::Result<()> {
        let topic = match self.topic_ids.get(&point.topic) {
            Some(id) => *id,
            None => self.add_topic(&point.topic, fresh)?,
        };
        let source = intern(&mut self.sources, point.source.as_str());
        if let Some(meta) = point.meta.as_ref().filter(|m| !m.is_empty()) {
            self.update_meta(&source, topic, meta, fresh)?;
        }
        // REPLACE, because caches of early releases have a UNIQUE constraint here: the newest value wins.
        let sql = if point.out_of_tolerance {
            "INSERT INTO time_error VALUES (NULL, ?, ?, ?, ?, ?)"
        } else {
            "INSERT OR REPLACE INTO outstanding (ts, source, topic_id, value_string, header_string) VALUES (?, ?, ?, ?, ?)"
        };
        let mut insert = self.db.prepare_cached(sql)?;
        insert.execute(params![&*point.ts, &*source, topic, point.value, &*point.headers])?;
        if point.out_of_tolerance {
            self.time_errors = true;
        } else {
            self.outstanding += 1;
        }
        Ok(())
    }

    fn add_topic(&mut self, name: &str, fresh: &mut Fresh) -> rusqlite::Result<i64> {
        self.db.prepare_cached("INSERT INTO topics (topic_name) VALUES (?)")?.execute([name])?;
        let id = self.db.last_insert_rowid();
        self.topic_ids.insert(name.to_owned(), id);
        self.topic_names.insert(id, name.into());
        fresh.topics.push(name.to_owned());
        Ok(id)
    }

    fn update_meta(
        &mut self,
        source: &Arc<str>,
        topic: i64,
        new: &Meta,
        fresh: &mut Fresh,
    ) -> rusqlite::Result<()> {
        let key = (Arc::clone(source), topic);
        let known = self.meta.get(&key);
        let changed: Vec<_> = new.iter().filter(|(k, v)| known.and_then(|m| m.get(*k)) != Some(*v)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mut merged = known.map(|m| (**m).clone()).unwrap_or_default();
        let mut put = self.db.prepare_cached("INSERT OR REPLACE INTO metadata VALUES (?, ?, ?, ?)")?;
        for (name, value) in changed {
            put.execute(params![&**source, topic, name, text::plain(value)])?;
            merged.insert(name.clone(), value.clone());
        }
        let old = self.meta.insert(key.clone(), Arc::new(merged));
        fresh.meta.push((key, old));
        Ok(())
    }

    /// Over the cap: oldest rows go first, the error table before the rest.
    fn trim(&mut self, cap: Cap) -> rusqlite::Result<Round> {
        let max_pages = (cap.limit_gb * 1024f64.powi(3) / self.page_size as f64).max(1.0);
        let mut used = self.used_pages()?;
        let mut round = Round { full: used >= max_pages * cap.report, trimmed: 0 };
        while used > max_pages {
            round.full = true;
            let mut gone = 0;
            for table in ["time_error", "rejected", "outstanding"] {
                gone = self.db.prepare_cached(&format!(
                    "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT {TRIM_ROWS})"
                ))?.execute([])? as u64;
                match table {
                    "outstanding" => self.outstanding = self.outstanding.saturating_sub(gone),
                    "rejected" => self.rejected = self.rejected.saturating_sub(gone),
                    _ => {}
                }
                if gone > 0 {
                    break;
                }
            }
            if gone == 0 {
                break;
            }
            round.trimmed += gone;
            used = self.used_pages()?;
        }
        if round.trimmed > 0 {
            self.refresh_time_errors()?;
        }
        Ok(round)
    }

    fn used_pages(&self) -> rusqlite::Result<f64> {
        let pages: i64 = self.db.pragma_query_value(None, "page_count", |r| r.get(0))?;
        let free: i64 = self.db.pragma_query_value(None, "freelist_count", |r| r.get(0))?;
        Ok((pages - free) as f64)
    }

    /// The oldest records that are not on their way yet, at most `limit`. Of records with the same (topic, time) only
    /// the first goes out; the others stay for a later batch, where the store's upsert absorbs them in order.
    pub fn next_batch(&mut self, limit: usize, flight: &InFlight) -> Result<Vec<Record>, CacheError> {
        self.read_batch(limit, flight).map_err(|source| CacheError {
            path: self.path.clone(),
            doing: "reading",
            source,
        })
    }

    fn read_batch(&mut self, limit: usize, flight: &InFlight) -> rusqlite::Result<Vec<Record>> {
        let mut batch = Vec::new();
        let mut unique = std::collections::HashSet::new();
        let mut q = self.db.prepare_cached(
            "SELECT id, ts, source, topic_id, value_string, header_string FROM outstanding ORDER BY ts, id LIMIT ?",
        )?;
        let mut rows = q.query([i64::try_from(limit + flight.len()).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            if batch.len() >= limit {
                break;
            }
            let id: i64 = row.get(0)?;
            if flight.has_id(id) {
                continue;
            }
            let ts = lossy(row.get_ref(1)?);
            let topic_id: i64 = row.get(3)?;
            let topic = self.topic_names.get(&topic_id).cloned();
            // A row whose topic is unknown can only come from a damaged file; it keeps a name people can find.
            let topic = topic.unwrap_or_else(|| format!("unknown-topic/{topic_id}").into());
            if flight.has_key(&topic, &ts) || !unique.insert((topic_id, ts.clone())) {
                continue;
            }
            let source = intern(&mut self.sources, &lossy(row.get_ref(2)?));
            let meta = self.meta.get(&(Arc::clone(&source), topic_id)).cloned().unwrap_or_default();
            batch.push(Record {
                id,
                ts,
                source,
                topic,
                value: lossy(row.get_ref(4)?),
                headers: row
                    .get_ref(5)
                    .map(|v| if v == rusqlite::types::ValueRef::Null { "{}".into() } else { lossy(v) })?,
                meta,
            });
        }
        Ok(batch)
    }

    /// Gives free pages back to the file system, a slice at a time. True: there is more. For idle moments.
    pub fn give_back_space(&mut self) -> bool {
        let free = || self.db.pragma_query_value(None, "freelist_count", |r| r.get::<_, i64>(0));
        // Space that a few batches will need again is not worth the writes.
        if free().is_ok_and(|n| n < KEEP_FREE_PAGES) {
            return false;
        }
        let sliced = self.db.execute_batch(&format!("PRAGMA incremental_vacuum({SPACE_SLICE_PAGES})"));
        sliced.is_ok() && free().is_ok_and(|n| n >= KEEP_FREE_PAGES)
    }

    /// Puts a record aside that the store refuses. It stays in the file for people to look at.
    pub fn reject(&mut self, id: i64, why: &str) -> Result<(), CacheError> {
        let moved = self.move_to_rejected(id, why);
        if moved.is_err() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
        moved.map_err(|source| CacheError {
            path: self.path.clone(),
            doing: "putting a record aside",
            source,
        })
    }

    fn move_to_rejected(&mut self, id: i64, why: &str) -> rusqlite::Result<()> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let copied = self.db.execute(
            "INSERT INTO rejected (ts, source, topic_id, value_string, header_string, error)
             SELECT ts, source, topic_id, value_string, header_string, ?2 FROM outstanding WHERE id = ?1",
            params![id, why],
        )?;
        let gone = self.db.execute("DELETE FROM outstanding WHERE id = ?", [id])?;
        let old = self.db.execute(
            "DELETE FROM rejected WHERE id <= (SELECT MAX(id) FROM rejected) - ?",
            [REJECTED_ROWS],
        )?;
        self.db.execute_batch("COMMIT")?;
        self.outstanding = self.outstanding.saturating_sub(gone as u64);
        self.rejected = (self.rejected + copied as u64).saturating_sub(old as u64);
        Ok(())
    }
}

/// What a round added to the maps, to be undone when it fails.
#[derive(Default)]
struct Fresh {
    topics: Vec<String>,
    meta: Vec<(MetaKey, Option<Arc<Meta>>)>,
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// There are a handful of sources; sharing their text saves an allocation per record.
fn intern(known: &mut Vec<Arc<str>>, source: &str) -> Arc<str> {
    if let Some(found) = known.iter().find(|s| &***s == source) {
        return Arc::clone(found);
    }
    let new: Arc<str> = source.into();
    known.push(Arc::clone(&new));
    new
}

/// Text of a column whatever its storage class; files written by other programs are not trusted to be UTF-8.
fn lossy(v: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match v {
        ValueRef::Null => String::new(),
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Real(f) => f.to_string(),
        ValueRef::Text(b) | ValueRef::Blob(b) => String::from_utf8_lossy(b).into_owned(),
    }
}

/// The metadata table holds plain text, as the original writes it; numbers keep their class where the file has it.
fn meta_value(v: rusqlite::types::ValueRef<'_>) -> Value {
    use rusqlite::types::ValueRef;
    match v {
        ValueRef::Integer(i) => Value::from(i),
        ValueRef::Real(f) => Value::from(f),
        other => Value::String(lossy(other)),
    }
}

fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    // The original has FULL, which moves pages at every commit: with a backlog that costs more than the records
    // themselves. INCREMENTAL keeps the same file format (either program opens it and may switch back) and gives the
    // space back when there is nothing else to do. Must come before the first table.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TABLE IF NOT EXISTS outstanding (id INTEGER PRIMARY KEY, ts timestamp NOT NULL, source TEXT NOT NULL,
             topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, header_string TEXT);
         CREATE INDEX IF NOT EXISTS outstanding_ts_index ON outstanding (ts);
         CREATE TABLE IF NOT EXISTS time_error (id INTEGER PRIMARY KEY, ts timestamp NOT NULL, source TEXT NOT NULL,
             topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, header_string TEXT);
         CREATE INDEX IF NOT EXISTS time_error_ts_index ON time_error (ts);
         CREATE TABLE IF NOT EXISTS metadata (source TEXT NOT NULL, topic_id INTEGER NOT NULL, name TEXT NOT NULL,
             value TEXT NOT NULL, UNIQUE(topic_id, source, name));
         CREATE TABLE IF NOT EXISTS topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, UNIQUE(topic_name));
         CREATE TABLE IF NOT EXISTS rejected (id INTEGER PRIMARY KEY, ts timestamp NOT NULL, source TEXT NOT NULL,
             topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, header_string TEXT, error TEXT);
         COMMIT;",
    )?;
    let headers: Option<i64> = db
        .query_row("SELECT 1 FROM pragma_table_info('outstanding') WHERE name = 'header_string'", [], |r| {
            r.get(0)
        })
        .optional()?;
    if headers.is_none() {
        db.execute_batch("ALTER TABLE outstanding ADD COLUMN header_string TEXT")?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
