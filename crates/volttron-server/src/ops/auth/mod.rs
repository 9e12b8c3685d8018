//! `vctl auth`: the verbs (cli.md section 4.6).
//!
//! Owns the arguments ([`AuthCommand`]), the way to the rules whether the platform runs or not ([`Rules`]), and the
//! texts. Must never print or decide about connecting: the program mounts [`AuthCommand`], connects when it can, calls
//! [`run`] and shows the [`Output`].

mod admit;
mod args;
mod ask;
mod enroll;
mod entries;
mod groups;
mod hosts;
mod keys;
mod publickey;
mod remote;
pub mod rules;
mod text;
mod why;

use std::io;

use serde_json::Value;
use volttron_client::{CallError, CallErrorKind, Cx};
use volttron_utils::home::Home;
use volttron_utils::keys::keystore::KeystoreError;
use volttron_utils::keys::known_hosts::KnownHostsError;

pub use args::{AddArgs, AuthCommand, EnrollArgs, MembersArgs, RemoteCommand, RemoteStatus, RpcCommand};
pub use ask::Prompt;
pub use publickey::publickey;
pub use rules::Rules;

use crate::auth::entry::EntryError;
use crate::auth::file::EditError;
use crate::auth::store::{ChangeError, StoreError};

/// What a verb has to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Text for standard output, line ends included.
    pub stdout: String,
    /// Text for standard error.
    pub stderr: String,
    /// What `--json` shows instead of the standard output, where the verb has data.
    pub json: Option<Value>,
}

impl Output {
    fn line(text: impl Into<String>) -> Self {
        Self { stdout: text.into() + "\n", ..Self::default() }
    }

    fn with_json(mut self, json: Value) -> Self {
        self.json = Some(json);
        self
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthOpError {
    /// The verb needs the platform.
    #[error("VOLTTRON is not running. This command requires VOLTTRON platform to be running")]
    NotRunning,
    /// The platform refused or did not answer.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The change is against the rules of the file.
    #[error("{error}{}", advice(.0), error = .0)]
    Edit(#[from] EditError),
    /// The file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// What was named does not exist, or exists already.
    #[error("{0}")]
    Name(String),
    /// The person at the terminal is gone.
    #[error("cannot ask: {0}")]
    Prompt(#[from] io::Error),
    /// A key file.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The `known_hosts` file.
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
}

/// What to do about it, where that is one thing.
fn advice(error: &EditError) -> &'static str {
    if matches!(error, EditError::Index(_)) { "; vctl auth list shows the indices" } else { "" }
}

impl AuthOpError {
    /// Exit code (cli.md section 4).
    pub fn code(&self) -> u8 {
        match self {
            Self::NotRunning => 10,
            Self::Usage(_) => 2,
            Self::Call(e) if e.kind() == CallErrorKind::Timeout => 75,
            Self::Call(_) | Self::Edit(_) => 20,
            Self::Store(_) | Self::Name(_) | Self::Prompt(_) | Self::Keystore(_) | Self::KnownHosts(_) => 1,
        }
    }
}

impl From<EntryError> for AuthOpError {
    fn from(error: EntryError) -> Self {
        Self::Edit(error.into())
    }
}

impl From<ChangeError<EditError>> for AuthOpError {
    fn from(error: ChangeError<EditError>) -> Self {
        match error {
            ChangeError::Store(e) => Self::Store(e),
            ChangeError::Refused(e) => Self::Edit(e),
        }
    }
}

impl AuthCommand {
    /// Whether the verb uses the platform when it runs. The others need no connection at all.
    pub fn wants_platform(&self) -> bool {
        !matches!(
            self,
            Self::Keypair | Self::AddKnownHost { .. } | Self::ListKnownHosts | Self::RemoveKnownHost { .. }
        )
    }
}

impl AuthCommand {
    /// Whether the verb is about what only a running platform knows. The others work on the files of the home too.
    pub fn needs_platform(&self) -> bool {
        matches!(self, Self::Enroll(_) | Self::Serverkey | Self::Remote(_) | Self::Why { .. })
    }
}

/// Carries out a verb. `platform` is a connection as `control.connection`, if the platform runs.
pub async fn run(
    command: AuthCommand,
    home: &Home,
    platform: Option<&Cx>,
    prompt: &mut dyn Prompt,
) -> Result<Output, AuthOpError> {
    let rules = Rules::new(home, platform);
    let online = || platform.ok_or(AuthOpError::NotRunning);
    match command {
        AuthCommand::Add(args) => entries::add(&rules, home, *args, prompt).await,
        AuthCommand::List => entries::list(&rules).await,
        AuthCommand::Update { index } => entries::update(&rules, index, prompt).await,
        AuthCommand::Remove { indices, yes } => entries::remove(&rules, &indices, yes, prompt).await,
        AuthCommand::Keypair => Ok(keys::keypair()),
        AuthCommand::Enroll(args) => enroll::enroll(&rules, online()?, args).await,
        AuthCommand::Admit { identities } => admit::admit(&rules, home, &identities).await,
        AuthCommand::Serverkey => keys::serverkey(online()?).await,
        AuthCommand::AddGroup(args) => groups::GROUPS.add(&rules, args).await,
        AuthCommand::ListGroups => groups::GROUPS.list(&rules).await,
        AuthCommand::UpdateGroup { members, remove } => groups::GROUPS.update(&rules, members, remove).await,
        AuthCommand::RemoveGroup { name } => groups::GROUPS.remove(&rules, name).await,
        AuthCommand::AddRole(args) => groups::ROLES.add(&rules, args).await,
        AuthCommand::ListRoles => groups::ROLES.list(&rules).await,
        AuthCommand::UpdateRole { members, remove } => groups::ROLES.update(&rules, members, remove).await,
        AuthCommand::RemoveRole { name } => groups::ROLES.remove(&rules, name).await,
        AuthCommand::AddKnownHost { host, serverkey } => hosts::add(home, &host, &serverkey),
        AuthCommand::ListKnownHosts => hosts::list(home),
        AuthCommand::RemoveKnownHost { host } => hosts::remove(home, &host),
        AuthCommand::Remote(RemoteCommand::List { status }) => remote::list(online()?, status).await,
        AuthCommand::Remote(RemoteCommand::Approve { user_id }) => {
            remote::decide(online()?, "approve_authorization", &user_id).await
        }
        AuthCommand::Remote(RemoteCommand::Deny { user_id }) => {
            remote::decide(online()?, "deny_authorization", &user_id).await
        }
        AuthCommand::Remote(RemoteCommand::Delete { user_id }) => {
            remote::decide(online()?, "delete_authorization", &user_id).await
        }
        AuthCommand::Why { identity, what } => why::why(online()?, &identity, what.as_deref()).await,
        AuthCommand::Rpc(RpcCommand::Add { method, capabilities }) => {
            entries::adjust_rpc(&rules, &method, &capabilities, true).await
        }
        AuthCommand::Rpc(RpcCommand::Remove { method, capabilities }) => {
            entries::adjust_rpc(&rules, &method, &capabilities, false).await
        }
        AuthCommand::Rpc(RpcCommand::List { identity }) => {
            entries::list_rpc(&rules, identity.as_deref()).await
        }
    }
}

#[cfg(test)]
mod tests;
