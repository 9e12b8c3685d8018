//! Publish and subscribe (subsystems.md section 5): requests to the router, deliveries from it.
//!
//! Owns the table of local subscriptions, matching, their queues, and `synchronize` after each connection. Must never
//! parse a publication's message; receivers do, into the type they want.

mod publish;
mod subscription;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use volttron_utils::headers::Headers;
use volttron_utils::json::{self as wire_json, JsonError};
use volttron_utils::vip::{subsystem, typed};

use subscription::{Entry, Queue};
pub use subscription::{SubscribeOptions, Subscription};

use crate::link::Message;
use crate::requests::Answer;
use crate::{CallError, Cx};

/// How long we wait for the router to confirm a publish or subscribe.
const ROUTER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often deliveries that match nothing may cause another `synchronize`.
const RESYNC_EVERY: Duration = Duration::from_secs(5);

/// What somebody published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Publication {
    /// Identity of the publisher.
    pub sender: String,
    /// Bus name, normally empty.
    pub bus: String,
    /// The topic.
    pub topic: String,
    /// Headers, as sent.
    pub headers: Headers,
    /// The message as JSON text.
    pub message: Bytes,
}

impl Publication {
    /// The message as `T`. Python's NaN and infinities read as null.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        wire_json::from_slice(&self.message)
    }
}

/// The subscriptions of one agent.
#[derive(Debug, Default)]
pub(crate) struct State {
    entries: Mutex<Vec<Entry>>,
    next: AtomicU64,
    last_resync: Mutex<Option<Instant>>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a subscription locally.
    fn add(&self, prefix: &str, options: &SubscribeOptions) -> (u64, Arc<Queue>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue::new(options.capacity));
        self.lock().push(Entry {
            id,
            prefix: prefix.to_owned(),
            bus: options.bus.clone(),
            all_platforms: options.all_platforms,
            queue: queue.clone(),
        });
        (id, queue)
    }

    /// Forgets a subscription; returns it if no other one needs the same at the router.
    fn remove(&self, id: u64) -> Option<Entry> {
        let mut entries = self.lock();
        let at = entries.iter().position(|e| e.id == id)?;
        let gone = entries.remove(at);
        gone.queue.close();
        entries.iter().all(|e| !e.same_at_router(&gone)).then_some(gone)
    }

    /// Closes every queue: the agent ends.
    pub(crate) fn close(&self) {
        for entry in self.lock().drain(..) {
            entry.queue.close();
        }
    }

    /// All subscriptions as `synchronize` sends them: platform, bus, prefixes. One message for all buses.
    fn document(&self) -> Value {
        let mut platforms: BTreeMap<bool, BTreeMap<String, Vec<Value>>> = BTreeMap::new();
        for e in self.lock().iter() {
            let prefixes = platforms.entry(e.all_platforms).or_default().entry(e.bus.clone()).or_default();
            let prefix = Value::from(e.prefix.as_str());
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        let mut out = Map::new();
        for (all, buses) in platforms {
            let buses: Map<String, Value> = buses.into_iter().map(|(b, p)| (b, Value::Array(p))).collect();
            out.insert(platform_key(all).to_owned(), Value::Object(buses));
        }
        json!({ "subscriptions": out })
    }

    /// Puts a delivery into every matching queue. Returns how many matched.
    fn deliver(&self, cx: &Cx, publication: Publication) -> usize {
        let entries = self.lock();
        let matching: Vec<&Entry> = entries.iter().filter(|e| e.matches(&publication)).collect();
        let Some((last, others)) = matching.split_last() else { return 0 };
        let copies = others.iter().map(|e| e.queue.push(publication.clone())).filter(|full| *full).count();
        let lagged = copies + usize::from(last.queue.push(publication));
        cx.0.meter.publications_lagged.add(lagged as u64);
        matching.len()
    }
}

fn platform_key(all_platforms: bool) -> &'static str {
    if all_platforms { "all" } else { "internal" }
}

impl Cx {
    /// Subscribes to every topic that begins with `prefix` (plain text prefix; empty = everything) and waits for the
    /// router's confirmation. While not connected it succeeds at once and takes effect at the next connection.
    pub async fn subscribe(&self, prefix: &str) -> Result<Subscription, CallError> {
        self.subscribe_with(prefix, SubscribeOptions::default()).await
    }

    /// As [`Cx::subscribe`], on another bus, from all platforms, or with another queue length.
    pub async fn subscribe_with(
        &self,
        prefix: &str,
        options: SubscribeOptions,
    ) -> Result<Subscription, CallError> {
        check_text(prefix)?;
        check_text(&options.bus)?;
        let subscription = self.subscribe_local(prefix, &options);
        if !self.connected() {
            return Ok(subscription);
        }
        let body = json!({ "prefix": prefix, "bus": options.bus, "all_platforms": options.all_platforms });
        match self.pubsub_request("subscribe", vec![to_frame(&body)?]).await {
            Ok(value) if typed::as_bool(&value) == Some(true) => Ok(subscription),
            Ok(_) => Err(CallError::BadReply {
                peer: String::new(),
                what: "pubsub subscribe".into(),
                why: "the router refused".into(),
            }),
            // The next connection synchronises what we have.
            Err(CallError::Disconnected) => Ok(subscription),
            Err(error) => Err(error),
        }
    }

    /// Registers a subscription that the next `synchronize` announces.
    pub(crate) fn subscribe_local(&self, prefix: &str, options: &SubscribeOptions) -> Subscription {
        let (id, queue) = self.0.pubsub.add(prefix, options);
        Subscription::new(self.clone(), id, queue)
    }

    /// Ends a subscription and waits for the router's confirmation. Dropping a [`Subscription`] ends it as well,
    /// without waiting.
    pub async fn unsubscribe(&self, subscription: Subscription) -> Result<(), CallError> {
        let Some(gone) = self.0.pubsub.remove(subscription.id()) else { return Ok(()) };
        match self.pubsub_request("unsubscribe", vec![to_frame(&gone.unsubscribe_body())?]).await {
            // Not connected: the router forgot us already.
            Ok(_) | Err(CallError::Disconnected) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends a dropped subscription: the router is told if there is room in the queue, else it learns of it when a
    /// delivery matches nothing here.
    pub(crate) fn forget_subscription(&self, id: u64) {
        let Some(gone) = self.0.pubsub.remove(id) else { return };
        if self.connected()
            && let Ok(body) = to_frame(&gone.unsubscribe_body())
        {
            let message = Message::new("", subsystem::PUBSUB)
                .with_id(self.0.requests.fresh_id())
                .arg("unsubscribe")
                .arg(body);
            self.try_send(message);
        }
    }

    /// The router's list of subscriptions: `(bus, prefix, is it ours)` (subsystems.md section 5.4).
    pub async fn subscriptions_at_router(
        &self,
        prefix: &str,
        bus: &str,
    ) -> Result<Vec<(String, String, bool)>, CallError> {
        let body = json!({
            "prefix": prefix, "all_platforms": false, "subscribed": false, "reverse": false, "bus": bus,
        });
        let value = self.pubsub_request("list", vec![to_frame(&body)?]).await?;
        wire_json::from_slice(&value).map_err(|e| CallError::BadReply {
            peer: String::new(),
            what: "pubsub list".into(),
            why: e.to_string(),
        })
    }

    /// One request to the pubsub service; the value of its reply.
    async fn pubsub_request(&self, op: &'static str, args: Vec<Bytes>) -> Result<Bytes, CallError> {
        let exchange = self.exchange("", subsystem::PUBSUB, op, ROUTER_TIMEOUT, |_| {
            let mut all = vec![Bytes::from_static(op.as_bytes())];
            all.extend(args);
            Ok(all)
        });
        match exchange.await? {
            // [kind, value]; the kind says only which operation it was.
            Answer::Args(mut args) if args.len() >= 2 => Ok(args.swap_remove(1)),
            other => Err(CallError::BadReply {
                peer: String::new(),
                what: format!("pubsub {op}"),
                why: format!("{other:?}"),
            }),
        }
    }

    /// Tells the router all our subscriptions: after each connection, and when it delivers what we did not ask for.
    pub(crate) async fn synchronize(&self) -> Result<(), CallError> {
        let body = to_frame(&self.0.pubsub.document())?;
        let id = self.0.requests.fresh_id();
        let args = vec![Bytes::from_static(b"synchronize"), Bytes::from_static(b"connected"), body];
        self.send_frames("", subsystem::PUBSUB, &id, args).await
    }

    /// Takes a pubsub message: a delivery, or the reply to a request.
    pub(crate) fn on_pubsub(&self, message: &Message) {
        match message.args.first().map(Bytes::as_ref) {
            // Only the router delivers; another peer that tries is not a bus.
            Some(b"publish") if message.peer.is_empty() => self.on_delivery(&message.args),
            Some(b"request_response" | b"list_response") => {
                let answer = Answer::Args(message.args.clone());
                if !self.0.requests.complete(&message.id, &message.peer, answer) {
                    self.0.meter.unexpected.add(1);
                }
            }
            _ => self.0.meter.malformed.add(1),
        }
    }

    fn on_delivery(&self, args: &[Bytes]) {
        let Some(publication) = parse_delivery(args) else {
            self.0.meter.malformed.add(1);
            tracing::debug!("dropped a delivery that cannot be read");
            return;
        };
        if self.0.pubsub.deliver(self, publication) > 0 {
            return;
        }
        self.0.meter.publications_unmatched.add(1);
        // The router thinks we want it: tell it what we want. Not for each message: a burst may be under way.
        let mut last = self.0.pubsub.last_resync.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= RESYNC_EVERY)
            && let Ok(body) = to_frame(&self.0.pubsub.document())
        {
            *last = Some(Instant::now());
            let message = Message::new("", subsystem::PUBSUB)
                .with_id(self.0.requests.fresh_id())
                .arg("synchronize")
                .arg("connected")
                .arg(body);
            self.try_send(message);
        }
    }
}

/// `[publish, topic, {"sender", "bus", "headers", "message"}]` (subsystems.md section 5.3).
pub(crate) fn parse_delivery(args: &[Bytes]) -> Option<Publication> {
    let [_, topic, body, ..] = args else { return None };
    let members = wire_json::split_object(body).ok()?;
    let text = |key: &str| members.get(key).and_then(|raw| wire_json::from_latin1::<String>(raw).ok());
    let headers = match members.get("headers") {
        Some(raw) => wire_json::from_latin1::<Option<Headers>>(raw).ok()?.unwrap_or_default(),
        None => Headers::default(),
    };
    Some(Publication {
        sender: text("sender")?,
        bus: text("bus").unwrap_or_default(),
        topic: typed::text(topic).into_owned(),
        headers,
        message: members
            .get("message")
            .map_or_else(|| Bytes::from_static(b"null"), |raw| body.slice_ref(raw)),
    })
}

pub(crate) fn to_frame(value: &Value) -> Result<Bytes, CallError> {
    wire_json::to_vec(value).map(Bytes::from).map_err(|e| CallError::BadParams(e.to_string()))
}

/// Prefixes and bus names travel inside JSON, but are compared with topics, which are ISO-8859-1.
fn check_text(text: &str) -> Result<(), CallError> {
    if typed::latin1(text).is_some() {
        return Ok(());
    }
    Err(CallError::BadParams(format!("{text:?} is not ISO-8859-1 text, no topic can begin with it")))
}
