//! The server side of one call: who asks, with which arguments.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use volttron_utils::jsonrpc::RpcError;

use super::method::Bound;
use crate::Cx;

/// Who made a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Socket identity: where the answer goes.
    pub peer: String,
    /// The identity the router vouches for (USER frame, vip.md section 4.3). Capabilities are looked up by it.
    pub user: String,
}

/// A call being served.
#[derive(Debug)]
pub struct Request {
    /// Handle of the agent that serves it.
    pub cx: Cx,
    /// Who called.
    pub caller: Caller,
    method: String,
    bound: Bound,
}

impl Request {
    pub(crate) fn new(cx: Cx, caller: Caller, method: String, bound: Bound) -> Self {
        Self { cx, caller, method, bound }
    }

    /// Name of the called method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Argument `name` as `T`; defaults are filled in already. Fails as `builtins.TypeError` when it has another type
    /// or the method declares no such parameter.
    pub fn arg<T: DeserializeOwned>(&self, name: &str) -> Result<T, RpcError> {
        let value = self.bound.named.get(name).ok_or_else(|| {
            RpcError::type_error(format!("{}() declares no parameter '{name}'", self.method))
        })?;
        T::deserialize(value)
            .map_err(|e| RpcError::type_error(format!("{}() argument '{name}': {e}", self.method)))
    }

    /// Argument `name` as sent (or its default).
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.bound.named.get(name)
    }

    /// All declared arguments by name, defaults included.
    pub fn args(&self) -> &Map<String, Value> {
        &self.bound.named
    }

    /// Further positional arguments, of a method with [`super::Method::var_args`].
    pub fn rest(&self) -> &[Value] {
        &self.bound.rest
    }

    /// Further named arguments, of a method with [`super::Method::var_kwargs`].
    pub fn extra(&self) -> &Map<String, Value> {
        &self.bound.extra
    }
}
