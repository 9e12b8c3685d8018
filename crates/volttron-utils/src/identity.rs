//! VIP identities: which texts are legal, which names are taken by the platform, and the pairs of names
//! that 9.x and 10.x give to one service (vip.md section 4, lifecycle.md section 3).
//!
//! This module never decides who may *use* an identity; that is the business of authentication.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest identity an installed agent may have (home.md section 3).
pub const MAX_INSTALLED_LEN: usize = 64;
/// Longest identity ZeroMQ can carry (vip.md section 4.1).
pub const MAX_WIRE_LEN: usize = 255;

/// The control service.
pub const CONTROL: &str = "control";
/// The command line tool's connection; suffixes `control.connection.<x>` are treated as this name.
pub const CONTROL_CONNECTION: &str = "control.connection";
/// The configuration store service.
pub const CONFIG_STORE: &str = "config.store";
/// The authentication service.
pub const AUTH: &str = "platform.auth";
/// The health service.
pub const HEALTH: &str = "platform.health";
/// The key discovery service.
pub const KEYDISCOVERY: &str = "keydiscovery";
/// The web service.
pub const WEB: &str = "platform_web";
/// The platform process itself: owns a key and an auth entry but is not a peer.
pub const PLATFORM: &str = "platform";
/// The proxy between RabbitMQ and ZeroMQ agents.
pub const PROXY_ROUTER: &str = "zmq.proxy.router";
/// The federation service of 11.x.
pub const FEDERATION: &str = "platform.federation";
/// Stands for the bus in publish and subscribe calls. The service that serves these over calls, for agents of platforms
/// before 5.0, has this name where it runs.
pub const PUBSUB: &str = "pubsub";
/// The peer that helps Python platforms to shut down.
pub const AIP: &str = "aip";
/// The management agent of one platform, trusted by the control service.
pub const PLATFORM_AGENT: &str = "platform.agent";
/// The central management agent, trusted by the control service.
pub const VOLTTRON_CENTRAL: &str = "volttron.central";
/// Customary identity of the platform driver.
pub const PLATFORM_DRIVER: &str = "platform.driver";
/// Customary identity of the historian.
pub const PLATFORM_HISTORIAN: &str = "platform.historian";

/// Renamed services: `(9.x name, 10.x name)`. The first is the primary name (vip.md section 4.2).
pub const ALIASES: &[(&str, &str)] =
    &[(CONTROL, "platform.control"), (CONFIG_STORE, "platform.config_store"), (WEB, "platform.web")];

/// Services of the platform process under their primary names.
const SERVICES: &[&str] =
    &[CONTROL, CONFIG_STORE, AUTH, HEALTH, KEYDISCOVERY, WEB, PROXY_ROUTER, FEDERATION, PUBSUB];

/// Names no agent may be installed under, besides services, aliases and the two reserved prefixes.
const RESERVED: &[&str] = &[PLATFORM, CONTROL_CONNECTION, AIP];

/// A text that is a legal identity for an agent of ours.
///
/// Python accepts more on the wire; the router carries those verbatim and does not use this type for them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity(String);

/// Why a text is not an [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadIdentity {
    /// The empty identity is the router's.
    #[error("an identity cannot be empty")]
    Empty,
    /// A character outside `A-Z a-z 0-9 _ . -`.
    #[error("identity {identity:?} contains {found:?}; letters, digits, '_', '.' and '-' are allowed")]
    Character {
        /// The rejected text.
        identity: String,
        /// First offending character.
        found: char,
    },
    /// More than [`MAX_WIRE_LEN`] bytes.
    #[error("identity is {len} bytes long, at most {MAX_WIRE_LEN} are possible")]
    TooLong {
        /// Length in bytes.
        len: usize,
    },
    /// Numbers and words such as `true` change when a Python router forwards them (vip.md section 3.4).
    #[error("identity {0:?} reads as a JSON value; a Python router would change it on the way")]
    JsonLike(String),
    /// `.` and `..` are directory names.
    #[error("identity {0:?} is not usable as a directory name")]
    Dots(String),
}

impl Identity {
    /// Checks `text` and takes it over.
    pub fn new(text: impl Into<String>) -> Result<Self, BadIdentity> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// A random identity, for agents that were given none (a UUIDv4 text as in Python).
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Short enough to be installed (it names a directory, home.md section 3).
    pub fn fits_installed(&self) -> bool {
        self.0.len() <= MAX_INSTALLED_LEN
    }
}

fn check(text: &str) -> Result<(), BadIdentity> {
    if text.is_empty() {
        return Err(BadIdentity::Empty);
    }
    if let Some(found) = text.chars().find(|c| !is_legal(*c)) {
        return Err(BadIdentity::Character { identity: text.to_owned(), found });
    }
    if text.len() > MAX_WIRE_LEN {
        return Err(BadIdentity::TooLong { len: text.len() });
    }
    if text == "." || text == ".." {
        return Err(BadIdentity::Dots(text.to_owned()));
    }
    if reads_as_json(text) {
        return Err(BadIdentity::JsonLike(text.to_owned()));
    }
    Ok(())
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Of the legal alphabet, only numbers and Python's JSON words parse as JSON.
fn reads_as_json(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
        || serde_json::from_str::<serde_json::Value>(text).is_ok()
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Identity {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Identity {
    type Err = BadIdentity;
    fn from_str(s: &str) -> Result<Self, BadIdentity> {
        Self::new(s)
    }
}

impl TryFrom<String> for Identity {
    type Error = BadIdentity;
    fn try_from(s: String) -> Result<Self, BadIdentity> {
        Self::new(s)
    }
}

impl From<Identity> for String {
    fn from(id: Identity) -> Self {
        id.0
    }
}

/// Python's rule: one or more of `A-Z a-z 0-9 _ . -`. Looser than [`Identity::new`].
pub fn is_valid(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_legal)
}

/// Replaces every illegal character by `_` (agent-api.md section 9).
pub fn normalize(text: &str) -> String {
    text.chars().map(|c| if is_legal(c) { c } else { '_' }).collect()
}

/// `<instance>.<identity>`, the name of an agent seen from another platform (vip.md section 4.1).
pub fn qualified(instance: &str, identity: &str) -> String {
    format!("{instance}.{identity}")
}

/// The qualified identity as alert topics spell it: every `.` becomes `_` (subsystems.md section 8).
pub fn alert_name(instance: &str, identity: &str) -> String {
    qualified(instance, identity).replace('.', "_")
}

/// The 9.x name of a service given under either name; other texts unchanged.
pub fn primary(identity: &str) -> &str {
    ALIASES.iter().find(|(_, new)| *new == identity).map_or(identity, |(old, _)| old)
}

/// The other name of a renamed service.
pub fn alias_of(identity: &str) -> Option<&'static str> {
    ALIASES.iter().find_map(|(old, new)| {
        if *old == identity {
            Some(*new)
        } else if *new == identity {
            Some(*old)
        } else {
            None
        }
    })
}

/// Names of the command line tool: `control.connection` and `control.connection.<suffix>`.
pub fn is_control_connection(identity: &str) -> bool {
    identity.strip_prefix(CONTROL_CONNECTION).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A service of the platform process, under either generation's name. Never an ordinary agent.
pub fn is_service(identity: &str) -> bool {
    SERVICES.contains(&primary(identity))
}

/// The platform process owns this name: it is refused on every socket (vip.md section 4.2).
pub fn belongs_to_process(identity: &str) -> bool {
    identity == PLATFORM || is_service(identity)
}

/// No agent may be installed under this name (lifecycle.md section 3).
pub fn reserved_for_install(identity: &str) -> bool {
    identity.is_empty()
        || RESERVED.contains(&identity)
        || is_service(identity)
        || is_control_connection(identity)
        || identity.starts_with("instance.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_identities() {
        for good in ["a", "listeneragent-3.3_1", "platform.driver", "A_b-c.D", "1a", "1.2.3", "-"] {
            assert!(Identity::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "a b", "a/b", "é", "123", "1.5", "-1", "1e3", "true", "null", "NaN", "-Infinity"]
        {
            assert!(Identity::new(bad).is_err(), "{bad}");
        }
        assert!(matches!(Identity::new("a".repeat(256)), Err(BadIdentity::TooLong { len: 256 })));
        assert!(!Identity::new("a".repeat(65)).unwrap().fits_installed());
        assert!(is_valid("123") && !is_valid("") && !is_valid("a\n"));
    }

    #[test]
    fn names_of_services() {
        assert_eq!(primary("platform.control"), "control");
        assert_eq!(primary("control"), "control");
        assert_eq!(alias_of("config.store"), Some("platform.config_store"));
        assert_eq!(alias_of("platform.web"), Some("platform_web"));
        assert_eq!(alias_of("platform.auth"), None);
        assert!(is_service("platform.config_store") && !is_service("control.connection"));
        assert!(belongs_to_process("platform") && !is_service("platform"));
        assert!(
            is_control_connection("control.connection.12-ab")
                && !is_control_connection("control.connections")
        );
        for reserved in
            ["", "aip", "pubsub", "platform.web", "control.connection.1", "instance.x", "keydiscovery"]
        {
            assert!(reserved_for_install(reserved), "{reserved}");
        }
        assert!(!reserved_for_install("platform.driver") && !reserved_for_install("volttron.central"));
    }

    #[test]
    fn rewriting_names() {
        assert_eq!(normalize("a b/é"), "a_b__");
        assert_eq!(alert_name("site.1", "fwd.a"), "site_1_fwd_a");
    }
}
