//! The bus side of every historian: configuration, subscriptions, RPC methods, health and alerts.
//!
//! A concrete historian is `HistorianAgent::new(kind, file configuration)`, where the kind makes the store. Must never
//! block: everything slow is behind the [`Engine`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::config::{HistorianConfig, Rule, normalise_keys};
use super::engine::{AskError, Engine, EngineOptions, InsertError};
use super::query::{Arguments, texts};
use super::store::{QueryError, Reader, StoreFactory};
use crate::config::Actions;
use crate::rpc::Request;
use crate::{
    Access, Agent, AgentError, ConfigEvent, Cx, Method, Registrar, RpcError, Status, SubscribeOptions,
};

/// Health is set at most this often while only counts change.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// Answers longer than this are decoded off the runtime.
const LARGE_ANSWER_BYTES: usize = 64 * 1024;

/// What makes one historian different from another.
pub trait HistorianKind: Send + Sync + 'static {
    /// Class name in alert topics.
    const NAME: &'static str;
    /// What `get_version` answers.
    const VERSION: &'static str;
    /// Keys of the configuration that belong to the store; a change of them replaces it.
    const STORE_KEYS: &'static [&'static str];

    /// The store of a configuration. Must not fail: a store that cannot work says so in its `setup`, and records stay
    /// in the cache until the configuration is corrected.
    fn factory(&self, config: &Map<String, Value>, data_dir: &Path) -> Arc<dyn StoreFactory>;
}

/// A historian on the bus.
pub struct HistorianAgent<K> {
    kind: K,
    file: Map<String, Value>,
    stored: Mutex<Map<String, Value>>,
    engine: OnceLock<Arc<Engine>>,
    /// The store part of the configuration in force.
    store_part: Mutex<Map<String, Value>>,
    listening: tokio::sync::Mutex<HashMap<(Rule, String), JoinHandle<()>>>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: HistorianKind> HistorianAgent<K> {
    /// A historian with the configuration of its file; entries of the configuration store's `config` go over it.
    pub fn new(kind: K, file: &Map<String, Value>) -> Self {
        Self {
            kind,
            file: normalise_keys(file),
            stored: Mutex::default(),
            engine: OnceLock::new(),
            store_part: Mutex::default(),
            listening: tokio::sync::Mutex::default(),
        }
    }

    /// The running engine, once started.
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.engine.get()
    }

    fn effective(&self) -> Map<String, Value> {
        let mut all = self.file.clone();
        all.extend(normalise_keys(&lock(&self.stored)));
        all
    }

    fn parse(all: &Map<String, Value>) -> HistorianConfig {
        let (config, problems) = HistorianConfig::parse(all);
        for problem in problems {
            tracing::error!("configuration: {problem}; its default is used");
        }
        config
    }

    fn store_part_of(all: &Map<String, Value>) -> Map<String, Value> {
        all.iter()
            .filter(|(k, _)| K::STORE_KEYS.contains(&k.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    async fn start(self: Arc<Self>, cx: Cx) -> Result<(), AgentError> {
        let all = self.effective();
        std::fs::create_dir_all(cx.data_dir())?;
        *lock(&self.store_part) = Self::store_part_of(&all);
        let engine = Arc::new(Engine::start(EngineOptions {
            identity: cx.identity().to_owned(),
            data_dir: cx.data_dir().to_owned(),
            config: Self::parse(&all),
            factory: Some(self.kind.factory(&all, cx.data_dir())),
        })?);
        if self.engine.set(Arc::clone(&engine)).is_err() {
            return Err(AgentError::msg("started twice"));
        }
        cx.spawn(tell_health(Arc::clone(&engine), cx.clone()));
        if let Some(mut alerts) = engine.alerts() {
            let cx2 = cx.clone();
            cx.spawn(async move {
                while let Some(alert) = alerts.recv().await {
                    if let Err(e) = cx2.health().alert(alert.key, Status::Bad, &alert.context).await {
                        tracing::warn!("alert {} not published: {e}", alert.key);
                    }
                }
            });
        }
        self.listen(&engine, &cx).await;
        Ok(())
    }

    /// Subscribes to what the configuration asks for and ends what it no longer does. What stays is untouched, so
    /// nothing is lost while reconfiguring.
    async fn listen(&self, engine: &Arc<Engine>, cx: &Cx) {
        let config = engine.config();
        let wanted = config.subscriptions();
        let mut listening = self.listening.lock().await;
        listening.retain(|key, task| {
            let keep = wanted.contains(key);
            if !keep {
                task.abort();
            }
            keep
        });
        for (rule, prefix) in wanted {
            if listening.contains_key(&(rule, prefix.clone())) {
                continue;
            }
            let options =
                SubscribeOptions { all_platforms: config.all_platforms, ..SubscribeOptions::default() };
            match cx.subscribe_with(&prefix, options).await {
                Ok(subscription) => {
                    let task = cx.spawn(take_in(Arc::clone(engine), rule, subscription));
                    listening.insert((rule, prefix), task);
                }
                Err(e) => tracing::error!("cannot subscribe to {prefix}: {e}"),
            }
        }
    }

    async fn on_config(self: Arc<Self>, cx: Cx, event: ConfigEvent) -> Result<(), AgentError> {
        let contents = match event.contents {
            None => Map::new(),
            Some(Value::Object(map)) => map,
            Some(_) => return Err(AgentError::msg("the entry `config` must be a map; it is ignored")),
        };
        *lock(&self.stored) = contents;
        let Some(engine) = self.engine.get() else { return Ok(()) };
        let all = self.effective();
        let store_part = Self::store_part_of(&all);
        let changed = std::mem::replace(&mut *lock(&self.store_part), store_part.clone()) != store_part;
        let factory = changed.then(|| self.kind.factory(&all, cx.data_dir()));
        engine.configure(Self::parse(&all), factory);
        self.listen(engine, &cx).await;
        Ok(())
    }

    fn running(&self) -> Result<&Arc<Engine>, RpcError> {
        self.engine.get().ok_or_else(|| RpcError::runtime_error("the historian is starting"))
    }

    async fn query(self: Arc<Self>, req: Request) -> Result<Value, RpcError> {
        let take = |name: &str| req.value(name).cloned().unwrap_or(Value::Null);
        let arguments = Arguments {
            topic: take("topic"),
            start: take("start"),
            end: take("end"),
            agg_type: take("agg_type"),
            agg_period: take("agg_period"),
            skip: take("skip"),
            count: take("count"),
            order: take("order"),
            topic_pattern: take("topic_pattern"),
        };
        let text = self.running()?.query(&arguments).await.map_err(|e| match e {
            AskError::Argument(e) => RpcError::exception(&format!("builtins.{}", e.exception), e.text),
            AskError::Query(e) => query_error(&e),
        })?;
        let small = text.len() <= LARGE_ANSWER_BYTES;
        let decode = move || serde_json::from_str(&text).map_err(|e| RpcError::runtime_error(e.to_string()));
        if small {
            return decode();
        }
        tokio::task::spawn_blocking(decode).await.map_err(|e| RpcError::runtime_error(e.to_string()))?
    }

    async fn insert(self: Arc<Self>, req: Request) -> Result<Value, RpcError> {
        let Some(Value::Array(list)) = req.value("records") else {
            return Err(RpcError::type_error("records must be a list of {topic, headers, message}"));
        };
        let mut records = Vec::with_capacity(list.len());
        for record in list {
            let part = |name: &str| record.get(name).ok_or_else(|| RpcError::key_error(name));
            let topic = part("topic")?.as_str().ok_or_else(|| RpcError::type_error("topic must be text"))?;
            let headers = match part("headers")? {
                Value::Object(headers) => headers.clone(),
                Value::Null => Map::new(),
                _ => return Err(RpcError::type_error("headers must be a map")),
            };
            records.push((topic.to_owned(), headers, part("message")?.clone()));
        }
        tracing::debug!("insert called by {} with {} records", req.caller.peer, records.len());
        match self.running()?.insert(&records).await {
            Ok(()) => Ok(Value::Null),
            Err(e @ (InsertError::ReadOnly | InsertError::Closed(_))) => {
                Err(RpcError::runtime_error(e.to_string()))
            }
        }
    }

    async fn read<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Reader) -> Result<R, QueryError> + Send + 'static,
    ) -> Result<R, RpcError> {
        self.running()?.read(f).await.map_err(|e| query_error(&e))
    }
}

fn query_error(e: &QueryError) -> RpcError {
    match e {
        QueryError::Invalid(text) => RpcError::value_error(text),
        QueryError::Cancelled => RpcError::timeout(e.to_string()),
        _ => RpcError::runtime_error(e.to_string()),
    }
}

/// Feeds one subscription to the engine. While the engine's queue is full this waits, so the subscription fills up and
/// counts what it loses.
async fn take_in(engine: Arc<Engine>, rule: Rule, mut subscription: crate::Subscription) {
    let mut lost = 0;
    while let Some(publication) = subscription.next().await {
        let lagged = subscription.lagged();
        engine.count_lost(lagged - lost);
        lost = lagged;
        match publication.json::<Value>() {
            Ok(message) => {
                let headers = publication.headers.as_map();
                if engine.capture(rule, &publication.topic, headers, &message).await.is_err() {
                    return;
                }
            }
            Err(e) => tracing::error!("not stored: {}: {e}", publication.topic),
        }
    }
}

async fn tell_health(engine: Arc<Engine>, cx: Cx) {
    let mut status = engine.status();
    loop {
        let now = status.borrow_and_update().clone();
        let word = if now.is_good() { Status::Good } else { Status::Bad };
        cx.health().set(word, now.context());
        if status.changed().await.is_err() {
            return;
        }
        // A change people care about goes out at once, mere counts in a calmer rhythm.
        if !status.borrow().differs_for_people(&now) {
            tokio::time::sleep(HEALTH_EVERY).await;
        }
    }
}

impl<K: HistorianKind> Agent for HistorianAgent<K> {
    const NAME: &'static str = K::NAME;

    fn register(b: &mut Registrar<Self>) {
        b.config("config", Actions::ALL, Self::on_config);
        b.on_start(Self::start);
        b.on_stop(|agent: Arc<Self>, _| async move {
            if let Some(engine) = agent.engine() {
                engine.stop().await;
            }
            Ok(())
        });
        register_methods(b);
    }
}

/// All methods are open to every authenticated peer, `insert` too: data movers of other platforms call it, and whoever
/// may connect may publish the same data anyway. Administrators restrict it through `platform.auth`.
fn register_methods<K: HistorianKind>(b: &mut Registrar<HistorianAgent<K>>) {
    let null = Value::Null;
    let query = Method::new("query", Access::Open)
        .optional("topic", null.clone())
        .optional("start", null.clone())
        .optional("end", null.clone())
        .optional("agg_type", null.clone())
        .optional("agg_period", null.clone())
        .optional("skip", 0)
        .optional("count", null.clone())
        .optional("order", "FIRST_TO_LAST")
        .optional("topic_pattern", null)
        .doc("Values of one or several topics between two times.");
    b.rpc(query, HistorianAgent::query);
    b.rpc(
        Method::new("insert", Access::Open)
            .param("records")
            .doc("Stores records; returns when they are durable."),
        HistorianAgent::insert,
    );
    b.rpc(
        Method::new("get_topic_list", Access::Open).doc("Names of all stored topics."),
        |agent: Arc<HistorianAgent<K>>, _| async move { agent.read(Reader::topic_list).await },
    );
    b.rpc(
        Method::new("get_topics_by_pattern", Access::Open)
            .param("topic_pattern")
            .doc("Names and ids of the topics matching a regular expression."),
        |agent: Arc<HistorianAgent<K>>, req: Request| async move {
            let pattern: String = req.arg("topic_pattern")?;
            let found = agent.read(move |r| r.topics_by_pattern(&pattern)).await?;
            Ok(found.into_iter().map(|(name, id)| (name, Value::from(id))).collect::<Map<_, _>>())
        },
    );
    b.rpc(
        Method::new("get_topics_metadata", Access::Open).param("topics").doc("Metadata of the known ones among topics."),
        |agent: Arc<HistorianAgent<K>>, req: Request| async move {
            let topics = req.value("topics").cloned().unwrap_or_default();
            let topics = texts(&topics).ok_or_else(|| {
                RpcError::value_error(format!(
                    "Please provide a valid topic name string or a list of topic names. Invalid input {topics}"
                ))
            })?;
            agent.read(move |r| r.topics_metadata(&topics)).await
        },
    );
    b.rpc(
        Method::new("get_aggregate_topics", Access::Open)
            .doc("Name, type, period and origin of all aggregates."),
        |agent: Arc<HistorianAgent<K>>, _| async move { agent.read(Reader::aggregate_topics).await },
    );
    b.rpc(
        Method::new("get_version", Access::Open).doc("Version of the historian."),
        |_: Arc<HistorianAgent<K>>, _| async move { Ok(K::VERSION) },
    );
}
