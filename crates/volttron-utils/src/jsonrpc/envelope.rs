//! Requests, responses and batches.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::RpcError;
use crate::json::{self, python};

/// Parameters of a call (subsystems.md section 6.2).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Params {
    /// The member is absent or null.
    #[default]
    None,
    /// A list.
    Positional(Vec<Value>),
    /// An object.
    Named(Map<String, Value>),
    /// VOLTTRON's `{"*args": [..], "**kwargs": {..}}`.
    Mixed {
        /// The positional ones.
        args: Vec<Value>,
        /// The named ones.
        kwargs: Map<String, Value>,
    },
}

/// The params member is neither a list nor an object, or its `*args`/`**kwargs` are not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("expected a list or dictionary ; got a '{0}' instead")]
pub struct ParamsError(pub &'static str);

impl Params {
    /// The smallest form that holds the given arguments.
    pub fn new(args: Vec<Value>, kwargs: Map<String, Value>) -> Self {
        match (args.is_empty(), kwargs.is_empty()) {
            (true, true) => Params::None,
            (false, true) => Params::Positional(args),
            (true, false) => Params::Named(kwargs),
            (false, false) => Params::Mixed { args, kwargs },
        }
    }

    /// Reads a params member. An object with both `*args` and `**kwargs` is always unpacked.
    pub fn from_value(value: Value) -> Result<Self, ParamsError> {
        match value {
            Value::Null => Ok(Params::None),
            Value::Array(args) => Ok(Params::Positional(args)),
            Value::Object(mut members)
                if members.contains_key("*args") && members.contains_key("**kwargs") =>
            {
                let args = match members.remove("*args") {
                    Some(Value::Array(args)) => args,
                    other => return Err(ParamsError(python::type_name(&other.unwrap_or_default()))),
                };
                match members.remove("**kwargs") {
                    Some(Value::Object(kwargs)) => Ok(Params::Mixed { args, kwargs }),
                    other => Err(ParamsError(python::type_name(&other.unwrap_or_default()))),
                }
            }
            Value::Object(members) => Ok(Params::Named(members)),
            other => Err(ParamsError(python::type_name(&other))),
        }
    }

    /// The params member, `None` if it is to be left out.
    pub fn into_value(self) -> Option<Value> {
        match self {
            Params::None => None,
            Params::Positional(args) => Some(Value::Array(args)),
            Params::Named(kwargs) => Some(Value::Object(kwargs)),
            Params::Mixed { args, kwargs } => Some(json!({ "*args": args, "**kwargs": kwargs })),
        }
    }

    /// Positional and named arguments, either possibly empty.
    pub fn into_parts(self) -> (Vec<Value>, Map<String, Value>) {
        match self {
            Params::None => (Vec::new(), Map::new()),
            Params::Positional(args) => (args, Map::new()),
            Params::Named(kwargs) => (Vec::new(), kwargs),
            Params::Mixed { args, kwargs } => (args, kwargs),
        }
    }
}

/// A call or, without id, a notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Method name, case-sensitive.
    pub method: String,
    /// Its arguments.
    pub params: Params,
    /// Echoed in the response; `None` means that nothing is ever answered.
    pub id: Option<Value>,
}

impl Request {
    /// A call that will be answered under `id`.
    pub fn call(id: impl Into<Value>, method: impl Into<String>, params: Params) -> Self {
        Request { method: method.into(), params, id: Some(id.into()) }
    }

    /// A call that is not answered.
    pub fn notification(method: impl Into<String>, params: Params) -> Self {
        Request { method: method.into(), params, id: None }
    }

    /// The object to send: `jsonrpc`, `method`, `params`, `id`, in this order, the last two only if present.
    pub fn into_value(self) -> Value {
        let mut members = Map::new();
        members.insert("jsonrpc".to_owned(), json!("2.0"));
        members.insert("method".to_owned(), Value::String(self.method));
        if let Some(params) = self.params.into_value() {
            members.insert("params".to_owned(), params);
        }
        if let Some(id) = self.id {
            members.insert("id".to_owned(), id);
        }
        Value::Object(members)
    }
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Id of the call; null if it could not be read.
    pub id: Value,
    /// What the method returned, or why not.
    pub result: Result<Value, RpcError>,
}

impl Response {
    /// The object to send: `jsonrpc`, `id`, then `result` or `error`.
    pub fn into_value(self) -> Value {
        match self.result {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": self.id, "result": result }),
            Err(error) => json!({ "jsonrpc": "2.0", "id": self.id, "error": error.to_value() }),
        }
    }
}

/// One element of a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// To be executed, and answered if it has an id.
    Request(Request),
    /// Answers a call of ours.
    Response(Response),
    /// Not a request; the response says why and is to be sent.
    Invalid(Response),
    /// Neither request nor response, or an invalid notification: no answer.
    Ignored,
}

/// What one RPC frame holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    /// One object; answered by one object.
    Single(Incoming),
    /// A list; answered by the list of its non-empty answers in order, or not at all if there are none.
    Many(Vec<Incoming>),
}

/// Reads one argument frame of an RPC message (subsystems.md sections 6.1 to 6.3 and 6.6). Never fails: what is
/// not JSON counts as text, and text is an invalid request.
pub fn parse(frame: &[u8]) -> Batch {
    match json::from_slice(frame).unwrap_or_else(|_| Value::String(String::new())) {
        Value::Object(members) => Batch::Single(object(members)),
        Value::Array(list) => Batch::Many(list.into_iter().map(element).collect()),
        other => Batch::Single(wrong_type("a list or dictionary", &other)),
    }
}

fn element(value: Value) -> Incoming {
    match value {
        Value::Object(members) => object(members),
        other => wrong_type("a dictionary", &other),
    }
}

fn wrong_type(expected: &str, value: &Value) -> Incoming {
    let detail = format!("expected {expected} ; got a '{}' instead", python::type_name(value));
    invalid(Value::Null, RpcError::invalid_request("invalid object type", &detail))
}

fn invalid(id: Value, error: RpcError) -> Incoming {
    Incoming::Invalid(Response { id, result: Err(error) })
}

fn object(mut members: Map<String, Value>) -> Incoming {
    // A null id is no id, as for Python; JSON-RPC advises against it anyway.
    let id = members.remove("id").filter(|id| !id.is_null());
    match members.get("jsonrpc") {
        None => {
            let error =
                RpcError::invalid_request("missing required member", "missing required 'jsonrpc' member");
            return invalid(id.unwrap_or_default(), error);
        }
        Some(version) if version != "2.0" => {
            let detail = format!("version 2.0 supported, but recieved version {}", python::repr(version));
            let error = RpcError::invalid_request("unsupported version", &detail);
            return invalid(id.unwrap_or_default(), error);
        }
        Some(_) => {}
    }
    if let Some(method) = members.remove("method").filter(|method| !method.is_null()) {
        return request(id, method, members.remove("params").unwrap_or_default());
    }
    if let Some(error) = members.remove("error").filter(|error| !error.is_null()) {
        return match (id, RpcError::from_value(error)) {
            (id, Some(error)) => {
                Incoming::Response(Response { id: id.unwrap_or_default(), result: Err(error) })
            }
            (_, None) => Incoming::Ignored,
        };
    }
    match (members.remove("result"), id) {
        (Some(result), Some(id)) => Incoming::Response(Response { id, result: Ok(result) }),
        _ => Incoming::Ignored,
    }
}

fn request(id: Option<Value>, method: Value, params: Value) -> Incoming {
    let params = match Params::from_value(params) {
        Ok(params) => params,
        Err(error) => {
            return if id.is_some() {
                invalid(Value::Null, RpcError::invalid_params(&error.to_string()))
            } else {
                Incoming::Ignored
            };
        }
    };
    match (method, id) {
        (Value::String(method), id) => Incoming::Request(Request { method, params, id }),
        (other, Some(id)) => {
            let error = RpcError::method_not_found(other.as_str().unwrap_or(&python::repr(&other)));
            invalid(id, error)
        }
        (_, None) => Incoming::Ignored,
    }
}
