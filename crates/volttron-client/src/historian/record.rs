//! What travels from capture through the cache to the store.

use std::sync::Arc;

use serde_json::{Map, Value};

/// Metadata of a topic (`units`, `type`, `tz`, ...). The latest one wins.
pub type Meta = Map<String, Value>;

/// Which kind of message a record came from (historians.md 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Device data (`devices/.../all`).
    Scrape,
    /// Results of applications (`analysis/...`).
    Analysis,
    /// `datalogger/...` messages.
    Log,
    /// `record/...` messages and custom topics.
    Record,
}

impl Source {
    /// The text kept in the cache and handed to stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scrape => "scrape",
            Self::Analysis => "analysis",
            Self::Log => "log",
            Self::Record => "record",
        }
    }
}

/// One reading as captured, not yet durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// Which capture rule produced it.
    pub source: Source,
    /// The topic it is stored under.
    pub topic: String,
    /// Canonical UTC time text, 32 characters (topics-and-time.md 4).
    pub ts: Arc<str>,
    /// The value as JSON text.
    pub value: String,
    /// The headers of the message as JSON text; shared by all readings of one message.
    pub headers: Arc<str>,
    /// Metadata that came with it; `None` leaves what is known unchanged.
    pub meta: Option<Meta>,
    /// The time is further from now than `time_tolerance` allows: kept in the cache's error table, never stored.
    pub out_of_tolerance: bool,
}

/// One reading on its way to the store: durable in the cache under `id`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Row in the cache; what a store reports as handled.
    pub id: i64,
    /// Canonical UTC time text.
    pub ts: String,
    /// `scrape`, `analysis`, `log`, `record`, or what an older cache held.
    pub source: Arc<str>,
    /// Topic to store under.
    pub topic: Arc<str>,
    /// Value as JSON text.
    pub value: String,
    /// Message headers as JSON text, `{}` when the cache had none.
    pub headers: String,
    /// Latest metadata known for (source, topic).
    pub meta: Arc<Meta>,
}
