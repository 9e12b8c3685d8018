//! The web seen from an agent (subsystems.md section 12): registering what the platform's web service shall serve, and
//! the handlers it calls back.
//!
//! Owns the agent's routes, and registers them again after each connection, since a platform that was started anew has
//! forgotten them. Must never listen on a port: the platform's web service does, and only it may call the callbacks.
//! Enabled with [`crate::Registrar::web`].

mod callbacks;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value, json};
use volttron_utils::identity;
use volttron_utils::jsonrpc::RpcError;

pub(crate) use callbacks::methods;

use crate::{CallError, Cx};

/// How long registrations may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long calls about websockets may take.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an agent that stops waits until its routes are gone.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Why nothing was registered or sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// The agent does not serve the callbacks.
    #[error("the web is not enabled for this agent: call `web()` on the registrar in `Agent::register`")]
    NotEnabled,
    /// Nobody serves the web on this platform.
    #[error(
        "the platform has no web service: 'platform_web' is not on the bus; an operator enables it with \
         'bind-web-address' in the platform's config"
    )]
    NoService,
    /// Somebody has registered that endpoint already.
    #[error("{0}")]
    Duplicate(String),
    /// The web service refused, or could not be asked.
    #[error(transparent)]
    Call(CallError),
}

/// What the web service makes of an endpoint's result (web.md section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ResourceType {
    /// The result is the JSON body, or `[content, headers]`, or `[status, content, headers]`.
    #[default]
    JsonRpc,
    /// The result is `[status]`, `[status, base64 body]` or `[status, base64 body, headers]`.
    Raw,
}

impl ResourceType {
    fn as_str(self) -> &'static str {
        match self {
            Self::JsonRpc => "jsonrpc",
            Self::Raw => "raw",
        }
    }
}

/// An HTTP request, as the web service tells it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebRequest {
    /// `PATH_INFO`, `REQUEST_METHOD`, `QUERY_STRING` and others, those that exist.
    pub env: Map<String, Value>,
    /// The body: parsed if it was JSON, else text.
    pub data: Value,
}

impl WebRequest {
    /// The path, percent-decoded.
    pub fn path(&self) -> &str {
        self.env.get("PATH_INFO").and_then(Value::as_str).unwrap_or_default()
    }

    /// The HTTP method.
    pub fn method(&self) -> &str {
        self.env.get("REQUEST_METHOD").and_then(Value::as_str).unwrap_or_default()
    }
}

type EndpointFn = Arc<dyn Fn(Cx, WebRequest) -> BoxFuture<'static, Result<Value, RpcError>> + Send + Sync>;
type OpenedFn = Arc<dyn Fn(Cx, String) -> BoxFuture<'static, bool> + Send + Sync>;
type ClosedFn = Arc<dyn Fn(Cx) -> BoxFuture<'static, ()> + Send + Sync>;
type MessageFn = Arc<dyn Fn(Cx, String) -> BoxFuture<'static, ()> + Send + Sync>;

/// The handlers of a websocket.
#[derive(Clone)]
pub struct WebSocket {
    opened: OpenedFn,
    closed: Option<ClosedFn>,
    message: Option<MessageFn>,
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebSocket")
    }
}

impl WebSocket {
    /// `opened` gets the browser's address and says whether it may stay.
    pub fn new<F, Fut>(opened: F) -> Self
    where
        F: Fn(Cx, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self { opened: Arc::new(move |cx, ip| opened(cx, ip).boxed()), closed: None, message: None }
    }

    /// Runs when a browser has gone.
    #[must_use]
    pub fn closed<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.closed = Some(Arc::new(move |cx| handler(cx).boxed()));
        self
    }

    /// Runs for each text a browser sends.
    #[must_use]
    pub fn message<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Cx, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.message = Some(Arc::new(move |cx, text| handler(cx, text).boxed()));
        self
    }
}

/// What the agent registered, to be registered again after a reconnection. Ordered, so that this has one order.
#[derive(Default)]
struct Routes {
    endpoints: BTreeMap<String, (ResourceType, EndpointFn)>,
    /// Prefix and directory.
    paths: BTreeMap<String, String>,
    /// Regular expression and method.
    methods: BTreeMap<String, String>,
    sockets: BTreeMap<String, WebSocket>,
}

impl Routes {
    fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
            && self.paths.is_empty()
            && self.methods.is_empty()
            && self.sockets.is_empty()
    }

    /// The calls that register all of it: method and arguments.
    fn registrations(&self) -> Vec<(&'static str, Value)> {
        let endpoints =
            self.endpoints.iter().map(|(e, (kind, _))| ("register_endpoint", json!([e, kind.as_str()])));
        let paths = self.paths.iter().map(|(prefix, dir)| ("register_path_route", json!([prefix, dir])));
        let routes = self.methods.iter().map(|(regex, fun)| ("register_agent_route", json!([regex, fun])));
        let sockets = self.sockets.keys().map(|endpoint| ("register_websocket", json!([endpoint])));
        endpoints.chain(paths).chain(routes).chain(sockets).collect()
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) enabled: bool,
    routes: Mutex<Routes>,
}

impl State {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, routes: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The web, seen from this agent; made by [`Cx::web`].
#[derive(Clone, Debug)]
pub struct Web(Cx);

impl Cx {
    /// The web, seen from this agent.
    pub fn web(&self) -> Web {
        Web(self.clone())
    }

    /// Registers everything again: the platform may have been started anew.
    pub(crate) async fn restore_web(&self) {
        let calls = self.0.web.lock().registrations();
        for (method, args) in calls {
            match self.web().ask(method, args, TIMEOUT).await {
                // The same platform, which has not forgotten us.
                Ok(_) | Err(WebError::Duplicate(_)) => {}
                Err(error) => tracing::warn!("{method} after the reconnection: {error}"),
            }
        }
    }

    /// The agent stops: its routes go, if it had any.
    pub(crate) async fn leave_web(&self) {
        if self.0.web.lock().is_empty() || !self.connected() {
            return;
        }
        if let Err(error) = self.web().unregister_within(FAREWELL_TIMEOUT).await {
            tracing::debug!("routes were not unregistered: {error}");
        }
    }
}

impl Web {
    /// Answers HTTP requests for exactly `path` with `handler`.
    pub async fn register_endpoint<F, Fut, R>(
        &self,
        path: &str,
        kind: ResourceType,
        handler: F,
    ) -> Result<(), WebError>
    where
        F: Fn(Cx, WebRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
        R: Serialize + Send + 'static,
    {
        let handler: EndpointFn = Arc::new(move |cx, request| {
            let answer = handler(cx, request);
            async move { crate::agent::to_result(answer.await?) }.boxed()
        });
        // Before the call: a request may come at once.
        let before = self.0.0.web.lock().endpoints.insert(path.to_owned(), (kind, handler));
        let done = self.register("register_endpoint", json!([path, kind.as_str()]), TIMEOUT).await;
        if done.is_err() {
            let endpoints = &mut self.0.0.web.lock().endpoints;
            match before {
                Some(before) => drop(endpoints.insert(path.to_owned(), before)),
                None => drop(endpoints.remove(path)),
            }
        }
        done
    }

    /// Serves the files of `directory`, which must exist where the platform runs, for paths that begin with a match of
    /// the regular expression `prefix`. The whole path is looked up in the directory, the prefix included.
    pub async fn register_path(&self, prefix: &str, directory: &str) -> Result<(), WebError> {
        self.register("register_path_route", json!([prefix, directory]), TIMEOUT).await?;
        self.0.0.web.lock().paths.insert(prefix.to_owned(), directory.to_owned());
        Ok(())
    }

    /// Lets the web service call this agent's RPC method `method` with `(env, data)` for paths that match `regex`. The
    /// method has to let `platform_web` in.
    pub async fn register_agent_route(&self, regex: &str, method: &str) -> Result<(), WebError> {
        self.register("register_agent_route", json!([regex, method]), TIMEOUT).await?;
        self.0.0.web.lock().methods.insert(regex.to_owned(), method.to_owned());
        Ok(())
    }

    /// Accepts websockets at exactly `endpoint`.
    pub async fn register_websocket(&self, endpoint: &str, handlers: WebSocket) -> Result<(), WebError> {
        // Before the call: a browser may come at once.
        let before = self.0.0.web.lock().sockets.insert(endpoint.to_owned(), handlers);
        let done = self.register("register_websocket", json!([endpoint]), SOCKET_TIMEOUT).await;
        if done.is_err() {
            let sockets = &mut self.0.0.web.lock().sockets;
            match before {
                Some(before) => drop(sockets.insert(endpoint.to_owned(), before)),
                None => drop(sockets.remove(endpoint)),
            }
        }
        done
    }

    /// Closes the websockets at `endpoint` and accepts no more.
    pub async fn unregister_websocket(&self, endpoint: &str) -> Result<(), WebError> {
        self.0.0.web.lock().sockets.remove(endpoint);
        self.ask("unregister_websocket", json!([endpoint]), SOCKET_TIMEOUT).await.map(drop)
    }

    /// Sends `message` to every browser at the websocket `endpoint`.
    pub async fn send(&self, endpoint: &str, message: &str) -> Result<(), WebError> {
        self.ask("websocket_send", json!([endpoint, message]), SOCKET_TIMEOUT).await.map(drop)
    }

    /// Takes back everything this agent registered.
    pub async fn unregister_all(&self) -> Result<(), WebError> {
        self.unregister_within(TIMEOUT).await
    }

    /// What the access token `bearer` says about its user; empty if it is none.
    pub async fn user_claims(&self, bearer: &str) -> Result<Map<String, Value>, WebError> {
        match self.ask("get_user_claims", json!([bearer]), TIMEOUT).await? {
            Value::Object(claims) => Ok(claims),
            other => Err(WebError::Call(CallError::BadReply {
                peer: identity::WEB.to_owned(),
                what: "get_user_claims".to_owned(),
                why: format!("not an object: {other}"),
            })),
        }
    }

    async fn unregister_within(&self, limit: Duration) -> Result<(), WebError> {
        *self.0.0.web.lock() = Routes::default();
        self.ask("unregister_all_agent_routes", json!([]), limit).await.map(drop)
    }

    async fn register(&self, method: &str, args: Value, limit: Duration) -> Result<(), WebError> {
        if !self.0.0.web.enabled {
            return Err(WebError::NotEnabled);
        }
        self.ask(method, args, limit).await.map(drop)
    }

    /// One call of the web service, under the name it has here.
    async fn ask(&self, method: &str, args: Value, limit: Duration) -> Result<Value, WebError> {
        let cx = &self.0;
        let mut service = cx.service(identity::WEB);
        if !cx.has_peer(service) {
            // A Python router lets a call to nobody time out; and our own list may be older than the service.
            let peers = cx.peerlist().await.map_err(WebError::Call)?;
            service = cx.service(identity::WEB);
            if !peers.contains(service) {
                return Err(WebError::NoService);
            }
        }
        let Value::Array(args) = args else { return Ok(Value::Null) };
        let call = args.into_iter().fold(cx.call(service, method), crate::Call::arg);
        call.timeout(limit).send_value().await.map_err(|error| match error {
            CallError::Unreachable { .. } => WebError::NoService,
            error if error.exc_type().is_some_and(|class| class.ends_with("DuplicateEndpointError")) => {
                WebError::Duplicate(error.to_string())
            }
            error => WebError::Call(error),
        })
    }
}
