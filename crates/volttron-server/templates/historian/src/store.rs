//! The store: here a file with one JSON object per line, read into memory at the start. To be replaced by your database.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use volttron_client::historian::{
    Cancel, Found, Handled, Query, QueryError, Reader, Record, Series, Store, StoreError,
};

/// What one line holds.
#[derive(Serialize, Deserialize)]
struct Line {
    topic: String,
    ts: String,
    value: Value,
    meta: Map<String, Value>,
}

/// One topic: values by time, and what is known about it.
#[derive(Default)]
struct Shelved {
    name: String,
    meta: Map<String, Value>,
    rows: BTreeMap<String, String>,
}

/// Topics in lower case, for they are found ignoring case. Shared by the writing and the reading side.
pub struct Shelf {
    path: PathBuf,
    topics: Mutex<BTreeMap<String, Shelved>>,
}

impl Shelf {
    /// A shelf that keeps its file at `path`; [`Store::setup`] opens it.
    pub fn at(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, topics: Mutex::default() })
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, Shelved>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same topic and time again replaces: delivery is at least once.
    fn put(&self, line: Line) {
        let mut topics = self.topics();
        let shelved = topics.entry(line.topic.to_lowercase()).or_default();
        shelved.name = line.topic;
        shelved.meta = line.meta;
        shelved.rows.insert(line.ts, line.value.to_string());
    }
}

/// The writing side.
pub struct JournalStore {
    shelf: Arc<Shelf>,
    file: Option<File>,
}

impl JournalStore {
    /// Writes to `shelf`.
    pub fn new(shelf: Arc<Shelf>) -> Self {
        Self { shelf, file: None }
    }
}

impl Store for JournalStore {
    fn setup(&mut self) -> Result<(), StoreError> {
        let path = &self.shelf.path;
        let failed = |e: std::io::Error| StoreError::Unavailable(format!("{}: {e}", path.display()));
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(path).map_err(failed)?;
        let mut whole = true;
        for line in BufReader::new(&file).lines() {
            // A crash may have cut the last line; what it held was never acknowledged and comes again.
            let line = serde_json::from_str::<Line>(&line.map_err(failed)?);
            whole = line.is_ok();
            if let Ok(line) = line {
                self.shelf.put(line);
            }
        }
        if !whole {
            file.write_all(b"\n").map_err(failed)?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, batch: &[Record]) -> Result<Handled, StoreError> {
        let Some(file) = &mut self.file else {
            return Err(StoreError::Unavailable("not set up".to_owned()));
        };
        let mut lines = Vec::with_capacity(batch.len());
        let mut text = Vec::new();
        for record in batch {
            let line = Line {
                topic: record.topic.to_string(),
                ts: record.ts.clone(),
                value: serde_json::from_str(&record.value)
                    .map_err(|e| StoreError::Refused(e.to_string()))?,
                meta: (*record.meta).clone(),
            };
            serde_json::to_writer(&mut text, &line).map_err(|e| StoreError::Refused(e.to_string()))?;
            text.push(b'\n');
            lines.push(line);
        }
        // Only what is on the disk may be reported as handled.
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if let Err(e) = written {
            self.file = None;
            return Err(StoreError::Unavailable(format!("{}: {e}", self.shelf.path.display())));
        }
        for line in lines {
            self.shelf.put(line);
        }
        Ok(Handled::All)
    }
}

/// The reading side.
pub struct JournalReader {
    shelf: Arc<Shelf>,
}

impl JournalReader {
    /// Reads from `shelf`.
    pub fn new(shelf: Arc<Shelf>) -> Self {
        Self { shelf }
    }
}

impl Reader for JournalReader {
    fn query(&mut self, query: &Query, cancel: &Cancel) -> Result<Found, QueryError> {
        if query.aggregate.is_some() {
            return Err(QueryError::Invalid("this historian makes no aggregates".to_owned()));
        }
        let topics = self.shelf.topics();
        let mut found = Found::default();
        let mut left = usize::try_from(query.max_rows).unwrap_or(usize::MAX);
        for topic in &query.topics {
            if cancel.is_cancelled() {
                return Err(QueryError::Cancelled);
            }
            let Some(shelved) = topics.get(&topic.to_lowercase()) else { continue };
            let within = |ts: &str| {
                let exactly = query.end.is_some() && query.start == query.end;
                query.start.as_deref().is_none_or(|start| ts >= start)
                    && query.end.as_deref().is_none_or(|end| ts < end || (exactly && ts == end))
            };
            let mut rows: Vec<_> =
                shelved.rows.iter().filter(|(ts, _)| within(ts)).map(|(t, v)| (t.clone(), v.clone())).collect();
            if query.last_to_first {
                rows.reverse();
            }
            let skip = usize::try_from(query.skip).unwrap_or(usize::MAX);
            let count = query.count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
            let rows: Vec<_> = rows.into_iter().skip(skip).take(count).collect();
            found.truncated |= rows.len() > left;
            let rows: Vec<_> = rows.into_iter().take(left).collect();
            left -= rows.len();
            if query.topics.len() == 1 {
                found.metadata = shelved.meta.clone();
            }
            found.series.push(Series { topic: topic.clone(), rows });
        }
        Ok(found)
    }

    fn topic_list(&mut self) -> Result<Vec<String>, QueryError> {
        Ok(self.shelf.topics().values().map(|shelved| shelved.name.clone()).collect())
    }

    fn topics_by_pattern(&mut self, pattern: &str) -> Result<Vec<(String, i64)>, QueryError> {
        let pattern = regex::RegexBuilder::new(pattern)
            .case_insensitive(true)
            .build()
            .map_err(|e| QueryError::Invalid(e.to_string()))?;
        let topics = self.shelf.topics();
        let names = (1..).zip(topics.values().map(|shelved| shelved.name.clone()));
        Ok(names.filter(|(_, name)| pattern.is_match(name)).map(|(id, name)| (name, id)).collect())
    }

    fn topics_metadata(&mut self, topics: &[String]) -> Result<Map<String, Value>, QueryError> {
        let shelf = self.shelf.topics();
        let known = topics.iter().filter_map(|topic| Some((topic, shelf.get(&topic.to_lowercase())?)));
        Ok(known.map(|(topic, shelved)| (topic.clone(), shelved.meta.clone().into())).collect())
    }

    fn aggregate_topics(&mut self) -> Result<Vec<Value>, QueryError> {
        Ok(Vec::new())
    }
}
