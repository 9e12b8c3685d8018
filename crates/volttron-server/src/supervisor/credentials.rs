//! Keys as agents of 11.x read them (auth.md section 10): their own from the variable `AGENT_CREDENTIALS`, the platform's
//! from `credentials_store/platform.json` of the home.
//!
//! Only public keys are written to that file; a platform of 11.x keeps its secret there, which is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use volttron_utils::files;
use volttron_utils::home::Home;
use volttron_utils::keys::KeyPair;

/// Most bytes read of the file.
const MAX_FILE: u64 = 1 << 16;

/// What goes into `AGENT_CREDENTIALS`.
pub fn of_agent(identity: &str, keys: &KeyPair) -> String {
    let (public, secret) = (keys.public.to_string(), keys.secret.reveal().to_string());
    json!({"identity": identity, "publickey": public, "secretkey": secret, "domain": "VIP", "address": ""})
        .to_string()
}

/// Writes the platform's public key where such agents look for it, unless it is there.
pub fn publish(home: &Home, server_key: &str) -> Result<(), String> {
    let dir = home.path().join("credentials_store");
    let path = dir.join("platform.json");
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    if path.exists() {
        let text = files::read_bounded(&path, MAX_FILE).map_err(failed)?;
        let there: Value = serde_json::from_str(&text).unwrap_or_default();
        if there["publickey"] == server_key {
            return Ok(());
        }
        if there["secretkey"].as_str().is_none_or(|secret| !secret.is_empty()) {
            return Err(format!(
                "{} has the keys of another platform, and agents of 11.x would take them for this one's; move the file \
                 away",
                path.display()
            ));
        }
    }
    if !dir.exists() {
        fs::create_dir(&dir).map_err(failed)?;
        // Agents may be other users, and pass.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).map_err(failed)?;
    }
    // The empty secret has to be there: readers of 11.x refuse the file without.
    let text = json!({"identity": "platform", "publickey": server_key, "secretkey": "", "domain": "VIP", "address": ""});
    files::write_atomic(&path, text.to_string().as_bytes(), 0o644).map_err(failed)
}

/// The file, if it holds no secret that a confined agent would be shown.
pub fn without_secret(home: &Home) -> Option<PathBuf> {
    let path = home.path().join("credentials_store/platform.json");
    let text = files::read_bounded(&path, MAX_FILE).ok()?;
    let there: Value = serde_json::from_str(&text).ok()?;
    (there["secretkey"] == "").then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_s_key_is_published_and_secrets_of_others_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let path = dir.path().join("credentials_store/platform.json");
        let key = || serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap()).unwrap();
        publish(&home, "one").unwrap();
        assert_eq!((&key()["publickey"], &key()["secretkey"]), (&json!("one"), &json!("")));
        publish(&home, "two").unwrap();
        assert_eq!(key()["publickey"], "two");
        fs::write(&path, r#"{"publickey": "three", "secretkey": "x"}"#).unwrap();
        assert!(publish(&home, "two").unwrap_err().contains("move the file away"));
        assert_eq!(key()["publickey"], "three");
        publish(&home, "three").unwrap();
        fs::write(&path, "{").unwrap();
        assert!(publish(&home, "two").is_err(), "what cannot be read may be anything");
    }
}
