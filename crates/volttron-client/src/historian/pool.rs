//! The threads that answer queries, each with a reader (and so a connection) of its own.
//!
//! A query never runs on the agent's runtime nor on the writer's threads. Its time is limited, and it ends early when
//! whoever asked has gone. Waiting queries are bounded; one more is refused at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::store::{Cancel, QueryError, Reader, StoreFactory};

/// Threads answering queries.
const THREADS: usize = 2;
/// Queries waiting for a thread.
const WAITING: usize = 64;

type Work =
    Box<dyn FnOnce(&mut dyn FnMut() -> Result<ReaderSlot, QueryError>, &mut Option<ReaderSlot>) + Send>;

struct ReaderSlot {
    reader: Box<dyn Reader>,
    generation: u64,
}

struct Shared {
    factory: Mutex<Option<Arc<dyn StoreFactory>>>,
    generation: AtomicU64,
}

impl Shared {
    fn open(&self) -> Result<ReaderSlot, QueryError> {
        // The generation is read first: a factory replaced in between only makes this reader open once more.
        let generation = self.generation.load(Ordering::Acquire);
        let factory = self.factory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let factory = factory.ok_or_else(|| QueryError::Unavailable("no connection is configured".into()))?;
        Ok(ReaderSlot { reader: factory.reader()?, generation })
    }
}

/// Runs queries on its own threads.
pub struct QueryPool {
    work: mpsc::Sender<Work>,
    shared: Arc<Shared>,
}

impl QueryPool {
    /// Starts the threads. They end when the pool is dropped.
    pub fn start(factory: Option<Arc<dyn StoreFactory>>) -> std::io::Result<Self> {
        let (work, queue) = mpsc::channel::<Work>(WAITING);
        let shared = Arc::new(Shared { factory: Mutex::new(factory), generation: AtomicU64::new(0) });
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..THREADS {
            let (queue, shared) = (Arc::clone(&queue), Arc::clone(&shared));
            std::thread::Builder::new().name(format!("historian-query{n}")).spawn(move || {
                let mut slot: Option<ReaderSlot> = None;
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    let Some(work) = next else { return };
                    if slot
                        .as_ref()
                        .is_some_and(|s| s.generation != shared.generation.load(Ordering::Acquire))
                    {
                        slot = None;
                    }
                    let done = catch_unwind(AssertUnwindSafe(|| work(&mut || shared.open(), &mut slot)));
                    if done.is_err() {
                        slot = None;
                    }
                }
            })?;
        }
        Ok(Self { work, shared })
    }

    /// Later queries use readers of this store.
    pub fn replace(&self, factory: Option<Arc<dyn StoreFactory>>) {
        *self.shared.factory.lock().unwrap_or_else(PoisonError::into_inner) = factory;
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    /// Runs `f` with a reader, for at most `limit`.
    pub async fn run<R: Send + 'static>(
        &self,
        limit: Duration,
        f: impl FnOnce(&mut dyn Reader, &Cancel) -> Result<R, QueryError> + Send + 'static,
    ) -> Result<R, QueryError> {
        struct CancelOnDrop(Cancel);
        impl Drop for CancelOnDrop {
            fn drop(&mut self) {
                self.0.cancel();
            }
        }
        let cancel = Cancel::after(limit);
        let guard = CancelOnDrop(cancel.clone());
        let (tx, rx) = oneshot::channel();
        let work: Work = Box::new(move |open, slot| {
            let result = if cancel.is_cancelled() {
                Err(QueryError::Cancelled)
            } else {
                (|| {
                    if slot.is_none() {
                        *slot = Some(open()?);
                    }
                    let Some(s) = slot.as_mut() else { return Err(QueryError::Cancelled) };
                    f(&mut *s.reader, &cancel)
                })()
            };
            if matches!(result, Err(QueryError::Store(_))) {
                // The connection may be at fault; the next query opens another.
                *slot = None;
            }
            let _ = tx.send(result);
        });
        self.work
            .try_send(work)
            .map_err(|_| QueryError::Unavailable("too many queries are waiting".into()))?;
        let answer =
            rx.await.unwrap_or_else(|_| Err(QueryError::Store("the query failed unexpectedly".into())));
        drop(guard);
        answer
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
