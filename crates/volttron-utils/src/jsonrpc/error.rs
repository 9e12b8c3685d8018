//! Error objects of responses, member for member as Python writes them.

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::json::python;

/// The method ran and raised (subsystems.md section 6.4).
pub const CODE_UNHANDLED: i64 = -32000;
/// Not authorised; on the wire only inside `exc_args` (subsystems.md section 6.5).
pub const CODE_UNAUTHORIZED: i64 = -32001;
/// The request is not a request.
pub const CODE_INVALID_REQUEST: i64 = -32600;
/// There is no such method.
pub const CODE_METHOD_NOT_FOUND: i64 = -32601;
/// Parameters are neither a list nor an object.
pub const CODE_INVALID_PARAMS: i64 = -32602;
/// Something failed outside the method.
pub const CODE_INTERNAL: i64 = -32603;
/// Not JSON. Never sent by agents: what cannot be parsed is text, an invalid request.
pub const CODE_PARSE: i64 = -32700;

/// Name of the member of `data` that describes an exception. The dot is part of it.
pub const EXCEPTION_KEY: &str = "exception.py";

/// The `error` member of a response.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{}", self.text())]
pub struct RpcError {
    /// What kind of error; see the `CODE_` constants.
    pub code: i64,
    /// Short fixed text that goes with the code.
    pub message: String,
    /// `{"detail": ...}`, and [`EXCEPTION_KEY`] for a method that raised.
    pub data: Value,
}

impl RpcError {
    fn with_detail(code: i64, message: &str, detail: &str) -> Self {
        RpcError { code, message: message.to_owned(), data: json!({ "detail": detail }) }
    }

    /// The callee has no method of that name (-32601).
    pub fn method_not_found(name: &str) -> Self {
        let detail = format!("method {} is not implemented", python::repr_str(name));
        Self::with_detail(CODE_METHOD_NOT_FOUND, "unimplemented method", &detail)
    }

    /// The method failed with an exception of this Python type, e.g. `builtins.ValueError` (-32000). `detail` is
    /// the text of the exception, `exc_args` its arguments. Python callers fail on an answer without either.
    pub fn unhandled(exc_type: &str, detail: impl Into<String>, exc_args: Vec<Value>) -> Self {
        let exc_args = Value::Array(exc_args);
        RpcError {
            code: CODE_UNHANDLED,
            message: "unhandled exception".to_owned(),
            data: json!({
                "detail": detail.into(),
                EXCEPTION_KEY: { "exc_type": exc_type, "exc_args": exc_args },
            }),
        }
    }

    /// [`Self::unhandled`] for the usual exception whose only argument is its text.
    pub fn exception(exc_type: &str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::unhandled(exc_type, text.clone(), vec![Value::from(text)])
    }

    /// `ValueError(text)`.
    pub fn value_error(text: impl Into<String>) -> Self {
        Self::exception("builtins.ValueError", text)
    }

    /// `TypeError(text)`: wrong arguments above all.
    pub fn type_error(text: impl Into<String>) -> Self {
        Self::exception("builtins.TypeError", text)
    }

    /// `RuntimeError(text)`: anything without a better name.
    pub fn runtime_error(text: impl Into<String>) -> Self {
        Self::exception("builtins.RuntimeError", text)
    }

    /// `AttributeError(text)`.
    pub fn attribute_error(text: impl Into<String>) -> Self {
        Self::exception("builtins.AttributeError", text)
    }

    /// `KeyError(text)`; its detail is the Python literal of the text, quotes included.
    pub fn key_error(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::unhandled("builtins.KeyError", python::repr_str(&text), vec![Value::from(text)])
    }

    /// `FileNotFoundError(2, "No such file or directory")`.
    pub fn file_not_found() -> Self {
        let text = "No such file or directory";
        Self::unhandled(
            "builtins.FileNotFoundError",
            format!("[Errno 2] {text}"),
            vec![json!(2), json!(text)],
        )
    }

    /// The handler's own wait ran out (platform-internals.md section 3).
    pub fn timeout(text: impl Into<String>) -> Self {
        Self::exception("gevent.timeout.Timeout", text)
    }

    /// The caller lacks a capability: raised inside the callee, so -32000 with -32001 in its arguments
    /// (subsystems.md section 6.5).
    pub fn unauthorized(text: impl Into<String>) -> Self {
        let text = text.into();
        let args = vec![Value::from(CODE_UNAUTHORIZED), Value::from(text.clone())];
        Self::unhandled("volttron.platform.jsonrpc.Error", text, args)
    }

    /// Params of the wrong JSON type (-32602).
    pub fn invalid_params(detail: &str) -> Self {
        Self::with_detail(CODE_INVALID_PARAMS, "invalid object type", detail)
    }

    /// Something failed outside the method (-32603).
    pub fn internal(detail: &str) -> Self {
        Self::with_detail(CODE_INTERNAL, "internal error", detail)
    }

    /// A request that is not a JSON-RPC 2.0 request (-32600).
    pub(super) fn invalid_request(message: &str, detail: &str) -> Self {
        Self::with_detail(CODE_INVALID_REQUEST, message, detail)
    }

    /// The Python type that was raised, e.g. `builtins.KeyError`.
    pub fn exc_type(&self) -> Option<&str> {
        self.data.get(EXCEPTION_KEY)?.get("exc_type")?.as_str()
    }

    /// The arguments of the exception; empty if there is none.
    pub fn exc_args(&self) -> &[Value] {
        let args = self.data.get(EXCEPTION_KEY).and_then(|info| info.get("exc_args"));
        args.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// What happened, for people.
    pub fn detail(&self) -> Option<&str> {
        self.data.get("detail")?.as_str()
    }

    /// Whether the callee refused for lack of a capability.
    pub fn is_unauthorized(&self) -> bool {
        self.code == CODE_UNAUTHORIZED
            || self.exc_args().first().and_then(Value::as_i64) == Some(CODE_UNAUTHORIZED)
    }

    /// The `error` member: `{"code", "message", "data"}`.
    pub fn to_value(&self) -> Value {
        json!({ "code": self.code, "message": self.message, "data": self.data })
    }

    /// Reads an `error` member; `None` if it is malformed (such responses are ignored).
    pub fn from_value(value: Value) -> Option<Self> {
        let Value::Object(mut members) = value else { return None };
        Some(RpcError {
            code: members.get("code")?.as_i64()?,
            message: members.get("message")?.as_str()?.to_owned(),
            data: members.remove("data").unwrap_or_else(|| Value::Object(Map::new())),
        })
    }

    fn text(&self) -> String {
        let what = self.detail().unwrap_or(&self.message);
        match self.exc_type() {
            Some(exc_type) => format!("{exc_type}: {what}"),
            None => format!("{what} ({})", self.code),
        }
    }
}
