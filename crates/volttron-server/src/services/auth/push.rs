//! Telling agents about changed rules (auth.md section 6.3): the capabilities of all users to everyone, and the
//! method requirements of an entry to its agent. The router needs no message: it asks the rules themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::task::JoinSet;
use volttron_client::{CallError, Cx};
use volttron_utils::identity;

use super::AuthService;
use crate::auth::AuthState;
use crate::auth::file::{AuthFile, List};

/// How long an agent may take to answer.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Pushes under way. Beyond it the next waits for one to end, so one agent that does not answer costs others nothing
/// until there are as many of them.
const MAX_UNDER_WAY: usize = 1024;

type Requirements = HashMap<String, Map<String, Value>>;

/// What agents were told, or know because they said it themselves.
#[derive(Debug)]
pub struct Pushed(Mutex<Told>);

#[derive(Debug)]
struct Told {
    users: Map<String, Value>,
    requirements: Requirements,
}

/// What is new for agents.
#[derive(Debug, Default, PartialEq)]
struct News {
    users: Option<Map<String, Value>>,
    requirements: Requirements,
}

impl Pushed {
    /// Agents that connect from now on find the present rules by asking.
    pub fn new(state: &AuthState) -> Self {
        let snapshot = state.snapshot();
        Self(Mutex::new(Told { users: snapshot.table.users(), requirements: requirements(&snapshot.file) }))
    }

    /// The agent `identity` knows its requirements as they are now.
    pub fn knows(&self, identity: &str, state: &AuthState) {
        let mut now = requirements(&state.snapshot().file);
        if let Some(known) = now.remove(identity) {
            self.told().requirements.insert(identity.to_owned(), known);
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What changed since the last call; from now on it counts as told.
    fn news(&self, state: &AuthState) -> News {
        let snapshot = state.snapshot();
        let (users, requirements) = (snapshot.table.users(), requirements(&snapshot.file));
        let mut told = self.told();
        let mut news = News::default();
        if told.users != users {
            news.users = Some(users.clone());
        }
        for (identity, methods) in &requirements {
            if told.requirements.get(identity) != Some(methods) {
                news.requirements.insert(identity.clone(), methods.clone());
            }
        }
        *told = Told { users, requirements };
        news
    }
}

/// Method requirements by identity, without empty lists and without the platform's services.
fn requirements(file: &AuthFile) -> Requirements {
    let mut all = Requirements::new();
    for entry in file.entries(List::Allow) {
        let Some(identity) = entry.identity.as_deref().filter(|id| !identity::belongs_to_process(id)) else {
            continue;
        };
        let set = entry
            .rpc_method_authorizations
            .iter()
            .filter(|(method, _)| !entry.required_for(method).is_empty());
        let methods: Map<String, Value> = set.map(|(m, names)| (m.clone(), names.clone())).collect();
        if !methods.is_empty() {
            all.entry(identity.to_owned()).or_default().extend(methods);
        }
    }
    all
}

/// Pushes after every change, for as long as the service runs.
pub async fn run(service: Arc<AuthService>, cx: Cx) {
    let mut changes = service.state.changes();
    let mut under_way = JoinSet::new();
    while changes.changed().await.is_ok() {
        let news = service.pushed.news(&service.state);
        if news == News::default() {
            continue;
        }
        let peers = match cx.peerlist().await {
            Ok(peers) => peers,
            Err(e) => {
                tracing::warn!("agents cannot be told about changed authorizations: {e}");
                continue;
            }
        };
        for peer in peers {
            // The services of this process look at the rules themselves.
            if identity::belongs_to_process(&peer) || identity::is_control_connection(&peer) {
                continue;
            }
            let requirements = news.requirements.get(&peer).cloned();
            if news.users.is_none() && requirements.is_none() {
                continue;
            }
            if under_way.len() >= MAX_UNDER_WAY {
                under_way.join_next().await;
            }
            under_way.spawn(tell(cx.clone(), peer, news.users.clone(), requirements));
            while under_way.try_join_next().is_some() {}
        }
    }
}

async fn tell(
    cx: Cx,
    peer: String,
    users: Option<Map<String, Value>>,
    requirements: Option<Map<String, Value>>,
) {
    if let Some(users) = users
        && let Err(e) = cx.call(&peer, "auth.update").arg(users).timeout(TIMEOUT).send_value().await
    {
        tracing::debug!("auth.update to {peer}: {e}");
    }
    let Some(requirements) = requirements else { return };
    let all =
        cx.call(&peer, "auth.set_multiple_rpc_authorizations").named("rpc_authorizations", &requirements);
    match all.timeout(TIMEOUT).send_value().await {
        Ok(_) => {}
        // An older agent knows only the method for one.
        Err(CallError::NoSuchMethod { .. } | CallError::Remote(_)) => {
            tell_each(&cx, &peer, requirements).await;
        }
        Err(e) => tracing::warn!("{peer} was not told the requirements of its methods: {e}"),
    }
}

async fn tell_each(cx: &Cx, peer: &str, requirements: Map<String, Value>) {
    for (method, names) in requirements {
        let call = cx
            .call(peer, "auth.set_rpc_authorizations")
            .named("method_str", &method)
            .named("capabilities", names);
        if let Err(e) = call.timeout(TIMEOUT).send_value().await {
            tracing::warn!("{peer} was not told the requirements of its method {method}: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;
    use volttron_utils::home::Home;

    use super::*;
    use crate::auth::AuthOptions;
    use crate::auth::entry::Entry;

    #[test]
    fn only_what_changed_is_news() {
        let dir = tempfile::tempdir().unwrap();
        let state = AuthState::open(&Home::new(dir.path()).unwrap(), AuthOptions::default()).unwrap();
        let pushed = Pushed::new(&state);
        let set = |identity: &str, capability: Option<&str>, methods: Value| {
            let mut entry = Entry::curve(identity, &format!("{identity:A<43}"));
            entry.rpc_method_authorizations = serde_json::from_value(methods).unwrap();
            if let Some(name) = capability {
                entry = entry.with_capability(name, Value::Null);
            }
            state.change(|f| Ok::<_, Infallible>(f.put_by_user_id(entry))).unwrap();
        };
        set("a", None, json!({"m": ["c"], "empty": []}));
        let news = pushed.news(&state);
        assert!(news.users.is_some());
        assert_eq!(json!(news.requirements), json!({"a": {"m": ["c"]}}));
        assert_eq!(pushed.news(&state), News::default());
        set("a", None, json!({"m": [""]}));
        let news = pushed.news(&state);
        assert_eq!((news.users, json!(news.requirements)), (None, json!({"a": {"m": [""]}})));
        set("a", Some("cap"), json!({"m": [""]}));
        assert_eq!(json!(pushed.news(&state).users), json!({"a": {"cap": null}}));
        set("a", Some("cap"), json!({"m": ["said by itself"]}));
        pushed.knows("a", &state);
        assert_eq!(pushed.news(&state), News::default());
        set("control", None, json!({"m": ["c"]}));
        assert!(pushed.news(&state).requirements.is_empty());
    }
}
