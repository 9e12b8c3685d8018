//! Several calls in one message (subsystems.md section 6.6). The callee runs them one after another.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use volttron_utils::json;
use volttron_utils::jsonrpc::{self, Params};
use volttron_utils::vip::subsystem;

use super::DEFAULT_TIMEOUT;
use crate::requests::{Answer, Ticket};
use crate::{CallError, Cx};

/// Calls and notifications for one peer; made by [`Cx::batch`].
#[derive(Debug)]
#[must_use = "a batch does nothing until sent"]
pub struct BatchCall {
    cx: Cx,
    peer: String,
    /// Method, parameters, and whether an answer is wanted.
    items: Vec<(String, Params, bool)>,
    timeout: Duration,
}

impl BatchCall {
    pub(super) fn new(cx: Cx, peer: &str) -> Self {
        Self { cx, peer: peer.to_owned(), items: Vec::new(), timeout: DEFAULT_TIMEOUT }
    }

    /// Adds a call.
    pub fn call(mut self, method: impl Into<String>, params: Params) -> Self {
        self.items.push((method.into(), params, true));
        self
    }

    /// Adds a notification: it has no result.
    pub fn notify(mut self, method: impl Into<String>, params: Params) -> Self {
        self.items.push((method.into(), params, false));
        self
    }

    /// Deadline for all answers together; 30 s otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Sends. One outcome per call, in order; the error is for what concerns them all.
    pub async fn send(self) -> Result<Vec<Result<Value, CallError>>, CallError> {
        let Self { cx, peer, items, timeout } = self;
        let mut tickets = Vec::new();
        let mut list = Vec::new();
        for (method, params, wanted) in items {
            if wanted {
                let ticket = cx.ticket(&peer)?;
                list.push(jsonrpc::Request::call(ticket.id(), method.as_str(), params).into_value());
                tickets.push((method, ticket));
            } else {
                list.push(jsonrpc::Request::notification(method, params).into_value());
            }
        }
        let text = json::to_vec(&list).map_err(|e| CallError::BadParams(e.to_string()))?;
        // The first call's id: an error that concerns the message reaches that one, and through it all.
        let id = tickets.first().map_or(String::new(), |(_, ticket)| ticket.id().to_owned());
        cx.send_frames(&peer, subsystem::RPC, &id, vec![Bytes::from(text)]).await?;
        let answers = collect(&mut tickets, &peer);
        match tokio::time::timeout(timeout, answers).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(CallError::Timeout { what: "a batch".to_owned(), peer: peer.clone(), after: timeout })
            }
        }
    }
}

async fn collect(
    tickets: &mut [(String, Ticket<'_>)],
    peer: &str,
) -> Result<Vec<Result<Value, CallError>>, CallError> {
    let mut outcomes = Vec::with_capacity(tickets.len());
    for (method, ticket) in tickets {
        outcomes.push(match ticket.answer().await {
            Answer::Rpc(Ok(value)) => Ok(value),
            Answer::Rpc(Err(error)) => Err(CallError::from_rpc(error, peer, method)),
            Answer::Failed(error) => return Err(CallError::from_vip(error, peer)),
            Answer::Down => return Err(CallError::Disconnected),
            other @ Answer::Args(_) => Err(CallError::BadReply {
                peer: peer.to_owned(),
                what: method.clone(),
                why: format!("{other:?}"),
            }),
        });
    }
    Ok(outcomes)
}

impl Cx {
    /// Starts a batch of calls for `peer`; see [`BatchCall`].
    pub fn batch(&self, peer: &str) -> BatchCall {
        BatchCall::new(self.clone(), peer)
    }

    /// Names of the methods `peer` answers.
    pub async fn inspect(&self, peer: &str) -> Result<Vec<String>, CallError> {
        #[derive(serde::Deserialize)]
        struct Methods {
            methods: Vec<String>,
        }
        Ok(self.call(peer, "inspect").send::<Methods>().await?.methods)
    }

    /// What `peer` tells about one of its methods: parameters, documentation, where it is defined.
    pub async fn inspect_method(&self, peer: &str, method: &str) -> Result<Value, CallError> {
        self.call(peer, &format!("{method}.inspect")).send_value().await
    }
}
