//! Signed packages: with trusted keys in the platform's configuration (`trusted-package-keys`), a `.crate` file, a wheel or a
//! program is installed only if the minisign signature beside it, `FILE.minisig`, is of one of them.
//!
//! Crates from a registry are not concerned: cargo checks them against the registry's index. Nor are crate directories,
//! whose content is the operator's own.

use std::fs;
use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};
use volttron_utils::config::OptionFile;
use volttron_utils::home::Home;

use super::{InstallError, Source, file};

/// The option of the platform's configuration file: keys, or files with a key, separated by commas.
const OPTION: &str = "trusted-package-keys";

/// The keys that packages must be signed with; none if that is not demanded.
#[derive(Debug, Default)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
}

impl TrustedKeys {
    /// From the configuration of a home. What cannot be read is an error: it must not switch the check off.
    pub fn of(home: &Home) -> Result<Self, InstallError> {
        let path = home.config_file();
        let options = OptionFile::load_or_empty(&path)
            .map_err(|e| InstallError::Config(format!("cannot see whether packages must be signed: {e}")))?;
        Self::parse(options.get(&["global", "volttron"], OPTION).unwrap_or_default().trim_matches('"'))
    }

    /// From their text: keys, or files with one, separated by commas.
    pub fn parse(text: &str) -> Result<Self, InstallError> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(key).collect::<Result<_, _>>().map(|keys| Self { keys })
    }

    /// Whether there is none, so that nothing is demanded.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Refuses a file that none of the keys has signed. Without keys, nothing is demanded.
    pub fn check(&self, source: &Source) -> Result<(), InstallError> {
        match source {
            Source::Packed(path) | Source::Program(path) | Source::Wheel(path) if !self.keys.is_empty() => {
                self.check_file(path)
            }
            _ => Ok(()),
        }
    }

    fn check_file(&self, path: &Path) -> Result<(), InstallError> {
        let refused = |why: String| InstallError::Signature { path: path.to_owned(), why };
        let beside = signature_of(path);
        let signature = match fs::read_to_string(&beside) {
            Ok(text) => Signature::decode(text.trim_end())
                .map_err(|e| refused(format!("{} is no minisign signature: {e}", beside.display())))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(refused(format!(
                    "it is not signed: there is no {}, and {OPTION} in the platform's config demands it",
                    beside.display()
                )));
            }
            Err(e) => return Err(refused(format!("{}: {e}", beside.display()))),
        };
        let content = file(path, fs::read(path))?;
        if self.keys.iter().any(|key| key.verify(&content, &signature, true).is_ok()) {
            return Ok(());
        }
        Err(refused(
            "its signature is of none of the trusted keys, or the file was changed since; do not install it"
                .into(),
        ))
    }
}

/// A key as minisign writes it, or the file it is in.
fn key(word: &str) -> Result<PublicKey, InstallError> {
    let bad = |e| {
        InstallError::Config(format!("{OPTION}: {word} is neither a minisign key nor a file with one: {e}"))
    };
    if let Ok(key) = PublicKey::from_base64(word) {
        return Ok(key);
    }
    let path = volttron_utils::home::expand(word);
    let text = fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    // The line after the comment.
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    PublicKey::from_base64(line.trim()).map_err(|e| bad(e.to_string()))
}

fn signature_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of minisign's documentation: a key, and its signature of `test`.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const OTHER: &str = "RWRTJYMNPAETn0rfDz3AYePJm3nMBGwVLT2OgW2cZi4xo5m1jBrYMWJF";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";

    #[test]
    fn with_trusted_keys_only_what_they_signed_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.crate");
        let source = Source::Packed(path.clone());
        fs::write(&path, "test").unwrap();
        let check = |keys: &str| TrustedKeys::parse(keys).unwrap().check(&source).map_err(|e| e.to_string());
        assert_eq!(check(""), Ok(()), "without a key nothing is demanded");
        assert!(check(KEY).unwrap_err().contains("not signed"));
        fs::write(signature_of(&path), SIGNATURE).unwrap();
        assert_eq!(check(KEY), Ok(()));
        assert_eq!(check(&format!("{OTHER}, {KEY}")), Ok(()));
        let file = dir.path().join("minisign.pub");
        fs::write(&file, format!("untrusted comment: minisign public key\n{KEY}\n")).unwrap();
        assert_eq!(check(file.to_str().unwrap()), Ok(()));
        assert!(check(OTHER).unwrap_err().contains("none of the trusted keys"));
        fs::write(&path, "tesT").unwrap();
        assert!(check(KEY).unwrap_err().contains("do not install it"));
        fs::write(signature_of(&path), "nonsense").unwrap();
        assert!(check(KEY).unwrap_err().contains("no minisign signature"));
        assert_eq!(
            TrustedKeys::parse(KEY).unwrap().check(&Source::Crate(path)).map_err(|e| e.to_string()),
            Ok(())
        );
        assert!(TrustedKeys::parse("nothing").unwrap_err().to_string().contains(OPTION));
    }
}
