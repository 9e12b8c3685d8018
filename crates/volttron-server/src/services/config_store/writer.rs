//! From a wish to a durable change: one task decides all changes, in the order in which they came.
//!
//! What callers can read is what is on disk, always: a change is planned on a copy, written, and only then becomes the
//! present state. Wishes that wait together for the same agent's file are written once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use volttron_client::Cx;
use volttron_utils::jsonrpc::RpcError;

use super::counters::{Counters, count};
use super::disk::Disk;
use super::edit::{Edit, Refused, in_place};
use super::entry::BadEntry;
use super::push::{News, Queue, Room};
use super::store::Store;

/// Most wishes that wait for the disk; one beyond that is refused.
pub(super) const QUEUE: usize = 1024;

/// What is to happen to one agent's store.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    /// Some configurations change.
    Edit(Edit),
    /// Everything goes.
    Clear,
}

/// Changes of one or more stores that happen together.
pub(super) struct Job {
    /// By identity.
    pub(super) wishes: BTreeMap<String, Wish>,
    /// Whether the agents are told, and if so whether their handlers hear of it.
    pub(super) tell: Option<bool>,
    pub(super) answer: oneshot::Sender<Result<Done, RpcError>>,
}

/// A change that is on disk.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What changed, by identity.
    pub(super) news: Vec<(String, News)>,
    /// Each resolves when one of the agents has been told.
    pub(super) told: Vec<oneshot::Receiver<()>>,
}

/// What is told to whom, and the places for telling it.
type Accepted = (Vec<(String, News)>, HashMap<String, Room>);

/// What all parts of the service work on.
pub(super) struct Shared {
    pub(super) disk: Disk,
    pub(super) counters: Arc<Counters>,
    state: Mutex<State>,
}

/// The stores as they are on disk, and the ways to their agents.
#[derive(Default)]
pub(super) struct State {
    pub(super) stores: BTreeMap<String, Store>,
    queues: HashMap<String, Queue>,
}

impl Shared {
    pub(super) fn new(disk: Disk, counters: Arc<Counters>, stores: BTreeMap<String, Store>) -> Self {
        Self { disk, counters, state: Mutex::new(State { stores, queues: HashMap::new() }) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that there is a way to the agent.
    pub(super) fn open_queue(&self, cx: &Cx, identity: &str) {
        let mut state = self.state();
        if !state.queues.contains_key(identity) {
            let queue = Queue::start(cx, identity, &self.counters);
            state.queues.insert(identity.to_owned(), queue);
        }
    }

    /// Tells an agent everything; no change can slip in between what it is told here and what it is told next.
    pub(super) fn tell_everything(&self, identity: &str) -> Result<oneshot::Receiver<()>, RpcError> {
        let state = self.state();
        let room = self.room(&state, identity)?;
        let all = state.stores.get(identity).map(Store::all).unwrap_or_default();
        Ok(room.push(News::Initial(all)))
    }

    fn room(&self, state: &State, identity: &str) -> Result<Room, RpcError> {
        state.queues.get(identity).and_then(Queue::reserve).ok_or_else(|| {
            count(&self.counters.refused_busy, 1);
            RpcError::runtime_error(format!(
                "{identity} has not digested its last configuration changes yet; try again later"
            ))
        })
    }

    /// Takes all jobs of one round from their plans to their answers. Blocks on the disk. Either all that are not
    /// refused by themselves happen, or none.
    fn commit(&self, jobs: Vec<Job>) {
        let mut working: BTreeMap<String, Store> = BTreeMap::new();
        let mut accepted = Vec::new();
        for job in jobs {
            match self.accept(&mut working, &job) {
                Ok((news, rooms)) => accepted.push((job, news, rooms)),
                Err(error) => drop(job.answer.send(Err(error))),
            }
        }
        let changed: Vec<(String, Store)> = working.into_iter().collect();
        if let Err(error) = if changed.is_empty() { Ok(()) } else { self.disk.save_all(&changed) } {
            tracing::error!("configurations were not stored: {error}");
            count(&self.counters.writes_failed, accepted.len());
            for (job, ..) in accepted {
                let _ = job.answer.send(Err(RpcError::exception("builtins.OSError", error.to_string())));
            }
            return;
        }
        count(&self.counters.writes, changed.len());
        let mut state = self.state();
        for (identity, store) in changed {
            if store.is_empty() {
                state.stores.remove(&identity);
            } else {
                state.stores.insert(identity, store);
            }
        }
        for (job, news, mut rooms) in accepted {
            let tell = |(identity, news): &(String, News)| {
                rooms.remove(identity).map(|room| room.push(news.clone()))
            };
            let told = news.iter().filter_map(tell).collect();
            let _ = job.answer.send(Ok(Done { news, told }));
        }
    }

    /// Plans a job on the working copies and takes the places for its pushes.
    fn accept(&self, working: &mut BTreeMap<String, Store>, job: &Job) -> Result<Accepted, RpcError> {
        let state = self.state();
        let mut rooms = HashMap::new();
        if job.tell.is_some() {
            for identity in job.wishes.keys() {
                rooms.insert(identity.clone(), self.room(&state, identity)?);
            }
        }
        let present = |identity: &str| working.get(identity).or_else(|| state.stores.get(identity)).cloned();
        let planned = plan(present, &job.wishes, job.tell.unwrap_or(false))?;
        drop(state);
        let mut all = Vec::new();
        for (identity, store, news) in planned {
            working.insert(identity.clone(), store);
            all.push((identity, news));
        }
        Ok((all, rooms))
    }
}

/// What the stores become, and what their agents are told. Stores that stay as they are do not occur. Pure.
pub(super) fn plan(
    present: impl Fn(&str) -> Option<Store>,
    wishes: &BTreeMap<String, Wish>,
    trigger: bool,
) -> Result<Vec<(String, Store, News)>, RpcError> {
    let mut planned = Vec::new();
    for (identity, wish) in wishes {
        let store = present(identity).unwrap_or_default();
        match wish {
            Wish::Clear if store.is_empty() => {}
            Wish::Clear => planned.push((identity.clone(), Store::default(), News::DeleteAll)),
            Wish::Edit(edit) => {
                let (next, changes) = store.edit(edit).map_err(|why| refusal(identity, edit, why))?;
                if !changes.is_empty() {
                    planned.push((identity.clone(), next, News::Changes { changes, trigger }));
                }
            }
        }
    }
    Ok(planned)
}

/// The answer to an edit that is refused: of a single write in the original's words, else with the place.
fn refusal(identity: &str, edit: &Edit, why: Refused) -> RpcError {
    match why {
        Refused::Missing(name) => missing(&name, identity),
        Refused::Bad(name, bad @ BadEntry::Cycle(_)) if edit.only_changes => {
            in_place(&format!("{identity}/{name}"), &bad.into())
        }
        Refused::Bad(_, bad) => bad.into(),
        Refused::Twice(_) => RpcError::value_error(format!("{identity}: {why}")),
    }
}

/// The error about a configuration that is not there. The spelling is 9.x's; programs compare the text.
pub(super) fn missing(name: &str, identity: &str) -> RpcError {
    RpcError::key_error(format!("No configuration file \"{name}\" for VIP IDENTIY {identity}"))
}

/// The task that makes all changes.
pub(super) async fn run(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    let mut waiting = Vec::new();
    while jobs.recv_many(&mut waiting, QUEUE).await > 0 {
        for round in rounds(std::mem::take(&mut waiting)) {
            let commits = round.into_iter().map(|jobs| {
                let shared = shared.clone();
                crate::blocking::run(move || shared.commit(jobs))
            });
            for ended in join_all(commits).await {
                if let Err(panic) = ended {
                    tracing::error!("a change of the configuration store was abandoned: {panic}");
                }
            }
        }
    }
}

/// Jobs that can be written at the same time, in rounds; within a round, those of one store go together. A job of
/// several stores is a round of its own.
fn rounds(jobs: Vec<Job>) -> Vec<Vec<Vec<Job>>> {
    let mut rounds = Vec::new();
    let mut singles: BTreeMap<String, Vec<Job>> = BTreeMap::new();
    for job in jobs {
        match job.wishes.first_key_value() {
            Some((identity, _)) if job.wishes.len() == 1 => {
                singles.entry(identity.clone()).or_default().push(job);
            }
            _ => {
                if !singles.is_empty() {
                    rounds.push(std::mem::take(&mut singles).into_values().collect());
                }
                rounds.push(vec![vec![job]]);
            }
        }
    }
    if !singles.is_empty() {
        rounds.push(singles.into_values().collect());
    }
    rounds
}
