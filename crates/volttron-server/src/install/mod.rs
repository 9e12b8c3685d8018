//! Installing agents: from a crate (directory, `.crate` file, name on a registry), a program file or a Python package to a
//! directory below `agents/` (lifecycle.md section 2).
//!
//! Two halves. [`prepare`] works for `vctl`: it recognises the source, builds it and asks the program what it is.
//! [`stage`] and what follows it ([`Pending`]) work in the platform: identity, keys, files, and the way back to a former
//! version. They share a host, so what is handed over is a path.

mod adopt;
mod build;
mod cargo;
mod change;
mod describe;
mod disk;
pub(crate) mod elf;
pub mod history;
mod links;
mod named;
pub mod package;
mod prepare;
pub mod python;
mod register;
mod repair;
mod schema;
mod signature;
mod site;
mod source;
mod stage;
mod store;
#[cfg(test)]
mod testing;
mod unpack;
mod upgrade;

use std::path::PathBuf;

/// The format of `agent.json` that is written, and the latest that is read.
pub(crate) const MANIFEST_FORMAT: u32 = 1;

/// Begins the name of a new agent's directory from its decisive rename until it is in place.
const NEW_PREFIX: &str = ".new-";

pub use adopt::adopt;
pub use build::Build;
pub use named::{NamedCrate, Registry};
pub use prepare::{Wanted, prepare};
pub use register::{Installed, Keep, Pending, StagedAgent, Then, choose_identity, remove, stage};
use repair::repair;
pub use repair::repair_home;
pub(crate) use signature::TrustedKeys;
pub use site::{Admission, Site};
pub use source::{Kind, Source, recognise};
pub use stage::Stage;
pub use upgrade::{AgentSettings, conclude, stage_rollback, stage_settings};

/// Why an agent was not installed. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is no such file or directory.
    #[error("Invalid file {0}")]
    Missing(String),
    /// It is neither a crate directory nor a program.
    #[error("{path}: {why}")]
    Unsupported {
        /// What was given.
        path: String,
        /// What it is, and what would work.
        why: String,
    },
    /// It is not signed as the platform's configuration demands.
    #[error("{path} is not installed: {why}")]
    Signature {
        /// The file.
        path: PathBuf,
        /// What is wrong with its signature.
        why: String,
    },
    /// cargo did not build it.
    #[error("cannot build {what}: {why}")]
    Build {
        /// The crate.
        what: String,
        /// What cargo said.
        why: String,
    },
    /// A Python package was not installed.
    #[error("cannot install {path}: {why}")]
    Python {
        /// What was given.
        path: String,
        /// What went wrong, with the last lines of pip.
        why: String,
    },
    /// The program does not say what it is.
    #[error("{path} does not answer `--describe` as an agent does: {why}")]
    Describe {
        /// The program.
        path: PathBuf,
        /// What it did instead.
        why: String,
    },
    /// Made for another version of the protocol.
    #[error(
        "{name} speaks version {theirs} of the agent protocol, this platform version {ours}; build it again with a matching volttron-client"
    )]
    Protocol {
        /// The package.
        name: String,
        /// Its version of the protocol.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
    /// The configuration file.
    #[error("{0}")]
    Config(String),
    /// The identity is taken.
    #[error("Identity already exists.  Pass --force option to re-install.")]
    IdentityExists(String),
    /// The package's own identity is taken, and is no template.
    #[error("Agent with VIP ID {0} already installed on platform.")]
    DefaultTaken(String),
    /// The identity cannot be used.
    #[error("{0}")]
    BadIdentity(String),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no version to go back to.
    #[error("{0}")]
    NoVersion(String),
    /// The auth file.
    #[error("cannot change the auth file: {0}")]
    Auth(String),
    /// The key pair.
    #[error(transparent)]
    Keys(#[from] volttron_utils::keys::keystore::KeystoreError),
}

/// Names the file in an error.
fn file<T>(path: &std::path::Path, done: std::io::Result<T>) -> Result<T, InstallError> {
    done.map_err(|source| InstallError::File { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod faults_tests;
