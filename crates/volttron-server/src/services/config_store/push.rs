//! Telling agents about changes, one after another per agent (subsystems.md section 11.7).
//!
//! A push waits until its change is on disk, then until the agent answered or 30 s passed. A push that fails is
//! logged: the agent asks for everything when it starts the next time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use volttron_client::{CallError, Cx};
use volttron_utils::jsonrpc::Params;

use super::entry::{Entry, parse};

/// How long one agent may take to digest one change.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most changes that wait for one agent; a write beyond that is refused.
pub(super) const QUEUE: usize = 1024;

/// What the agent is told.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Everything, to an agent that starts.
    Initial(Vec<(String, Arc<Entry>)>),
    /// One configuration was written.
    Set { action: &'static str, name: String, entry: Arc<Entry>, trigger: bool },
    /// One configuration was deleted.
    Delete { name: String, trigger: bool },
    /// The whole store was deleted.
    DeleteAll,
}

/// A change on its way to the agent.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) change: Change,
    /// Resolves when the change is durable; dropped if it could not be written, then nobody is told.
    pub(super) durable: oneshot::Receiver<()>,
    /// Told when the agent has answered, or never will.
    pub(super) done: oneshot::Sender<()>,
}

impl Change {
    fn call(self) -> (&'static str, Params) {
        let update = |args: Value, kwargs: Value| {
            let (Value::Array(args), Value::Object(kwargs)) = (args, kwargs) else { return Params::None };
            Params::Mixed { args, kwargs }
        };
        match self {
            Self::Initial(configs) => {
                let contents: Map<String, Value> =
                    configs.into_iter().map(|(name, entry)| (name, contents(&entry))).collect();
                ("config.initial_update", Params::Positional(vec![Value::Object(contents)]))
            }
            Self::Set { action, name, entry, trigger } => (
                "config.update",
                update(
                    json!([action, name]),
                    json!({"contents": contents(&entry), "trigger_callback": trigger}),
                ),
            ),
            Self::Delete { name, trigger } => {
                ("config.update", update(json!(["DELETE", name]), json!({"trigger_callback": trigger})))
            }
            Self::DeleteAll => {
                ("config.update", update(json!(["DELETE_ALL", null]), json!({"trigger_callback": true})))
            }
        }
    }
}

/// Entries are checked before they are stored, so this does not fail; null would be the missing link's value.
fn contents(entry: &Entry) -> Value {
    parse(entry.kind, &entry.data).unwrap_or_default()
}

/// The task that tells one agent, until the queue is dropped.
pub(super) async fn run(cx: Cx, identity: String, mut queue: mpsc::Receiver<Push>) {
    while let Some(push) = queue.recv().await {
        if push.durable.await.is_ok() {
            tell(&cx, &identity, push.change).await;
        }
        let _ = push.done.send(());
    }
}

async fn tell(cx: &Cx, identity: &str, change: Change) {
    // An agent that asks to be initialised is there, whatever the list says.
    if !cx.has_peer(identity) && !matches!(change, Change::Initial(_)) {
        return;
    }
    let (method, params) = change.call();
    let answer = cx.call(identity, method).params(params).timeout(PATIENCE).send_value().await;
    match answer {
        Ok(_) => {}
        Err(CallError::Unreachable { .. }) => {
            tracing::debug!("{identity} left before it was told about its configuration");
        }
        Err(error) => tracing::error!("{identity} was not told about its configuration: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Kind;
    use super::*;

    #[test]
    fn params_on_the_wire() {
        let entry = Arc::new(Entry { kind: Kind::Json, modified: None, data: "{\"a\": 1}".to_owned() });
        let wire = |change: Change| {
            let (method, params) = change.call();
            format!("{method} {}", volttron_utils::json::to_string(&params.into_value()).unwrap())
        };
        let set =
            Change::Set { action: "NEW", name: "dev/one".to_owned(), entry: entry.clone(), trigger: true };
        for (change, expected) in [
            (Change::Initial(vec![("c".to_owned(), entry)]), r#"config.initial_update [{"c": {"a": 1}}]"#),
            (
                set,
                r#"config.update {"*args": ["NEW", "dev/one"], "**kwargs": {"contents": {"a": 1}, "trigger_callback": true}}"#,
            ),
            (
                Change::Delete { name: "own".to_owned(), trigger: false },
                r#"config.update {"*args": ["DELETE", "own"], "**kwargs": {"trigger_callback": false}}"#,
            ),
            (
                Change::DeleteAll,
                r#"config.update {"*args": ["DELETE_ALL", null], "**kwargs": {"trigger_callback": true}}"#,
            ),
        ] {
            assert_eq!(wire(change), expected);
        }
    }
}
