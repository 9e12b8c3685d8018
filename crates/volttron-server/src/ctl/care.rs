//! The verbs that look after a platform as a whole: `doctor` and `explain`.

use clap::Subcommand;

use super::Vctl;
use super::doctor::{self, DoctorArgs};
use super::explain::{self, ExplainArgs};
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
}

impl CareCommand {
    /// The word in messages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Doctor(_) => "doctor",
            Self::Explain(_) => "explain",
        }
    }
}

pub(super) async fn care(vctl: &Vctl, command: CareCommand, out: &mut Output) -> Result<u8, OpError> {
    match command {
        CareCommand::Doctor(args) => doctor::doctor(vctl, &args, out).await,
        CareCommand::Explain(args) => explain::explain(vctl, &args, out),
    }
}
