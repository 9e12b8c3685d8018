//! Requests that wait for an answer, keyed by message id.
//!
//! Owns: id generation, the table of waiting requests, its bound, and failing all of them when the link goes down.
//! Must never know what an answer means; subsystems decode.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use volttron_utils::jsonrpc::RpcError;
use volttron_utils::vip::VipError;

/// How many requests may wait at once. Past it callers get an error instead of unbounded memory.
pub(crate) const MAX_WAITING: usize = 4096;

/// What ended a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Reply arguments of a subsystem.
    Args(Vec<Bytes>),
    /// Answer to an RPC call.
    Rpc(Result<serde_json::Value, RpcError>),
    /// A VIP error frame (vip.md section 6.4).
    Failed(VipError),
    /// The link went down first.
    Down,
}

#[derive(Debug)]
struct Waiting {
    peer: Bytes,
    reply: oneshot::Sender<Answer>,
}

/// The table. Ids look like `c3f9a1b2.1`: never valid JSON (vip.md section 2.1), distinct between two runs of one
/// agent, so that a late answer to a former run finds nobody.
#[derive(Debug)]
pub(crate) struct Requests {
    prefix: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<String, Waiting>>,
}

/// There are [`MAX_WAITING`] requests already.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Requests {
    pub(crate) fn new() -> Self {
        let seed = uuid::Uuid::new_v4().as_fields().0;
        Self { prefix: format!("c{seed:08x}"), next: AtomicU64::new(1), waiting: Mutex::default() }
    }

    /// A message id that nothing waits for.
    pub(crate) fn fresh_id(&self) -> String {
        format!("{}.{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Registers a request to `peer` (empty = router). Dropping the ticket forgets it.
    pub(crate) fn begin(&self, peer: &[u8]) -> Result<Ticket<'_>, TooMany> {
        let id = self.fresh_id();
        let (reply, rx) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.len() >= MAX_WAITING {
            return Err(TooMany);
        }
        waiting.insert(id.clone(), Waiting { peer: Bytes::copy_from_slice(peer), reply });
        Ok(Ticket { owner: self, id, rx })
    }

    /// Gives `answer` to the request `id`, if it waits and was addressed to `from`; an error frame may also come from
    /// the router (empty `from`). Anything else is late or forged, and dropped. Tells whether somebody took it.
    pub(crate) fn complete(&self, id: &[u8], from: &[u8], answer: Answer) -> bool {
        let Ok(id) = std::str::from_utf8(id) else { return false };
        let mut waiting = self.lock();
        let Some(entry) = waiting.get(id) else { return false };
        let by_router = from.is_empty() && matches!(answer, Answer::Failed(_));
        if entry.peer != from && !by_router {
            return false;
        }
        let Some(entry) = waiting.remove(id) else { return false };
        drop(waiting);
        entry.reply.send(answer).is_ok()
    }

    /// Ends every waiting request: the link is down, no answer can come.
    pub(crate) fn fail_all(&self) {
        let all: Vec<Waiting> = self.lock().drain().map(|(_, w)| w).collect();
        for entry in all {
            // The caller may have given up already.
            let _ = entry.reply.send(Answer::Down);
        }
    }

    /// How many requests wait now.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        // Nothing panics while holding it; a poisoned table is still a consistent table.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One waiting request.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    owner: &'a Requests,
    id: String,
    rx: oneshot::Receiver<Answer>,
}

impl Ticket<'_> {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        (&mut self.rx).await.unwrap_or(Answer::Down)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.owner.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_asked_peer_or_a_router_error_answers() {
        let table = Requests::new();
        let mut ticket = table.begin(b"bob").expect("room");
        let id = ticket.id().to_owned();
        assert!(serde_json::from_str::<serde_json::Value>(&id).is_err(), "{id} parses as JSON");
        assert!(!table.complete(id.as_bytes(), b"eve", Answer::Args(vec![])));
        assert!(!table.complete(id.as_bytes(), b"", Answer::Args(vec![])));
        assert!(table.complete(id.as_bytes(), b"bob", Answer::Args(vec![Bytes::from_static(b"x")])));
        assert!(matches!(ticket.answer().await, Answer::Args(a) if a.len() == 1));
        assert!(!table.complete(id.as_bytes(), b"bob", Answer::Args(vec![])), "answered twice");
    }

    #[tokio::test]
    async fn a_dropped_ticket_leaves_nothing_and_down_reaches_everybody() {
        let table = Requests::new();
        drop(table.begin(b"").expect("room"));
        assert_eq!(table.len(), 0);
        let mut a = table.begin(b"").expect("room");
        table.fail_all();
        assert!(matches!(a.answer().await, Answer::Down));
    }

    #[test]
    fn the_table_is_bounded() {
        let table = Requests::new();
        let tickets: Vec<_> = (0..MAX_WAITING).map(|_| table.begin(b"").expect("room")).collect();
        assert!(table.begin(b"").is_err());
        drop(tickets);
        assert!(table.begin(b"").is_ok());
    }
}
