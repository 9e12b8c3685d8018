//! The writer: the thread that owns the cache, makes captured points durable and feeds the store.
//!
//! Each turn: take everything queued, one transaction (forget what the store has, add what is new), acknowledge, hand
//! the next batches over, tell how it went. The store works meanwhile on its own thread, so a slow or absent store never
//! stops caching. Nothing a record or an option says ends this loop; a panic in it is reported and the loop goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::cache::{Cache, Cap};
use super::config::HistorianConfig;
use super::flight::InFlight;
use super::intake::{Load, Mailbox};
use super::status::{Alert, AlertPacing, Status, keys};
use super::store::{Limits, Store};
use super::store_thread::{Job, Outcome, Report};

/// Batches handed to the store at a time: one is written while the next is read.
const DEPTH: usize = 2;
/// New data triggers a retry, but not more often than this: every message would hit a store that is down.
const RETRY_FLOOR: Duration = Duration::from_secs(1);
/// Pause before the cache is tried again after an error (disk full, no permission).
const CACHE_RETRY: Duration = Duration::from_secs(1);
/// How often size limits are applied while data arrives.
const LIMITS_EVERY: Duration = Duration::from_secs(30);
/// How long a stop waits for what the store has in hand. The rest is safe in the cache.
const STOP_LIMIT: Duration = Duration::from_secs(9);

/// The part of the configuration the writer follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    retry_period: Duration,
    submit_size_limit: usize,
    max_time_publishing: Duration,
    message_publish_count: u64,
    cap: Option<Cap>,
    limits: Limits,
    cache_only: bool,
}

impl From<&HistorianConfig> for Settings {
    fn from(c: &HistorianConfig) -> Self {
        Self {
            retry_period: c.retry_period,
            submit_size_limit: c.submit_size_limit,
            max_time_publishing: c.max_time_publishing,
            message_publish_count: c.message_publish_count,
            cap: c.backup_storage_limit_gb.map(|limit_gb| Cap { limit_gb, report: c.backup_storage_report }),
            limits: Limits { history_limit_days: c.history_limit_days, storage_limit_gb: c.storage_limit_gb },
            cache_only: c.cache_only_enabled,
        }
    }
}

/// What reaches the writer besides data.
pub(super) enum Control {
    Report(Report),
    Settings(Settings),
    Replace(Box<dyn Store>),
    Dropped(u64),
    Stop,
}

/// State of the store as the writer knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum StoreState {
    Unasked,
    SettingUp,
    Ready,
    /// Tried again at `at`, or from `floor` on when new data arrives.
    Down {
        floor: Instant,
        at: Instant,
    },
}

/// The writer's state; see the module text.
pub(super) struct Writer {
    mailbox: Arc<Mailbox<Control>>,
    jobs: SyncSender<Job>,
    status_out: watch::Sender<Status>,
    alerts_out: mpsc::Sender<Alert>,
    cache_path: PathBuf,
    cache: Option<Cache>,
    cache_retry_at: Option<Instant>,
    settings: Settings,
    store: StoreState,
    loads: Vec<Load>,
    flight: InFlight,
    /// Reported as stored, to be deleted with the next commit.
    handled: Vec<i64>,
    /// Refused by the store, to be put aside.
    refused: Vec<(i64, String)>,
    /// Batches reported on whose rows are still in the cache.
    reported: usize,
    stored_since_limits: bool,
    limits_running: bool,
    limits_at: Instant,
    behind_since: Option<Instant>,
    next_count_log: u64,
    status: Status,
    pacing: AlertPacing,
    stop_at: Option<Instant>,
}

impl Writer {
    pub fn new(
        mailbox: Arc<Mailbox<Control>>,
        jobs: SyncSender<Job>,
        status_out: watch::Sender<Status>,
        alerts_out: mpsc::Sender<Alert>,
        cache_path: PathBuf,
        settings: Settings,
    ) -> Self {
        Self {
            mailbox,
            jobs,
            status_out,
            alerts_out,
            cache_path,
            cache: None,
            cache_retry_at: None,
            next_count_log: settings.message_publish_count,
            settings,
            store: StoreState::Unasked,
            loads: Vec::new(),
            flight: InFlight::default(),
            handled: Vec::new(),
            refused: Vec::new(),
            reported: 0,
            stored_since_limits: true,
            limits_running: false,
            limits_at: Instant::now(),
            behind_since: None,
            status: Status::default(),
            pacing: AlertPacing::default(),
            stop_at: None,
        }
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        while catch_unwind(AssertUnwindSafe(|| self.turns())).is_err() {
            self.cache = None;
            self.trouble("the writer loop failed; it starts again".into());
            self.cache_retry_at = Some(Instant::now() + CACHE_RETRY);
        }
    }

    fn turns(&mut self) {
        loop {
            self.open_cache();
            self.commit();
            self.put_refused_aside();
            self.advance();
            self.tell();
            if self.is_done() {
                return;
            }
            let mut control = Vec::new();
            let had = self.loads.len();
            let wake = if self.tidy_up() { Some(Instant::now()) } else { self.next_wake() };
            self.mailbox.take(wake, &mut self.loads, &mut control);
            if self.loads.len() > had {
                self.hurry_retry();
            }
            for message in control {
                self.on_control(message);
            }
        }
    }

    /// Uses an idle moment to shrink the cache file. True: there is more to do.
    fn tidy_up(&mut self) -> bool {
        let idle = self.loads.is_empty() && self.handled.is_empty() && self.flight.is_empty();
        idle && self.stop_at.is_none()
            && self.cache.as_mut().is_some_and(|c| c.outstanding() == 0 && c.give_back_space())
    }

    fn is_done(&self) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        let idle = self.loads.is_empty() && self.handled.is_empty() && self.flight.is_empty();
        idle || Instant::now() >= stop_at
    }

    fn next_wake(&self) -> Option<Instant> {
        let store = match self.store {
            StoreState::Down { at, .. } if !self.settings.cache_only => Some(at),
            _ => None,
        };
        let limits = (self.limits_wanted() && self.store == StoreState::Ready).then_some(self.limits_at);
        let behind = self
            .behind_since
            .filter(|_| !self.status.backlogged)
            .map(|since| since + self.settings.max_time_publishing);
        [self.cache_retry_at, store, limits, behind, self.stop_at].into_iter().flatten().min()
    }

    fn on_control(&mut self, message: Control) {
        match message {
            Control::Report(Report::SetUp(Ok(()))) => self.store = StoreState::Ready,
            Control::Report(Report::SetUp(Err(why))) => self.store_down(&why),
            Control::Report(Report::Written(outcome)) => self.on_written(outcome),
            Control::Report(Report::Limits(result)) => self.on_limits(result),
            Control::Settings(settings) => {
                if settings.message_publish_count != self.settings.message_publish_count {
                    self.next_count_log = self.status.stored + settings.message_publish_count;
                }
                if settings.limits != self.settings.limits {
                    self.stored_since_limits = true;
                    self.limits_at = Instant::now();
                }
                self.settings = settings;
            }
            Control::Replace(store) => {
                self.job(Job::Replace(store));
                self.store = StoreState::Unasked;
                self.stored_since_limits = true;
            }
            Control::Dropped(total) => {
                self.status.dropped = total;
                self.alert(keys::QUEUE_DROPPED);
            }
            Control::Stop => self.stop_at = Some(Instant::now() + STOP_LIMIT),
        }
    }

    fn on_written(&mut self, outcome: Outcome) {
        self.reported += 1;
        self.status.stored += outcome.handled.len() as u64;
        let progress = !outcome.handled.is_empty() || !outcome.rejected.is_empty();
        self.stored_since_limits |= progress;
        self.handled.extend(outcome.handled);
        self.refused.extend(outcome.rejected);
        match outcome.failed {
            Some(why) => self.store_down(&why),
            None if !progress => self.store_down("the store took none of the records"),
            None => {
                self.status.publishing = true;
                self.status.reason = None;
                self.pacing.clear(keys::NOT_PUBLISHING);
            }
        }
        if self.settings.message_publish_count > 0 && self.status.stored >= self.next_count_log {
            tracing::info!("Historian processed {} total records.", self.status.stored);
            self.next_count_log = self.status.stored + self.settings.message_publish_count;
        }
    }

    fn on_limits(&mut self, result: Result<bool, String>) {
        self.limits_running = false;
        self.limits_at = Instant::now() + LIMITS_EVERY;
        match result {
            Ok(more) => {
                if more {
                    self.stored_since_limits = true;
                    self.limits_at = Instant::now();
                }
                self.status.error_managing_db_size = false;
                self.pacing.clear(keys::DB_SIZE);
            }
            Err(why) => {
                tracing::error!("cannot apply the size limits of the store: {why}");
                self.stored_since_limits = true;
                self.status.error_managing_db_size = true;
                self.alert(keys::DB_SIZE);
            }
        }
    }

    fn store_down(&mut self, why: &str) {
        let now = Instant::now();
        // `retry_period` may be shorter than the floor; then it is what the operator asked for.
        let at = now + self.settings.retry_period;
        self.store = StoreState::Down { floor: at.min(now + RETRY_FLOOR), at };
        if self.status.publishing {
            tracing::error!("the store does not take records, they stay in the cache: {why}");
        }
        self.status.publishing = false;
        self.status.reason = Some(why.to_owned());
        self.alert(keys::NOT_PUBLISHING);
    }

    fn hurry_retry(&mut self) {
        if let StoreState::Down { floor, at } = &mut self.store {
            *at = *floor.min(at);
        }
    }

    fn open_cache(&mut self) {
        if self.cache.is_some() || self.cache_retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        match Cache::open_or_set_aside(&self.cache_path) {
            Ok((cache, aside)) => {
                if let Some(aside) = aside {
                    tracing::error!(
                        "the cache was damaged; put aside as {}, starting an empty one",
                        aside.display()
                    );
                    self.alert(keys::LOOP_FAILED);
                }
                if cache.outstanding() > 0 {
                    tracing::info!("{} records are in the cache from before", cache.outstanding());
                }
                self.status.backlogged = cache.outstanding() > self.settings.submit_size_limit as u64;
                // Nothing handed over before is deleted yet; it is read and written again.
                self.cache = Some(cache);
                self.cache_retry_at = None;
            }
            Err(e) => {
                self.trouble(e.to_string());
                self.cache_retry_at = Some(Instant::now() + CACHE_RETRY);
            }
        }
    }

    /// One durable round; acknowledges what it made durable.
    fn commit(&mut self) {
        let nothing = self.loads.is_empty() && self.handled.is_empty();
        if nothing || self.cache_retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let Some(cache) = &mut self.cache else { return };
        let loads = self.loads.iter().map(|l| l.points.as_slice());
        match cache.commit_round(&self.handled, loads, self.settings.cap) {
            Ok(round) => {
                self.cache_retry_at = None;
                self.handled.clear();
                self.pacing.clear(keys::LOOP_FAILED);
                self.on_round(round);
                self.acknowledge();
            }
            Err(e) => {
                self.trouble(e.to_string());
                self.cache_retry_at = Some(Instant::now() + CACHE_RETRY);
            }
        }
    }

    /// The status comes first: whoever was told that points are durable finds them in it.
    fn acknowledge(&mut self) {
        let loads = std::mem::take(&mut self.loads);
        self.status.accepted += loads.iter().map(|l| l.points.len() as u64).sum::<u64>();
        self.tell();
        let mut room = 0;
        for load in loads {
            room += load.room;
            if let Some(ack) = load.ack {
                // The one who asked may have given up waiting; the points are durable all the same.
                let _ = ack.send(());
            }
        }
        self.mailbox.give_back(room);
    }

    fn on_round(&mut self, round: super::cache::Round) {
        self.status.cache_full = round.full;
        if round.trimmed > 0 {
            tracing::error!("the cache is above its limit: {} oldest records thrown away", round.trimmed);
        }
        if round.full {
            self.status.backlogged = true;
            self.alert(keys::CACHE_FULL);
        } else {
            self.pacing.clear(keys::CACHE_FULL);
        }
    }

    /// Moves refused records out of the way, then lets go of the batches that were reported on. Only now, because
    /// their rows must not be offered again before they are deleted.
    fn put_refused_aside(&mut self) {
        if let Some(cache) = &mut self.cache {
            let refused = std::mem::take(&mut self.refused);
            let any = !refused.is_empty();
            for (id, why) in refused {
                tracing::error!(
                    "the store refuses a record, put aside in the cache's table `rejected`: {why}"
                );
                if let Err(e) = cache.reject(id, &why) {
                    tracing::error!("{e}");
                }
            }
            self.status.rejected = cache.rejected();
            if any {
                self.alert(keys::REJECTED);
            }
        }
        if self.handled.is_empty() {
            for _ in 0..std::mem::take(&mut self.reported) {
                self.flight.finish();
            }
        }
    }

    /// Keeps the store busy.
    fn advance(&mut self) {
        let now = Instant::now();
        if self.stop_at.is_some() {
            return;
        }
        match self.store {
            StoreState::Unasked => self.ask_setup(),
            StoreState::Down { at, .. } if now >= at && !self.settings.cache_only => self.ask_setup(),
            StoreState::Ready if !self.settings.cache_only => self.hand_over(),
            _ => {}
        }
        if self.store == StoreState::Ready && self.limits_wanted() && now >= self.limits_at {
            self.limits_running = true;
            self.stored_since_limits = false;
            self.job(Job::Limits(self.settings.limits));
        }
    }

    fn limits_wanted(&self) -> bool {
        !self.settings.limits.is_empty() && self.stored_since_limits && !self.limits_running
    }

    fn ask_setup(&mut self) {
        self.store = StoreState::SettingUp;
        self.job(Job::Setup);
    }

    fn hand_over(&mut self) {
        let limit = self.settings.submit_size_limit;
        while self.flight.batches() < DEPTH {
            let Some(cache) = &mut self.cache else { return };
            let waiting = cache.outstanding().saturating_sub(self.flight.len() as u64);
            // A second batch only when it is full: otherwise it grows while the first is being written.
            if waiting == 0 || (!self.flight.is_empty() && waiting < limit as u64) {
                return;
            }
            match cache.next_batch(limit, &self.flight) {
                Ok(batch) if batch.is_empty() => return,
                Ok(batch) => {
                    let batch = Arc::new(batch);
                    self.flight.add(Arc::clone(&batch));
                    self.job(Job::Write(batch));
                }
                Err(e) => {
                    self.trouble(e.to_string());
                    self.cache_retry_at = Some(Instant::now() + CACHE_RETRY);
                    return;
                }
            }
        }
    }

    fn job(&mut self, job: Job) {
        if self.jobs.send(job).is_err() {
            // The store thread only ends when this sender is dropped.
            self.trouble("the store thread has ended".into());
        }
    }

    /// Something is wrong with the cache or the loop itself.
    fn trouble(&mut self, why: String) {
        tracing::error!("{why}");
        self.status.publishing = false;
        self.status.reason = Some(why);
        self.alert(keys::LOOP_FAILED);
    }

    fn alert(&mut self, key: &'static str) {
        if self.pacing.due(key, Instant::now()) {
            // The channel holds more than there are keys; when nobody reads it the status still tells.
            let _ = self.alerts_out.try_send(Alert { key, context: self.status.context() });
        }
    }

    /// Publishes the figures of this turn.
    fn tell(&mut self) {
        let limit = self.settings.submit_size_limit as u64;
        if let Some(cache) = &self.cache {
            self.status.cache_count = cache.outstanding();
            self.status.invalid_timestamps = cache.has_time_errors();
        }
        self.status.cache_only_enabled = self.settings.cache_only;
        if self.status.cache_count <= limit {
            self.behind_since = None;
            self.status.backlogged = self.status.cache_full;
        } else {
            let since = *self.behind_since.get_or_insert_with(Instant::now);
            self.status.backlogged |= since.elapsed() >= self.settings.max_time_publishing;
        }
        if self.status.invalid_timestamps {
            self.alert(keys::TIME_ERROR);
        } else {
            self.pacing.clear(keys::TIME_ERROR);
        }
        self.status_out.send_if_modified(|old| {
            let changed = *old != self.status;
            if changed {
                old.clone_from(&self.status);
            }
            changed
        });
    }
}
