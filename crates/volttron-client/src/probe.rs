//! The small questions: ping, hello and query (subsystems.md sections 1, 2, 4).

use std::time::Duration;

use bytes::Bytes;
use volttron_utils::vip::{subsystem, typed};

use crate::link::Message;
use crate::requests::Answer;
use crate::{CallError, Cx};

/// How long these wait.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who answered a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Version text, `1.0`.
    pub version: String,
    /// Identity of who answered.
    pub responder: String,
    /// Our identity, as the responder knows it.
    pub requester: String,
}

impl Cx {
    /// Sends `data` to `peer` (empty = the router) and returns what came back. Use text that is not JSON: Python
    /// changes JSON on the way.
    pub async fn ping(&self, peer: &str, data: &[&str]) -> Result<Vec<Bytes>, CallError> {
        let mut args = vec![Bytes::from_static(b"ping")];
        args.extend(data.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())));
        let mut reply = self.request(peer, subsystem::PING, TIMEOUT, args).await?;
        if reply.first().is_some_and(|op| op.as_ref() == b"pong") {
            reply.remove(0);
            return Ok(reply);
        }
        Err(unexpected(peer, "ping"))
    }

    /// Says hello to `peer` (empty = the router). Not to agents of Python 10.x: they stop reading after it (vip.md
    /// section 10); use [`Cx::ping`] to probe agents.
    pub async fn hello(&self, peer: &str) -> Result<Welcome, CallError> {
        let args = vec![Bytes::from_static(b"hello")];
        let reply = self.request(peer, subsystem::HELLO, TIMEOUT, args).await?;
        match reply.as_slice() {
            [kind, version, responder, requester, ..] if kind.as_ref() == b"welcome" => Ok(Welcome {
                // A Python router turns `1.0` into four raw bytes.
                version: typed::as_float(version)
                    .map_or_else(|| typed::text(version).into_owned(), |v| format!("{v:?}")),
                responder: typed::text(responder).into_owned(),
                requester: typed::text(requester).into_owned(),
            }),
            _ => Err(unexpected(peer, "hello")),
        }
    }

    /// Asks the router for a platform fact (vip.md section 6.3). None if it is unknown or unset.
    pub async fn query(&self, key: &str) -> Result<Option<String>, CallError> {
        let args = vec![Bytes::copy_from_slice(key.as_bytes())];
        let reply = self.request("", subsystem::QUERY, TIMEOUT, args).await?;
        match reply.as_slice() {
            [kind, value, ..] if kind.is_empty() => Ok((!value.is_empty()).then(|| fact(value))),
            _ => Err(unexpected("", "query")),
        }
    }

    /// Takes a ping or hello message: a question to us, or the answer to ours.
    pub(crate) fn on_probe(&self, message: &Message) {
        let op = message.args.first().map(Bytes::as_ref);
        let answer = match (message.subsystem.as_ref(), op) {
            (b"ping", Some(b"ping")) => {
                let mut args = message.args.clone();
                args[0] = Bytes::from_static(b"pong");
                args
            }
            (b"hello", Some(b"hello")) => vec![
                Bytes::from_static(b"welcome"),
                Bytes::from_static(b"1.0"),
                Bytes::copy_from_slice(self.identity().as_bytes()),
                message.peer.clone(),
            ],
            _ => {
                let answer = Answer::Args(message.args.clone());
                if !self.0.requests.complete(&message.id, &message.peer, answer) {
                    self.0.meter.unexpected.add(1);
                }
                return;
            }
        };
        if !self.try_send(message.reply(answer)) {
            self.0.meter.replies_dropped.add(1);
        }
    }
}

/// A fact as text. Python routers send numbers as four raw bytes, which no text of theirs contains.
fn fact(value: &[u8]) -> String {
    let raw = value.len() == 4 && value.iter().any(|byte| *byte < b' ');
    match typed::as_uint(value).filter(|_| raw) {
        Some(number) => number.to_string(),
        None => typed::text(value).into_owned(),
    }
}

fn unexpected(peer: &str, what: &str) -> CallError {
    CallError::BadReply {
        peer: peer.to_owned(),
        what: what.to_owned(),
        why: "not an answer to it".to_owned(),
    }
}
