//! What everybody may do and what is stored, as it must be after each call; the calls themselves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rules::{Edit, Protected, Rules, Verdict, key_text, users_from};
use super::stores::{self, Change, Stores};

/// A call of one of the services.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Rules(Edit),
    ReadUsers,
    Stores(Change),
    Get(String, String),
    List(String),
    Initialize(String),
}

/// The services that run for real.
pub(super) const AUTH: usize = 0;
pub(super) const STORE: usize = 1;

impl Op {
    pub fn service(&self) -> usize {
        match self {
            Self::Rules(_) | Self::ReadUsers => AUTH,
            _ => STORE,
        }
    }

    /// Method and named arguments.
    pub fn call(&self) -> (&'static str, Value) {
        match self {
            Self::Rules(Edit::Add(rule)) => ("auth_file.add", json!({"entry": rule.to_json()})),
            Self::Rules(Edit::RemoveKey(key)) => {
                ("auth_file.remove_by_credentials", json!({"credentials": key_text(*key)}))
            }
            Self::Rules(Edit::RemoveIndex(index)) => ("auth_file.remove_by_index", json!({"index": index})),
            Self::Rules(Edit::Update(index, rule)) => {
                ("auth_file.update_by_index", json!({"auth_entry": rule.to_json(), "index": index}))
            }
            Self::Rules(Edit::Roles(roles)) => ("auth_file.set_roles", json!({"roles": roles})),
            Self::Rules(Edit::Decide(verdict, user)) => {
                let method = match verdict {
                    Verdict::Approve => "approve_authorization",
                    Verdict::Deny => "deny_authorization",
                    Verdict::Delete => "delete_authorization",
                };
                (method, json!({"user_id": user}))
            }
            Self::ReadUsers => ("get_user_to_capabilities", json!({})),
            Self::Stores(Change::Set(store, (name, kind, data))) => (
                "set_config",
                json!({"identity": store, "config_name": name, "raw_contents": data, "config_type": kind}),
            ),
            Self::Stores(Change::Delete(store, name)) => {
                ("delete_config", json!({"identity": store, "config_name": name}))
            }
            Self::Stores(Change::Clear(store)) => ("delete_store", json!({"identity": store})),
            Self::Stores(Change::Apply(only, parts)) => {
                ("apply_configs", json!({"transaction": stores::transaction(parts), "identity": only}))
            }
            Self::Get(store, name) => {
                ("get_config", json!({"identity": store, "config_name": name, "raw": true}))
            }
            Self::List(store) => ("list_configs", json!({"identity": store})),
            Self::Initialize(store) => ("initialize_configs", json!({"identity": store})),
        }
    }

    /// Whether the rules let `user` make this call.
    pub fn allowed(&self, rules: &Rules, user: &str) -> bool {
        let edits = |store: &str| rules.holds(user, "edit_config_store", Some(store));
        match self {
            Self::Rules(_) => rules.holds(user, "allow_auth_modifications", None),
            Self::ReadUsers => true,
            Self::Stores(Change::Set(store, _) | Change::Delete(store, _) | Change::Clear(store))
            | Self::Initialize(store) => edits(store),
            Self::Stores(Change::Apply(only, _)) => edits(only),
            Self::Get(store, _) | Self::List(store) => store == user || edits(store),
        }
    }

    /// Whether the answer waits until the agent was told.
    pub fn may_wait(&self, user: &str) -> bool {
        match self {
            Self::Initialize(_) => true,
            Self::Stores(
                Change::Set(store, _)
                | Change::Delete(store, _)
                | Change::Clear(store)
                | Change::Apply(store, _),
            ) => store == user,
            _ => false,
        }
    }

    /// Whether it can change anything.
    pub fn changes(&self) -> bool {
        matches!(self, Self::Rules(_) | Self::Stores(_))
    }
}

/// Everything that must survive, and everything that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Model {
    /// What `auth.json` says.
    pub written: Rules,
    /// What counts.
    pub rules: Rules,
    pub protected_written: Protected,
    pub protected: Protected,
    pub stores: Stores,
    /// Refused connections that wait for a decision: user id to key.
    pub pending: BTreeMap<String, usize>,
}

impl Model {
    pub fn new(protected: Protected) -> Self {
        let rules = Rules::initial();
        Self {
            written: rules.clone(),
            rules,
            protected_written: protected.clone(),
            protected,
            stores: Stores::new(),
            pending: BTreeMap::new(),
        }
    }

    /// Puts in force what is written.
    pub fn reload(&mut self) {
        self.rules = self.written.clone();
        let rules = &self.rules;
        self.pending.retain(|_, key| rules.unknown(*key));
    }

    /// What a permitted call does; false, and nothing changed, if it is refused for another reason.
    pub fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::Rules(edit) => {
                let request = match edit {
                    Edit::Decide(_, user) => self.pending.get(user).copied(),
                    _ => None,
                };
                let mut after = self.written.clone();
                if !after.edit(edit, request) {
                    return false;
                }
                self.written = after;
                self.reload();
                if let Edit::Decide(_, user) = edit {
                    self.pending.remove(user);
                }
                true
            }
            Op::Stores(change) => stores::change(&mut self.stores, change),
            Op::Get(store, name) => {
                self.stores.get(store).is_some_and(|c| c.contains_key(&name.to_lowercase()))
            }
            Op::ReadUsers | Op::List(_) | Op::Initialize(_) => true,
        }
    }

    /// Whether `result` is what the call gives in this state.
    pub fn gives(&self, op: &Op, result: &Value) -> bool {
        match op {
            Op::ReadUsers => users_from(result) == Some(self.rules.users()),
            Op::Get(store, name) => {
                let held = self.stores.get(store).and_then(|c| c.get(&name.to_lowercase()));
                held.is_some_and(|(_, _, data)| result.as_str() == Some(data))
            }
            Op::List(store) => {
                let mut names: Vec<&str> = self
                    .stores
                    .get(store)
                    .into_iter()
                    .flat_map(|c| c.values())
                    .map(|(n, ..)| n.as_str())
                    .collect();
                names.sort_unstable();
                *result == json!(names)
            }
            _ => true,
        }
    }
}
