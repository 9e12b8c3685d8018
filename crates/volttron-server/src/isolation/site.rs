//! The configuration of one platform's isolation, written by an administrator: `/etc/volttron/isolation/<instance>.json`.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{IsolationError, file};

/// Longest configuration file that is read.
const MAX_BYTES: u64 = 64 * 1024;

/// One platform.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Name of the instance; the group of its agents is `volttron_<instance>`.
    pub instance: String,
    /// The platform's home, absolute.
    pub home: PathBuf,
    /// Name of the Unix user the platform runs as.
    pub platform_user: String,
}

impl Site {
    /// Reads a configuration file. It must belong to root and be writable by nobody else, or it would be the platform
    /// that decides what root may do for it.
    pub fn load(path: &Path) -> Result<Self, IsolationError> {
        let wrong = |why: String| IsolationError::Site { path: path.to_owned(), why };
        let opened = file(path, File::open(path))?;
        let facts = file(path, opened.metadata())?;
        if facts.uid() != 0 || facts.mode() & 0o022 != 0 || !facts.is_file() {
            return Err(wrong(
                "must be a file that belongs to root and that nobody else may write".to_owned(),
            ));
        }
        let mut text = String::new();
        file(path, opened.take(MAX_BYTES).read_to_string(&mut text))?;
        let site: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        site.check().map_err(wrong)?;
        Ok(site)
    }

    /// Whether the parts can be what they say.
    fn check(&self) -> Result<(), String> {
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        let instance = &self.instance;
        if !(2..=23).contains(&instance.len()) || !instance.starts_with(first) || !instance.chars().all(rest)
        {
            return Err(format!(
                "instance '{instance}': 2 to 23 of a-z, 0-9, _ and -, beginning with a letter or _"
            ));
        }
        if !self.home.is_absolute() || self.home.components().any(|c| c.as_os_str() == "..") {
            return Err(format!("home '{}': an absolute path without ..", self.home.display()));
        }
        Ok(())
    }

    /// Group of the agents.
    pub fn group(&self) -> String {
        format!("volttron_{}", self.instance)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn site() -> Site {
        Site { instance: "campus".into(), home: "/var/lib/volttron".into(), platform_user: "volttron".into() }
    }

    #[test]
    fn names_that_would_become_other_commands_are_refused() {
        assert_eq!(site().check(), Ok(()));
        for instance in
            ["", "a", "Campus", "9campus", "cam pus", "a;b", "../x", "a-name-that-is-much-too-long"]
        {
            assert!(Site { instance: instance.into(), ..site() }.check().is_err(), "{instance}");
        }
        for home in ["volttron", "/var/../etc", ""] {
            assert!(Site { home: home.into(), ..site() }.check().is_err(), "{home}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.json");
        fs::write(&path, serde_json::to_string(&site()).unwrap()).unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o666);
        assert!(Site::load(&path).unwrap_err().to_string().contains("belongs to root"));
        mode(0o644);
        let ours = fs::metadata(&path).unwrap().uid() == 0;
        assert_eq!(Site::load(&path).is_ok(), ours, "only a file of root's counts");
    }
}
