//! The reading side: a connection of its own, read only, queries cut off when their time is up.

use std::collections::HashMap;
use std::fmt::Write as _;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ToSql};
use serde_json::{Map, Value, json};
use volttron_client::historian::text::{dumps, is_stamp, parse_stamp, stamp};
use volttron_client::historian::{Cancel, Found, Meta, Query, QueryError, Reader, Row, Series};

use crate::pyliteral;
use crate::schema::{self, MetaPlace, quoted};
use crate::settings::{Settings, Tables};

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

/// Answers queries from SQLite.
pub struct SqliteReader {
    db: Connection,
    tables: Tables,
    place: MetaPlace,
    /// Lower-case name to id; grows as the table does, topics of other processes included.
    ids: HashMap<String, i64>,
    highest: i64,
}

fn store_error(e: &rusqlite::Error) -> QueryError {
    match e.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => QueryError::Cancelled,
        _ => QueryError::Store(e.to_string()),
    }
}

fn lift<R>(result: rusqlite::Result<R>) -> Result<R, QueryError> {
    result.map_err(|e| store_error(&e))
}

impl SqliteReader {
    /// Opens the database the store has made.
    pub fn open(settings: &Settings) -> Result<Self, QueryError> {
        let not_there = |e: &dyn std::fmt::Display| {
            QueryError::Unavailable(format!("{}: {e}", settings.database.display()))
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&settings.database, flags).map_err(|e| not_there(&e))?;
        db.busy_timeout(settings.timeout).map_err(|e| not_there(&e))?;
        db.set_prepared_statement_cache_capacity(32);
        for table in [&settings.tables.data, &settings.tables.topics] {
            if !lift(schema::table_exists(&db, table))? {
                return Err(not_there(&format!("no table `{table}` yet")));
            }
        }
        let place = lift(schema::meta_place(&db, &settings.tables))?;
        Ok(Self { db, tables: settings.tables.clone(), place, ids: HashMap::new(), highest: 0 })
    }

    fn refresh_topics(&mut self) -> rusqlite::Result<()> {
        let sql =
            format!("SELECT topic_id, topic_name FROM {} WHERE topic_id > ?", quoted(&self.tables.topics));
        let mut q = self.db.prepare_cached(&sql)?;
        let mut rows = q.query([self.highest])?;
        while let Some(row) = rows.next()? {
            let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
            self.highest = self.highest.max(id);
            self.ids.insert(name.to_lowercase(), id);
        }
        Ok(())
    }

    fn topic_id(&self, topic: &str) -> Option<i64> {
        self.ids.get(&topic.to_lowercase()).copied()
    }

    fn metadata(&self, id: i64) -> rusqlite::Result<Option<Meta>> {
        let table = match self.place {
            MetaPlace::Column => &self.tables.topics,
            MetaPlace::Table => &self.tables.meta,
        };
        if self.place == MetaPlace::Table && !schema::table_exists(&self.db, table)? {
            return Ok(None);
        }
        let sql = format!("SELECT metadata FROM {} WHERE topic_id = ?", quoted(table));
        let text: Option<Option<String>> =
            self.db.prepare_cached(&sql)?.query_row([id], |r| r.get(0)).optional()?;
        Ok(text.flatten().and_then(|t| serde_json::from_str(&t).ok()))
    }

    fn aggregate_id(&self, topic: &str, kind: &str, period: &str) -> rusqlite::Result<Option<i64>> {
        if !schema::table_exists(&self.db, &self.tables.aggregate_topics)? {
            return Ok(None);
        }
        let sql = format!(
            "SELECT agg_topic_id, agg_topic_name, agg_type FROM {} WHERE agg_time_period = ?",
            quoted(&self.tables.aggregate_topics)
        );
        let mut q = self.db.prepare_cached(&sql)?;
        let mut rows = q.query([period])?;
        let topic = topic.to_lowercase();
        while let Some(row) = rows.next()? {
            let (name, of): (String, String) = (row.get(1)?, row.get(2)?);
            if name.to_lowercase() == topic && of.eq_ignore_ascii_case(kind) {
                return row.get(0).map(Some);
            }
        }
        Ok(None)
    }

    fn series(
        &self,
        table: &str,
        column: &str,
        id: i64,
        q: &Query,
        limit: u64,
    ) -> rusqlite::Result<Vec<Row>> {
        let mut sql = format!("SELECT ts, {column} FROM {} WHERE topic_id = ?1", quoted(table));
        let mut args: Vec<&dyn ToSql> = vec![&id];
        match (&q.start, &q.end) {
            (Some(start), Some(end)) if start == end => {
                args.push(start);
                sql.push_str(" AND ts = ?2");
            }
            (start, end) => {
                for (time, op) in [(start, ">="), (end, "<")] {
                    if let Some(time) = time {
                        args.push(time);
                        let _ = write!(sql, " AND ts {op} ?{}", args.len());
                    }
                }
            }
        }
        let direction = if q.last_to_first { "DESC" } else { "ASC" };
        let _ = write!(sql, " ORDER BY ts {direction} LIMIT {} OFFSET {}", clamp(limit), clamp(q.skip));
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(args.as_slice())?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push((time_text(row.get_ref(0)?), value_text(row.get_ref(1)?)));
        }
        Ok(out)
    }

    fn find(&mut self, q: &Query) -> rusqlite::Result<Found> {
        self.refresh_topics()?;
        let mut found = Found::default();
        let mut left = q.max_rows;
        for topic in &q.topics {
            let id = match &q.aggregate {
                None => self.topic_id(topic),
                Some((kind, period)) => self.aggregate_id(topic, kind, period)?,
            };
            let Some(id) = id else {
                tracing::warn!("No such topic {topic}");
                continue;
            };
            // One row more than allowed tells whether anything was cut off.
            let limit = q.count.unwrap_or(u64::MAX).min(left.saturating_add(1));
            let mut rows = match &q.aggregate {
                None => self.series(&self.tables.data, "value_string", id, q, limit)?,
                Some((kind, period)) => {
                    self.series(&format!("{kind}_{period}"), "agg_value", id, q, limit)?
                }
            };
            if rows.len() as u64 > left {
                rows.truncate(left as usize);
                found.truncated = true;
            }
            left -= rows.len() as u64;
            if q.topics.len() == 1 {
                let of = if q.aggregate.is_some() { self.topic_id(topic) } else { Some(id) };
                found.metadata = of.map(|id| self.metadata(id)).transpose()?.flatten().unwrap_or_default();
            }
            found.series.push(Series { topic: topic.clone(), rows });
        }
        Ok(found)
    }
}

impl Reader for SqliteReader {
    fn query(&mut self, query: &Query, cancel: &Cancel) -> Result<Found, QueryError> {
        let polled = cancel.clone();
        lift(self.db.progress_handler(STEPS, Some(move || polled.is_cancelled())))?;
        let found = self.find(query);
        lift(self.db.progress_handler(0, None::<fn() -> bool>))?;
        lift(found)
    }

    fn topic_list(&mut self) -> Result<Vec<String>, QueryError> {
        let sql = format!("SELECT topic_name FROM {} ORDER BY topic_id", quoted(&self.tables.topics));
        lift(self.db.prepare_cached(&sql).and_then(|mut q| q.query_map([], |r| r.get(0))?.collect()))
    }

    fn topics_by_pattern(&mut self, pattern: &str) -> Result<Vec<(String, i64)>, QueryError> {
        let regex = regex::RegexBuilder::new(pattern)
            .case_insensitive(true)
            .build()
            .map_err(|e| QueryError::Invalid(format!("bad pattern: {e}")))?;
        let sql =
            format!("SELECT topic_name, topic_id FROM {} ORDER BY topic_id", quoted(&self.tables.topics));
        let all: rusqlite::Result<Vec<(String, i64)>> = self
            .db
            .prepare_cached(&sql)
            .and_then(|mut q| q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect());
        Ok(lift(all)?.into_iter().filter(|(name, _)| regex.is_match(name)).collect())
    }

    fn topics_metadata(&mut self, topics: &[String]) -> Result<Map<String, Value>, QueryError> {
        lift(self.refresh_topics())?;
        let mut out = Map::new();
        for topic in topics {
            if let Some(id) = self.topic_id(topic) {
                let meta = lift(self.metadata(id))?;
                out.insert(topic.clone(), meta.map_or(Value::Null, Value::Object));
            }
        }
        Ok(out)
    }

    fn aggregate_topics(&mut self) -> Result<Vec<Value>, QueryError> {
        for table in [&self.tables.aggregate_topics, &self.tables.aggregate_meta] {
            if !lift(schema::table_exists(&self.db, table))? {
                return Ok(Vec::new());
            }
        }
        let sql = format!(
            "SELECT agg_topic_name, agg_type, agg_time_period, metadata FROM {} AS t, {} AS m \
             WHERE t.agg_topic_id = m.agg_topic_id ORDER BY t.agg_topic_id",
            quoted(&self.tables.aggregate_topics),
            quoted(&self.tables.aggregate_meta)
        );
        let rows: rusqlite::Result<Vec<(String, String, String, String)>> =
            self.db.prepare_cached(&sql).and_then(|mut q| {
                q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?.collect()
            });
        let configured = |meta: &str| {
            // JSON since the original's later releases, before that Python's own notation.
            let meta: Option<Value> = serde_json::from_str(meta).ok().or_else(|| pyliteral::to_value(meta));
            meta.and_then(|m| m.get("configured_topics").cloned()).unwrap_or(Value::Null)
        };
        Ok(lift(rows)?.iter().map(|(n, k, p, meta)| json!([n, k, p, configured(meta)])).collect())
    }
}

/// SQLite's LIMIT and OFFSET are signed; everything above is no limit.
fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Canonical stamp of a stored time. What cannot be read stays as it is, minus what would break the answer.
fn time_text(v: ValueRef<'_>) -> String {
    let text = v.as_str().map_or_else(|_| number_text(v), str::to_owned);
    if is_stamp(&text) {
        return text;
    }
    parse_stamp(&text)
        .map_or_else(|_| text.replace(['"', '\\'], "").replace(|c: char| c.is_control(), ""), stamp)
}

fn number_text(v: ValueRef<'_>) -> String {
    match v {
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Real(f) => f.to_string(),
        _ => String::new(),
    }
}

/// A stored value as JSON for the wire. Python writes NaN and infinities bare; they become null.
fn value_text(v: ValueRef<'_>) -> String {
    match v {
        ValueRef::Null | ValueRef::Blob(_) => "null".into(),
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Real(f) => dumps(&f),
        ValueRef::Text(bytes) => {
            let plain = bytes.is_ascii() && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
            if plain {
                return String::from_utf8_lossy(bytes).into_owned();
            }
            volttron_client::utils::json::from_slice::<Value>(bytes).map_or_else(
                // Not JSON at all: other programs wrote it; the text itself is the best answer.
                |_| dumps(&String::from_utf8_lossy(bytes)),
                |v| dumps(&v),
            )
        }
    }
}
