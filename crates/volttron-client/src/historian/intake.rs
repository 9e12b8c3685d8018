//! The bounded in-memory queue between capture and the cache, and the writer's one mailbox.
//!
//! Bound: points. Policy: the one who pushes waits, so the bound is felt by the subscription, which is bounded itself
//! and counts what it drops. Room is given back only after the points are durable.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::record::Captured;

/// Points captured together, and who wants to know that they are durable.
#[derive(Debug)]
pub struct Load {
    /// The points.
    pub points: Vec<Captured>,
    /// Room they take up in the queue.
    pub(super) room: u32,
    /// Answered after the commit.
    pub(super) ack: Option<oneshot::Sender<()>>,
}

/// Everything the writer waits for, in one place so that it can wait with one condition variable.
#[derive(Debug)]
pub(super) struct Mailbox<C> {
    state: Mutex<State<C>>,
    wake: Condvar,
    room: Semaphore,
    limit: u32,
}

#[derive(Debug)]
struct State<C> {
    loads: VecDeque<Load>,
    control: VecDeque<C>,
    closed: bool,
}

/// The queue does not take points any more: the historian is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the historian is stopping")]
pub struct Closed;

impl<C> Mailbox<C> {
    /// A mailbox for at most `limit` points.
    pub fn new(limit: usize) -> Arc<Self> {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize)) as u32;
        let state = State { loads: VecDeque::new(), control: VecDeque::new(), closed: false };
        Arc::new(Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            room: Semaphore::new(limit as usize),
            limit,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues points, waiting for room. A load larger than the whole queue waits for the queue to be empty.
    pub async fn push(&self, points: Vec<Captured>, ack: Option<oneshot::Sender<()>>) -> Result<(), Closed> {
        let room = (points.len() as u64).min(u64::from(self.limit)) as u32;
        let permit = self.room.acquire_many(room).await.map_err(|_| Closed)?;
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        permit.forget();
        state.loads.push_back(Load { points, room, ack });
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Sends the writer a message that is not data.
    pub fn control(&self, message: C) {
        self.lock().control.push_back(message);
        self.wake.notify_one();
    }

    /// Gives the room of durable loads back.
    pub fn give_back(&self, room: u32) {
        self.room.add_permits(room as usize);
    }

    /// Points waiting or being made durable.
    pub fn used(&self) -> usize {
        (self.limit as usize).saturating_sub(self.room.available_permits())
    }

    /// No more points once this has returned; those waiting for room are told so.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.close();
    }

    /// Waits until there is something, or `until`. Appends what there is.
    pub fn take(&self, until: Option<Instant>, loads: &mut Vec<Load>, control: &mut Vec<C>) {
        let mut state = self.lock();
        while state.loads.is_empty() && state.control.is_empty() {
            let Some(until) = until else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        loads.extend(state.loads.drain(..));
        control.extend(state.control.drain(..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::historian::record::Source;

    fn points(n: usize) -> Vec<Captured> {
        let one = Captured {
            source: Source::Record,
            topic: "t".into(),
            ts: "x".into(),
            value: "1".into(),
            headers: "{}".into(),
            meta: None,
            out_of_tolerance: false,
        };
        vec![one; n]
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_full_queue_makes_the_pusher_wait_until_room_is_given_back() {
        let mailbox = Mailbox::<()>::new(10);
        mailbox.push(points(6), None).await.unwrap();
        let second = tokio::spawn({
            let mailbox = Arc::clone(&mailbox);
            async move { mailbox.push(points(6), None).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        let (mut loads, mut control) = (Vec::new(), Vec::new());
        mailbox.take(None, &mut loads, &mut control);
        // Taken is not durable yet: the room stays in use.
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert_eq!(mailbox.used(), 10 - mailbox.room.available_permits());
        mailbox.give_back(loads[0].room);
        second.await.unwrap().unwrap();
        assert_eq!(mailbox.used(), 6);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_load_larger_than_the_queue_passes_when_it_is_empty() {
        let mailbox = Mailbox::<()>::new(3);
        mailbox.push(points(50), None).await.unwrap();
        assert_eq!(mailbox.used(), 3);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn closing_refuses_points_and_frees_those_who_wait() {
        let mailbox = Mailbox::<u8>::new(1);
        mailbox.push(points(1), None).await.unwrap();
        let waiting = tokio::spawn({
            let mailbox = Arc::clone(&mailbox);
            async move { mailbox.push(points(1), None).await }
        });
        tokio::task::yield_now().await;
        mailbox.close();
        assert_eq!(waiting.await.unwrap(), Err(Closed));
        mailbox.control(7);
        let (mut loads, mut control) = (Vec::new(), Vec::new());
        mailbox.take(None, &mut loads, &mut control);
        assert_eq!((loads.len(), control), (1, vec![7]));
    }
}
