//! One running historian, independent of the bus: capture in, durable cache, store, queries out.
//!
//! The agent glue, the benchmark and the crash tests all drive this. Dropping an engine without [`Engine::stop`] loses
//! nothing that was acknowledged.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};

use super::capture::{Capture, Inbound};
use super::config::{HistorianConfig, Rule};
use super::intake::{Closed, Mailbox};
use super::pool::QueryPool;
use super::query::{Arguments, BadArgument, render};
use super::record::Captured;
use super::status::{Alert, Status};
use super::store::{QueryError, Reader, Store, StoreError, StoreFactory};
use super::writer::{Control, Settings, Writer};
use super::{record::Record, store::Handled, store_thread};

/// Alerts waiting to be sent. There are fewer keys than this, and each repeats slowly.
const ALERTS: usize = 64;
/// Log lines about dropped messages per reason of dropping are limited to powers of two; see [`Engine::capture`].
const FIRST_DROPS_LOGGED: u64 = 16;

/// What an engine is made of.
pub struct EngineOptions {
    /// The historian's identity, written into `timing_data`.
    pub identity: String,
    /// Directory of `backup.sqlite`; must exist.
    pub data_dir: PathBuf,
    /// Base configuration.
    pub config: HistorianConfig,
    /// The store; `None` caches until a configuration names one.
    pub factory: Option<Arc<dyn StoreFactory>>,
}

/// Why `insert` did not take the records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// Queries only.
    #[error("Insert not supported by this historian.")]
    ReadOnly,
    /// The historian is stopping; nothing was acknowledged.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why `query` has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The arguments.
    #[error(transparent)]
    Argument(#[from] BadArgument),
    /// The store.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// A running historian.
pub struct Engine {
    mailbox: Arc<Mailbox<Control>>,
    capture: Mutex<Capture>,
    config: RwLock<Arc<HistorianConfig>>,
    pool: QueryPool,
    status: watch::Receiver<Status>,
    alerts: Mutex<Option<mpsc::Receiver<Alert>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    identity: String,
    lost: AtomicU64,
    refused: AtomicU64,
}

impl Engine {
    /// Starts the threads. A read-only historian has none but those answering queries.
    pub fn start(options: EngineOptions) -> io::Result<Self> {
        let EngineOptions { identity, data_dir, config, factory } = options;
        let config = Arc::new(config);
        let mailbox = Mailbox::new(config.queue_limit);
        let (status_out, status) = watch::channel(Status::default());
        let (alerts_out, alerts) = mpsc::channel(ALERTS);
        let pool = QueryPool::start(factory.clone())?;
        let writer = if config.readonly {
            mailbox.close();
            None
        } else {
            let reports = Arc::clone(&mailbox);
            let report = move |r| reports.control(Control::Report(r));
            let (jobs, store_thread) = store_thread::spawn(make_store(factory.as_ref()), report)?;
            let settings = Settings::from(&*config);
            let cache_path = data_dir.join("backup.sqlite");
            let writer =
                Writer::new(Arc::clone(&mailbox), jobs, status_out, alerts_out, cache_path, settings);
            Some(std::thread::Builder::new().name("historian-cache".into()).spawn(move || {
                writer.run();
                // The writer's end dropped the last sender, so the store closes its database now.
                let _ = store_thread.join();
            })?)
        };
        Ok(Self {
            mailbox,
            capture: Mutex::new(Capture::new(Arc::clone(&config), &identity)),
            config: RwLock::new(config),
            pool,
            status,
            alerts: Mutex::new(Some(alerts)),
            writer: Mutex::new(writer),
            identity,
            lost: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<HistorianConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How the historian is.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// The stream of alerts; given out once.
    pub fn alerts(&self) -> Option<mpsc::Receiver<Alert>> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Points in the in-memory queue.
    pub fn queued(&self) -> usize {
        self.mailbox.used()
    }

    /// Takes a new configuration. Capture, cache and everything queued go on; `factory` replaces the store when given.
    /// `readonly`, `queue_limit` and the place of the cache are read at start only.
    pub fn configure(&self, config: HistorianConfig, factory: Option<Arc<dyn StoreFactory>>) {
        let config = Arc::new(config);
        *self.capture.lock().unwrap_or_else(PoisonError::into_inner) =
            Capture::new(Arc::clone(&config), &self.identity);
        self.mailbox.control(Control::Settings(Settings::from(&*config)));
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        if let Some(factory) = factory {
            self.mailbox.control(Control::Replace(factory.store()));
            self.pool.replace(Some(factory));
        }
    }

    /// Captures one message from the bus and queues what it yields, waiting while the queue is full.
    pub async fn capture(
        &self,
        rule: Rule,
        topic: &str,
        headers: &Map<String, Value>,
        message: &Value,
    ) -> Result<(), Closed> {
        let points = self.captured(rule, topic, headers, message);
        if points.is_empty() {
            return Ok(());
        }
        self.mailbox.push(points, None).await
    }

    fn captured(
        &self,
        rule: Rule,
        topic: &str,
        headers: &Map<String, Value>,
        message: &Value,
    ) -> Vec<Captured> {
        let inbound = Inbound { topic, headers, message, now: Timestamp::now() };
        let y = self.capture.lock().unwrap_or_else(PoisonError::into_inner).message(rule, inbound);
        for why in &y.dropped {
            let n = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
            // A publisher that is wrong is wrong many times a second; the log must not drown.
            if n <= FIRST_DROPS_LOGGED || n.is_power_of_two() {
                tracing::error!("not stored: {why} ({n} such so far)");
            }
        }
        y.points
    }

    /// `insert`: routed to a capture rule by root, unknown roots logged and skipped. Returns when every record is
    /// durable.
    pub async fn insert(&self, records: &[(String, Map<String, Value>, Value)]) -> Result<(), InsertError> {
        if self.config().readonly {
            return Err(InsertError::ReadOnly);
        }
        let mut points = Vec::new();
        for (topic, headers, message) in records {
            if let Some(rule) = Capture::rule_for_root(topic) {
                points.extend(self.captured(rule, topic, headers, message));
            } else {
                tracing::error!("Unrecognized topic in insert call: {topic}");
            }
        }
        if points.is_empty() {
            return Ok(());
        }
        self.insert_points(points).await.map_err(InsertError::from)
    }

    /// Queues points and returns when they are durable.
    pub async fn insert_points(&self, points: Vec<Captured>) -> Result<(), Closed> {
        let (ack, durable) = oneshot::channel();
        self.mailbox.push(points, Some(ack)).await?;
        durable.await.map_err(|_| Closed)
    }

    /// `n` messages were lost on the way to [`Engine::capture`], because the subscription was full.
    pub fn count_lost(&self, n: u64) {
        if n > 0 {
            let total = self.lost.fetch_add(n, Ordering::Relaxed) + n;
            tracing::error!("{n} messages lost: the historian's queue was full ({total} in all)");
            self.mailbox.control(Control::Dropped(total));
        }
    }

    /// Messages or parts of messages that meant nothing to capture.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// `query`: the result as JSON text.
    pub async fn query(&self, arguments: &Arguments) -> Result<String, AskError> {
        let config = self.config();
        let asked = arguments.check(Timestamp::now(), config.query_max_rows)?;
        let text = self
            .pool
            .run(config.query_timeout, move |reader, cancel| {
                let mut asked = asked;
                if let Some(pattern) = &asked.pattern {
                    let matches = reader.topics_by_pattern(pattern)?;
                    asked.query.topics.extend(matches.into_iter().map(|(name, _)| name));
                }
                let found = reader.query(&asked.query, cancel)?;
                Ok(render(asked.single, &found))
            })
            .await?;
        Ok(text)
    }

    /// Asks a reader something on the query threads.
    pub async fn read<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Reader) -> Result<R, QueryError> + Send + 'static,
    ) -> Result<R, QueryError> {
        self.pool.run(self.config().query_timeout, move |reader, _| f(reader)).await
    }

    /// Takes no more points, makes what is queued durable, lets the store finish what it has in hand (at most 9 s),
    /// and closes the databases.
    pub async fn stop(&self) {
        self.mailbox.close();
        self.mailbox.control(Control::Stop);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

fn make_store(factory: Option<&Arc<dyn StoreFactory>>) -> Box<dyn Store> {
    factory.map_or_else(|| Box::new(NoStore) as Box<dyn Store>, |f| f.store())
}

/// Stands in until a configuration names a store: everything stays in the cache.
struct NoStore;

impl Store for NoStore {
    fn setup(&mut self) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("no connection is configured".into()))
    }

    fn write(&mut self, _: &[Record]) -> Result<Handled, StoreError> {
        Err(StoreError::Unavailable("no connection is configured".into()))
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
