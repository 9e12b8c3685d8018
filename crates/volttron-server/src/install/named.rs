//! Crates by name: what `NAME@VERSION` and the registry options mean to cargo.

use tokio::process::Command;

/// Longest name of a crate.
const MAX_NAME_CHARS: usize = 64;

/// A crate on a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCrate {
    /// Its name.
    pub name: String,
    /// A version or a requirement, as it was written; the newest if none.
    pub version: Option<String>,
    /// Where; crates.io, or what stands for it, if not said.
    pub registry: Option<Registry>,
}

/// A registry that is not the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// A name from cargo's configuration.
    Name(String),
    /// The address of an index.
    Index(String),
}

impl NamedCrate {
    /// `NAME` or `NAME@VERSION`; none if that cannot be a crate.
    pub fn parse(text: &str, registry: Option<Registry>) -> Option<Self> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= MAX_NAME_CHARS
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let version_fits = version.is_none_or(|v| !v.trim().is_empty() && !v.contains(['/', '\\']));
        (fits && version_fits).then(|| Self {
            name: name.to_owned(),
            version: version.map(|v| v.trim().to_owned()),
            registry,
        })
    }

    /// What cargo's `--version` wants: a full version is meant exactly, a part of one as the newest that fits.
    pub fn requirement(&self) -> Option<String> {
        let version = self.version.as_deref()?;
        let numbers = version.split(['-', '+']).next().unwrap_or_default();
        let partial =
            numbers.split('.').count() < 3 && numbers.chars().all(|c| c.is_ascii_digit() || c == '.');
        Some(if partial { format!("^{version}") } else { version.to_owned() })
    }

    /// Adds the options that say where the crate is.
    pub(super) fn place(&self, command: &mut Command) {
        match &self.registry {
            None => {}
            Some(Registry::Name(name)) => drop(command.args(["--registry", name])),
            Some(Registry::Index(url)) => drop(command.args(["--index", url])),
        }
    }

    /// The same as part of a dependency in a manifest.
    pub(super) fn place_in_manifest(&self) -> String {
        match &self.registry {
            None => String::new(),
            Some(Registry::Name(name)) => format!(", registry = {name:?}"),
            Some(Registry::Index(url)) => format!(", registry-index = {url:?}"),
        }
    }

    /// The registry in the ledger.
    pub fn registry_name(&self) -> &str {
        match &self.registry {
            None => "crates.io",
            Some(Registry::Name(name) | Registry::Index(name)) => name,
        }
    }
}

impl std::fmt::Display for NamedCrate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_told_from_paths() {
        for (text, name, requirement) in [
            ("volttron-listener", "volttron-listener", None),
            ("a@1.2.3", "a", Some("1.2.3")),
            ("a@1.2", "a", Some("^1.2")),
            ("a@1", "a", Some("^1")),
            ("a@1.0.0-rc.1", "a", Some("1.0.0-rc.1")),
            ("a@=1.2", "a", Some("=1.2")),
            ("a@>=1, <2", "a", Some(">=1, <2")),
        ] {
            let named = NamedCrate::parse(text, None).unwrap();
            assert_eq!((named.name.as_str(), named.requirement().as_deref()), (name, requirement), "{text}");
            assert_eq!(named.to_string(), text);
        }
        for text in ["", "./a", "a/b", "a.whl", "1a", "-a", "a@", "a@../b", &"x".repeat(65)] {
            assert_eq!(NamedCrate::parse(text, None), None, "{text}");
        }
    }
}
