//! Agents: the [`Agent`] trait, what an agent registers ([`Registrar`]), how it is built ([`AgentBuilder`]) and
//! driven ([`AgentHandle`]).
//!
//! Owns the life cycle: set-up, connection, initial configuration, start, stop. Must never know which bus it runs on.
//! Start reading at [`AgentBuilder::spawn`].

mod builder;
mod lifecycle;
mod registrar;
mod run_loop;
mod spawn;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use volttron_utils::jsonrpc::RpcError;

pub use builder::AgentBuilder;
pub use registrar::Registrar;
pub(crate) use registrar::to_result;
#[cfg(feature = "zmq")]
pub(crate) use spawn::Bound;
pub use spawn::{AgentHandle, ExitReason, SpawnError};

use crate::config::{Actions, ConfigEvent};
use crate::pubsub::{Publication, SubscribeOptions};
use crate::rpc::{Method, Request};
use crate::{AgentError, Cx};

/// A program on the bus. State lives in `self`, shared by all handlers; [`Registrar`] says what it serves.
///
/// ```
/// use std::sync::Arc;
/// use volttron_client::{Access, Agent, Cx, Method, Registrar, Request};
///
/// struct Adder;
///
/// impl Agent for Adder {
///     const NAME: &'static str = "Adder";
///     fn register(b: &mut Registrar<Self>) {
///         b.rpc(Method::new("add", Access::Open).param("a").param("b"), |_, req: Request| async move {
///             Ok(req.arg::<i64>("a")? + req.arg::<i64>("b")?)
///         })
///         .on_start(|_: Arc<Adder>, cx: Cx| async move {
///             cx.publish("record/adder", "up").await?;
///             Ok(())
///         });
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an agent",
    note = "put `#[agent]` on the `impl` block of `{Self}` that holds its handlers, or implement `Agent` by hand"
)]
pub trait Agent: Send + Sync + Sized + 'static {
    /// Class name, as alert topics show it (`alerts/<NAME>/...`).
    const NAME: &'static str;

    /// Registers methods, subscriptions and handlers. Called once, before anything else.
    fn register(b: &mut Registrar<Self>);
}

/// What a handler may return: nothing, or a `Result` whose error is logged and counted.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "return nothing, or `Result<(), AgentError>`"
)]
pub trait Outcome: Send + 'static {
    /// As a result.
    fn into_result(self) -> Result<(), AgentError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), AgentError> {
        Ok(())
    }
}

impl<E: Into<AgentError> + Send + 'static> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), AgentError> {
        self.map_err(Into::into)
    }
}

pub(crate) type Handled = BoxFuture<'static, Result<(), AgentError>>;
pub(crate) type MethodFn = Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Value, RpcError>> + Send + Sync>;
pub(crate) type CxFn = Arc<dyn Fn(Cx) -> Handled + Send + Sync>;
pub(crate) type PublicationFn = Arc<dyn Fn(Cx, Publication) -> Handled + Send + Sync>;
pub(crate) type ConfigFn = Arc<dyn Fn(Cx, ConfigEvent) -> Handled + Send + Sync>;

/// Everything an agent registered, with the agent itself bound in.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) methods: Vec<(Method, MethodFn)>,
    pub(crate) subscriptions: Vec<(String, SubscribeOptions, PublicationFn)>,
    pub(crate) setup: Vec<CxFn>,
    pub(crate) connected: Vec<CxFn>,
    pub(crate) start: Vec<CxFn>,
    pub(crate) stop: Vec<CxFn>,
    pub(crate) every: Vec<(std::time::Duration, CxFn)>,
    pub(crate) cron: Vec<(String, CxFn)>,
    pub(crate) config: Vec<(String, Actions, ConfigFn)>,
    pub(crate) web: bool,
}
