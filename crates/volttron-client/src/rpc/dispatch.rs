//! Serving calls: from an RPC message to its answer. The only place where a caller's rights are checked.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use volttron_utils::json as wire_json;
use volttron_utils::jsonrpc::{self, Batch, Incoming, Params, Response, RpcError};

use super::{Caller, Handler, MAX_ACCEPTED, Request, Served};
use crate::access::{self, Need};
use crate::auth::Capabilities;
use crate::cx::panic_text;
use crate::link::Message;
use crate::requests::Answer;
use crate::{CallError, Cx};

/// Releases a call's place when its task ends, however it ends.
struct Place(Cx);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.rpc.accepted.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cx {
    /// Takes an RPC message: answers to our calls are handed over at once; if it holds requests, they are served by a
    /// task of their own, one after another, and answered in one message.
    pub(crate) fn on_rpc(&self, message: &Message) {
        let mut frames = Vec::new();
        let mut work = false;
        for arg in &message.args {
            let batch = match jsonrpc::parse(arg) {
                Batch::Single(one) => Batch::Single(self.take_response(one, message)),
                Batch::Many(many) => {
                    Batch::Many(many.into_iter().map(|one| self.take_response(one, message)).collect())
                }
            };
            work |= match &batch {
                Batch::Single(one) => !matches!(one, Incoming::Ignored),
                Batch::Many(many) => many.iter().any(|one| !matches!(one, Incoming::Ignored)),
            };
            frames.push(batch);
        }
        if !work {
            return;
        }
        let caller = Caller { peer: message.peer_str().into_owned(), user: message.user_str().into_owned() };
        if self.0.rpc.accepted.fetch_add(1, Ordering::Relaxed) >= MAX_ACCEPTED {
            let _place = Place(self.clone());
            self.refuse_busy(frames, message);
            return;
        }
        let (cx, place, reply) = (self.clone(), Place(self.clone()), message.reply(Vec::new()));
        let only_builtins = self.only_builtins(&frames);
        let mut work = async move {
            let _place = place;
            // Pushes of the store and of the auth service pass busy handlers by: those may be waiting for them.
            let running = cx.0.rpc.running.clone();
            let _running = if only_builtins { None } else { running.acquire().await.ok() };
            let mut args = Vec::new();
            for batch in frames {
                args.extend(cx.serve_batch(&caller, batch).await);
            }
            if !args.is_empty() && cx.raw_send(Message { args, ..reply }).await.is_err() {
                cx.0.meter.replies_dropped.add(1);
            }
        }
        .boxed();
        // Built-in methods rarely wait; done here they also keep the order in which they came.
        if !(only_builtins && work.as_mut().now_or_never().is_some()) {
            self.spawn(work);
        }
    }

    fn only_builtins(&self, frames: &[Batch]) -> bool {
        let builtin = |one: &Incoming| match one {
            Incoming::Request(r) => {
                self.0.rpc.find(&r.method).is_some_and(|s| matches!(s.handler, Handler::Builtin(_)))
            }
            _ => true,
        };
        frames.iter().all(|batch| match batch {
            Batch::Single(one) => builtin(one),
            Batch::Many(many) => many.iter().all(builtin),
        })
    }

    /// Hands a response to whoever waits for it.
    fn take_response(&self, one: Incoming, message: &Message) -> Incoming {
        let Incoming::Response(response) = one else { return one };
        // Matched by the JSON id (subsystems.md section 6.8); ours are text.
        let id = response.id.as_str().unwrap_or_default().to_owned();
        if !self.0.requests.complete(id.as_bytes(), &message.peer, Answer::Rpc(response.result)) {
            self.0.meter.unexpected.add(1);
        }
        Incoming::Ignored
    }

    fn refuse_busy(&self, frames: Vec<Batch>, message: &Message) {
        self.0.meter.calls_refused_busy.add(1);
        let refuse = |one: Incoming| match one {
            Incoming::Request(r) => r.id.map(|id| {
                let error = RpcError::runtime_error(format!("{MAX_ACCEPTED} calls are waiting already"));
                Response { id, result: Err(error) }.into_value()
            }),
            Incoming::Invalid(response) => Some(response.into_value()),
            _ => None,
        };
        let mut args = Vec::new();
        for batch in frames {
            let answer = match batch {
                Batch::Single(one) => refuse(one),
                Batch::Many(many) => {
                    let all: Vec<Value> = many.into_iter().filter_map(refuse).collect();
                    (!all.is_empty()).then_some(Value::Array(all))
                }
            };
            args.extend(answer.and_then(|a| encode(&a)));
        }
        if !args.is_empty() && !self.try_send(message.reply(args)) {
            self.0.meter.replies_dropped.add(1);
        }
    }

    async fn serve_batch(&self, caller: &Caller, batch: Batch) -> Option<Bytes> {
        match batch {
            Batch::Single(one) => encode(&self.serve(caller, one).await?),
            Batch::Many(many) => {
                let mut answers = Vec::new();
                for one in many {
                    answers.extend(self.serve(caller, one).await);
                }
                if answers.is_empty() {
                    return None;
                }
                encode(&Value::Array(answers))
            }
        }
    }

    async fn serve(&self, caller: &Caller, one: Incoming) -> Option<Value> {
        let request = match one {
            Incoming::Request(request) => request,
            Incoming::Invalid(response) => return Some(response.into_value()),
            Incoming::Response(_) | Incoming::Ignored => return None,
        };
        self.0.meter.calls_served.add(1);
        let result = self.execute(caller, &request.method, request.params).await;
        if let Err(error) = &result {
            tracing::debug!("call of '{}' by '{}' failed: {error}", request.method, caller.user);
        }
        // Nothing is ever answered to a notification, not even an error.
        request.id.map(|id| Response { id, result }.into_value())
    }

    async fn execute(&self, caller: &Caller, name: &str, params: Params) -> Result<Value, RpcError> {
        let Some(served) = self.0.rpc.find(name).cloned() else {
            return self.introspect(name);
        };
        let bound = served.method.bind(params)?;
        if let Err(error) = self.authorise(&served, caller, &bound.named).await {
            if error.is_unauthorized() {
                self.0.meter.calls_denied.add(1);
                self.note_refused(caller, name, &error);
            }
            return Err(error);
        }
        let request = Request::new(self.clone(), caller.clone(), name.to_owned(), bound);
        match &served.handler {
            Handler::Builtin(builtin) => builtin.run(&request),
            Handler::Agent(handler) => {
                // The closure itself may panic too, before there is a future.
                let run = AssertUnwindSafe(async { handler(request).await });
                run.catch_unwind().await.unwrap_or_else(|panic| {
                    self.0.meter.panics.add(1);
                    let text = panic_text(&*panic);
                    tracing::error!("method '{name}' panicked: {text}");
                    Err(RpcError::runtime_error(format!("method '{name}' panicked: {text}")))
                })
            }
        }
    }

    /// Puts a refusal on record: in the platform's audit log, through its auth service when that is elsewhere.
    fn note_refused(&self, caller: &Caller, method: &str, error: &RpcError) {
        let why = error.detail().unwrap_or(&error.message);
        match &self.0.auth.source {
            Capabilities::Local(source) => source.refused(self.identity(), &caller.user, method, why),
            Capabilities::Remote => self.tell_refusal(&caller.user, method, why),
            // There is nobody to tell.
            Capabilities::Off | Capabilities::Unneeded => {}
        }
    }

    /// The one check of a caller's rights (auth.md section 5.2).
    async fn authorise(
        &self,
        served: &Arc<Served>,
        caller: &Caller,
        bound: &Map<String, Value>,
    ) -> Result<(), RpcError> {
        let name = served.method.name();
        if !self.auth_enabled() {
            // Usually nobody can tell who calls then (auth.md section 1).
            let known = matches!(self.0.auth.source, Capabilities::Unneeded);
            return match served.method.access().need(name, caller, bound) {
                Need::Refused(text) if known => Err(RpcError::unauthorized(text)),
                _ => Ok(()),
            };
        }
        let lifted = served.method.is_hardened() && self.open_methods();
        let declared = match served.method.access().need(name, caller, bound) {
            _ if lifted => Vec::new(),
            Need::Nothing => Vec::new(),
            Need::Capabilities(names) => names,
            Need::Refused(text) => return Err(RpcError::unauthorized(text)),
        };
        let imposed = self.0.auth.imposed_on(name).unwrap_or_default();
        for required in [declared, imposed] {
            if required.is_empty() {
                continue;
            }
            let caps = match &self.0.auth.source {
                Capabilities::Off | Capabilities::Unneeded => return Ok(()),
                Capabilities::Local(source) => source.capabilities(&caller.user),
                Capabilities::Remote => self.capabilities_of(&caller.user).await.map_err(|e| closed(&e))?,
            };
            access::check(&required, caps.as_ref(), name, &caller.user, bound)
                .map_err(RpcError::unauthorized)?;
        }
        Ok(())
    }

    /// `inspect` and `<method>.inspect` (subsystems.md section 6.7).
    fn introspect(&self, name: &str) -> Result<Value, RpcError> {
        if name == "inspect" {
            return Ok(json!({ "methods": self.0.rpc.names() }));
        }
        let served = name.strip_suffix(".inspect").and_then(|method| self.0.rpc.find(method));
        served.map(|s| s.method.inspect()).ok_or_else(|| RpcError::method_not_found(name))
    }
}

/// Without the auth service nobody can be let in.
fn closed(error: &CallError) -> RpcError {
    RpcError::runtime_error(format!("cannot check capabilities: {error}"))
}

fn encode(answer: &Value) -> Option<Bytes> {
    // A tree of JSON values always encodes; an answer that does not is better missing than half sent.
    wire_json::to_vec(answer).ok().map(Bytes::from)
}
