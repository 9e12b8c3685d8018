//! `auth admit`: installed agents get the entries and the keys that they need to connect.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use volttron_utils::files;
use volttron_utils::home::Home;
use volttron_utils::keys::KeyPair;
use volttron_utils::keys::keystore::{self, KeystoreError};

use super::{AuthOpError, Output, Rules};
use crate::auth::agents::entry_of;
use crate::auth::entry::{Entry, Filter};
use crate::supervisor::InstalledAgent;
use crate::supervisor::installed;

/// The key of an agent, and how it came by it.
struct Found {
    keys: KeyPair,
    /// It was made now.
    new: bool,
    /// Where the damaged keystore is kept.
    kept: Option<PathBuf>,
}

/// Lets every one of these agents in. Nothing is changed when one of them is not installed.
pub async fn admit(rules: &Rules<'_>, home: &Home, identities: &[String]) -> Result<Output, AuthOpError> {
    let (agents, _) = installed::list(home);
    let find = |identity: &String| {
        agents.iter().find(|agent| agent.identity == *identity).ok_or_else(|| {
            AuthOpError::Name(format!(
                "no installed agent has the identity \"{identity}\"; vctl list shows them"
            ))
        })
    };
    let chosen: Vec<&InstalledAgent> = identities.iter().map(find).collect::<Result<_, _>>()?;
    let (mut stdout, mut done) = (String::new(), Vec::new());
    for agent in chosen {
        let Found { keys, new, kept } = keys_of(&agent.keystore())?;
        let (identity, key) = (&agent.identity, keys.public.to_string());
        let_in(rules, identity, &key).await?;
        let which = if new { "a new key" } else { "its key" };
        let _ = writeln!(stdout, "admitted {identity} with {which} {key}");
        if let Some(path) = &kept {
            let _ = writeln!(stdout, "the damaged keystore is kept as {}", path.display());
        }
        done.push(json!({"identity": identity, "publickey": key, "new_key": new, "kept": kept}));
    }
    Ok(Output { stdout, json: Some(json!(done)), ..Output::default() })
}

/// The key pair of the agent; a new one if its keystore is missing or damaged. One that cannot be read may be good.
fn keys_of(path: &Path) -> Result<Found, AuthOpError> {
    let kept = match keystore::load(path) {
        Ok(keys) => return Ok(Found { keys, new: false, kept: None }),
        Err(KeystoreError::Missing(_)) => None,
        Err(KeystoreError::Damaged { .. }) => Some(put_aside(path)?),
        Err(error) => return Err(error.into()),
    };
    Ok(Found { keys: keystore::load_or_create(path)?, new: true, kept })
}

fn put_aside(path: &Path) -> Result<PathBuf, KeystoreError> {
    let to = files::free_name(path, "damaged");
    let io = |source| KeystoreError::Io { action: "rename", path: path.to_owned(), source };
    files::rename(path, &to).map_err(io)?;
    Ok(to)
}

/// An entry that counts goes before one that is disabled. Written even if it is as it should be: a platform that runs
/// then writes a file that is gone anew.
async fn let_in(rules: &Rules<'_>, identity: &str, key: &str) -> Result<(), AuthOpError> {
    let allow = rules.read().await?.allow;
    let entries =
        || (0..).zip(&allow).filter_map(|(i, value)| Some((i, value, Entry::from_value(value).ok()?)));
    let named = || entries().filter(|(_, _, entry)| entry.names(identity));
    let found = named().find(|(_, _, entry)| entry.enabled).or_else(|| named().next());
    let Some((index, seen, mut entry)) = found else {
        return rules.add(entry_of(identity, key)).await;
    };
    let mut keys: Vec<String> = entry.credentials.texts().to_vec();
    if !keys.iter().any(|known| known == key) {
        // One of several keys may be somebody else's.
        entry.credentials = if keys.len() > 1 {
            keys.push(key.to_owned());
            Filter::Many(keys)
        } else {
            Filter::One(key.to_owned())
        };
    }
    entry.enabled = true;
    rules.update(index, seen, entry).await
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_damaged_keystore_is_kept_and_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keystore.json");
        let first = keys_of(&path).unwrap();
        assert!(first.new && first.kept.is_none());
        let again = keys_of(&path).unwrap();
        assert!(!again.new && again.keys.public == first.keys.public);
        for name in ["keystore.json.damaged", "keystore.json.damaged.2"] {
            fs::write(&path, format!("{{ {name}")).unwrap();
            let found = keys_of(&path).unwrap();
            let kept = found.kept.unwrap();
            assert_eq!(kept, dir.path().join(name));
            assert_eq!(fs::read_to_string(kept).unwrap(), format!("{{ {name}"));
            assert_eq!(keystore::load(&path).unwrap().public, found.keys.public);
        }
    }
}
