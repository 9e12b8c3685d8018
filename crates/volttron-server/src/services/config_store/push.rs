//! Telling agents about changes, one after another per agent (subsystems.md section 11.7).
//!
//! What is told is on disk already. A push waits until the agent answered or 30 s passed; one that fails is logged and
//! counted: the agent asks for everything when it starts the next time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use volttron_client::{CallError, CallErrorKind, Cx};
use volttron_utils::jsonrpc::Params;

use super::counters::{Counters, count};
use super::edit::Change;
use super::entry::{Entry, parse};

/// How long one agent may take to digest one push.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most pushes that wait for one agent; a write beyond that is refused.
const QUEUE: usize = 1024;
/// Most changes that wait for one agent before further writes are refused. One transaction may go beyond.
const BACKLOG: usize = 65_536;
/// Most changes, and about the most bytes of text, that one message tells an agent of ours.
const CHUNK: (usize, usize) = (512, 1 << 20);

/// What the agent is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum News {
    /// Everything, to an agent that starts.
    Initial(Vec<(String, Arc<Entry>)>),
    /// What one transaction did, in the order to tell it.
    Changes {
        /// One for each configuration.
        changes: Vec<Change>,
        /// Whether its handlers are to hear of it.
        trigger: bool,
    },
    /// The whole store was deleted.
    DeleteAll,
}

impl News {
    fn len(&self) -> usize {
        match self {
            Self::Initial(_) | Self::DeleteAll => 1,
            Self::Changes { changes, .. } => changes.len(),
        }
    }
}

struct Push {
    news: News,
    /// Told when the agent has answered, or never will.
    done: oneshot::Sender<()>,
}

/// The way to one agent.
#[derive(Clone)]
pub(super) struct Queue {
    pushes: mpsc::Sender<Push>,
    /// Changes that wait in it.
    backlog: Arc<AtomicUsize>,
}

/// A place in an agent's queue, taken before a change is made so that the change cannot be left without one.
pub(super) struct Room {
    place: mpsc::OwnedPermit<Push>,
    backlog: Arc<AtomicUsize>,
}

impl Queue {
    /// Starts the task that tells one agent; it ends when the queue is dropped.
    pub(super) fn start(cx: &Cx, identity: &str, counters: &Arc<Counters>) -> Self {
        let (pushes, queue) = mpsc::channel(QUEUE);
        let backlog = Arc::default();
        let agent = Told {
            cx: cx.clone(),
            identity: identity.to_owned(),
            counters: counters.clone(),
            backlog: Arc::clone(&backlog),
        };
        cx.spawn(agent.run(queue));
        Self { pushes, backlog }
    }

    /// A place for one push; none if too much waits already.
    pub(super) fn reserve(&self) -> Option<Room> {
        if self.backlog.load(Ordering::Relaxed) >= BACKLOG {
            return None;
        }
        let place = self.pushes.clone().try_reserve_owned().ok()?;
        Some(Room { place, backlog: self.backlog.clone() })
    }
}

impl Room {
    /// Queues the push. Resolves when the agent has answered or never will.
    pub(super) fn push(self, news: News) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        self.backlog.fetch_add(news.len(), Ordering::Relaxed);
        self.place.send(Push { news, done });
        told
    }
}

/// One agent, as the task that tells it sees it.
struct Told {
    cx: Cx,
    identity: String,
    counters: Arc<Counters>,
    backlog: Arc<AtomicUsize>,
}

impl Told {
    async fn run(self, mut queue: mpsc::Receiver<Push>) {
        while let Some(push) = queue.recv().await {
            let changes = push.news.len();
            // An agent that asks to be initialised is there, whatever the list says.
            if self.cx.has_peer(&self.identity) || matches!(push.news, News::Initial(_)) {
                self.tell(push.news).await;
            }
            self.backlog.fetch_sub(changes, Ordering::Relaxed);
            let _ = push.done.send(());
        }
    }

    async fn tell(&self, news: News) {
        match news {
            News::Initial(configs) => {
                let contents: Map<String, Value> =
                    configs.into_iter().map(|(name, entry)| (name, contents(&entry))).collect();
                let params = Params::Positional(vec![Value::Object(contents)]);
                self.report(self.call("config.initial_update", params).await, 1);
            }
            News::DeleteAll => {
                let params = update(json!(["DELETE_ALL", null]), json!({"trigger_callback": true}));
                self.report(self.call("config.update", params).await, 1);
            }
            News::Changes { changes, trigger } => self.tell_changes(changes, trigger).await,
        }
    }

    /// An agent of ours takes many changes at once; others take one after another, as from the original.
    async fn tell_changes(&self, changes: Vec<Change>, trigger: bool) {
        let mut rest = changes.as_slice();
        while rest.len() > 1 {
            let (chunk, later) = rest.split_at(chunk_len(rest));
            match self.call("config.update_many", many(chunk, trigger)).await {
                Err(CallError::Remote(error)) => {
                    // Whatever was wrong with one of them should not keep the others back.
                    tracing::debug!("{} takes no changes together: {error}", self.identity);
                    break;
                }
                Err(error) if error.kind() == CallErrorKind::NoSuchMethod => break,
                answer => self.report(answer, chunk.len()),
            }
            rest = later;
        }
        for change in rest {
            // One that left in between gets everything when it comes back.
            if !self.cx.has_peer(&self.identity) {
                return;
            }
            self.report(self.call("config.update", one(change, trigger)).await, 1);
        }
    }

    async fn call(&self, method: &str, params: Params) -> Result<Value, CallError> {
        self.cx.call(&self.identity, method).params(params).timeout(PATIENCE).send_value().await
    }

    fn report(&self, answer: Result<Value, CallError>, changes: usize) {
        let counter = match answer {
            Ok(_) => &self.counters.pushed,
            Err(CallError::Unreachable { .. }) => {
                tracing::debug!("{} left before it was told about its configuration", self.identity);
                &self.counters.pushes_failed
            }
            Err(error) => {
                tracing::error!("{} was not told about its configuration: {error}", self.identity);
                &self.counters.pushes_failed
            }
        };
        count(counter, changes);
    }
}

/// How many of the changes go into one message; at least one.
fn chunk_len(changes: &[Change]) -> usize {
    let mut bytes = 0;
    let fits = |change: &&Change| {
        let before = bytes;
        bytes += match change {
            Change::Set { entry, .. } => entry.data.len(),
            Change::Delete { .. } => 0,
        };
        before < CHUNK.1
    };
    changes.iter().take(CHUNK.0).take_while(fits).count()
}

fn update(args: Value, kwargs: Value) -> Params {
    let (Value::Array(args), Value::Object(kwargs)) = (args, kwargs) else { return Params::None };
    Params::Mixed { args, kwargs }
}

fn one(change: &Change, trigger: bool) -> Params {
    let (action, name) = change.parts();
    let kwargs = match change {
        Change::Set { entry, .. } => json!({"contents": contents(entry), "trigger_callback": trigger}),
        Change::Delete { .. } => json!({"trigger_callback": trigger}),
    };
    update(json!([action, name]), kwargs)
}

fn many(changes: &[Change], trigger: bool) -> Params {
    let triple = |change: &Change| {
        let (action, name) = change.parts();
        match change {
            Change::Set { entry, .. } => json!([action, name, contents(entry)]),
            Change::Delete { .. } => json!([action, name, null]),
        }
    };
    let all: Vec<Value> = changes.iter().map(triple).collect();
    update(json!([all]), json!({"trigger_callback": trigger}))
}

/// Entries are checked before they are stored, so this does not fail; null would be the missing link's value.
fn contents(entry: &Entry) -> Value {
    parse(entry.kind, &entry.data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::entry::Kind;
    use super::*;

    fn set(name: &str, data: &str) -> Change {
        let entry = Arc::new(Entry { kind: Kind::Json, modified: None, data: data.to_owned() });
        Change::Set { action: "NEW", name: name.to_owned(), entry }
    }

    #[test]
    fn params_on_the_wire() {
        let wire = |params: Params| volttron_utils::json::to_string(&params.into_value()).unwrap();
        let (set, delete) = (set("dev/one", "{\"a\": 1}"), Change::Delete { name: "own".to_owned() });
        for (params, expected) in [
            (
                one(&set, true),
                r#"{"*args": ["NEW", "dev/one"], "**kwargs": {"contents": {"a": 1}, "trigger_callback": true}}"#,
            ),
            (one(&delete, false), r#"{"*args": ["DELETE", "own"], "**kwargs": {"trigger_callback": false}}"#),
            (
                many(&[set, delete], true),
                r#"{"*args": [[["NEW", "dev/one", {"a": 1}], ["DELETE", "own", null]]], "**kwargs": {"trigger_callback": true}}"#,
            ),
        ] {
            assert_eq!(wire(params), expected);
        }
    }

    #[test]
    fn messages_are_cut_by_number_and_by_size() {
        let many: Vec<Change> = (0..2000).map(|i| set(&i.to_string(), "{}")).collect();
        assert_eq!((chunk_len(&many), chunk_len(&many[..3])), (CHUNK.0, 3));
        let big = format!("[\"{}\"]", "x".repeat(CHUNK.1 / 2));
        let big: Vec<Change> = (0..5).map(|i| set(&i.to_string(), &big)).collect();
        assert_eq!(chunk_len(&big), 2);
        assert_eq!(chunk_len(&[set("one", &"x".repeat(CHUNK.1 * 2))]), 1);
    }
}
