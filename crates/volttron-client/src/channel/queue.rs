//! What waits for the reader of one channel: datagrams and gaps, in order, within bounds.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{ChannelError, Datagram};

/// Most datagrams that wait.
pub(super) const MAX_DATAGRAMS: usize = 256;
/// Most bytes that wait; a single datagram may be larger when nothing else waits.
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Result<Datagram, ChannelError>>,
    datagrams: usize,
    bytes: usize,
    closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

fn size(datagram: &Datagram) -> usize {
    datagram.iter().map(Bytes::len).sum()
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a datagram. False if there is no room: it is dropped, and a gap noted in its place.
    pub(super) fn push(&self, datagram: Datagram) -> bool {
        let mut waiting = self.lock();
        let bytes = waiting.bytes.saturating_add(size(&datagram));
        if waiting.datagrams >= MAX_DATAGRAMS || (waiting.datagrams > 0 && bytes > MAX_BYTES) {
            drop(waiting);
            self.push_gap(ChannelError::Overrun { datagrams: MAX_DATAGRAMS, bytes: MAX_BYTES });
            return false;
        }
        waiting.datagrams += 1;
        waiting.bytes = bytes;
        waiting.items.push_back(Ok(datagram));
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    /// Notes that something is missing here. Gaps in a row are one gap, the first, so they need no bound of their own.
    pub(super) fn push_gap(&self, why: ChannelError) {
        let mut waiting = self.lock();
        if !matches!(waiting.items.back(), Some(Err(_))) {
            waiting.items.push_back(Err(why));
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    /// Nothing more will come. What waits can still be read.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    pub(super) async fn next(&self) -> Option<Result<Datagram, ChannelError>> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(item) = waiting.items.pop_front() {
                    if let Ok(datagram) = &item {
                        waiting.datagrams -= 1;
                        waiting.bytes -= size(datagram);
                    }
                    return Some(item);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn past_the_bound_there_is_one_gap_and_then_it_goes_on() {
        let queue = Queue::default();
        let one = |n: usize| vec![Bytes::from(n.to_string())];
        assert!((0..MAX_DATAGRAMS).all(|n| queue.push(one(n))));
        assert!(!queue.push(one(0)) && !queue.push(one(0)));
        queue.push_gap(ChannelError::Interrupted);
        for n in 0..MAX_DATAGRAMS {
            assert_eq!(queue.next().await, Some(Ok(one(n))));
        }
        assert!(matches!(queue.next().await, Some(Err(ChannelError::Overrun { .. }))));
        assert!(queue.push(one(7)));
        queue.close();
        assert_eq!(queue.next().await, Some(Ok(one(7))));
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn bytes_are_bounded_but_a_single_datagram_always_fits() {
        let queue = Queue::default();
        let large = vec![Bytes::from(vec![0; MAX_BYTES]), Bytes::from_static(b"x")];
        assert!(queue.push(large.clone()));
        assert!(!queue.push(vec![Bytes::from_static(b"y")]));
        assert_eq!(queue.next().await, Some(Ok(large.clone())));
        assert!(matches!(queue.next().await, Some(Err(_))));
        assert!(queue.push(vec![Bytes::from_static(b"y")]) && !queue.push(large));
    }
}
