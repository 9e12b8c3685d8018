//! What the attribute macros write about; not for use by hand.
//!
//! The traits here are other traits under a name of their own, so that an author who missed one is told what to write.

use serde::de::DeserializeOwned;
use volttron_utils::jsonrpc::RpcError;

use crate::{AgentError, ConfigError, ConfigEvent, Request};

pub use serde::Serialize;
pub use serde_json::{Value, json};

/// Errors that a method may return.
#[diagnostic::on_unimplemented(
    message = "a method cannot fail with `{Self}`: callers could not be told what it means",
    label = "this error has no place in an RPC answer",
    note = "return `Result<_, RpcError>`, made by `RpcError::value_error(text)` and the like, or implement `From<{Self}> for RpcError`"
)]
pub trait MethodError {
    /// As callers get it.
    fn into_rpc(self) -> RpcError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<RpcError>> MethodError for E {
    fn into_rpc(self) -> RpcError {
        self.into()
    }
}

/// A method's error as callers get it.
pub fn rpc_error<E: MethodError>(error: E) -> RpcError {
    error.into_rpc()
}

/// Errors that other handlers may return.
#[diagnostic::on_unimplemented(
    message = "a handler cannot fail with `{Self}`, which is not an error type",
    label = "this cannot be logged as an error",
    note = "return `Result<(), AgentError>`; `AgentError::msg(text)` makes one of a text, and `?` one of every error type"
)]
pub trait HandlerError {
    /// As it is logged.
    fn into_agent(self) -> AgentError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<AgentError>> HandlerError for E {
    fn into_agent(self) -> AgentError {
        self.into()
    }
}

/// A handler's error as it is logged.
pub fn agent_error<E: HandlerError>(error: E) -> AgentError {
    error.into_agent()
}

/// Results that can be answered.
#[diagnostic::on_unimplemented(
    message = "a method cannot return `{Self}`: it cannot be put into JSON",
    label = "does not implement `serde::Serialize`",
    note = "write `#[derive(serde::Serialize)]` on `{Self}`, or return a type that has it"
)]
pub trait Answer {}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Answer for T {}

/// The result of a method, checked.
pub fn answer<T: Answer>(result: Result<T, RpcError>) -> Result<T, RpcError> {
    result
}

/// Types that a parameter or the contents of a configuration entry can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter: it cannot be read from JSON",
    label = "does not implement `serde::Deserialize`",
    note = "write `#[derive(serde::Deserialize)]` on `{Self}`, or take a type that has it, such as `serde_json::Value`"
)]
pub trait Readable: Sized {
    /// The argument `name` of a call.
    fn argument(request: &Request, name: &str) -> Result<Self, RpcError>;
    /// The contents of an entry.
    fn contents(event: &ConfigEvent) -> Result<Self, ConfigError>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Readable for T {
    fn argument(request: &Request, name: &str) -> Result<Self, RpcError> {
        request.arg(name)
    }

    fn contents(event: &ConfigEvent) -> Result<Self, ConfigError> {
        event.parse()
    }
}

/// The argument `name` of a call.
pub fn parameter<T: Readable>(request: &Request, name: &str) -> Result<T, RpcError> {
    T::argument(request, name)
}

/// The contents of an entry.
pub fn contents<T: Readable>(event: &ConfigEvent) -> Result<T, ConfigError> {
    T::contents(event)
}
