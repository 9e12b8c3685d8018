//! The configuration store, agent side (subsystems.md section 11).
//!
//! Owns the mirror, the pushes that change it, the queue of changes that handlers have not seen yet, and the calls to
//! the store. A push is answered as soon as the mirror has it; handlers run afterwards, one at a time and in order, so
//! that a handler may itself write to the store.

mod client;
mod mirror;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use volttron_utils::pattern;

pub use client::{ConfigError, ConfigStore};
use mirror::{Change, Mirror};

use crate::Cx;
use crate::agent::ConfigFn;
use crate::cx::guarded;

/// How many changes may wait for handlers. Full: the push is refused, and the store logs it.
const MAX_PENDING: usize = 1024;

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is new, or the agent just started.
    New,
    /// It, or something it links to, changed.
    Update,
    /// It is gone.
    Delete,
}

impl Action {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// A set of actions. `()` is not one of them: say [`Actions::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions(u8);

impl Actions {
    /// NEW, UPDATE and DELETE.
    pub const ALL: Self = Self(0b111);
    /// NEW and UPDATE: whenever there are contents.
    pub const CONTENTS: Self = Self(0b011);

    fn bit(action: Action) -> u8 {
        match action {
            Action::New => 0b001,
            Action::Update => 0b010,
            Action::Delete => 0b100,
        }
    }

    /// Whether `action` is in the set.
    pub fn contains(self, action: Action) -> bool {
        self.0 & Self::bit(action) != 0
    }
}

impl From<Action> for Actions {
    fn from(action: Action) -> Self {
        Self(Self::bit(action))
    }
}

impl<const N: usize> From<[Action; N]> for Actions {
    fn from(actions: [Action; N]) -> Self {
        Self(actions.iter().fold(0, |bits, a| bits | Self::bit(*a)))
    }
}

impl From<&[Action]> for Actions {
    fn from(actions: &[Action]) -> Self {
        Self(actions.iter().fold(0, |bits, a| bits | Self::bit(*a)))
    }
}

/// A change that a handler is told about.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConfigEvent {
    /// Name as last written.
    pub name: String,
    /// What happened.
    pub action: Action,
    /// Contents with links replaced; none after a deletion.
    pub contents: Option<Value>,
}

impl ConfigEvent {
    /// The contents as `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let contents = self.contents.clone().unwrap_or_default();
        serde_json::from_value(contents)
            .map_err(|e| ConfigError::BadContents { name: self.name.clone(), why: e.to_string() })
    }
}

/// Too many changes wait for handlers.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_PENDING} configuration changes are waiting for this agent's handlers already")]
pub(crate) struct Busy;

struct Handler {
    pattern: String,
    actions: Actions,
    run: ConfigFn,
}

#[derive(Default)]
struct Inner {
    mirror: Mirror,
    pending: VecDeque<Change>,
    /// Handlers heard of the initial contents; before that, changes are part of those.
    started: bool,
}

pub(crate) struct State {
    pub(crate) enabled: bool,
    handlers: Vec<Handler>,
    inner: Mutex<Inner>,
    arrived: Notify,
    fetching: tokio::sync::Mutex<()>,
}

impl State {
    pub(crate) fn new(enabled: bool, handlers: Vec<(String, Actions, ConfigFn)>) -> Self {
        let handlers = handlers.into_iter().map(|(pattern, actions, run)| Handler {
            pattern: pattern.to_lowercase(),
            actions,
            run,
        });
        Self {
            enabled,
            handlers: handlers.collect(),
            inner: Mutex::default(),
            arrived: Notify::new(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `config.initial_update`.
    pub(crate) fn initial_update(&self, configs: Map<String, Value>, _reset_name_map: bool) {
        let mut inner = self.lock();
        let changes = inner.mirror.initial_update(configs);
        if inner.started {
            // After a reconnection. Not refused when full: the store would not push this again.
            inner.pending.extend(changes);
            self.arrived.notify_one();
        }
    }

    /// `config.update` with NEW, UPDATE or DELETE.
    pub(crate) fn update(
        &self,
        action: Action,
        name: &str,
        contents: Value,
        trigger: bool,
    ) -> Result<(), Busy> {
        self.change(trigger, |mirror| match action {
            Action::Delete => mirror.delete(name),
            Action::New | Action::Update => mirror.write(action, name, contents),
        })
    }

    /// `config.update` with DELETE_ALL.
    pub(crate) fn delete_all(&self, trigger: bool) -> Result<(), Busy> {
        self.change(trigger, Mirror::clear)
    }

    fn change(&self, trigger: bool, apply: impl FnOnce(&mut Mirror) -> Vec<Change>) -> Result<(), Busy> {
        let mut inner = self.lock();
        // What comes before the first full push is part of it (subsystems.md section 11.7).
        if !inner.mirror.is_initialized() {
            return Ok(());
        }
        if trigger && inner.started && inner.pending.len() >= MAX_PENDING {
            return Err(Busy);
        }
        let changes = apply(&mut inner.mirror);
        if trigger && inner.started {
            inner.pending.extend(changes);
            self.arrived.notify_one();
        }
        Ok(())
    }
}

impl Cx {
    /// Tells handlers all there is, `config` first; afterwards changes are queued for them.
    pub(crate) async fn deliver_initial_config(&self) {
        let changes = {
            let mut inner = self.0.config.lock();
            inner.started = true;
            inner.mirror.all_as_new()
        };
        for change in changes {
            self.run_config_handlers(change).await;
        }
    }

    /// Tells handlers what changes, one change at a time; runs as long as the agent.
    pub(crate) async fn deliver_config_changes(self) {
        loop {
            let next = self.0.config.lock().pending.pop_front();
            match next {
                Some(change) => self.run_config_handlers(change).await,
                None => self.0.config.arrived.notified().await,
            }
        }
    }

    async fn run_config_handlers(&self, change: Change) {
        let state = &self.0.config;
        let mut matching = state
            .handlers
            .iter()
            .filter(|h| h.actions.contains(change.action) && pattern::fnmatch(&h.pattern, &change.key));
        let Some(first) = matching.next() else { return };
        let contents = match change.action {
            Action::Delete => None,
            Action::New | Action::Update => match state.lock().mirror.get(&change.key) {
                // Gone since; its deletion follows in the queue.
                None => return,
                some => some,
            },
        };
        let event = ConfigEvent { name: change.name, action: change.action, contents };
        for handler in std::iter::once(first).chain(matching) {
            let what = format!("the handler of configuration '{}' ({})", event.name, event.action.as_str());
            let run = (handler.run)(self.clone(), event.clone());
            if let Err(why) = guarded(self, &what, run).await {
                self.health().bad(format!("configuration '{}': {why}", event.name));
            }
        }
    }
}
