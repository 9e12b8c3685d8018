//! Which error has which code.

use volttron_client::link::ConnectError;
use volttron_client::{CallError, SpawnError};

use super::Code;
use crate::auth::startup::StartupError;
use crate::auth::store::{ChangeError, StoreError};
use crate::front::{BindError, FrontError};
use crate::install::InstallError;
use crate::lock::LockError;
use crate::ops::OpError;
use crate::ops::auth::AuthOpError;
use crate::ops::new::NewError;
use crate::options::OptionsError;
use crate::platform::PlatformError;

/// An error that users meet.
pub trait Coded {
    /// Its code.
    fn coded(&self) -> Code;
}

impl Coded for OpError {
    fn coded(&self) -> Code {
        match self {
            Self::NotRunning => Code::NotRunning,
            Self::Usage(_) => Code::Usage,
            Self::Selection(_) => Code::Selection,
            Self::Refused(_) => Code::Refused,
            Self::Keys(_) => Code::OwnKeys,
            Self::File { .. } => Code::File,
            Self::Install(e) => e.coded(),
            Self::Rules(e) => e.coded(),
            Self::New(e) => e.coded(),
            Self::Backup(e) => e.coded(),
            Self::Migrate(e) => e.coded(),
            Self::Connect(e) => e.coded(),
            Self::Call(e) => e.coded(),
            Self::Misnamed { error, .. } => error.coded(),
        }
    }
}

impl Coded for CallError {
    fn coded(&self) -> Code {
        match self {
            Self::Timeout { .. } => Code::CallTimeout,
            Self::Unreachable { .. } => Code::Unreachable,
            Self::Again { .. } | Self::TooMany => Code::Busy,
            Self::Denied(_) => Code::Denied,
            Self::NoSuchMethod { .. } | Self::UnknownSubsystem { .. } => Code::NoSuchMethod,
            Self::BadParams(_) => Code::BadArguments,
            Self::BadReply { .. } | Self::Vip(_) => Code::BadReply,
            Self::Disconnected | Self::Closed => Code::Disconnected,
            _ => Code::RemoteFailure,
        }
    }
}

impl Coded for SpawnError {
    fn coded(&self) -> Code {
        match self {
            Self::Connect(ConnectError::NoWelcome(_)) => Code::NoWelcome,
            Self::Connect(ConnectError::Address { .. }) => Code::BadAddress,
            _ => Code::ConnectSystem,
        }
    }
}

impl Coded for InstallError {
    fn coded(&self) -> Code {
        match self {
            Self::Missing(_) => Code::SourceMissing,
            Self::Unsupported { .. } => Code::SourceUnsupported,
            Self::Signature { .. } => Code::NotSigned,
            Self::Build { .. } => Code::BuildFailed,
            Self::Python { .. } => Code::PythonFailed,
            Self::Describe { .. } => Code::NoDescription,
            Self::Protocol { .. } => Code::OtherProtocol,
            Self::Config(_) => Code::BadAgentConfig,
            Self::IdentityExists(_) | Self::DefaultTaken(_) => Code::IdentityTaken,
            Self::BadIdentity(_) => Code::BadIdentity,
            Self::File { .. } => Code::InstallFile,
            Self::NoVersion(_) => Code::NoFormerVersion,
            Self::Auth(_) => Code::InstallAuth,
            Self::Keys(_) => Code::Keystore,
        }
    }
}

impl Coded for AuthOpError {
    fn coded(&self) -> Code {
        match self {
            Self::NotRunning => Code::NotRunning,
            Self::Call(e) => e.coded(),
            Self::Edit(_) => Code::RuleConflict,
            Self::Store(_) => Code::AuthFile,
            Self::Usage(_) => Code::Usage,
            Self::Name(_) => Code::RuleName,
            Self::Prompt(_) => Code::NobodyAnswers,
            Self::Keystore(_) => Code::Keystore,
            Self::KnownHosts(_) => Code::KnownHosts,
        }
    }
}

impl Coded for NewError {
    fn coded(&self) -> Code {
        match self {
            Self::Answer { .. } => Code::CrateAnswer,
            Self::Exists(_) => Code::CrateExists,
            Self::File { .. } => Code::File,
        }
    }
}

impl Coded for OptionsError {
    fn coded(&self) -> Code {
        match self {
            Self::Usage { .. } | Self::Value { .. } => Code::BadOption,
            Self::Home(_) => Code::HomeUnusable,
            Self::File(_) | Self::FileValue { .. } => Code::BadConfigFile,
            Self::LogConfig(_) => Code::LogConfig,
            Self::NotBuilt(_) => Code::NotBuilt,
        }
    }
}

impl Coded for PlatformError {
    fn coded(&self) -> Code {
        match self {
            Self::Lock(LockError::Held { .. }) => Code::HomeHeld,
            Self::Lock(LockError::Io { .. }) | Self::Home(_) => Code::HomeUnusable,
            Self::Isolation(_) => Code::Isolation,
            Self::Cgroup(_) => Code::ControlGroups,
            Self::Config(_) => Code::BadConfigFile,
            Self::AuthFile(e) | Self::Auth(StartupError::AuthFile(ChangeError::Store(e))) => e.coded(),
            Self::Auth(StartupError::AuthFile(ChangeError::Refused(never))) => match *never {},
            Self::Auth(StartupError::Keystore(_)) => Code::Keystore,
            Self::Auth(StartupError::KnownHosts(_)) => Code::KnownHosts,
            Self::ConfigStore(_) => Code::ConfigStore,
            Self::Bind(e) | Self::Front(FrontError::Bind(e)) => e.coded(),
            Self::Front(_) | Self::System { .. } => Code::System,
            Self::Service { .. } => Code::ServiceFailed,
            Self::Metrics { .. } => Code::MetricsAddress,
            Self::BusEnded => Code::BusEnded,
        }
    }
}

impl Coded for StoreError {
    fn coded(&self) -> Code {
        Code::AuthFile
    }
}

impl Coded for BindError {
    fn coded(&self) -> Code {
        match self {
            Self::System { source: zmq::Error::EADDRINUSE, .. } => Code::AddressTaken,
            _ => Code::BindFailed,
        }
    }
}
