//! What an auth file means, compiled for look-ups: who may connect, under which identity, with which capabilities.
//!
//! Immutable and pure. A change of the file makes a new table; nothing here is ever patched, so that what is in
//! force is always exactly what some text of the file says.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value};
use volttron_utils::identity;

use super::entry::{Entry, Mechanism, regex_body, strings};
use super::file::{AuthFile, List};
use super::pattern::Matcher;

/// Name of a capability to null or its parameter restrictions.
pub type CapabilityMap = Map<String, Value>;

/// What a connection presents to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// ZAP domain.
    pub domain: &'a str,
    /// Peer address: IP text, or `localhost:<uid>:<gid>:<pid>`.
    pub address: &'a str,
    /// Mechanism.
    pub mechanism: Mechanism,
    /// Public key text; empty for NULL.
    pub credentials: &'a str,
}

/// The answer to [`AuthTable::authenticate`], with the entry that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An allow entry matches and no deny entry does.
    Allowed {
        /// Index in the allow list.
        index: usize,
        /// User id of the entry.
        user_id: String,
    },
    /// A deny entry matches; whatever the allow list says.
    Denied {
        /// Index in the deny list.
        index: usize,
        /// User id of the entry.
        user_id: String,
    },
    /// No entry matches.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed { index, user_id } => {
                write!(f, "allowed by allow entry {index} (user_id {user_id})")
            }
            Self::Denied { index, user_id } => write!(f, "denied by deny entry {index} (user_id {user_id})"),
            Self::Unknown => f.write_str("no entry matches the credentials, address and domain"),
        }
    }
}

/// Why a key may not use an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRefused {
    /// A service of the platform process.
    #[error("identity {0} belongs to the platform itself and is not accepted from a socket")]
    Service(String),
    /// The command line tool's identity with another key than its own.
    #[error("identity {0} needs the key of control.connection")]
    ControlConnection(String),
    /// Entries give the identity to other keys.
    #[error("identity {identity} belongs to another key (auth entry {index}, user_id {user_id})")]
    OtherKey {
        /// The identity that was asked for.
        identity: String,
        /// Index of the allow entry that names it.
        index: usize,
        /// User id of that entry.
        user_id: String,
    },
}

#[derive(Debug)]
struct Rule {
    domain: Matcher,
    address: Matcher,
    mechanism: Mechanism,
    credentials: Matcher,
    user_id: String,
    enabled: bool,
}

impl Rule {
    fn new(entry: &Entry) -> Self {
        Self {
            domain: Matcher::new(&entry.domain),
            address: Matcher::new(&entry.address),
            mechanism: entry.mechanism,
            credentials: Matcher::new(&entry.credentials),
            user_id: entry.user_id.clone(),
            enabled: entry.enabled,
        }
    }

    fn matches(&self, p: Presented<'_>) -> bool {
        self.enabled
            && self.mechanism == p.mechanism
            && (p.mechanism == Mechanism::Null || self.credentials.matches(p.credentials))
            && self.domain.matches(p.domain)
            && self.address.matches(p.address)
    }

    /// Whether a connection that authenticated with `key` (empty: without authentication) is one of this entry. Also
    /// of a disabled one: its key lets nobody in any more, but a session that is up stays up.
    fn has_key(&self, key: &str) -> bool {
        match self.mechanism {
            Mechanism::Curve => !key.is_empty() && self.credentials.matches(key),
            Mechanism::Null => key.is_empty(),
            Mechanism::Plain => false,
        }
    }
}

/// One list with an index from plain credentials to the entries that name them.
#[derive(Debug, Default)]
struct Rules {
    all: Vec<Rule>,
    by_credential: HashMap<String, Vec<usize>>,
    /// Entries with a regular expression among their credentials, or without any.
    open: Vec<usize>,
}

impl Rules {
    fn new<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut this = Self::default();
        for (i, entry) in entries.enumerate() {
            for text in entry.credentials.texts() {
                this.by_credential.entry(text.clone()).or_default().push(i);
            }
            if entry.credentials.is_any() || entry.credentials.texts().iter().any(|c| regex_body(c).is_some())
            {
                this.open.push(i);
            }
            this.all.push(Rule::new(entry));
        }
        this
    }

    /// The first match: plain credentials before regular expressions, else in file order.
    fn find(&self, p: Presented<'_>) -> Option<(usize, &Rule)> {
        let named = self.by_credential.get(p.credentials).map_or(&[][..], Vec::as_slice);
        let mut candidates = named.iter().chain(&self.open);
        candidates.find(|i| self.all[**i].matches(p)).map(|i| (*i, &self.all[*i]))
    }
}

/// The compiled auth file.
#[derive(Debug, Default)]
pub struct AuthTable {
    allow: Rules,
    deny: Rules,
    /// Identity or user id to the allow entries that name it, disabled ones too.
    by_name: HashMap<String, Vec<usize>>,
    users: HashMap<String, User>,
    /// User ids in the order of their entries, aliases last.
    order: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct User {
    capabilities: CapabilityMap,
    groups: Vec<String>,
    roles: Vec<String>,
}

impl AuthTable {
    /// Compiles a document.
    pub fn new(file: &AuthFile) -> Self {
        let mut this = Self {
            allow: Rules::new(file.entries(List::Allow)),
            deny: Rules::new(file.entries(List::Deny)),
            ..Self::default()
        };
        for (i, entry) in file.entries(List::Allow).enumerate() {
            let names: HashSet<&str> =
                std::iter::once(entry.user_id.as_str()).chain(entry.identity.as_deref()).collect();
            for name in names {
                this.by_name.entry(name.to_owned()).or_default().push(i);
            }
            if entry.enabled {
                this.add_user(file, entry);
            }
        }
        this.add_aliases();
        this
    }

    fn add_user(&mut self, file: &AuthFile, entry: &Entry) {
        let mut user = User {
            capabilities: entry.capabilities.clone(),
            groups: entry.groups.clone(),
            roles: entry.roles.clone(),
        };
        let of_groups = entry.groups.iter().flat_map(|g| strings(file.groups().get(g)));
        let roles: Vec<String> = entry.roles.iter().cloned().chain(of_groups).collect();
        let mut seen = HashSet::new();
        for role in roles.iter().filter(|r| seen.insert(r.as_str())) {
            for capability in file.roles().get(role).and_then(Value::as_array).into_iter().flatten() {
                match capability.as_str() {
                    // Replaces a restricted form of the same capability: the role grants it without restriction.
                    Some(name) => drop(user.capabilities.insert(name.to_owned(), Value::Null)),
                    None => self.warnings.push(format!(
                        "role {role}: {capability} is ignored, only names can be granted by roles"
                    )),
                }
            }
        }
        if self.users.insert(entry.user_id.clone(), user).is_none() {
            self.order.push(entry.user_id.clone());
        }
    }

    /// A renamed service has the same capabilities under both names.
    fn add_aliases(&mut self) {
        for (old, new) in identity::ALIASES {
            for (have, lack) in [(*old, *new), (*new, *old)] {
                if let (Some(user), false) = (self.users.get(have).cloned(), self.users.contains_key(lack)) {
                    self.users.insert(lack.to_owned(), user);
                    self.order.push(lack.to_owned());
                }
            }
        }
    }

    /// Whether a connection may be made. Deny entries take precedence.
    pub fn authenticate(&self, p: Presented<'_>) -> Verdict {
        // A password in clear is no better than none: PLAIN entries are kept in the file but admit nobody.
        if p.mechanism == Mechanism::Plain {
            return Verdict::Unknown;
        }
        if let Some((index, rule)) = self.deny.find(p) {
            return Verdict::Denied { index, user_id: rule.user_id.clone() };
        }
        match self.allow.find(p) {
            Some((index, rule)) => Verdict::Allowed { index, user_id: rule.user_id.clone() },
            None => Verdict::Unknown,
        }
    }

    /// Whether a connection that authenticated with `key` (empty: without authentication) may use `identity`.
    ///
    /// The names of the platform's services never; the command line tool's names only with its key; a name that
    /// entries give to keys only with one of these keys (unless `bind` is off); every other name with any accepted
    /// key, so also `instance.*` and `<instance>.<identity>` of other platforms' agents.
    pub fn admit(&self, identity: &str, key: &str, bind: bool) -> Result<(), IdentityRefused> {
        if identity::belongs_to_process(identity) {
            return Err(IdentityRefused::Service(identity.to_owned()));
        }
        if identity::is_control_connection(identity) {
            let entries = self.named(identity::CONTROL_CONNECTION);
            let own = entries.iter().any(|i| self.allow.all[*i].has_key(key));
            return if own { Ok(()) } else { Err(IdentityRefused::ControlConnection(identity.to_owned())) };
        }
        let entries = self.named(identity);
        match entries.first() {
            Some(&index) if bind && !entries.iter().any(|i| self.allow.all[*i].has_key(key)) => {
                let user_id = self.allow.all[index].user_id.clone();
                Err(IdentityRefused::OtherKey { identity: identity.to_owned(), index, user_id })
            }
            _ => Ok(()),
        }
    }

    fn named(&self, name: &str) -> &[usize] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    fn user(&self, user: &str) -> Option<&User> {
        let name = if identity::is_control_connection(user) { identity::CONTROL_CONNECTION } else { user };
        self.users.get(name)
    }

    /// Capabilities of a user, those of its groups and roles included; `None` for a user no enabled entry has.
    pub fn capabilities_of(&self, user: &str) -> Option<&CapabilityMap> {
        self.user(user).map(|u| &u.capabilities)
    }

    /// Groups of a user.
    pub fn groups_of(&self, user: &str) -> &[String] {
        self.user(user).map_or(&[], |u| &u.groups)
    }

    /// Roles of a user, without those its groups bring.
    pub fn roles_of(&self, user: &str) -> &[String] {
        self.user(user).map_or(&[], |u| &u.roles)
    }

    /// The result of `get_user_to_capabilities`.
    pub fn users(&self) -> Map<String, Value> {
        let object = |id: &String| (id.clone(), Value::Object(self.users[id].capabilities.clone()));
        self.order.iter().map(object).collect()
    }

    /// What could not be compiled, for the log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
