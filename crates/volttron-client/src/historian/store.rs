//! What a concrete historian implements: a store that takes batches and a reader that answers queries.
//!
//! A [`Store`] lives on one blocking thread, each [`Reader`] on another with a connection of its own, so a slow
//! query never holds up writing and a slow store never holds up capture. Neither may touch the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::record::{Meta, Record};

/// Why a store could not do its part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached or is not ready; the same batch is tried again later. The next round starts with
    /// [`Store::setup`].
    #[error("{0}")]
    Unavailable(String),
    /// Something in the batch cannot be stored. The framework halves the batch until it knows which record it is,
    /// puts that one aside and goes on.
    #[error("record refused: {0}")]
    Refused(String),
}

/// Which records of a batch are safe in the store and may leave the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Every one.
    All,
    /// These ids; the rest is offered again later.
    Ids(Vec<i64>),
}

/// Size limits of the store, applied apart from the write path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Drop rows older than the newest minus this many days.
    pub history_limit_days: Option<f64>,
    /// Drop the oldest rows above this size in GiB.
    pub storage_limit_gb: Option<f64>,
}

impl Limits {
    /// True when there is nothing to enforce.
    pub fn is_empty(&self) -> bool {
        self.history_limit_days.is_none() && self.storage_limit_gb.is_none()
    }
}

/// The writing side. Every method runs on the store's own thread.
pub trait Store: Send + 'static {
    /// Connects and creates what is missing. Called before the first write and again after `Unavailable`.
    fn setup(&mut self) -> Result<(), StoreError>;

    /// Writes one batch, ordered oldest first, and returns what is durable. Storing the same (topic, time) again
    /// must replace the earlier value: delivery is at least once.
    fn write(&mut self, batch: &[Record]) -> Result<Handled, StoreError>;

    /// Removes what exceeds the limits, for at most about `budget`. Returns true when there is more to remove.
    fn apply_limits(&mut self, limits: &Limits, budget: Duration) -> Result<bool, StoreError> {
        let _ = (limits, budget);
        Ok(false)
    }

    /// Releases the connection. Called before another store takes its place and at the end.
    fn close(&mut self) {}
}

/// Ends a query early: its time is up or nobody waits for the answer any more.
#[derive(Clone, Debug)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    deadline: Instant,
}

impl Cancel {
    /// Cancels itself after `limit`.
    pub fn after(limit: Duration) -> Self {
        Self { flag: Arc::new(AtomicBool::new(false)), deadline: Instant::now() + limit }
    }

    /// Cancels now.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// To be polled by readers.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// An argument makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The query took longer than `query_timeout`, or nobody waited for it any more.
    #[error("query cancelled: it took longer than allowed")]
    Cancelled,
    /// The store failed.
    #[error("{0}")]
    Store(String),
    /// The store is not set up (yet).
    #[error("the historian's store is not available: {0}")]
    Unavailable(String),
}

/// A checked query (historians.md 4).
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Topics as asked for; matched ignoring case.
    pub topics: Vec<String>,
    /// Canonical time text, inclusive.
    pub start: Option<String>,
    /// Canonical time text, exclusive; equal to `start` it means exactly that time.
    pub end: Option<String>,
    /// Aggregation type in lower case and normalised period.
    pub aggregate: Option<(String, String)>,
    /// Rows left out per topic.
    pub skip: u64,
    /// Most rows per topic.
    pub count: Option<u64>,
    /// Newest first.
    pub last_to_first: bool,
    /// Most rows over all topics.
    pub max_rows: u64,
}

/// One row: canonical time text and the value as JSON text.
pub type Row = (String, String);

/// Rows of one known topic, named as asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The topic as the caller wrote it.
    pub topic: String,
    /// Rows in the order asked for.
    pub rows: Vec<Row>,
}

/// What a reader found: one series per *known* topic, in the order asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Known topics, also those without rows.
    pub series: Vec<Series>,
    /// Metadata of the topic when exactly one was asked for.
    pub metadata: Meta,
    /// `max_rows` was reached.
    pub truncated: bool,
}

/// The reading side. Each reader has a connection of its own.
pub trait Reader: Send + 'static {
    /// Runs a query, polling `cancel`.
    fn query(&mut self, query: &Query, cancel: &Cancel) -> Result<Found, QueryError>;
    /// All topic names, in the case of the latest write.
    fn topic_list(&mut self) -> Result<Vec<String>, QueryError>;
    /// Topics matching an unanchored, case-insensitive regular expression, with their ids.
    fn topics_by_pattern(&mut self, pattern: &str) -> Result<Vec<(String, i64)>, QueryError>;
    /// Metadata of the known ones among `topics`; null where there is none.
    fn topics_metadata(&mut self, topics: &[String]) -> Result<Map<String, Value>, QueryError>;
    /// `[name, type, period, configured topics or pattern]` of every aggregate.
    fn aggregate_topics(&mut self) -> Result<Vec<Value>, QueryError>;
}

/// Makes the two sides of one configured store. Cloned into the threads that open connections.
pub trait StoreFactory: Send + Sync + 'static {
    /// The writing side; connects in [`Store::setup`].
    fn store(&self) -> Box<dyn Store>;
    /// One more reader; called again after an error.
    fn reader(&self) -> Result<Box<dyn Reader>, QueryError>;
}
