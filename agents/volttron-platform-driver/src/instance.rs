//! One running device: scraped on its schedule, published, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use volttron_client::driver::{
    Device, DriverError, Kwargs, PublishFlags, Publisher, Schedule, Scrape, time_headers,
};
use volttron_client::{Cx, Status as Health};

use crate::outlet::Outlet;
use crate::status::{SILENT_AFTER, Status};

/// How long a scrape under way may go on after its device was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Longest sleep before the wall clock is looked at again, because somebody may have set it.
const RECHECK: Duration = Duration::from_mins(1);

/// What the main configuration can change while a device runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// When to scrape.
    pub schedule: Schedule,
    /// What to publish.
    pub flags: PublishFlags,
}

/// A device with what is needed to publish it.
pub struct Instance {
    /// Device path without `devices/`.
    pub path: String,
    /// The device itself.
    pub device: Device,
    /// Its counters.
    pub status: Arc<Status>,
    publisher: Publisher,
    heart_beat_point: Option<String>,
    /// The next heartbeat to write is the opposite of this.
    beat: AtomicBool,
}

/// A device's task. Dropping it ends the task soon, without grace.
pub struct Running {
    /// The device.
    pub instance: Arc<Instance>,
    plan: watch::Sender<Plan>,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts scraping a device.
    pub fn start(instance: Instance, plan: Plan, cx: &Cx, outlet: Arc<Outlet>) -> Self {
        let instance = Arc::new(instance);
        let (plan, receiver) = watch::channel(plan);
        let task = cx.spawn(instance.clone().run(cx.clone(), outlet, receiver));
        Self { instance, plan, task }
    }

    /// Changes schedule and flags; an unchanged schedule goes on undisturbed.
    pub fn replan(&self, plan: Plan) {
        self.plan.send_replace(plan);
    }

    /// Ends the task; a scrape under way gets a grace period.
    pub async fn stop(self) {
        drop(self.plan);
        let mut task = self.task;
        if tokio::time::timeout(GRACE + Duration::from_secs(1), &mut task).await.is_err() {
            task.abort();
        }
    }
}

impl Instance {
    /// Puts an instance together. `tz` is the label of the metadata.
    pub fn new(
        path: &str,
        device: Device,
        tz: &str,
        heart_beat_point: Option<String>,
        status: Arc<Status>,
    ) -> Result<Self, DriverError> {
        if let Some(point) = &heart_beat_point {
            match device.points().iter().find(|p| p.name == *point) {
                None => {
                    return Err(DriverError::Config(format!("heart_beat_point '{point}' is not a point")));
                }
                Some(p) if p.read_only => {
                    return Err(DriverError::Config(format!("heart_beat_point '{point}' is read-only")));
                }
                Some(_) => {}
            }
        }
        let publisher = Publisher::new(path, device.points(), tz);
        Ok(Self {
            path: path.to_owned(),
            device,
            status,
            publisher,
            heart_beat_point,
            beat: AtomicBool::new(false),
        })
    }

    async fn run(self: Arc<Self>, cx: Cx, outlet: Arc<Outlet>, mut plans: watch::Receiver<Plan>) {
        let mut plan = *plans.borrow_and_update();
        let mut due = plan.schedule.first(Timestamp::now());
        let mut scrapes = JoinSet::new();
        loop {
            tokio::select! {
                changed = plans.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let new = *plans.borrow_and_update();
                    if new.schedule != plan.schedule {
                        due = new.schedule.first(Timestamp::now());
                    }
                    plan = new;
                }
                () = wait_until(due, plan.schedule.interval()) => {
                    let now = Timestamp::now();
                    if out_of_step(due, now, plan.schedule.interval()) {
                        due = plan.schedule.first(now);
                        continue;
                    }
                    let scheduled = due;
                    due = plan.schedule.next(scheduled, now);
                    reap(&mut scrapes, &self.path);
                    if scrapes.is_empty() {
                        let boundary = plan.schedule.boundary(scheduled);
                        scrapes.spawn(self.clone().scrape(cx.clone(), outlet.clone(), boundary, plan.flags));
                    } else if self.status.overran() == 1 {
                        tracing::warn!(path = self.path, "a scrape outlasts its interval; left one out");
                    }
                }
            }
        }
        // A scrape that takes longer is ended with the set.
        let _ = tokio::time::timeout(GRACE, scrapes.join_next()).await;
    }

    async fn scrape(self: Arc<Self>, cx: Cx, outlet: Arc<Outlet>, boundary: Timestamp, flags: PublishFlags) {
        outlet.scrape_began(boundary);
        match self.device.scrape().await {
            Ok(scrape) => {
                let after = Timestamp::now();
                self.note_success(after, &scrape);
                let headers = time_headers(after, Some(boundary));
                for message in self.publisher.messages(self.device.points(), &scrape, flags) {
                    let acknowledged = outlet.publish(&cx, &headers, &message).await;
                    self.status.published(acknowledged);
                }
            }
            Err(error) => self.note_failure(&cx, &error).await,
        }
        outlet.scrape_finished(boundary, &cx);
    }

    fn note_success(&self, after: Timestamp, scrape: &Scrape) {
        let missing_before = self.status.missing();
        if self.status.succeeded(after, scrape.missing.len()) {
            tracing::info!(path = self.path, "the device answers again");
        }
        // Each change is told once; a point that stays away would fill the log.
        if missing_before != scrape.missing.len() as u64 {
            for (id, why) in &scrape.missing {
                tracing::error!(
                    path = self.path,
                    "no value for point {}: {why}",
                    self.device.points()[*id].name
                );
            }
        }
    }

    async fn note_failure(&self, cx: &Cx, error: &DriverError) {
        let in_a_row = self.status.failed(&error.to_string());
        if in_a_row == 1 {
            tracing::error!(path = self.path, "the scrape failed, nothing is published: {error}");
        } else {
            tracing::debug!(path = self.path, in_a_row, "the scrape failed again: {error}");
        }
        if in_a_row == SILENT_AFTER {
            let text = format!("device {} has not answered {in_a_row} times: {error}", self.path);
            let alert = cx.health().alert(&format!("device {}", self.path), Health::Bad, text).await;
            if let Err(error) = alert {
                tracing::warn!("the alert for {} is lost: {error}", self.path);
            }
        }
    }

    /// Writes the next heartbeat, if the device has a point for it.
    pub async fn heart_beat(&self) {
        let Some(point) = &self.heart_beat_point else { return };
        let beat = !self.beat.fetch_xor(true, Ordering::Relaxed);
        if let Err(error) = self.device.set_point(point, &Value::from(u8::from(beat)), &Kwargs::new()).await {
            tracing::error!(path = self.path, "the heartbeat could not be written: {error}");
        }
    }

    /// Publishes one value that came without being asked for (change of value): an `all` message with only that point,
    /// and no `SynchronizedTimeStamp`, because it belongs to no round.
    pub async fn publish_change(
        &self,
        cx: &Cx,
        outlet: &Outlet,
        point: &str,
        value: Value,
        flags: PublishFlags,
    ) -> Result<(), DriverError> {
        let points = self.device.points();
        let id = points.iter().position(|p| p.name == point);
        let id = id.ok_or_else(|| DriverError::UnknownPoint(point.to_owned()))?;
        let change = Scrape { values: vec![(id, value)], missing: Vec::new() };
        let headers = time_headers(Timestamp::now(), None);
        for message in self.publisher.messages(points, &change, flags) {
            let acknowledged = outlet.publish(cx, &headers, &message).await;
            self.status.published(acknowledged);
        }
        Ok(())
    }
}

/// Takes finished scrapes out of the set.
fn reap(scrapes: &mut JoinSet<()>, path: &str) {
    while let Some(done) = scrapes.try_join_next() {
        if let Err(error) = done {
            tracing::error!(path, "a scrape broke off: {error}");
        }
    }
}

/// The clock and the plan have come apart by more than an interval.
fn out_of_step(due: Timestamp, now: Timestamp, interval: Duration) -> bool {
    let limit = SignedDuration::try_from(interval).unwrap_or(SignedDuration::MAX);
    let late = now.duration_since(due);
    late > limit || late < -(limit + limit)
}

/// Returns at `due` by the wall clock, or as soon as the clock and the plan have come apart.
async fn wait_until(due: Timestamp, interval: Duration) {
    loop {
        let now = Timestamp::now();
        let left = due.duration_since(now);
        if left <= SignedDuration::ZERO || out_of_step(due, now, interval) {
            return;
        }
        tokio::time::sleep(left.unsigned_abs().min(RECHECK)).await;
    }
}
