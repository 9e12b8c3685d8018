//! `vctl migrate`: the home of a Python platform, 9.x or 10.x, becomes a home of ours, beside it, and back.
//!
//! [`look`] reads the old home and says what becomes of each thing in it ([`report`]); [`build`](build::build) makes the new
//! home under another name and renames it, so that it is there whole or not at all; [`undo`] takes it away again, as long
//! as it is what [`record`] says it was.
//!
//! The old home is only read, and never while something runs in it. What is broken of a single agent is left there and
//! told; what the platform as a whole cannot do without has to be mended first. Start reading at [`plan`].

mod agents;
mod build;
mod copy;
mod history;
mod plan;
mod programs;
mod record;
pub mod report;
mod running;
mod settle;
mod shared;
mod tree;
mod undo;

use std::path::PathBuf;

use volttron_utils::home::Home;

pub use build::{Built, build};
pub use plan::{Plan, look};
pub(super) use running::in_use;
pub use undo::{Undoing, Undone, prepare_undo};

use super::backup::BackupError;
use crate::codes::{Code, Coded};
use crate::install::{InstallError, python};

/// What to migrate, and how.
#[derive(Clone, Debug)]
pub struct MigrateRequest {
    /// The old home.
    pub from: PathBuf,
    /// The new one.
    pub to: Home,
    /// How environments of Python agents are made.
    pub python: python::Settings,
    /// Whether they are made at all.
    pub environments: bool,
}

/// Why there is no new home, or why it does not go.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// Nothing that a Python platform made.
    #[error("{} is no home of a Python platform: {why}", path.display())]
    NotAHome {
        /// What was named.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// A later generation.
    #[error("{}: {why}; homes of 9.x and 10.x are migrated", path.display())]
    Newer {
        /// What was named.
        path: PathBuf,
        /// How that is known.
        why: String,
    },
    /// Something works in the old home.
    #[error("{} is in use: {why}", path.display())]
    InUse {
        /// The home.
        path: PathBuf,
        /// By whom, and what to do.
        why: String,
    },
    /// The new home cannot be there.
    #[error("{} cannot be the new home: {why}", path.display())]
    Place {
        /// The place.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// Without these the new platform could not start, or would be less than the old one.
    #[error("{} cannot be migrated as it is; nothing was written:\n  {}", path.display(), problems.join("\n  "))]
    Broken {
        /// The old home.
        path: PathBuf,
        /// What is wrong, each with what to do.
        problems: Vec<String>,
    },
    /// Not made by a migration.
    #[error("{} did not come from a migration: {why}; nothing was removed", path.display())]
    NoRecord {
        /// The home.
        path: PathBuf,
        /// How that is known.
        why: String,
    },
    /// The new home is worth something by now.
    #[error("{} has changed since it was migrated, and all of that would be lost:\n  {}\n{hint}", path.display(), changes.join("\n  "))]
    Changed {
        /// The new home.
        path: PathBuf,
        /// What has changed.
        changes: Vec<String>,
        /// What to do.
        hint: &'static str,
    },
    /// Files.
    #[error(transparent)]
    Files(#[from] BackupError),
    /// Registering an agent.
    #[error(transparent)]
    Agent(#[from] InstallError),
}

impl Coded for MigrateError {
    fn coded(&self) -> Code {
        match self {
            Self::NotAHome { .. } => Code::NotAPythonHome,
            Self::Newer { .. } => Code::NewerGeneration,
            Self::InUse { .. } => Code::OldHomeInUse,
            Self::Place { .. } => Code::MigrationPlace,
            Self::Broken { .. } => Code::OldHomeBroken,
            Self::NoRecord { .. } => Code::NotMigrated,
            Self::Changed { .. } => Code::ChangedSinceMigration,
            Self::Files(e) => e.coded(),
            Self::Agent(e) => e.coded(),
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &std::path::Path) -> String {
    super::doctor::quoted(&path.to_string_lossy())
}
