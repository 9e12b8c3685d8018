//! Keystore files: `{"public": .., "secret": ..}`, mode 0600 (home.md section 4).

use std::path::{Path, PathBuf};
use std::{fs, io};

use zeroize::Zeroizing;

use super::{BadKey, KeyPair, PublicKey, SecretKey};
use crate::files;

/// Why a keystore file cannot be used. Every text names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The file is not there.
    #[error("keystore {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} keystore {}: {source}", path.display())]
    Io {
        /// "read", "write" or "rename".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not the JSON object that a keystore is.
    #[error("keystore {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never contains key text.
        why: String,
    },
}

/// Reads a key pair. The file is never changed.
pub fn load(path: &Path) -> Result<KeyPair, KeystoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(KeystoreError::Missing(path.to_owned())),
        Err(source) => return Err(KeystoreError::Io { action: "read", path: path.to_owned(), source }),
    };
    parse(&bytes).map_err(|why| KeystoreError::Damaged { path: path.to_owned(), why })
}

/// Reads a key pair, or makes one if the file is missing or empty.
///
/// A damaged file is an error: replacing a key silently would lock its owner out of every platform that trusts
/// the old one. (Python regenerates it.) Two processes that create it at the same time end up with one pair.
pub fn load_or_create(path: &Path) -> Result<KeyPair, KeystoreError> {
    let io = |source| KeystoreError::Io { action: "write", path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(meta) if meta.len() == 0 => files::remove(path).map_err(io)?,
        Ok(_) => return load(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(KeystoreError::Io { action: "read", path: path.to_owned(), source }),
    }
    let pair = KeyPair::generate();
    if let Some(parent) = path.parent() {
        files::create_dir(parent, 0o755).map_err(io)?;
    }
    if files::write_new(path, render(&pair).as_bytes(), 0o600).map_err(io)? { Ok(pair) } else { load(path) }
}

/// Writes a pair, replacing the file.
pub fn write(path: &Path, pair: &KeyPair) -> Result<(), KeystoreError> {
    let io = |source| KeystoreError::Io { action: "write", path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        files::create_dir(parent, 0o755).map_err(io)?;
    }
    files::write_atomic(path, render(pair).as_bytes(), 0o600).map_err(io)
}

/// Group or others can read or write the file; worth a warning to the operator.
pub fn is_open_to_others(path: &Path) -> bool {
    files::open_bits(path).is_ok_and(|bits| bits != 0)
}

/// The text of a keystore file. It holds the secret.
pub fn render(pair: &KeyPair) -> Zeroizing<String> {
    let secret = pair.secret.reveal();
    Zeroizing::new(format!(
        "{{\n    \"public\": \"{}\",\n    \"secret\": \"{}\"\n}}",
        pair.public,
        secret.as_str()
    ))
}

/// Reads the content of a keystore file; the error says what is wrong and never contains key text.
pub fn parse(bytes: &[u8]) -> Result<KeyPair, String> {
    #[derive(serde::Deserialize)]
    struct File<'a> {
        #[serde(borrow)]
        public: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow)]
        secret: Option<std::borrow::Cow<'a, str>>,
    }
    // serde_json's own text can quote the input around an error, so only the position is passed on.
    let file: File<'_> = serde_json::from_slice(bytes).map_err(|e| {
        format!("not a JSON object with two key texts (line {} column {})", e.line(), e.column())
    })?;
    let part = |text: Option<std::borrow::Cow<'_, str>>, name: &str| {
        text.map(|t| Zeroizing::new(t.into_owned())).ok_or_else(|| format!("\"{name}\" is missing"))
    };
    let bad = |name: &str, e: &BadKey| format!("\"{name}\": {e}");
    let public: PublicKey = part(file.public, "public")?.parse().map_err(|e| bad("public", &e))?;
    let secret: SecretKey = part(file.secret, "secret")?.parse().map_err(|e| bad("secret", &e))?;
    let pair = KeyPair { public, secret };
    if pair.is_consistent() {
        Ok(pair)
    } else {
        Err("the public key does not belong to the secret".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_keystore_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keystores/a/keystore.json");
        assert!(matches!(load(&path), Err(KeystoreError::Missing(_))));
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().public, made.public);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!is_open_to_others(&path));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\n    \"public\": \"") && text.ends_with("\"\n}"), "as Python writes it");
        fs::write(&path, "").unwrap();
        assert_ne!(load_or_create(&path).unwrap().public, made.public, "an empty file counts as missing");
    }

    #[test]
    fn damaged_files_explain_themselves_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keystore");
        let (a, b) = (KeyPair::generate(), KeyPair::generate());
        let mixed = KeyPair { public: a.public, secret: b.secret.clone() };
        for (text, part) in [
            ("{".to_owned(), "not a JSON object"),
            ("[1]".to_owned(), "not a JSON object"),
            (format!("{{\"public\": \"{}\"}}", a.public), "\"secret\" is missing"),
            ("{\"public\": \"x\", \"secret\": \"y\"}".to_owned(), "\"public\": a key cannot have 1"),
            (render(&mixed).to_string(), "does not belong"),
        ] {
            fs::write(&path, &text).unwrap();
            let error = load_or_create(&path).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("keystore"), "{error}");
            assert!(!error.contains(b.secret.reveal().as_str()));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
