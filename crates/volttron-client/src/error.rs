//! What can go wrong for an agent's author: one enum per operation, each telling what was attempted and on whom.
//!
//! Connection errors are in [`crate::link`], since links make them.

use std::fmt;
use std::time::Duration;

use volttron_utils::jsonrpc::{self, RpcError};
use volttron_utils::vip::{self, VipError};

/// Any failure of a handler. Made by `?` from every error type, or by [`AgentError::msg`].
///
/// Like other catch-all errors it does not implement [`std::error::Error`] itself, so that `?` can convert all others.
pub struct AgentError(Box<dyn std::error::Error + Send + Sync>);

impl AgentError {
    /// An error that is only a text.
    pub fn msg(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The wrapped error.
    pub fn source(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for AgentError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a call or a request to the router has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No answer within the deadline. The callee may still have done what was asked.
    #[error("'{what}' at '{peer}' did not answer within {after:?}")]
    Timeout {
        /// Method or request.
        what: String,
        /// Who was asked; empty = the router.
        peer: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// No such peer is connected (VIP error 113).
    #[error("'{peer}' is not connected to the platform")]
    Unreachable {
        /// Who was asked.
        peer: String,
    },
    /// The peer's queue is full (VIP error 11); try later.
    #[error("'{peer}' does not keep up with its messages")]
    Again {
        /// Who was asked.
        peer: String,
    },
    /// The callee refused: we lack a capability.
    #[error("{0}")]
    Denied(String),
    /// The method raised.
    #[error("{}", remote_text(.0))]
    Remote(RpcError),
    /// The peer has no such method.
    #[error("'{peer}' has no method '{method}'")]
    NoSuchMethod {
        /// Who was asked.
        peer: String,
        /// What for.
        method: String,
    },
    /// The arguments cannot be put into JSON, or the callee refused the request as malformed.
    #[error("bad arguments: {0}")]
    BadParams(String),
    /// The answer is not what was expected.
    #[error("'{peer}' answered '{what}' with something unexpected: {why}")]
    BadReply {
        /// Who answered.
        peer: String,
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The peer does not know the subsystem (VIP error 93).
    #[error("'{peer}' does not support '{subsystem}'")]
    UnknownSubsystem {
        /// Who was asked.
        peer: String,
        /// The subsystem.
        subsystem: String,
    },
    /// Another VIP error.
    #[error(transparent)]
    Vip(VipError),
    /// Not connected, or the connection broke before the answer.
    #[error("not connected to the platform")]
    Disconnected,
    /// Too many requests wait for answers already.
    #[error("too many requests are waiting for answers")]
    TooMany,
    /// The agent has stopped.
    #[error("the agent has stopped")]
    Closed,
}

/// The kinds of [`CallError`], for code that decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallErrorKind {
    /// See [`CallError::Timeout`].
    Timeout,
    /// See [`CallError::Unreachable`].
    Unreachable,
    /// See [`CallError::Again`], [`CallError::TooMany`].
    Busy,
    /// See [`CallError::Denied`].
    Denied,
    /// See [`CallError::Remote`].
    Remote,
    /// See [`CallError::NoSuchMethod`], [`CallError::UnknownSubsystem`].
    NoSuchMethod,
    /// See [`CallError::BadParams`].
    BadParams,
    /// See [`CallError::BadReply`], [`CallError::Vip`].
    BadReply,
    /// See [`CallError::Disconnected`], [`CallError::Closed`].
    Closed,
}

impl CallError {
    /// What kind of failure this is.
    pub fn kind(&self) -> CallErrorKind {
        match self {
            Self::Timeout { .. } => CallErrorKind::Timeout,
            Self::Unreachable { .. } => CallErrorKind::Unreachable,
            Self::Again { .. } | Self::TooMany => CallErrorKind::Busy,
            Self::Denied(_) => CallErrorKind::Denied,
            Self::Remote(_) => CallErrorKind::Remote,
            Self::NoSuchMethod { .. } | Self::UnknownSubsystem { .. } => CallErrorKind::NoSuchMethod,
            Self::BadParams(_) => CallErrorKind::BadParams,
            Self::BadReply { .. } | Self::Vip(_) => CallErrorKind::BadReply,
            Self::Disconnected | Self::Closed => CallErrorKind::Closed,
        }
    }

    /// True when the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), CallErrorKind::Timeout | CallErrorKind::Unreachable | CallErrorKind::Busy)
            || matches!(self, Self::Disconnected)
    }

    /// The class name of a remote exception (`builtins.KeyError`), if this is one.
    pub fn exc_type(&self) -> Option<&str> {
        match self {
            Self::Remote(error) => error.exc_type(),
            _ => None,
        }
    }

    /// Maps a VIP error frame that answered `what` (vip.md section 6.4).
    pub(crate) fn from_vip(error: VipError, asked: &str) -> Self {
        let peer = if error.peer.is_empty() { asked.to_owned() } else { error.peer.clone() };
        match error.errno {
            vip::EHOSTUNREACH => Self::Unreachable { peer },
            vip::EAGAIN => Self::Again { peer },
            vip::EPROTONOSUPPORT => Self::UnknownSubsystem { peer, subsystem: error.subsystem },
            _ => Self::Vip(error),
        }
    }

    /// Maps a JSON-RPC error that `method` at `peer` answered.
    pub(crate) fn from_rpc(error: RpcError, peer: &str, method: &str) -> Self {
        match error.code {
            jsonrpc::CODE_METHOD_NOT_FOUND => {
                Self::NoSuchMethod { peer: peer.to_owned(), method: method.to_owned() }
            }
            jsonrpc::CODE_INVALID_REQUEST | jsonrpc::CODE_INVALID_PARAMS => {
                Self::BadParams(remote_text(&error))
            }
            _ if error.is_unauthorized() => Self::Denied(remote_text(&error)),
            _ => Self::Remote(error),
        }
    }
}

/// `ValueError: text` for an exception, the message otherwise.
fn remote_text(error: &RpcError) -> String {
    let detail = error.detail().unwrap_or(error.message.as_str());
    match error.exc_type() {
        Some(class) if !error.is_unauthorized() => {
            let class = class.strip_prefix("builtins.").unwrap_or(class);
            format!("{class}: {detail}")
        }
        _ => detail.to_owned(),
    }
}

/// So that a handler can pass on the failure of a call it made with `?`.
impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        if let CallError::Remote(inner) = error {
            return inner;
        }
        let class = match error.kind() {
            CallErrorKind::Timeout => "builtins.TimeoutError",
            CallErrorKind::Unreachable | CallErrorKind::Closed => "builtins.ConnectionError",
            _ => "builtins.RuntimeError",
        };
        RpcError::exception(class, error.to_string())
    }
}

/// Why a publish did not reach everybody.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is protected and we lack a capability. The text names topic and capabilities.
    #[error("{0}")]
    Denied(String),
    /// A subscriber's queue is full; it misses this message, the others have it.
    #[error("subscriber '{peer}' does not keep up and misses this message")]
    SubscriberFull {
        /// The slow subscriber.
        peer: String,
    },
    /// The topic cannot travel: not ISO-8859-1, or it reads as JSON (vip.md section 3.4).
    #[error("topic {topic:?} cannot be published: {why}")]
    BadTopic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The message cannot be put into JSON.
    #[error("message for topic {topic:?} cannot be put into JSON: {why}")]
    BadMessage {
        /// The topic.
        topic: String,
        /// What serde said.
        why: String,
    },
    /// The router did not answer, or we are not connected.
    #[error(transparent)]
    Router(#[from] CallError),
}

impl From<PublishError> for RpcError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Router(inner) => inner.into(),
            other => RpcError::runtime_error(other.to_string()),
        }
    }
}
