//! Passing messages for an operator: `watch.open`, then `watch.next` until enough was seen, then `watch.close`.
//!
//! A long poll instead of a stream: an operator who went away stops asking, and its watch is forgotten. Each watch has a
//! bounded queue in the router thread (`front/watch.rs`); this only hands out what lies there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use volttron_client::{Registrar, Request, RpcError};

use super::{Control, operators};
use crate::front::{FrontControl, WATCHES, Watch, WatchFilter};

/// A watch that nobody asked for this long is over.
const FORGOTTEN: Duration = Duration::from_mins(1);
/// Longest wait and most messages of one answer.
const WAIT_MAX_S: f64 = 30.0;
const MESSAGES_MAX: usize = 500;

/// The open watches.
#[derive(Debug, Default)]
pub struct Watches {
    open: Mutex<BTreeMap<u64, Open>>,
}

#[derive(Debug)]
struct Open {
    watch: Arc<tokio::sync::Mutex<Watch>>,
    asked: Instant,
}

impl Watches {
    async fn open(&self, front: &FrontControl, filter: WatchFilter) -> Result<u64, RpcError> {
        self.forget(Instant::now());
        if self.locked().len() >= WATCHES {
            return Err(RpcError::runtime_error(format!(
                "{WATCHES} watches are open already; one that nobody asks is closed after {} s",
                FORGOTTEN.as_secs()
            )));
        }
        let watch = front.watch(filter).await.map_err(|e| RpcError::runtime_error(e.to_string()))?;
        let watch = Arc::new(tokio::sync::Mutex::new(watch));
        let mut open = self.locked();
        let id = open.last_key_value().map_or(1, |(last, _)| last + 1);
        open.insert(id, Open { watch, asked: Instant::now() });
        Ok(id)
    }

    async fn next(&self, id: u64, wait: Duration, most: usize) -> Result<Value, RpcError> {
        let watch = self.asked(id)?;
        let mut watch = watch.lock().await;
        let mut messages = Vec::new();
        if let Ok(Some(first)) = tokio::time::timeout(wait, watch.next()).await {
            messages.push(first);
            while messages.len() < most {
                let Some(seen) = watch.try_next() else { break };
                messages.push(seen);
            }
        }
        let _ = self.asked(id);
        Ok(json!({"messages": messages, "lost": watch.take_lost()}))
    }

    /// The watch, remembered as wanted.
    fn asked(&self, id: u64) -> Result<Arc<tokio::sync::Mutex<Watch>>, RpcError> {
        let mut open = self.locked();
        let found = open.get_mut(&id).ok_or_else(|| {
            RpcError::value_error(format!("there is no watch {id}; it was closed, or not asked for too long"))
        })?;
        found.asked = Instant::now();
        Ok(found.watch.clone())
    }

    fn forget(&self, now: Instant) {
        self.locked().retain(|_, open| now.saturating_duration_since(open.asked) < FORGOTTEN);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The three methods. Not among those that `--open-methods` opens: 9.x has none of them, and they show what others say.
pub fn register(b: &mut Registrar<Control>) {
    let method = |name| volttron_client::Method::new(name, operators());
    let open = method("watch.open")
        .optional("peers", json!([]))
        .optional("subsystem", Value::Null)
        .optional("topic", Value::Null)
        .optional("exclude", Value::Null)
        .doc(
            "Begins to collect passing messages; returns the watch's number for watch.next and watch.close.",
        );
    b.rpc(open, |s: Arc<Control>, r: Request| async move {
        let filter = WatchFilter {
            peers: r.arg("peers")?,
            subsystem: r.arg("subsystem")?,
            topic: r.arg("topic")?,
            except: r.arg("exclude")?,
        };
        s.watches.open(&s.deps.front, filter).await
    });
    let next =
        method("watch.next").param("watch").optional("wait_s", 10.0).optional("most", MESSAGES_MAX).doc(
            "Messages that passed since the last call; waits for the first. `lost` counts those not kept.",
        );
    b.rpc(next, |s: Arc<Control>, r: Request| async move {
        let wait_s = r.arg::<f64>("wait_s")?.clamp(0.0, WAIT_MAX_S);
        let most = r.arg::<usize>("most")?.clamp(1, MESSAGES_MAX);
        s.watches.next(r.arg("watch")?, Duration::from_secs_f64(wait_s), most).await
    });
    let close = method("watch.close").param("watch").doc("Ends a watch.");
    b.rpc(close, |s: Arc<Control>, r: Request| async move {
        s.watches.locked().remove(&r.arg("watch")?);
        Ok(())
    });
}
