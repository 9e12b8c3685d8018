//! The `known_hosts` file: network part of an address to server key (auth.md section 7).

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Map, Value};

use super::PublicKey;
use crate::address::Address;
use crate::files;

/// Server keys by host key. Entries that are not keys are kept as they are.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    entries: Map<String, Value>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownHostsError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "write" or "lock".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a JSON object.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Position and reason.
        why: String,
    },
}

impl KnownHosts {
    /// Reads the file; a missing or empty one has no entries.
    pub fn load(path: &Path) -> Result<Self, KnownHostsError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(KnownHostsError::Io { action: "read", path: path.to_owned(), source }),
        };
        Self::parse(&text).map_err(|why| KnownHostsError::Damaged { path: path.to_owned(), why })
    }

    /// Reads the content of the file; the error is position and reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map(|entries| Self { entries }).map_err(|e| e.to_string())
    }

    /// Changes the file: `change` says whether it did. Programs of ours that do so at the same time wait for each other,
    /// because the file is read and written whole.
    pub fn change(path: &Path, change: impl FnOnce(&mut Self) -> bool) -> Result<bool, KnownHostsError> {
        let lock = path.with_file_name(".known_hosts.lock");
        let _turn = files::FileLock::acquire(&lock).map_err(|source| KnownHostsError::Io {
            action: "lock",
            path: lock,
            source,
        })?;
        let mut hosts = Self::load(path)?;
        let changed = change(&mut hosts);
        if changed {
            hosts.save(path)?;
        }
        Ok(changed)
    }

    /// Writes the file, mode 0644.
    pub fn save(&self, path: &Path) -> Result<(), KnownHostsError> {
        let text = self.render().map_err(|why| KnownHostsError::Damaged { path: path.to_owned(), why })?;
        files::write_atomic(path, &text, 0o644).map_err(|source| KnownHostsError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// The content of the file.
    pub fn render(&self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut writer = serde_json::Serializer::with_formatter(&mut text, indent);
        serde::Serialize::serialize(&self.entries, &mut writer).map_err(|e| e.to_string())?;
        Ok(text)
    }

    /// The key stored for this address.
    pub fn get(&self, address: &Address) -> Option<PublicKey> {
        self.get_host(&address.host_key())
    }

    /// The key stored under this host key (`host:port`, `@`, or a socket path).
    pub fn get_host(&self, host: &str) -> Option<PublicKey> {
        self.entries.get(host)?.as_str()?.parse().ok()
    }

    /// Stores a key. Returns whether anything changed.
    pub fn add(&mut self, host: &str, key: PublicKey) -> bool {
        let value = Value::String(key.to_string());
        self.entries.insert(host.to_owned(), value.clone()) != Some(value)
    }

    /// Forgets a host. Returns whether it was there.
    pub fn remove(&mut self, host: &str) -> bool {
        self.entries.shift_remove(host).is_some()
    }

    /// Host keys and their texts, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(host, key)| (host.as_str(), key.as_str().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_a_round_trip_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        let key = super::super::KeyPair::generate().public;
        let mut hosts = KnownHosts::load(&path).unwrap();
        assert!(hosts.add("@", key) && hosts.add("127.0.0.1:22916", key) && !hosts.add("@", key));
        hosts.save(&path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("{\n    \"@\": \""));
        let hosts = KnownHosts::load(&path).unwrap();
        let address: Address = "tcp://127.0.0.1:22916?serverkey=x".parse().unwrap();
        assert_eq!(hosts.get(&address), Some(key));
        assert_eq!(hosts.get(&"ipc://@/any/run/vip.socket".parse().unwrap()), Some(key));
        assert_eq!(hosts.iter().map(|(h, _)| h).collect::<Vec<_>>(), ["@", "127.0.0.1:22916"]);
    }

    #[test]
    fn changes_at_once_all_stand() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        let key = super::super::KeyPair::generate().public;
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    KnownHosts::change(path, |hosts| hosts.add(&format!("h{n}"), key)).unwrap()
                });
            }
        });
        assert_eq!(KnownHosts::load(&path).unwrap().iter().count(), 8);
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        fs::write(&path, "[]").unwrap();
        assert!(KnownHosts::load(&path).unwrap_err().to_string().contains("known_hosts is damaged"));
        fs::write(&path, "\n").unwrap();
        assert!(KnownHosts::load(&path).is_ok());
    }
}
