//! What the rules must mean, written down a second time and as simply as possible. Shares no code with the product.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use volttron_utils::keys::PublicKey;

/// Keys there are; who has which is in [`Rules::initial`].
pub(super) const KEYS: usize = 9;
/// Where every connection comes from.
pub(super) const ADDRESS: &str = "10.0.0.1";

/// The text of a key.
pub(super) fn key_text(key: usize) -> &'static str {
    static TEXTS: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..KEYS).map(|key| PublicKey::from_bytes(key_bytes(key)).to_string()).collect());
    &TEXTS[key]
}

/// The key itself.
pub(super) fn key_bytes(key: usize) -> [u8; 32] {
    [key as u8 + 1; 32]
}

/// Capability to the one `identity` it is for (text or `/regex/`), or to nothing.
pub(super) type Caps = BTreeMap<String, Option<String>>;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub user: String,
    pub identity: Option<String>,
    pub key: usize,
    /// Made of a pending request, so for its address only.
    pub narrow: bool,
    pub caps: Caps,
    pub roles: Vec<String>,
    pub enabled: bool,
}

/// What an administrator says about a request or entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Approve,
    Deny,
    Delete,
}

/// A change of the rules.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Add(Rule),
    RemoveKey(usize),
    RemoveIndex(i64),
    Update(i64, Rule),
    Roles(BTreeMap<String, Vec<String>>),
    Decide(Verdict, String),
}

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub allow: Vec<Rule>,
    pub deny: Vec<Rule>,
    pub roles: BTreeMap<String, Vec<String>>,
}

const SERVICES: [&str; 6] =
    ["control", "platform.control", "config.store", "platform.config_store", "platform.auth", "platform"];
const ALIASES: [(&str, &str); 2] =
    [("control", "platform.control"), ("config.store", "platform.config_store")];

pub(super) fn is_service(name: &str) -> bool {
    SERVICES.contains(&name)
}

/// The name under which the rules know somebody.
pub(super) fn acts_as(identity: &str) -> &str {
    if identity.starts_with("control.connection.") { "control.connection" } else { identity }
}

impl Rule {
    pub fn new(name: &str, key: usize, caps: &[(&str, Option<&str>)]) -> Self {
        Self {
            user: name.to_owned(),
            identity: Some(name.to_owned()),
            key,
            narrow: false,
            caps: caps.iter().map(|(n, r)| ((*n).to_owned(), r.map(str::to_owned))).collect(),
            roles: Vec::new(),
            enabled: true,
        }
    }

    pub fn to_json(&self) -> Value {
        let caps: Map<String, Value> = self
            .caps
            .iter()
            .map(|(name, only)| (name.clone(), only.as_ref().map_or(Value::Null, |o| json!({"identity": o}))))
            .collect();
        json!({
            "domain": if self.narrow { json!("vip") } else { Value::Null },
            "address": if self.narrow { json!(ADDRESS) } else { Value::Null },
            "mechanism": "CURVE",
            "credentials": key_text(self.key),
            "roles": self.roles,
            "capabilities": caps,
            "user_id": self.user,
            "identity": self.identity,
            "enabled": self.enabled,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            user: text("user_id")?,
            identity: text("identity"),
            key: (0..KEYS).find(|key| value["credentials"].as_str() == Some(key_text(*key)))?,
            narrow: value["address"].is_string(),
            caps: caps_from(&value["capabilities"])?,
            roles: value["roles"].as_array()?.iter().filter_map(|r| r.as_str().map(str::to_owned)).collect(),
            enabled: value["enabled"].as_bool()?,
        })
    }
}

fn caps_from(value: &Value) -> Option<Caps> {
    let one = |(name, only): (&String, &Value)| (name.clone(), only["identity"].as_str().map(str::to_owned));
    Some(value.as_object()?.iter().map(one).collect())
}

/// The answer of `get_user_to_capabilities`.
pub(super) fn users_from(value: &Value) -> Option<BTreeMap<String, Caps>> {
    value.as_object()?.iter().map(|(user, caps)| Some((user.clone(), caps_from(caps)?))).collect()
}

impl Rules {
    pub fn initial() -> Self {
        let edit = "edit_config_store";
        let admin = ("allow_auth_modifications", None);
        let mut publisher = Rule::new("p3", 4, &[(edit, Some("p3"))]);
        publisher.roles.push("publisher".to_owned());
        Self {
            allow: vec![
                Rule::new("control.connection", 0, &[(edit, Some("/.*/")), admin]),
                Rule::new("control", 8, &[(edit, Some("/.*/")), admin]),
                Rule::new("p0", 1, &[(edit, Some("p0")), admin]),
                Rule::new("p1", 2, &[(edit, Some("/p[12]/")), ("prot", None)]),
                Rule::new("p2", 3, &[(edit, None)]),
                publisher,
                Rule::new("p4", 5, &[]),
            ],
            deny: Vec::new(),
            roles: BTreeMap::from([("publisher".to_owned(), vec!["prot".to_owned()])]),
        }
    }

    pub fn to_text(&self) -> String {
        let list = |rules: &[Rule]| rules.iter().map(Rule::to_json).collect::<Value>();
        json!({
            "allow": list(&self.allow),
            "deny": list(&self.deny),
            "groups": {},
            "roles": self.roles,
            "version": {"major": 1, "minor": 4},
        })
        .to_string()
    }

    pub fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let list =
            |name: &str| value[name].as_array()?.iter().map(Rule::from_json).collect::<Option<Vec<_>>>();
        let roles = value["roles"].as_object()?.iter().map(|(name, caps)| {
            (
                name.clone(),
                caps.as_array().into_iter().flatten().filter_map(|c| c.as_str().map(str::to_owned)).collect(),
            )
        });
        Some(Self { allow: list("allow")?, deny: list("deny")?, roles: roles.collect() })
    }

    /// Whether a new connection with this key is let in.
    pub fn lets_in(&self, key: usize) -> bool {
        !self.denies(key) && self.allow.iter().any(|r| r.enabled && r.key == key)
    }

    fn denies(&self, key: usize) -> bool {
        self.deny.iter().any(|r| r.enabled && r.key == key)
    }

    /// Whether nothing is known about the key, so that a request for it is pending.
    pub fn unknown(&self, key: usize) -> bool {
        !self.denies(key) && !self.lets_in(key)
    }

    /// Whether somebody who is connected with this key may be `identity`.
    pub fn admits(&self, identity: &str, key: usize) -> bool {
        let control = identity == "control.connection" || identity.starts_with("control.connection.");
        let name = if control { "control.connection" } else { identity };
        let of = |r: &&Rule| r.user == name || r.identity.as_deref() == Some(name);
        let own = self.allow.iter().filter(of).any(|r| r.key == key);
        !is_service(identity) && (own || (!control && self.allow.iter().find(of).is_none()))
    }

    pub fn caps(&self, user: &str) -> Option<Caps> {
        let user = acts_as(user);
        let find = |name: &str| self.allow.iter().rev().find(|r| r.enabled && r.user == name);
        let other = ALIASES.iter().find_map(|(a, b)| match user {
            _ if user == *a => Some(*b),
            _ if user == *b => Some(*a),
            _ => None,
        });
        let rule = find(user).or_else(|| find(other?))?;
        let mut caps = rule.caps.clone();
        for role in &rule.roles {
            for name in self.roles.get(role).into_iter().flatten() {
                caps.insert(name.clone(), None);
            }
        }
        Some(caps)
    }

    /// The capabilities of everybody.
    pub fn users(&self) -> BTreeMap<String, Caps> {
        let mut names: Vec<&str> = self.allow.iter().map(|r| r.user.as_str()).collect();
        names.extend(ALIASES.iter().flat_map(|(a, b)| [*a, *b]));
        names.into_iter().filter_map(|name| Some((name.to_owned(), self.caps(name)?))).collect()
    }

    /// Whether `user` holds the capability for `identity`; none: whatever the identity.
    pub fn holds(&self, user: &str, capability: &str, identity: Option<&str>) -> bool {
        let Some(only) = self.caps(user).and_then(|caps| caps.get(capability).cloned()) else { return false };
        match (only, identity) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(pattern), Some(identity)) => match pattern.as_str() {
                "/.*/" => true,
                "/p[12]/" => identity == "p1" || identity == "p2",
                exact => exact == identity,
            },
        }
    }

    fn collision(list: &[Rule], new: &Rule, except: Option<usize>) -> Option<usize> {
        let same = |r: &Rule| r.user == new.user || (r.key == new.key && r.narrow == new.narrow);
        (0..list.len()).find(|i| Some(*i) != except && same(&list[*i]))
    }

    fn put(list: &mut Vec<Rule>, rule: Rule) {
        match Self::collision(list, &rule, None) {
            Some(i) => list[i] = rule,
            None => list.push(rule),
        }
    }

    /// Makes a change; false, and nothing changed, if it is not to be. `pending` is the key of the request meant.
    pub fn edit(&mut self, edit: &Edit, pending: Option<usize>) -> bool {
        match edit {
            Edit::Add(rule) => {
                if Self::collision(&self.allow, rule, None).is_some() {
                    return false;
                }
                self.allow.push(rule.clone());
            }
            Edit::RemoveKey(key) => self.allow.retain(|r| r.key != *key),
            Edit::RemoveIndex(index) => match usize::try_from(*index) {
                Ok(i) if i < self.allow.len() => drop(self.allow.remove(i)),
                _ => return false,
            },
            Edit::Update(index, rule) => match usize::try_from(*index) {
                Ok(i) if i < self.allow.len() && Self::collision(&self.allow, rule, Some(i)).is_none() => {
                    self.allow[i] = rule.clone();
                }
                _ => return false,
            },
            Edit::Roles(roles) => self.roles.clone_from(roles),
            Edit::Decide(verdict, user) => return self.decide(*verdict, user, pending),
        }
        true
    }

    fn decide(&mut self, verdict: Verdict, user: &str, pending: Option<usize>) -> bool {
        let platform = is_service(user) || acts_as(user) == "control.connection";
        if verdict != Verdict::Approve && platform {
            return false;
        }
        let take = |list: &mut Vec<Rule>| {
            let (taken, left) = std::mem::take(list).into_iter().partition(|r: &Rule| r.user == user);
            *list = left;
            taken
        };
        let moved: Vec<Rule> = match verdict {
            Verdict::Approve => take(&mut self.deny),
            Verdict::Deny => take(&mut self.allow),
            Verdict::Delete => {
                take(&mut self.allow);
                take(&mut self.deny)
            }
        };
        let request = pending.map(|key| {
            let mut rule = Rule::new(user, key, &[]);
            (rule.identity, rule.narrow) = (None, true);
            rule
        });
        let target = match verdict {
            Verdict::Approve => &mut self.allow,
            Verdict::Deny => &mut self.deny,
            Verdict::Delete => return true,
        };
        for rule in moved.into_iter().chain(request) {
            Self::put(target, rule);
        }
        true
    }
}

/// What protects topics: a topic (exact, else prefix) to the capabilities it needs.
pub(super) type Protected = Vec<(String, Vec<String>)>;

pub(super) fn protected_text(protected: &Protected) -> String {
    let entries: Vec<Value> =
        protected.iter().map(|(topic, caps)| json!({"topic": topic, "capabilities": caps})).collect();
    json!({"write-protect": entries}).to_string()
}

/// Whether `identity` may publish on `topic`.
pub(super) fn may_publish(protected: &Protected, rules: &Rules, identity: &str, topic: &str) -> bool {
    let exact = protected.iter().find(|(t, _)| t == topic);
    let Some((_, needed)) = exact.or_else(|| protected.iter().find(|(t, _)| topic.starts_with(t.as_str())))
    else {
        return true;
    };
    let caps = rules.caps(identity);
    is_service(identity) || caps.is_some_and(|caps| needed.iter().all(|name| caps.contains_key(name)))
}
