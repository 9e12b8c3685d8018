//! The base every historian is built on (feature `historian`): capture, durable cache, writer loop, query API.
//!
//! A concrete historian implements [`StoreFactory`] (a [`Store`] that takes batches, [`Reader`]s that answer queries)
//! and hands it to an [`Engine`]. What it never has to do itself: subscribe, decide what a message means, survive a
//! crash, retry, keep size, answer on the bus.
//!
//! ```text
//! bus -> capture (pure) -> bounded queue -> cache thread -> backup.sqlite     acknowledged after fsync
//!                                                 |  batches, oldest first
//!                                                 v
//!                                           store thread -> Store::write      deleted from the cache when reported
//! query RPC -> query threads -> Reader (own connection, time limit, cancelled when nobody waits)
//! ```
//!
//! Invariants: a point is acknowledged only when it is on disk; it leaves the cache only when the store reported it; so
//! delivery is at least once and stores upsert on (topic, time). No record and no option ends the writer. Queries and
//! slow stores never hold up capture. Start reading at `writer.rs`.

mod agent;
pub mod cache;
pub mod capture;
pub mod config;
mod engine;
mod flight;
mod intake;
mod options;
mod pool;
pub mod query;
mod record;
pub mod status;
mod store;
mod store_thread;
pub mod text;
mod writer;

pub use agent::{HistorianAgent, HistorianKind};
pub use config::{HistorianConfig, Rule};
pub use engine::{AskError, Engine, EngineOptions, InsertError};
pub use flight::InFlight;
pub use intake::Closed;
pub use options::base_options;
pub use record::{Captured, Meta, Record, Source};
pub use store::{
    Cancel, Found, Handled, Limits, Query, QueryError, Reader, Row, Series, Store, StoreError, StoreFactory,
};
