//! What the platform does about authentication before it binds a socket: its own keys, the entries of its services,
//! its own line in `known_hosts` (auth.md section 5.4, home.md section 4).
//!
//! Keys that exist are used and never replaced; the auth file is written at most once.

use std::convert::Infallible;

use serde_json::{Map, Value, json};
use volttron_utils::address::Address;
use volttron_utils::home::Home;
use volttron_utils::identity::{
    self, AUTH, CONFIG_STORE, CONTROL, CONTROL_CONNECTION, KEYDISCOVERY, PLATFORM, WEB,
};
use volttron_utils::keys::keystore::{self, KeystoreError};
use volttron_utils::keys::known_hosts::{KnownHosts, KnownHostsError};
use volttron_utils::keys::{KeyPair, PublicKey};

use super::entry::Entry;
use super::file::{AuthFile, List};
use super::state::AuthState;
use super::store::ChangeError;

/// Comment of the entries made here.
pub const COMMENT: &str = "Automatically added by platform on start";

/// Why the platform cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// A key file cannot be read or made.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// `auth.json` cannot be read or written.
    #[error(transparent)]
    AuthFile(#[from] ChangeError<Infallible>),
    /// `known_hosts` cannot be read or written.
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
}

/// Makes ready: keys, entries, known hosts for `addresses` (the local one and every TCP one). Gives the key pair of the
/// router. Blocks on files.
pub fn prepare(home: &Home, state: &AuthState, addresses: &[Address]) -> Result<KeyPair, StartupError> {
    let server = server_keys(home)?;
    let mut entries = vec![platform_entry(server.public)];
    for service in [CONTROL_CONNECTION, CONFIG_STORE, AUTH, CONTROL, KEYDISCOVERY, WEB] {
        let key = keystore::load_or_create(&home.keystores(service))?.public;
        entries.push(service_entry(service, service, key));
        if let Some(alias) = identity::alias_of(service) {
            entries.push(service_entry(alias, service, key));
        }
    }
    state.change(|file| {
        for entry in entries {
            put(file, entry);
        }
        Ok::<_, Infallible>(())
    })?;
    remember_self(home, server.public, addresses)?;
    Ok(server)
}

/// The platform's own key pair; made if there is none.
pub fn server_keys(home: &Home) -> Result<KeyPair, KeystoreError> {
    let path = home.keystore();
    let pair = keystore::load_or_create(&path)?;
    if keystore::is_open_to_others(&path) {
        tracing::warn!("insecure access control on key file: {}", path.display());
    }
    Ok(pair)
}

/// Capabilities of the platform's own users.
fn capabilities(service: &str) -> Map<String, Value> {
    let all_stores = ("edit_config_store", json!({"identity": "/.*/"}));
    let allowance = ("modify_rpc_method_allowance", Value::Null);
    let list = match service {
        PLATFORM => vec![all_stores],
        CONTROL | CONTROL_CONNECTION => {
            vec![all_stores, allowance, ("allow_auth_modifications", Value::Null)]
        }
        CONFIG_STORE => vec![("sync_agent_config", Value::Null)],
        AUTH => vec![allowance],
        WEB => vec![("allow_auth_modifications", Value::Null)],
        _ => Vec::new(),
    };
    list.into_iter().map(|(name, params)| (name.to_owned(), params)).collect()
}

/// The platform's own services under all their names, with their capabilities, as
/// `get_user_to_capabilities` tells them.
pub fn services() -> Map<String, Value> {
    let mut all = Map::new();
    for service in [PLATFORM, CONTROL, CONTROL_CONNECTION, CONFIG_STORE, AUTH, KEYDISCOVERY, WEB] {
        all.insert(service.to_owned(), capabilities(service).into());
        let aliases = identity::ALIASES.iter().filter(|(primary, _)| *primary == service);
        all.extend(aliases.map(|(_, alias)| ((*alias).to_owned(), capabilities(service).into())));
    }
    all
}

fn service_entry(name: &str, service: &str, key: PublicKey) -> Entry {
    let mut entry = Entry::curve(name, &key.to_string()).with_comment(COMMENT);
    entry.capabilities = capabilities(service);
    entry
}

/// The platform is a user but no peer, so its entry names no identity.
fn platform_entry(key: PublicKey) -> Entry {
    let mut entry = service_entry(PLATFORM, PLATFORM, key);
    entry.identity = None;
    entry
}

/// Overwrites the entry of that user, except what we do not understand of it.
fn put(file: &mut AuthFile, mut entry: Entry) {
    if let Some(old) = file.entries(List::Allow).find(|e| e.user_id == entry.user_id) {
        entry.extra.clone_from(&old.extra);
        entry.rpc_method_authorizations.clone_from(&old.rpc_method_authorizations);
    }
    file.put_by_user_id(entry);
}

fn remember_self(home: &Home, key: PublicKey, addresses: &[Address]) -> Result<(), KnownHostsError> {
    let path = home.known_hosts();
    let add = |hosts: &mut KnownHosts| {
        let mut changed = false;
        for address in addresses {
            changed |= hosts.add(&address.host_key(), key);
        }
        changed
    };
    KnownHosts::change(&path, add).map(drop)
}

#[cfg(test)]
#[path = "startup_tests.rs"]
mod tests;
