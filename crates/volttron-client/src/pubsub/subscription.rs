//! One subscription: its queue, and the stream that takes from it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Publication, platform_key};
use crate::Cx;

/// How to subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Bus name, normally empty.
    pub bus: String,
    /// Also what is published on connected platforms.
    pub all_platforms: bool,
    /// How many publications may wait; then the oldest is dropped and counted.
    pub capacity: usize,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { bus: String::new(), all_platforms: false, capacity: 4096 }
    }
}

/// A local subscription.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) prefix: String,
    pub(super) bus: String,
    pub(super) all_platforms: bool,
    pub(super) queue: Arc<Queue>,
}

impl Entry {
    pub(super) fn matches(&self, p: &Publication) -> bool {
        p.bus == self.bus && p.topic.starts_with(&self.prefix)
    }

    pub(super) fn same_at_router(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.bus == other.bus && self.all_platforms == other.all_platforms
    }

    pub(super) fn unsubscribe_body(&self) -> Value {
        json!({ platform_key(self.all_platforms): { "prefix": [self.prefix], "bus": self.bus } })
    }
}

/// Publications waiting for one consumer. Full: the oldest goes, since newer readings supersede older ones.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Publication>>,
    capacity: usize,
    arrived: Notify,
    lagged: AtomicU64,
    closed: AtomicBool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            capacity: capacity.max(1),
            arrived: Notify::new(),
            lagged: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Adds; true if the oldest had to go.
    pub(super) fn push(&self, publication: Publication) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let full = waiting.len() >= self.capacity;
        if full {
            waiting.pop_front();
            self.lagged.fetch_add(1, Ordering::Relaxed);
        }
        waiting.push_back(publication);
        drop(waiting);
        self.arrived.notify_one();
        full
    }

    fn pop(&self) -> Option<Publication> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.arrived.notify_one();
    }
}

/// A stream of publications. Ends when the agent ends; dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    cx: Cx,
    id: u64,
    queue: Arc<Queue>,
}

impl Subscription {
    pub(super) fn new(cx: Cx, id: u64, queue: Arc<Queue>) -> Self {
        Self { cx, id, queue }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The next publication in arrival order; none when the subscription or the agent ended. May be cancelled at any
    /// time without losing one.
    pub async fn next(&mut self) -> Option<Publication> {
        loop {
            if let Some(publication) = self.queue.pop() {
                return Some(publication);
            }
            if self.queue.closed.load(Ordering::Acquire) {
                return None;
            }
            self.queue.arrived.notified().await;
        }
    }

    /// The next publication if one is waiting.
    pub fn try_next(&mut self) -> Option<Publication> {
        self.queue.pop()
    }

    /// How many publications were dropped because this subscription did not keep up.
    pub fn lagged(&self) -> u64 {
        self.queue.lagged.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cx.forget_subscription(self.id);
    }
}
