//! [`Registrar`]: the list of what an agent serves. The attribute macro writes calls of it and nothing else.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde_json::Value;
use volttron_utils::jsonrpc::RpcError;

use super::{Agent, ConfigFn, CxFn, Handlers, MethodFn, Outcome, PublicationFn};
use crate::config::{Actions, ConfigEvent};
use crate::pubsub::{Publication, SubscribeOptions};
use crate::rpc::{Method, Request};
use crate::{AgentError, Cx};

/// Binds a handler to the agent.
type Bind<A, F> = Box<dyn FnOnce(Arc<A>) -> F + Send>;

/// Collects what an agent serves; see [`Agent::register`]. Calls can be chained.
pub struct Registrar<A> {
    methods: Vec<(Method, Bind<A, MethodFn>)>,
    subscriptions: Vec<(String, SubscribeOptions, Bind<A, PublicationFn>)>,
    setup: Vec<Bind<A, CxFn>>,
    connected: Vec<Bind<A, CxFn>>,
    start: Vec<Bind<A, CxFn>>,
    stop: Vec<Bind<A, CxFn>>,
    every: Vec<(Duration, Bind<A, CxFn>)>,
    cron: Vec<(String, Bind<A, CxFn>)>,
    config: Vec<(String, Actions, Bind<A, ConfigFn>)>,
    web: bool,
}

impl<A> Default for Registrar<A> {
    fn default() -> Self {
        Self {
            methods: Vec::new(),
            subscriptions: Vec::new(),
            setup: Vec::new(),
            connected: Vec::new(),
            start: Vec::new(),
            stop: Vec::new(),
            every: Vec::new(),
            cron: Vec::new(),
            config: Vec::new(),
            web: false,
        }
    }
}

impl<A> std::fmt::Debug for Registrar<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.methods.iter().map(|(m, _)| m.name()).collect();
        f.debug_struct("Registrar").field("methods", &names).finish_non_exhaustive()
    }
}

fn cx_handler<A, F, Fut, O>(handler: F) -> Bind<A, CxFn>
where
    A: Agent,
    F: Fn(Arc<A>, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = O> + Send + 'static,
    O: Outcome,
{
    Box::new(move |agent| Arc::new(move |cx| handler(agent.clone(), cx).map(Outcome::into_result).boxed()))
}

impl<A: Agent> Registrar<A> {
    /// Serves a method. Each call runs in its own task; how many at once is bounded.
    pub fn rpc<F, Fut, R>(&mut self, method: Method, handler: F) -> &mut Self
    where
        F: Fn(Arc<A>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
        R: Serialize + Send + 'static,
    {
        let bind: Bind<A, MethodFn> = Box::new(move |agent| {
            Arc::new(move |request| {
                let answer = handler(agent.clone(), request);
                async move { to_result(answer.await?) }.boxed()
            })
        });
        self.methods.push((method, bind));
        self
    }

    /// Handles every publication whose topic begins with `prefix` (plain text prefix; empty = all), in arrival order.
    pub fn subscribe<F, Fut, O>(&mut self, prefix: impl Into<String>, handler: F) -> &mut Self
    where
        F: Fn(Arc<A>, Cx, Publication) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        self.subscribe_with(prefix, SubscribeOptions::default(), handler)
    }

    /// As [`Registrar::subscribe`], on another bus, from all platforms, or with another queue length.
    pub fn subscribe_with<F, Fut, O>(
        &mut self,
        prefix: impl Into<String>,
        options: SubscribeOptions,
        handler: F,
    ) -> &mut Self
    where
        F: Fn(Arc<A>, Cx, Publication) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        let bind: Bind<A, PublicationFn> = Box::new(move |agent| {
            Arc::new(move |cx, p| handler(agent.clone(), cx, p).map(Outcome::into_result).boxed())
        });
        self.subscriptions.push((prefix.into(), options, bind));
        self
    }

    /// Runs before the connection exists, in order; an error keeps the agent from starting. Configuration defaults are
    /// declared here.
    pub fn on_setup<F, Fut>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Arc<A>, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        self.setup.push(cx_handler(handler));
        self
    }

    /// Runs at each connection, the first and every later one.
    pub fn on_connected<F, Fut>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Arc<A>, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        self.connected.push(cx_handler(handler));
        self
    }

    /// Runs once, after the initial configuration was delivered. Several run at the same time.
    pub fn on_start<F, Fut>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Arc<A>, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        self.start.push(cx_handler(handler));
        self
    }

    /// Runs when the agent was asked to stop, while it is still connected. Several run at the same time, all are awaited.
    pub fn on_stop<F, Fut>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Arc<A>, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        self.stop.push(cx_handler(handler));
        self
    }

    /// Runs every `period` after start, the first time at once. Runs never overlap; missed ones are skipped.
    pub fn every<F, Fut, O>(&mut self, period: Duration, handler: F) -> &mut Self
    where
        F: Fn(Arc<A>, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        self.every.push((period, cx_handler(handler)));
        self
    }

    /// Runs at the times of a cron expression (five fields, local time; agent-api.md section 3).
    pub fn cron<F, Fut, O>(&mut self, expression: impl Into<String>, handler: F) -> &mut Self
    where
        F: Fn(Arc<A>, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        self.cron.push((expression.into(), cx_handler(handler)));
        self
    }

    /// Handles changes of configuration store entries whose lower-cased name matches `pattern` (`* ? [..]`).
    /// At start every entry and default is reported as NEW, `config` first. Events come one at a time, in order.
    pub fn config<F, Fut>(
        &mut self,
        pattern: impl Into<String>,
        actions: impl Into<Actions>,
        handler: F,
    ) -> &mut Self
    where
        F: Fn(Arc<A>, Cx, ConfigEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        let bind: Bind<A, ConfigFn> =
            Box::new(move |agent| Arc::new(move |cx, event| handler(agent.clone(), cx, event).boxed()));
        self.config.push((pattern.into(), actions.into(), bind));
        self
    }

    /// Serves the callbacks of the platform's web service, so that [`crate::Cx::web`] can register endpoints.
    pub fn web(&mut self) -> &mut Self {
        self.web = true;
        self
    }

    /// The declared methods, in order of registration.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter().map(|(m, _)| m)
    }

    pub(crate) fn bind(self, agent: &Arc<A>) -> Handlers {
        let a = || Arc::clone(agent);
        let all = |handlers: Vec<Bind<A, CxFn>>| handlers.into_iter().map(|h| h(a())).collect();
        Handlers {
            methods: self.methods.into_iter().map(|(m, h)| (m, h(a()))).collect(),
            subscriptions: self.subscriptions.into_iter().map(|(p, o, h)| (p, o, h(a()))).collect(),
            setup: all(self.setup),
            connected: all(self.connected),
            start: all(self.start),
            stop: all(self.stop),
            every: self.every.into_iter().map(|(d, h)| (d, h(a()))).collect(),
            cron: self.cron.into_iter().map(|(c, h)| (c, h(a()))).collect(),
            config: self.config.into_iter().map(|(p, actions, h)| (p, actions, h(a()))).collect(),
            web: self.web,
        }
    }
}

/// A result that JSON cannot express is an exception, not silence (subsystems.md section 6.4).
pub(crate) fn to_result(value: impl Serialize) -> Result<Value, RpcError> {
    serde_json::to_value(value)
        .map_err(|e| RpcError::type_error(format!("result cannot be put into JSON: {e}")))
}
