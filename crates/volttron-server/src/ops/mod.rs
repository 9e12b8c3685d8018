//! What the command line tools do, one function per verb. Returns data and texts; never prints, never exits.
//!
//! Start reading at [`session`] (the way to the platform) and [`agents`] (what is installed, and how it does).

pub mod agents;
pub mod apply;
pub mod auth;
pub mod backup;
pub mod bench;
pub mod bugreport;
pub mod config;
pub mod doctor;
pub mod home_upgrade;
pub mod install;
pub mod lifecycle;
pub mod logs;
pub mod migrate;
pub mod new;
mod passing;
pub mod rpc;
pub mod run;
pub mod select;
pub mod session;
pub mod top;
pub mod versions;

use std::io;

use volttron_client::link::ConnectError;
use volttron_client::{CallError, CallErrorKind, SpawnError};

pub use session::{Session, Target};

/// Why a verb failed. The text is for people; [`OpError::code`] is the exit code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// The verb needs the platform.
    #[error("VOLTTRON is not running. This command requires VOLTTRON platform to be running")]
    NotRunning,
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// Nothing fits a pattern, or too much does.
    #[error("{0}")]
    Selection(String),
    /// What was asked for cannot be done; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// A key file is missing or unreadable.
    #[error("{0}")]
    Keys(String),
    /// Installing failed.
    #[error(transparent)]
    Install(#[from] crate::install::InstallError),
    /// The rules.
    #[error(transparent)]
    Rules(#[from] auth::AuthOpError),
    /// There is no new crate.
    #[error(transparent)]
    New(#[from] new::NewError),
    /// A file of the home or one that was named.
    #[error("{what}: {source}")]
    File {
        /// Which.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// No archive of a home, or no home from one.
    #[error(transparent)]
    Backup(#[from] backup::BackupError),
    /// No home from that of a Python platform, or no way back.
    #[error(transparent)]
    Migrate(#[from] migrate::MigrateError),
    /// No connection.
    #[error("{0}")]
    Connect(#[from] SpawnError),
    /// The platform refused or did not answer.
    #[error("{0}")]
    Call(#[from] CallError),
    /// Who or what was called is not there, but something of nearly that name is.
    #[error("{error}; did you mean {meant}?")]
    Misnamed {
        /// What became of the call.
        error: Box<CallError>,
        /// The near name.
        meant: String,
    },
}

impl OpError {
    /// Exit code (cli.md section 4).
    pub fn code(&self) -> u8 {
        match self {
            Self::NotRunning | Self::Selection(_) => 10,
            Self::Rules(e) => e.code(),
            Self::Usage(_) | Self::New(new::NewError::Answer { .. }) => 2,
            _ if self.is_timeout() => 75,
            Self::Call(_) | Self::Misnamed { .. } => 20,
            Self::Refused(_)
            | Self::Install(_)
            | Self::New(_)
            | Self::Keys(_)
            | Self::Backup(_)
            | Self::Migrate(_)
            | Self::File { .. }
            | Self::Connect(_) => 1,
        }
    }

    /// Whether the platform did not answer in time.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Call(e) => e.kind() == CallErrorKind::Timeout,
            Self::Connect(e) => matches!(e, SpawnError::Connect(ConnectError::NoWelcome(_))),
            _ => false,
        }
    }
}
