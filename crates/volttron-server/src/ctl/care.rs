//! The verbs that look after a platform as a whole: `doctor`, `explain`, `backup`, `restore`,
//! `migrate` and `bugreport`.

use clap::Subcommand;

use super::Vctl;
use super::backup::{self, BackupArgs, BugreportArgs, RestoreArgs};
use super::doctor::{self, DoctorArgs};
use super::explain::{self, ExplainArgs};
use super::migrate::{self, MigrateArgs};
use super::output::Output;
use crate::ops::OpError;

/// The verbs.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum CareCommand {
    /// Find what is wrong with the platform and its home, and how to mend it
    Doctor(DoctorArgs),
    /// Say what an error code means, and what to do
    Explain(ExplainArgs),
    /// Copy the whole home into a file, while the platform runs
    Backup(BackupArgs),
    /// Make a home from a backup
    Restore(RestoreArgs),
    /// Make a home from that of a Python platform, 9.x or 10.x, beside it
    Migrate(MigrateArgs),
    /// Write a file with all that somebody needs to find a fault, without secrets
    Bugreport(BugreportArgs),
}

impl CareCommand {
    /// The word in messages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Doctor(_) => "doctor",
            Self::Explain(_) => "explain",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Migrate(_) => "migrate",
            Self::Bugreport(_) => "bugreport",
        }
    }
}

pub(super) async fn care(vctl: &Vctl, command: CareCommand, out: &mut Output) -> Result<u8, OpError> {
    match command {
        CareCommand::Doctor(args) => doctor::doctor(vctl, &args, out).await,
        CareCommand::Explain(args) => Ok(explain::explain(vctl, &args, out)),
        CareCommand::Backup(args) => backup::backup(vctl, args, out).await,
        CareCommand::Restore(args) => backup::bring_back(vctl, args, out).await,
        CareCommand::Migrate(args) => migrate::migrate(vctl, args, out).await,
        CareCommand::Bugreport(args) => backup::report(vctl, args, out).await,
    }
}
