//! Verbs about `known_hosts`. No platform needed.

use serde_json::{Map, Value};
use volttron_utils::address::Address;
use volttron_utils::home::Home;
use volttron_utils::keys::PublicKey;
use volttron_utils::keys::known_hosts::KnownHosts;

use super::{AuthOpError, Output, text};

/// The name under which a host is stored: an address loses its scheme and parameters, anything else stays.
fn host_key(host: &str) -> String {
    let address = host.contains("://").then(|| host.parse::<Address>().ok()).flatten();
    address.map_or_else(|| host.to_owned(), |a| a.host_key())
}

/// `auth add-known-host`.
pub fn add(home: &Home, host: &str, serverkey: &str) -> Result<Output, AuthOpError> {
    let key: PublicKey =
        serverkey.parse().map_err(|e| AuthOpError::Usage(format!("{serverkey} is not a public key: {e}")))?;
    let path = home.known_hosts();
    KnownHosts::change(&path, |hosts| hosts.add(&host_key(host), key))?;
    Ok(Output::line(format!("server key written to {}", path.display())))
}

/// `auth list-known-hosts`.
pub fn list(home: &Home) -> Result<Output, AuthOpError> {
    let path = home.known_hosts();
    let hosts = KnownHosts::load(&path)?;
    let map: Map<String, Value> = hosts.iter().map(|(host, key)| (host.to_owned(), key.into())).collect();
    let stdout = if map.is_empty() {
        format!("No entries in {}\n", path.display())
    } else {
        text::two_columns(&map, "HOST", "CURVE KEY")
    };
    Ok(Output { stdout, json: Some(Value::Object(map)), ..Output::default() })
}

/// `auth remove-known-host`.
pub fn remove(home: &Home, host: &str) -> Result<Output, AuthOpError> {
    let path = home.known_hosts();
    if !KnownHosts::change(&path, |hosts| hosts.remove(host) || hosts.remove(&host_key(host)))? {
        return Err(AuthOpError::Name(format!("host \"{host}\" not found in {}", path.display())));
    }
    Ok(Output::line(format!("host \"{host}\" removed from {}", path.display())))
}
