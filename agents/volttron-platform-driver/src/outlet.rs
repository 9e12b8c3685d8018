//! The way from scrapes to the bus: publications wait for the bus's acknowledgement, and only so many are under way at
//! once. Rounds are measured here when that is asked for.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use volttron_client::driver::Outgoing;
use volttron_client::{Cx, Headers, PublishError};

use crate::rounds::{Completed, Rounds};
use crate::settings::Fixed;

/// How long one publication may take, waiting for its turn excluded.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(10);

/// First pause before a publication is tried again because the bus is busy; doubles up to a second.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// See the module text.
#[derive(Debug)]
pub struct Outlet {
    permits: Option<Semaphore>,
    dropped: AtomicU64,
    rounds: Option<Mutex<Rounds>>,
    devices: AtomicUsize,
}

impl Outlet {
    /// An outlet with the bound and the measurement that the first configuration asks for.
    pub fn new(fixed: &Fixed) -> Self {
        let cap = fixed.max_concurrent_publishes;
        Self {
            permits: cap.map(|cap| Semaphore::new(cap.clamp(1, Semaphore::MAX_PERMITS))),
            dropped: AtomicU64::new(0),
            rounds: fixed.scalability_test.map(|rounds| Mutex::new(Rounds::new(rounds))),
            devices: AtomicUsize::new(0),
        }
    }

    /// True when rounds are measured.
    pub fn is_measuring(&self) -> bool {
        self.rounds.is_some()
    }

    /// Says how many devices make a complete round.
    pub fn expect_devices(&self, count: usize) {
        self.devices.store(count, Ordering::Relaxed);
    }

    /// A scrape of a round begins.
    pub fn scrape_began(&self, boundary: Timestamp) {
        if let Some(rounds) = &self.rounds {
            rounds.lock().unwrap_or_else(PoisonError::into_inner).began(boundary, Instant::now());
        }
    }

    /// A scrape has published everything, or failed. Ends the agent after the last round to be measured.
    pub fn scrape_finished(&self, boundary: Timestamp, cx: &Cx) {
        let Some(rounds) = &self.rounds else { return };
        let devices = self.devices.load(Ordering::Relaxed);
        let mut rounds = rounds.lock().unwrap_or_else(PoisonError::into_inner);
        match rounds.finished(boundary, Instant::now(), devices) {
            None => {}
            Some(Completed::Round(took)) => tracing::info!("a round of {devices} devices took {took:?}"),
            Some(Completed::All { last, mean, deviation }) => {
                tracing::info!("a round of {devices} devices took {last:?}");
                tracing::info!("all rounds are measured: mean {mean:?}, standard deviation {deviation:?}");
                cx.stop();
            }
        }
    }

    /// Publications given up so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Publishes and waits for the acknowledgement; false when it was given up, which is logged and counted.
    pub async fn publish(&self, cx: &Cx, headers: &Headers, message: &Outgoing) -> bool {
        // The semaphore is never closed, so there is a permit or no need of one.
        let _permit = match &self.permits {
            Some(permits) => permits.acquire().await.ok(),
            None => None,
        };
        let deadline = Instant::now() + ACKNOWLEDGE_WITHIN;
        match timeout_at(deadline, self.until_taken(cx, headers, message)).await {
            // A slow subscriber misses it; the others have it, so it is not sent again.
            Ok(Ok(()) | Err(PublishError::SubscriberFull { .. })) => true,
            Ok(Err(error)) => self.give_up(&message.topic, &error),
            Err(_) => self
                .give_up(&message.topic, &format_args!("no acknowledgement within {ACKNOWLEDGE_WITHIN:?}")),
        }
    }

    async fn until_taken(&self, cx: &Cx, headers: &Headers, message: &Outgoing) -> Result<(), PublishError> {
        let mut pause = BUSY_PAUSE;
        loop {
            match cx.publish_json(&message.topic, headers.clone(), &message.message).await {
                Ok(_) => return Ok(()),
                Err(PublishError::Router(error)) if is_busy(&error) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn give_up(&self, topic: &str, why: &dyn std::fmt::Display) -> bool {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("publication on {topic} is lost: {why}");
        false
    }
}

fn is_busy(error: &volttron_client::CallError) -> bool {
    error.kind() == volttron_client::CallErrorKind::Busy
}
