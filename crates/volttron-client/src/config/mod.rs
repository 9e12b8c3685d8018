//! The configuration store, agent side (subsystems.md section 11).
//!
//! Owns the mirror, the pushes that change it, the queue of changes that handlers have not seen yet, and the calls to
//! the store. A push is answered as soon as the mirror has it; handlers run afterwards, one at a time and in order, so
//! that a handler may itself write to the store.

mod client;
mod mirror;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use volttron_utils::pattern;

pub use client::{ConfigError, ConfigStore};
use mirror::Change;
pub(crate) use mirror::{Mirror, Told};

use crate::Cx;
use crate::agent::ConfigFn;
use crate::cx::guarded;

/// How many changes may wait for handlers one by one. Beyond that, changes of one entry are merged into one; that many
/// again can wait at most as there are entries. None is lost, and the mirror always has the latest contents.
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

struct Handler {
    pattern: String,
    actions: Actions,
    run: ConfigFn,
}

#[derive(Default)]
struct Inner {
    mirror: Mirror,
    pending: Pending,
    /// Handlers heard of the initial contents; before that, changes are part of those.
    started: bool,
}

/// Changes that handlers have not seen yet, in order.
#[derive(Default)]
struct Pending {
    one_by_one: VecDeque<Change>,
    /// What came when the former was full: places by name, and the actions by place.
    merged: BTreeMap<u64, Change>,
    places: HashMap<String, u64>,
    next: u64,
}

impl Pending {
    fn extend(&mut self, changes: Vec<Change>) {
        for change in changes {
            // Once something was merged, whatever follows has to stay behind it.
            if self.merged.is_empty() && self.one_by_one.len() < MAX_PENDING {
                self.one_by_one.push_back(change);
            } else {
                self.merge(change);
            }
        }
    }

    fn merge(&mut self, mut change: Change) {
        if let Some(before) = self.places.get(&change.key).and_then(|place| self.merged.remove(place)) {
            // Handlers have not heard of the entry at all, or have heard of it before it was deleted.
            change.action = match (before.action, change.action) {
                (Action::New, Action::Update) => Action::New,
                (Action::Delete, Action::New) => Action::Update,
                (_, last) => last,
            };
        }
        self.next += 1;
        self.places.insert(change.key.clone(), self.next);
        self.merged.insert(self.next, change);
    }

    fn pop(&mut self) -> Option<Change> {
        if let Some(change) = self.one_by_one.pop_front() {
            return Some(change);
        }
        let (_, change) = self.merged.pop_first()?;
        self.places.remove(&change.key);
        Some(change)
    }
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
            // After a reconnection.
            inner.pending.extend(changes);
            self.arrived.notify_one();
        }
    }

    /// `config.update` with NEW, UPDATE or DELETE; of one entry or of several that changed together.
    pub(crate) fn update(&self, told: Vec<Told>, trigger: bool) {
        self.change(trigger, |mirror| mirror.apply(told));
    }

    /// `config.update` with DELETE_ALL.
    pub(crate) fn delete_all(&self, trigger: bool) {
        self.change(trigger, Mirror::clear);
    }

    fn change(&self, trigger: bool, apply: impl FnOnce(&mut Mirror) -> Vec<Change>) {
        let mut inner = self.lock();
        // What comes before the first full push is part of it (subsystems.md section 11.7).
        if !inner.mirror.is_initialized() {
            return;
        }
        let changes = apply(&mut inner.mirror);
        if trigger && inner.started {
            inner.pending.extend(changes);
            self.arrived.notify_one();
        }
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
            let next = self.0.config.lock().pending.pop();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, action: Action) -> Change {
        Change { key: key.to_owned(), name: key.to_owned(), action }
    }

    #[test]
    fn a_flood_of_changes_is_merged_and_nothing_is_lost() {
        let mut pending = Pending::default();
        pending.extend((0..MAX_PENDING).map(|i| change(&i.to_string(), Action::Update)).collect());
        let flood = [
            ("a", Action::New),
            ("b", Action::Update),
            ("c", Action::Delete),
            ("a", Action::Update),
            ("b", Action::Delete),
            ("c", Action::New),
            ("d", Action::Update),
        ];
        for _ in 0..3 {
            pending.extend(flood.iter().map(|(key, action)| change(key, *action)).collect());
        }
        assert_eq!(pending.merged.len(), 4);
        for i in 0..MAX_PENDING {
            assert_eq!(pending.pop(), Some(change(&i.to_string(), Action::Update)));
            // Room again, but behind what was merged.
            if i == 5 {
                pending.extend(vec![change("late", Action::New)]);
            }
        }
        let rest: Vec<Change> = std::iter::from_fn(|| pending.pop()).collect();
        assert_eq!(
            rest,
            [
                change("a", Action::New),
                change("b", Action::Delete),
                change("c", Action::Update),
                change("d", Action::Update),
                change("late", Action::New),
            ]
        );
        assert!(pending.places.is_empty());
    }
}
