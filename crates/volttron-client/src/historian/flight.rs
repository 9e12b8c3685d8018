//! The batches handed to the store and not reported back yet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::record::Record;

/// What is on its way. Kept so that the next batch neither repeats a record nor overtakes an older one of the same
/// (topic, time).
#[derive(Debug, Default)]
pub struct InFlight {
    ids: HashSet<i64>,
    /// Times on their way per topic.
    times: HashMap<Arc<str>, HashSet<String>>,
    batches: VecDeque<Arc<Vec<Record>>>,
}

impl InFlight {
    /// Records on their way.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Batches on their way.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Is this row on its way?
    pub fn has_id(&self, id: i64) -> bool {
        self.ids.contains(&id)
    }

    /// Is a record of this (topic, time) on its way?
    pub fn has_key(&self, topic: &str, ts: &str) -> bool {
        self.times.get(topic).is_some_and(|times| times.contains(ts))
    }

    /// Notes a batch that is handed over now.
    pub fn add(&mut self, batch: Arc<Vec<Record>>) {
        for r in batch.iter() {
            self.ids.insert(r.id);
            self.times.entry(Arc::clone(&r.topic)).or_default().insert(r.ts.clone());
        }
        self.batches.push_back(batch);
    }

    /// Takes the oldest batch out: the store has reported on it. Batches are reported in the order given.
    pub fn finish(&mut self) -> Option<Arc<Vec<Record>>> {
        let batch = self.batches.pop_front()?;
        for r in batch.iter() {
            self.ids.remove(&r.id);
            if let Some(times) = self.times.get_mut(&r.topic) {
                times.remove(&r.ts);
                if times.is_empty() {
                    self.times.remove(&r.topic);
                }
            }
        }
        Some(batch)
    }
}
