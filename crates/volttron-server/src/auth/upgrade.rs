//! From every older version of `auth.json` to 1.4, one step per version. Works on raw JSON, before entries are
//! read, and on the allow list only: that is where the older versions differ.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::entry;
use super::file::ParseError;

/// The version this program writes.
pub const CURRENT: Version = Version { major: 1, minor: 4 };

/// Version of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Breaking changes.
    pub major: u64,
    /// Additions.
    pub minor: u64,
}

impl Version {
    /// The version of a document that states none.
    pub const ZERO: Self = Self { major: 0, minor: 0 };

    /// Reads `{"major": M, "minor": m}`; refuses a newer major version.
    pub fn read(value: Option<&Value>) -> Result<Self, ParseError> {
        let version = match value {
            None | Some(Value::Null) => Self::ZERO,
            Some(Value::Object(map)) => {
                let number = |key: &str| match map.get(key) {
                    None => Ok(0),
                    Some(n) => n
                        .as_u64()
                        .ok_or_else(|| ParseError::Shape(format!("version: `{key}` must be a number"))),
                };
                Self { major: number("major")?, minor: number("minor")? }
            }
            Some(_) => return Err(ParseError::Shape("`version` must be an object".to_owned())),
        };
        if version.major > CURRENT.major { Err(ParseError::Newer(version)) } else { Ok(version) }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The allow list of a document of version `from`, as version 1.4 has it.
pub fn allow_list(entries: Vec<Value>, from: Version, warnings: &mut Vec<String>) -> Vec<Value> {
    let at = |minor| Version { major: 1, minor };
    let mut entries = entries;
    if from < at(0) {
        let whole = entries.len();
        entries = entries.into_iter().filter_map(split_credentials).collect();
        if entries.len() < whole {
            // Not kept aside as invalid ones are: `/.*/` of the old form would admit everyone in the new one.
            warnings.push(format!(
                "{} of {whole} entries of version {from} have no credentials of a known form and are dropped",
                whole - entries.len()
            ));
        }
    }
    if from < at(1) {
        unique_user_ids(&mut entries);
    }
    if from < at(2) {
        objects(&mut entries).for_each(own_config_store);
    }
    if from < at(3) {
        for map in objects(&mut entries) {
            map.entry("rpc_method_authorizations").or_insert_with(|| json!({}));
        }
    }
    entries
}

fn objects(entries: &mut [Value]) -> impl Iterator<Item = &mut Map<String, Value>> {
    entries.iter_mut().filter_map(Value::as_object_mut)
}

/// 0.x: `NULL`, `PLAIN:<x>` or `CURVE:<x>` becomes mechanism and credentials.
fn split_credentials(mut entry: Value) -> Option<Value> {
    let map = entry.as_object_mut()?;
    let old = map.get("credentials")?.as_str()?.to_owned();
    let (mechanism, credentials) = match old.split_once(':') {
        None if old == "NULL" => ("NULL", Value::Null),
        Some((mechanism @ ("PLAIN" | "CURVE"), rest)) if !rest.is_empty() => (mechanism, json!(rest)),
        _ => return None,
    };
    map.insert("mechanism".into(), json!(mechanism));
    map.insert("credentials".into(), credentials);
    Some(entry)
}

/// 1.0: every entry gets a user id of its own.
fn unique_user_ids(entries: &mut [Value]) {
    let mut seen = HashSet::new();
    for map in objects(entries) {
        let own =
            map.get("user_id").and_then(Value::as_str).filter(|id| !id.is_empty() && !seen.contains(*id));
        let id = own.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        seen.insert(id.clone());
        map.insert("user_id".into(), json!(id));
    }
}

/// 1.1: capabilities become an object, and every user may edit its own configuration store.
fn own_config_store(map: &mut Map<String, Value>) {
    // Capabilities that cannot be read stay as they are; the entry will be reported and kept aside.
    let Ok(mut capabilities) = entry::capabilities(map.get("capabilities")) else { return };
    let user_id = map.get("user_id").and_then(Value::as_str).unwrap_or_default();
    let identity = if matches!(user_id, "control" | "platform.agent") { "/.*/" } else { user_id };
    if !capabilities.contains_key("edit_config_store") {
        capabilities.insert("edit_config_store".into(), json!({"identity": identity}));
    }
    map.insert("capabilities".into(), Value::Object(capabilities));
}
