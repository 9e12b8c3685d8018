//! Bytes as names: addresses, identities, topics and the patterns that are matched with them.

use volttron_utils::address::Address;
use volttron_utils::identity::{self, Identity};
use volttron_utils::pattern::{self, Rule};
use volttron_utils::topic;

/// The bytes as an address. An accepted one is written in a form that reads as the same address, and secrets stay out
/// of what is logged.
pub fn addresses(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(address) = text.parse::<Address>() else { return };
    let written = address.to_string();
    assert_eq!(written.parse().as_ref(), Ok(&address), "{written}");
    assert!(!address.endpoint.is_empty() && address.mechanism().is_ok());
    let base: Address = address.base().parse().expect("the base of an address is one");
    assert_eq!((base.scheme, base.host_key()), (address.scheme, address.host_key()));
    assert_eq!(base.is_loopback(), address.is_loopback());
    let _ = (address.serverkey(), address.publickey(), address.host(), address.port(), address.ipv6());
    if let Some(secret) = address.param("secretkey").filter(|secret| secret.len() > 8) {
        let mut public = address.clone();
        public.set_param("secretkey", "");
        if !format!("{public:?}").contains(secret) {
            assert!(!format!("{address:?}").contains(secret), "{address:?}");
        }
    }
}

/// The bytes as an identity, a topic and a pattern, three texts separated by line ends.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let (name, subject, pattern) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    if let Ok(identity) = Identity::new(name) {
        assert!(identity::is_valid(identity.as_str()));
        assert_eq!(identity::normalize(name), name);
        assert!(!volttron_utils::vip::typed::is_json_like(name), "a Python router would change {name}");
    }
    assert_eq!(identity::primary(identity::primary(name)), identity::primary(name));
    assert_eq!(identity::normalize(name).chars().count(), name.chars().count());
    let clean = topic::normalise(subject);
    assert_eq!(topic::normalise(&clean), clean, "cleaning a topic twice changes nothing");
    assert!(!clean.starts_with('/') && !clean.ends_with('/'));
    let _ = pattern::fnmatch(pattern, subject);
    assert!(pattern::fnmatch("*", subject));
    if let Ok(rule) = Rule::parse(pattern) {
        let matched = rule.matches(subject);
        if pattern::between_slashes(pattern).is_none() {
            assert_eq!(matched, pattern == subject);
        }
    }
}
