//! Publish and subscribe over calls, service `pubsub`: for agents of platforms before 5.0, which know the bus only as a
//! peer of that name (PubSubWrapper of the original). Runs with the option `rpc-pubsub` only.
//!
//! Owns the subscriptions of such agents and turns each into one of its own at the router; what arrives goes out as
//! `pubsub.push` notifications. Must never publish what its caller may not publish itself: the router lets services
//! publish anything, so the caller's right is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use volttron_client::utils::headers::Headers;
use volttron_client::{
    Access, Agent, Cx, Method, PeerEvent, Publication, Registrar, Request, RpcError, SubscribeOptions,
};
use volttron_router::Policy;

use crate::auth::AuthState;

/// Most subscriptions of all old agents together. Past it `pubsub.subscribe` fails.
const MAX_SUBSCRIPTIONS: usize = 10_000;

/// Bus and prefix.
type Key = (String, String);

struct Topic {
    peers: BTreeSet<String>,
    /// Ends the task that serves it.
    over: CancellationToken,
}

/// The service.
pub struct RpcPubSub {
    auth: AuthState,
    topics: Mutex<BTreeMap<Key, Topic>>,
}

impl RpcPubSub {
    /// For a platform with these rules.
    pub fn new(auth: AuthState) -> Self {
        Self { auth, topics: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `peer`; true if the router has to be told.
    fn add(&self, key: &Key, peer: &str) -> Result<Option<CancellationToken>, RpcError> {
        let mut topics = self.lock();
        let count: usize = topics.values().map(|topic| topic.peers.len()).sum();
        if count >= MAX_SUBSCRIPTIONS {
            let text = format!("{MAX_SUBSCRIPTIONS} subscriptions through calls exist already");
            return Err(RpcError::runtime_error(text));
        }
        if let Some(topic) = topics.get_mut(key) {
            topic.peers.insert(peer.to_owned());
            return Ok(None);
        }
        let over = CancellationToken::new();
        let topic = Topic { peers: BTreeSet::from([peer.to_owned()]), over: over.clone() };
        topics.insert(key.clone(), topic);
        Ok(Some(over))
    }

    /// Takes `peer` off every topic that `gone` accepts.
    fn remove(&self, peer: &str, gone: impl Fn(&Key) -> bool) {
        self.lock().retain(|key, topic| {
            if gone(key) {
                topic.peers.remove(peer);
            }
            if topic.peers.is_empty() {
                topic.over.cancel();
            }
            !topic.peers.is_empty()
        });
    }

    /// Who gets what arrived for `key`: everybody subscribed whose shortest matching prefix this is, so that each gets it
    /// once.
    fn audience(&self, key: &Key, topic: &str) -> Vec<String> {
        let topics = self.lock();
        let (bus, prefix) = key;
        let Some(own) = topics.get(key) else { return Vec::new() };
        let shorter = |peer: &&String| {
            !topics.iter().any(|((b, p), t)| {
                b == bus && p.len() < prefix.len() && topic.starts_with(p.as_str()) && t.peers.contains(*peer)
            })
        };
        own.peers.iter().filter(shorter).cloned().collect()
    }

    async fn subscribe(self: &Arc<Self>, cx: &Cx, peer: &str, key: Key) -> Result<(), RpcError> {
        let Some(over) = self.add(&key, peer)? else { return Ok(()) };
        let options = SubscribeOptions { bus: key.0.clone(), ..SubscribeOptions::default() };
        let mut subscription = match cx.subscribe_with(&key.1, options).await {
            Ok(subscription) => subscription,
            Err(error) => {
                self.remove(peer, |k| *k == key);
                return Err(error.into());
            }
        };
        let (me, cx) = (self.clone(), cx.clone());
        cx.clone().spawn(async move {
            loop {
                let publication = tokio::select! {
                    () = over.cancelled() => return,
                    publication = subscription.next() => publication,
                };
                let Some(publication) = publication else { return };
                for peer in me.audience(&key, &publication.topic) {
                    push(&cx, &peer, &publication).await;
                }
            }
        });
        Ok(())
    }

    async fn on_subscribe(self: Arc<Self>, r: Request) -> Result<(), RpcError> {
        let bus: String = r.arg("bus")?;
        for prefix in texts(r.value("prefix"))? {
            self.subscribe(&r.cx, &r.caller.peer, (bus.clone(), prefix)).await?;
        }
        Ok(())
    }

    fn on_unsubscribe(&self, r: &Request) -> Result<(), RpcError> {
        let bus: String = r.arg("bus")?;
        let prefixes = match r.value("prefix") {
            None | Some(Value::Null) => None,
            some => Some(texts(some)?),
        };
        let named = |prefix: &String| prefixes.as_ref().is_none_or(|all| all.contains(prefix));
        self.remove(&r.caller.peer, |(b, prefix)| *b == bus && named(prefix));
        Ok(())
    }

    /// Makes the caller's subscriptions those of `items`: bus to prefixes, in newer clients below a platform's name.
    async fn on_sync(self: Arc<Self>, r: Request) -> Result<(), RpcError> {
        let mut wanted = BTreeSet::new();
        for (name, value) in r.arg::<Map<String, Value>>("items")? {
            let buses = match value {
                Value::Object(buses) => buses,
                prefixes => Map::from_iter([(name, prefixes)]),
            };
            for (bus, prefixes) in buses {
                let prefixes = texts(Some(&prefixes))?;
                wanted.extend(prefixes.into_iter().map(|prefix| (bus.clone(), prefix)));
            }
        }
        self.remove(&r.caller.peer, |key| !wanted.contains(key));
        for key in wanted {
            self.subscribe(&r.cx, &r.caller.peer, key).await?;
        }
        Ok(())
    }

    fn on_list(&self, r: &Request) -> Result<Vec<(String, String, bool)>, RpcError> {
        let (prefix, bus): (String, Option<String>) = (r.arg("prefix")?, r.arg("bus")?);
        let (subscribed, reverse): (bool, bool) = (r.arg("subscribed")?, r.arg("reverse")?);
        let topics = self.lock();
        let rows = topics.iter().filter_map(|((b, topic), entry)| {
            let member = entry.peers.contains(&r.caller.peer);
            let begins =
                if reverse { prefix.starts_with(topic.as_str()) } else { topic.starts_with(&prefix) };
            let wanted = bus.as_ref().is_none_or(|bus| bus == b) && begins && (member || !subscribed);
            wanted.then(|| (b.clone(), topic.clone(), member))
        });
        Ok(rows.collect())
    }

    async fn on_publish(self: Arc<Self>, r: Request) -> Result<u32, RpcError> {
        let (topic, bus): (String, String) = (r.arg("topic")?, r.arg("bus")?);
        if let Err(denied) = self.auth.publish(&r.caller.user, &topic) {
            let text = format!(
                "to publish to topic \"{topic}\" requires capabilities {:?}, but capability list {} was provided",
                denied.required, denied.provided_repr
            );
            return Err(RpcError::unauthorized(text));
        }
        let headers: Option<Map<String, Value>> = r.arg("headers")?;
        let headers = Headers::from(headers.unwrap_or_default());
        let message = r.value("message").cloned().unwrap_or_default();
        Ok(r.cx.publish_on_bus(&bus, &topic, headers, &message).await?)
    }

    /// Forgets agents that left.
    async fn follow_peers(self: Arc<Self>, cx: Cx) {
        let mut events = cx.peer_events();
        loop {
            match events.recv().await {
                Ok(PeerEvent::Dropped(peer)) => self.remove(&peer, |_| true),
                Ok(PeerEvent::Added(_)) => {}
                Err(RecvError::Lagged(_)) => {
                    let present = cx.peers();
                    let known: BTreeSet<String> =
                        self.lock().values().flat_map(|topic| topic.peers.clone()).collect();
                    for peer in known.difference(&present) {
                        self.remove(peer, |_| true);
                    }
                }
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// One delivery. Old agents do not answer it.
async fn push(cx: &Cx, peer: &str, p: &Publication) {
    let message: Value = p.json().unwrap_or_default();
    let headers = Value::from(p.headers.clone());
    let call =
        cx.call(peer, "pubsub.push").arg(&p.sender).arg(&p.bus).arg(&p.topic).arg(headers).arg(message);
    // Gone, or the platform stops; the list of peers tells.
    if let Err(error) = call.notify().await {
        tracing::debug!("push to '{peer}': {error}");
    }
}

/// One text or a list of texts.
fn texts(value: Option<&Value>) -> Result<Vec<String>, RpcError> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let all = match value {
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(one) => text(one).map(|one| vec![one]),
        None => None,
    };
    all.ok_or_else(|| RpcError::type_error("prefixes must be text or a list of texts"))
}

impl Agent for RpcPubSub {
    const NAME: &'static str = "PubSubWrapper";

    fn register(b: &mut Registrar<Self>) {
        let open = |name: &str| Method::new(name, Access::Open);
        b.rpc(open("pubsub.sync").param("items"), Self::on_sync)
            .rpc(open("pubsub.subscribe").param("prefix").optional("bus", ""), Self::on_subscribe)
            .rpc(
                open("pubsub.unsubscribe").param("prefix").optional("bus", ""),
                |me: Arc<Self>, r: Request| async move { me.on_unsubscribe(&r) },
            )
            .rpc(
                open("pubsub.list")
                    .optional("prefix", "")
                    .optional("bus", "")
                    .optional("subscribed", true)
                    .optional("reverse", false),
                |me: Arc<Self>, r: Request| async move { me.on_list(&r) },
            )
            .rpc(
                open("pubsub.publish")
                    .param("topic")
                    .param("headers")
                    .optional("message", json!(null))
                    .optional("bus", ""),
                Self::on_publish,
            )
            .on_start(|me, cx: Cx| async move {
                cx.spawn(me.follow_peers(cx.clone()));
                Ok(())
            });
    }
}

#[cfg(test)]
#[path = "rpc_pubsub_tests.rs"]
mod tests;
