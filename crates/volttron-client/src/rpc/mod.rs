//! Remote procedure calls (subsystems.md section 6): calling, and serving what an agent declared.
//!
//! Owns the method table, binding of arguments, dispatch with its bounds, and the built-in methods every agent
//! answers. Decisions about callers are in [`crate::access`]; `dispatch` is the one place that asks for them.

mod batch;
mod builtin;
mod call;
mod dispatch;
mod method;
pub(crate) mod refusals;
mod request;
mod typed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;

pub use batch::BatchCall;
pub use call::{Call, DEFAULT_TIMEOUT};
pub use method::Method;
pub use request::{Caller, Request};
pub use typed::TypedCall;

use crate::agent::MethodFn;
use crate::{Cx, web};
use builtin::Builtin;

/// How many calls run at once.
pub(crate) const MAX_RUNNING: usize = 256;
/// How many calls may be running or waiting to run; further ones are answered with an error.
pub(crate) const MAX_ACCEPTED: usize = 2048;

/// What runs when a method is called.
#[derive(Clone)]
pub(crate) enum Handler {
    Agent(MethodFn),
    Builtin(Builtin),
}

pub(crate) struct Served {
    method: Method,
    handler: Handler,
}

/// The methods of one agent.
pub(crate) struct State {
    /// By name; the agent's own ones sort first in `inspect`.
    own: BTreeMap<String, Arc<Served>>,
    builtin: Vec<Arc<Served>>,
    running: Arc<Semaphore>,
    accepted: AtomicUsize,
}

/// Which built-in methods an agent answers.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "four groups, each there or not")]
pub(crate) struct Builtins {
    pub(crate) any: bool,
    pub(crate) auth: bool,
    pub(crate) config: bool,
    pub(crate) web: bool,
}

/// Two methods of one name.
#[derive(Debug)]
pub(crate) struct DuplicateMethod(pub(crate) String);

impl State {
    pub(crate) fn new(methods: Vec<(Method, MethodFn)>, builtins: Builtins) -> Result<Self, DuplicateMethod> {
        let mut own = BTreeMap::new();
        for (method, handler) in methods {
            let name = method.name().to_owned();
            let served = Arc::new(Served { method, handler: Handler::Agent(handler) });
            if own.insert(name.clone(), served).is_some() {
                return Err(DuplicateMethod(name));
            }
        }
        // An agent's own method wins over a built-in one of the same name.
        let builtin = builtin::all(builtins)
            .into_iter()
            .filter(|(method, _)| !own.contains_key(method.name()))
            .map(|(method, b)| Arc::new(Served { method, handler: Handler::Builtin(b) }));
        let web = if builtins.web { web::methods() } else { Vec::new() };
        let web = web
            .into_iter()
            .filter(|(method, _)| !own.contains_key(method.name()))
            .map(|(method, handler)| Arc::new(Served { method, handler: Handler::Agent(handler) }));
        let builtin = builtin.chain(web).collect();
        Ok(Self {
            own,
            builtin,
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            accepted: AtomicUsize::new(0),
        })
    }

    fn find(&self, name: &str) -> Option<&Arc<Served>> {
        self.own.get(name).or_else(|| self.builtin.iter().find(|s| s.method.name() == name))
    }

    /// Names as `inspect` lists them: declared ones in alphabetical order, then the built-in ones.
    fn names(&self) -> Vec<&str> {
        let own = self.own.keys().map(String::as_str);
        own.chain(self.builtin.iter().map(|s| s.method.name())).collect()
    }

    /// The agent's own methods without a dot: those whose requirements administrators may change.
    pub(crate) fn declared(&self) -> impl Iterator<Item = &Method> {
        self.own.values().map(|s| &s.method).filter(|m| !m.name().contains('.'))
    }
}

impl Cx {
    /// Starts a call of `method` at `peer`; see [`Call`].
    pub fn call(&self, peer: &str, method: &str) -> Call {
        Call::new(self.clone(), peer, method)
    }
}
