//! One entry of `auth.json`: its fields, how each is read leniently and written exactly, and when it is valid.
//!
//! Pure: no files, no clock. What the groups and roles of an entry add up to is the business of
//! [`table`](super::table); an entry keeps only what its file says.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Length of a CURVE public key as text.
pub const KEY_CHARS: usize = 43;

/// The keys of an entry in the order they are written.
pub const FIELDS: [&str; 12] = [
    "domain",
    "address",
    "mechanism",
    "credentials",
    "groups",
    "roles",
    "capabilities",
    "rpc_method_authorizations",
    "comments",
    "user_id",
    "identity",
    "enabled",
];

/// Why an entry is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The entry is not a JSON object.
    #[error("an entry must be an object")]
    NotAnObject,
    /// The mechanism is none of the three.
    #[error("mechanism must be NULL, PLAIN or CURVE, not {0}")]
    Mechanism(String),
    /// CURVE and PLAIN need credentials.
    #[error("credentials parameter is required for mechanism {0}")]
    NoCredentials(Mechanism),
    /// A CURVE credential that is neither a regular expression nor a key.
    #[error("Invalid CURVE public key: {KEY_CHARS} characters are needed, not {0}")]
    CurveKey(usize),
    /// A field holds a type it cannot hold.
    #[error("{field} must be {expected}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A regular expression that does not compile.
    #[error("{field}: {pattern} is not a regular expression: {reason}")]
    Pattern {
        /// Name of the field.
        field: &'static str,
        /// The expression with its slashes.
        pattern: String,
        /// The complaint of the regular expression compiler.
        reason: String,
    },
}

/// Authentication mechanism of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// Public key authentication; the default.
    Curve,
    /// User name and password. Entries are kept, but never accepted.
    Plain,
    /// No authentication.
    Null,
}

impl Mechanism {
    /// The name used in files and in ZAP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Curve => "CURVE",
            Self::Plain => "PLAIN",
            Self::Null => "NULL",
        }
    }

    /// The mechanism of that exact name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "CURVE" => Some(Self::Curve),
            "PLAIN" => Some(Self::Plain),
            "NULL" => Some(Self::Null),
            _ => None,
        }
    }
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text, a list of texts, or nothing, as written: the form of `domain`, `address` and `credentials`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Nothing was given: matches everything.
    #[default]
    Any,
    /// One text or `/regex/`.
    One(String),
    /// Matches if any element does.
    Many(Vec<String>),
}

impl Filter {
    fn read(field: &'static str, value: Option<&Value>) -> Result<Self, EntryError> {
        let bad = || EntryError::Field { field, expected: "text, a list of texts or null" };
        match value {
            None | Some(Value::Null) => Ok(Self::Any),
            Some(Value::String(s)) if s.is_empty() => Ok(Self::Any),
            Some(Value::String(s)) => Ok(Self::One(s.clone())),
            Some(Value::Array(list)) if list.is_empty() => Ok(Self::Any),
            Some(Value::Array(list)) => {
                let texts: Option<Vec<String>> = list.iter().map(|v| v.as_str().map(str::to_owned)).collect();
                texts.map(Self::Many).ok_or_else(bad)
            }
            Some(_) => Err(bad()),
        }
    }

    /// The elements; none for [`Filter::Any`].
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Any => &[],
            Self::One(s) => std::slice::from_ref(s),
            Self::Many(list) => list,
        }
    }

    /// Whether nothing was given.
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    /// The JSON form: null, text or list.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Any => Value::Null,
            Self::One(s) => json!(s),
            Self::Many(list) => json!(list),
        }
    }
}

impl From<&str> for Filter {
    fn from(text: &str) -> Self {
        if text.is_empty() { Self::Any } else { Self::One(text.to_owned()) }
    }
}

/// The body of a `/regex/`, or `None` for a plain text.
pub fn regex_body(text: &str) -> Option<&str> {
    (text.len() > 1).then(|| text.strip_prefix('/')?.strip_suffix('/')).flatten()
}

/// An entry of the allow or deny list.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// ZAP domain filter.
    pub domain: Filter,
    /// Peer address filter: IP text for TCP, `localhost:<uid>:<gid>:<pid>` for IPC.
    pub address: Filter,
    /// Mechanism; matched exactly.
    pub mechanism: Mechanism,
    /// Public keys (CURVE) or passwords (PLAIN).
    pub credentials: Filter,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of roles.
    pub roles: Vec<String>,
    /// Capability name to null or a map of parameter restrictions.
    pub capabilities: Map<String, Value>,
    /// Method to the list of capabilities a caller needs.
    pub rpc_method_authorizations: Map<String, Value>,
    /// Free text.
    pub comments: Option<String>,
    /// User the capabilities belong to; equals the identity for installed agents.
    pub user_id: String,
    /// VIP identity the method authorisations belong to.
    pub identity: Option<String>,
    /// Disabled entries are ignored.
    pub enabled: bool,
    /// Fields this version does not know, written back after the known ones.
    pub extra: Map<String, Value>,
}

impl Entry {
    /// An enabled CURVE entry for `key` whose user id and identity are `identity`.
    pub fn curve(identity: &str, key: &str) -> Self {
        Self {
            domain: Filter::Any,
            address: Filter::Any,
            mechanism: Mechanism::Curve,
            credentials: key.into(),
            groups: Vec::new(),
            roles: Vec::new(),
            capabilities: Map::new(),
            rpc_method_authorizations: Map::new(),
            comments: None,
            user_id: identity.to_owned(),
            identity: Some(identity.to_owned()),
            enabled: true,
            extra: Map::new(),
        }
    }

    /// The same entry with a capability added; `params` is null or a map of restrictions.
    #[must_use]
    pub fn with_capability(mut self, name: &str, params: Value) -> Self {
        self.capabilities.insert(name.to_owned(), params);
        self
    }

    /// The same entry with a comment.
    #[must_use]
    pub fn with_comment(mut self, text: &str) -> Self {
        self.comments = Some(text.to_owned());
        self
    }

    /// Reads and validates an entry.
    pub fn from_value(value: &Value) -> Result<Self, EntryError> {
        let object = value.as_object().ok_or(EntryError::NotAnObject)?;
        let mechanism = match object.get("mechanism") {
            None | Some(Value::Null) => Mechanism::Curve,
            Some(Value::String(s)) if s.is_empty() => Mechanism::Curve,
            Some(Value::String(s)) => {
                Mechanism::parse(s).ok_or_else(|| EntryError::Mechanism(format!("\"{s}\"")))?
            }
            Some(other) => return Err(EntryError::Mechanism(other.to_string())),
        };
        let mut entry = Self {
            domain: Filter::read("domain", object.get("domain"))?,
            address: Filter::read("address", object.get("address"))?,
            mechanism,
            credentials: Filter::read("credentials", object.get("credentials"))?,
            groups: names("groups", object.get("groups"))?,
            roles: names("roles", object.get("roles"))?,
            capabilities: capabilities(object.get("capabilities"))?,
            rpc_method_authorizations: authorizations(object.get("rpc_method_authorizations"))?,
            comments: text("comments", object.get("comments"))?,
            user_id: text("user_id", object.get("user_id"))?.unwrap_or_default(),
            identity: text("identity", object.get("identity"))?,
            enabled: object.get("enabled").is_none_or(truthy),
            extra: object
                .iter()
                .filter(|(k, _)| !FIELDS.contains(&k.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        };
        entry.validate()?;
        if entry.user_id.is_empty() {
            entry.user_id = derived_user_id(&entry);
        }
        Ok(entry)
    }

    /// Checks mechanism and credentials against each other, and that every regular expression compiles.
    pub fn validate(&self) -> Result<(), EntryError> {
        if self.mechanism != Mechanism::Null {
            if self.credentials.is_any() {
                return Err(EntryError::NoCredentials(self.mechanism));
            }
            let is_key = |c: &&String| regex_body(c).is_some() || c.len() == KEY_CHARS;
            let wrong = self.credentials.texts().iter().find(|c| !is_key(c));
            if let Some(wrong) = wrong.filter(|_| self.mechanism == Mechanism::Curve) {
                return Err(EntryError::CurveKey(wrong.chars().count()));
            }
        }
        for (field, filter) in
            [("domain", &self.domain), ("address", &self.address), ("credentials", &self.credentials)]
        {
            for pattern in filter.texts() {
                if let Some(Err(reason)) = regex_body(pattern).map(super::pattern::compile) {
                    return Err(EntryError::Pattern { field, pattern: pattern.clone(), reason });
                }
            }
        }
        Ok(())
    }

    /// The JSON object of the entry, known keys in their fixed order, then the unknown ones.
    pub fn to_value(&self) -> Value {
        let mut object = Map::with_capacity(FIELDS.len() + self.extra.len());
        let known = [
            self.domain.to_value(),
            self.address.to_value(),
            json!(self.mechanism.as_str()),
            self.credentials.to_value(),
            json!(self.groups),
            json!(self.roles),
            Value::Object(self.capabilities.clone()),
            Value::Object(self.rpc_method_authorizations.clone()),
            json!(self.comments),
            json!(self.user_id),
            json!(self.identity),
            json!(self.enabled),
        ];
        for (key, value) in FIELDS.into_iter().zip(known) {
            object.insert(key.to_owned(), value);
        }
        for (key, value) in &self.extra {
            object.insert(key.clone(), value.clone());
        }
        Value::Object(object)
    }

    /// Whether both entries would accept the same connections.
    pub fn same_match(&self, other: &Self) -> bool {
        self.domain == other.domain
            && self.address == other.address
            && self.mechanism == other.mechanism
            && self.credentials == other.credentials
    }

    /// Whether the entry names `identity`, as its identity or as its user id.
    pub fn names(&self, identity: &str) -> bool {
        self.user_id == identity || self.identity.as_deref() == Some(identity)
    }

    /// Capabilities a caller of `method` needs on this agent; empty when unrestricted.
    pub fn required_for(&self, method: &str) -> Vec<String> {
        strings(self.rpc_method_authorizations.get(method))
    }
}

/// The texts of a JSON list, other elements left out.
pub(crate) fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |list| list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
}

/// A user id for an entry without one. Derived, not random, so that every reading of an unchanged file gives the
/// same one and reading never has to write.
pub(crate) fn derived_user_id(entry: &Entry) -> String {
    let mut hash = Sha256::new();
    for filter in [&entry.domain, &entry.address, &entry.credentials] {
        hash.update(filter.to_value().to_string());
        hash.update([0]);
    }
    hash.update(entry.mechanism.as_str());
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// Python's truth of a JSON value, except that the words for "no" are false as their writer meant.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => {
            !matches!(s.trim().to_ascii_lowercase().as_str(), "" | "false" | "0" | "no" | "off")
        }
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn text(field: &'static str, value: Option<&Value>) -> Result<Option<String>, EntryError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok((!s.is_empty()).then(|| s.clone())),
        Some(Value::Array(list)) if list.is_empty() => Ok(None),
        Some(_) => Err(EntryError::Field { field, expected: "text or null" }),
    }
}

fn names(field: &'static str, value: Option<&Value>) -> Result<Vec<String>, EntryError> {
    match Filter::read(field, value) {
        Ok(filter) => Ok(filter.texts().to_vec()),
        Err(_) => Err(EntryError::Field { field, expected: "a list of names" }),
    }
}

/// Reads capabilities in every form an entry may give them: an object, a name, or a list of names and objects.
/// Later elements of the same name replace earlier ones.
pub fn capabilities(value: Option<&Value>) -> Result<Map<String, Value>, EntryError> {
    let bad = || EntryError::Field {
        field: "capabilities",
        expected: "an object, a name, or a list of names and objects; parameters must be an object or null",
    };
    let mut all = Map::new();
    let mut add_object = |map: &Map<String, Value>| {
        for (name, params) in map {
            let params = match params {
                Value::Object(_) => params.clone(),
                other if truthy(other) => return Err(bad()),
                _ => Value::Null,
            };
            all.insert(name.clone(), params);
        }
        Ok(())
    };
    let name = |name: &str| Map::from_iter([(name.to_owned(), Value::Null)]);
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => add_object(map)?,
        Some(Value::String(s)) if s.is_empty() => {}
        Some(Value::String(s)) => add_object(&name(s))?,
        Some(Value::Array(list)) => {
            for element in list {
                match element {
                    Value::String(s) => add_object(&name(s))?,
                    Value::Object(map) => add_object(map)?,
                    _ => return Err(bad()),
                }
            }
        }
        Some(_) => return Err(bad()),
    }
    Ok(all)
}

fn authorizations(value: Option<&Value>) -> Result<Map<String, Value>, EntryError> {
    let bad = || EntryError::Field {
        field: "rpc_method_authorizations",
        expected: "an object of method to list of capability names",
    };
    let map = match value {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Array(list)) if list.is_empty() => return Ok(Map::new()),
        Some(Value::String(s)) if s.is_empty() => return Ok(Map::new()),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(bad()),
    };
    map.iter()
        .map(|(method, needed)| {
            let needed = match needed {
                Value::Null => json!([]),
                Value::String(s) => json!([s]),
                Value::Array(list) if list.iter().all(Value::is_string) => needed.clone(),
                _ => return Err(bad()),
            };
            Ok((method.clone(), needed))
        })
        .collect()
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
