//! What the peers on the bus can be asked (cli.md section 4.7). Every peer is asked at once and has its own limit, so that
//! one that has died holds nobody up.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use volttron_client::{CallError, CallErrorKind};
use volttron_utils::identity;

use super::{OpError, Session, agents};
use crate::nearest::nearest;

/// Most that a peer may take to describe itself.
const PATIENCE: Duration = Duration::from_secs(4);
/// Most peers that are asked at a time.
const AT_ONCE: usize = 64;

/// Why a peer did not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `is unreachable`, `has timed out`, or what it answered.
    pub text: String,
    /// Exit code of a command that asked for just this peer.
    pub code: u8,
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let (text, code) = match error.kind() {
            CallErrorKind::Unreachable => ("is unreachable".to_owned(), 10),
            CallErrorKind::Timeout => ("has timed out".to_owned(), 75),
            _ => (error.to_string(), 20),
        };
        Self { text, code }
    }
}

/// A peer and the names of its methods.
pub type Methods = (String, Result<Vec<String>, Failure>);
/// A method and what its peer tells about it: parameters, documentation.
pub type Description = (String, Result<Value, Failure>);

/// The methods of these peers, of all that are connected if none is named; sorted by peer.
pub async fn methods(session: &Session, wanted: &[String]) -> Result<Vec<Methods>, OpError> {
    let mut peers = agents::peerlist(session).await?;
    if !wanted.is_empty() {
        peers = wanted.to_vec();
        peers.sort();
        peers.dedup();
    }
    let ask = |peer: String| async move {
        // That is this program itself, which serves nobody.
        if peer == identity::CONTROL_CONNECTION {
            return (peer, Ok(Vec::new()));
        }
        let limit = PATIENCE.min(session.timeout());
        let answer: Result<Value, CallError> =
            session.cx().call(&peer, "inspect").timeout(limit).send().await;
        let names = |answer: Value| {
            let names = answer["methods"].as_array().cloned().unwrap_or_default();
            names.into_iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let answer = answer.map(names).map_err(Failure::from);
        (peer, answer)
    };
    Ok(stream::iter(peers).map(ask).buffered(AT_ONCE).collect().await)
}

/// A call that found nobody, or no such method, with the name that was probably meant.
pub async fn misnamed(session: &Session, error: CallError) -> OpError {
    let (typed, names) = match &error {
        CallError::Unreachable { peer } => (peer, agents::peerlist(session).await.unwrap_or_default()),
        CallError::NoSuchMethod { peer, method } => {
            let known = methods(session, std::slice::from_ref(peer)).await.unwrap_or_default();
            (method, known.into_iter().flat_map(|(_, names)| names.unwrap_or_default()).collect())
        }
        _ => return error.into(),
    };
    match nearest(names.iter().map(String::as_str), typed).map(str::to_owned) {
        Some(meant) => OpError::Misnamed { error: Box::new(error), meant },
        None => error.into(),
    }
}

/// What a peer tells about these methods of its own, in their order.
pub async fn describe(session: &Session, peer: &str, methods: &[String]) -> Vec<Description> {
    let ask = |method: String| async move {
        let limit = PATIENCE.min(session.timeout());
        let asked = format!("{method}.inspect");
        let answer = session.cx().call(peer, &asked).timeout(limit).send_value().await;
        let answer = answer.map_err(|error| match error {
            CallError::NoSuchMethod { .. } => Failure { text: format!("has no method '{method}'"), code: 20 },
            error => error.into(),
        });
        (method, answer)
    };
    stream::iter(methods.to_vec()).map(ask).buffered(AT_ONCE).collect().await
}
