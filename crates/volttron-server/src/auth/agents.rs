//! The entries of installed agents (auth.md section 5.4). Pure; use with [`AuthState::change`](super::AuthState::change).

use serde_json::json;
use volttron_utils::identity::PLATFORM_AGENT;
use volttron_utils::keys::PublicKey;

use super::entry::{Entry, Filter};
use super::file::{AuthFile, EditError, List};

/// Comment of the entries made here.
pub const COMMENT: &str = "Automatically added on agent install";

/// Lets an installed agent in, with the right to its own configuration. An entry of that identity stays as it is,
/// but for a key that is no longer the agent's.
pub fn admit(file: &mut AuthFile, identity: &str, key: PublicKey) -> Result<(), EditError> {
    let key = key.to_string();
    let mut known = false;
    file.for_each_allowed(|entry| {
        if known || !entry.names(identity) {
            return;
        }
        known = true;
        if !entry.credentials.texts().contains(&key) {
            tracing::info!("the auth entry of {identity} gets the agent's new key");
            entry.credentials = Filter::One(key.clone());
        }
    });
    if known {
        return Ok(());
    }
    let entry = entry_of(identity, &key);
    entry.validate()?;
    // Not `add`: the key may have an entry of another name, which admits it but grants this identity nothing.
    file.put_by_user_id(entry);
    Ok(())
}

/// The entry of an agent that nobody has granted anything to.
pub fn entry_of(identity: &str, key: &str) -> Entry {
    let stores = if identity == PLATFORM_AGENT { "/.*/" } else { identity };
    Entry::curve(identity, key)
        .with_capability("edit_config_store", json!({"identity": stores}))
        .with_comment(COMMENT)
}

/// Forgets every entry with the key of a removed agent. Returns how many there were.
pub fn forget(file: &mut AuthFile, key: PublicKey) -> usize {
    file.remove_by_credentials(List::Allow, &key.to_string())
}

#[cfg(test)]
mod tests {
    use volttron_utils::keys::KeyPair;

    use super::*;

    #[test]
    fn agents_come_and_go() {
        let (one, two) = (KeyPair::generate().public, KeyPair::generate().public);
        let mut file = AuthFile::default();
        admit(&mut file, "a", one).unwrap();
        admit(&mut file, PLATFORM_AGENT, two).unwrap();
        let values: Vec<_> = file.entries(List::Allow).map(Entry::to_value).collect();
        assert_eq!(values[0]["capabilities"], json!({"edit_config_store": {"identity": "a"}}));
        assert_eq!(values[1]["capabilities"], json!({"edit_config_store": {"identity": "/.*/"}}));
        assert_eq!((&values[0]["user_id"], &values[0]["identity"]), (&json!("a"), &json!("a")));
        let before = file.clone();
        admit(&mut file, "a", one).unwrap();
        assert_eq!(file, before);
        assert_eq!((forget(&mut file, one), forget(&mut file, one)), (1, 0));
        assert_eq!(file.entries(List::Allow).count(), 1);
    }

    #[test]
    fn a_new_key_keeps_what_was_granted_by_hand() {
        let (old, new) = (KeyPair::generate().public, KeyPair::generate().public);
        let mut file = AuthFile::default();
        file.add(
            List::Allow,
            Entry::curve("a", &old.to_string()).with_capability("special", json!(null)),
            false,
        )
        .unwrap();
        admit(&mut file, "a", new).unwrap();
        let entry = file.entries(List::Allow).next().unwrap();
        assert_eq!(entry.credentials.texts(), [new.to_string()]);
        assert!(entry.capabilities.contains_key("special"));
    }

    #[test]
    fn a_key_that_is_let_in_under_another_name_gets_an_entry_of_its_own_too() {
        let key = KeyPair::generate().public;
        let mut file = AuthFile::default();
        file.add(List::Allow, Entry::curve("other", &key.to_string()), false).unwrap();
        admit(&mut file, "a", key).unwrap();
        let ids: Vec<_> = file.entries(List::Allow).map(|e| e.user_id.as_str()).collect();
        assert_eq!(ids, ["other", "a"]);
        assert_eq!(forget(&mut file, key), 2);
    }
}
