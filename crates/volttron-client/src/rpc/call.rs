//! The client side of RPC: one call, its arguments, its deadline.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use volttron_utils::json;
use volttron_utils::jsonrpc::{self, Params};
use volttron_utils::vip::subsystem;

use super::typed::TypedCall;
use crate::requests::Answer;
use crate::{CallError, Cx};

/// How long a call waits if nothing else is said. (The Python library waits for ever.)
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A call being put together; made by [`Cx::call`].
///
/// ```no_run
/// # async fn f(cx: volttron_client::Cx) -> Result<(), volttron_client::CallError> {
/// let status: Vec<Option<i64>> = cx.call("control", "agent_status").arg("6f6e").send().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a call does nothing until sent"]
pub struct Call {
    cx: Cx,
    peer: String,
    method: String,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
    /// An optional parameter was left out: what follows goes by name.
    left_out: bool,
    params: Option<Params>,
    timeout: Duration,
    bad: Option<String>,
}

impl Call {
    pub(crate) fn new(cx: Cx, peer: &str, method: &str) -> Self {
        Self {
            cx,
            peer: peer.to_owned(),
            method: method.to_owned(),
            args: Vec::new(),
            kwargs: Map::new(),
            left_out: false,
            params: None,
            timeout: DEFAULT_TIMEOUT,
            bad: None,
        }
    }

    /// Adds a positional argument.
    pub fn arg(mut self, value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => self.args.push(value),
            Err(e) => self.bad = Some(format!("argument {}: {e}", self.args.len() + 1)),
        }
        self
    }

    /// Adds a named argument.
    pub fn named(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => {
                self.kwargs.insert(name, value);
            }
            Err(e) => self.bad = Some(format!("argument '{name}': {e}")),
        }
        self
    }

    /// Adds the argument of the next parameter, `name`: by position as long as none was left out, then by name. `None`
    /// leaves it out, so that the callee takes its default.
    pub fn arg_or_default(mut self, name: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) if self.left_out => self.named(name, value),
            Some(value) => self.arg(value),
            None => {
                self.left_out = true;
                self
            }
        }
    }

    /// Says which type the result has; the call is awaited instead of sent.
    pub fn typed<R>(self) -> TypedCall<R> {
        TypedCall::new(self)
    }

    /// Sets all arguments at once; what [`Call::arg`] and [`Call::named`] added is not sent.
    pub fn params(mut self, params: Params) -> Self {
        self.params = Some(params);
        self
    }

    /// Sets the deadline, [`DEFAULT_TIMEOUT`] otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    fn take_params(&mut self) -> Result<Params, CallError> {
        if let Some(why) = self.bad.take() {
            return Err(CallError::BadParams(why));
        }
        if let Some(params) = self.params.take() {
            return Ok(params);
        }
        Ok(Params::new(std::mem::take(&mut self.args), std::mem::take(&mut self.kwargs)))
    }

    /// Sends and waits for the result.
    pub async fn send<R: DeserializeOwned>(self) -> Result<R, CallError> {
        let (peer, method) = (self.peer.clone(), self.method.clone());
        let value = self.send_value().await?;
        serde_json::from_value(value).map_err(|e| CallError::BadReply {
            peer,
            what: method,
            why: e.to_string(),
        })
    }

    /// Sends and waits for the result as it came.
    pub async fn send_value(mut self) -> Result<Value, CallError> {
        let params = self.take_params()?;
        let (cx, peer, method) = (&self.cx, self.peer.as_str(), self.method.as_str());
        let exchange = cx.exchange(peer, subsystem::RPC, method, self.timeout, |id| {
            frame(jsonrpc::Request::call(id, method, params)).map(|f| vec![f])
        });
        match exchange.await? {
            Answer::Rpc(Ok(value)) => Ok(value),
            Answer::Rpc(Err(error)) => Err(CallError::from_rpc(error, peer, method)),
            other => Err(CallError::BadReply {
                peer: peer.to_owned(),
                what: method.to_owned(),
                why: format!("{other:?}"),
            }),
        }
    }

    /// Sends without asking for an answer: no result, no error, no delivery guarantee.
    pub async fn notify(mut self) -> Result<(), CallError> {
        let params = self.take_params()?;
        let request = frame(jsonrpc::Request::notification(self.method.as_str(), params))?;
        self.cx.send_frames(&self.peer, subsystem::RPC, "", vec![request]).await
    }
}

/// A request as it travels.
pub(super) fn frame(request: jsonrpc::Request) -> Result<Bytes, CallError> {
    json::to_vec(&request.into_value()).map(Bytes::from).map_err(|e| CallError::BadParams(e.to_string()))
}
