//! Verbs about `known_hosts`. No platform needed.

use std::path::Path;

use serde_json::{Map, Value};
use volttron_utils::address::Address;
use volttron_utils::files::FileLock;
use volttron_utils::home::Home;
use volttron_utils::keys::PublicKey;
use volttron_utils::keys::known_hosts::KnownHosts;

use super::{AuthOpError, Output, text};
use crate::auth::store::StoreError;

/// The name under which a host is stored: an address loses its scheme and parameters, anything else stays.
fn host_key(host: &str) -> String {
    let address = host.contains("://").then(|| host.parse::<Address>().ok()).flatten();
    address.map_or_else(|| host.to_owned(), |a| a.host_key())
}

/// Who changes the file waits for others that do: it is read and written whole.
fn turn(file: &Path) -> Result<FileLock, AuthOpError> {
    let path = file.with_file_name(".known_hosts.lock");
    FileLock::acquire(&path).map_err(|source| StoreError::Io { action: "lock", path, source }.into())
}

/// `auth add-known-host`.
pub fn add(home: &Home, host: &str, serverkey: &str) -> Result<Output, AuthOpError> {
    let key: PublicKey =
        serverkey.parse().map_err(|e| AuthOpError::Usage(format!("{serverkey} is not a public key: {e}")))?;
    let path = home.known_hosts();
    let _turn = turn(&path)?;
    let mut hosts = KnownHosts::load(&path)?;
    hosts.add(&host_key(host), key);
    hosts.save(&path)?;
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
    let _turn = turn(&path)?;
    let mut hosts = KnownHosts::load(&path)?;
    if !hosts.remove(host) && !hosts.remove(&host_key(host)) {
        return Err(AuthOpError::Name(format!("host \"{host}\" not found in {}", path.display())));
    }
    hosts.save(&path)?;
    Ok(Output::line(format!("host \"{host}\" removed from {}", path.display())))
}
