//! Doing things later: after intervals, at a time, by cron (agent-api.md section 3).
//!
//! Runs of one job never overlap; runs missed during a long run or a pause of the machine are skipped.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use volttron_utils::time::{BadCron, Cron};

use crate::Cx;
use crate::agent::Outcome;
use crate::cx::guarded;

/// Longest sleep before the wall clock is looked at again: it may have been set meanwhile.
const RECHECK: Duration = Duration::from_secs(60);

/// A scheduled job. Dropping it changes nothing; the job ends with the agent or by [`JobHandle::cancel`].
#[derive(Clone, Debug)]
pub struct JobHandle(CancellationToken);

impl JobHandle {
    /// Ends the job. A run under way is ended at its next await.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// True once cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Cx {
    /// Runs `job` now and then every `period` (at least 1 ms).
    pub fn every<F, Fut, O>(&self, period: Duration, mut job: F) -> JobHandle
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        let cx = self.clone();
        self.spawn_job(async move {
            let mut ticks = tokio::time::interval(period.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                // Logged and counted there; the job goes on.
                let _ = guarded(&cx, "a periodic job", run(job())).await;
            }
        })
    }

    /// Runs `job` once at `when`; at once if that has passed.
    pub fn at<F, Fut, O>(&self, when: Timestamp, job: F) -> JobHandle
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        let cx = self.clone();
        self.spawn_job(async move {
            sleep_until(when).await;
            // Logged and counted there.
            let _ = guarded(&cx, "a scheduled job", run(job())).await;
        })
    }

    /// Runs `job` at the times of a cron expression (five fields, local time).
    pub fn cron<F, Fut, O>(&self, expression: &str, mut job: F) -> Result<JobHandle, BadCron>
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        let cron = Cron::parse(expression)?;
        let cx = self.clone();
        Ok(self.spawn_job(async move {
            // Each run is looked for after the later of the last planned time and now: none twice, none in arrears.
            let mut last = Timestamp::now();
            while let Some(next) = cron.next_after(last.max(Timestamp::now())) {
                sleep_until(next).await;
                // Logged and counted there; the job goes on.
                let _ = guarded(&cx, "a cron job", run(job())).await;
                last = next;
            }
        }))
    }

    fn spawn_job(&self, job: impl Future<Output = ()> + Send + 'static) -> JobHandle {
        let token = CancellationToken::new();
        let handle = JobHandle(token.clone());
        self.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = job => {}
            }
        });
        handle
    }
}

async fn run<O: Outcome>(job: impl Future<Output = O>) -> Result<(), crate::AgentError> {
    job.await.into_result()
}

async fn sleep_until(when: Timestamp) {
    loop {
        let left = when.duration_since(Timestamp::now());
        if left.is_negative() || left.is_zero() {
            return;
        }
        tokio::time::sleep(left.unsigned_abs().min(RECHECK)).await;
    }
}
