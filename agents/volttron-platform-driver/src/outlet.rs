//! The way from scrapes to the bus: publications wait for the bus's acknowledgement, and only so many are under way at
//! once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use volttron_client::driver::Outgoing;
use volttron_client::{Cx, Headers, PublishError};

/// How long one publication may take, waiting for its turn excluded.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(10);

/// First pause before a publication is tried again because the bus is busy; doubles up to a second.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// See the module text.
#[derive(Debug)]
pub struct Outlet {
    permits: Option<Semaphore>,
    dropped: AtomicU64,
}

impl Outlet {
    /// `cap` bounds publications under way (`max_concurrent_publishes`); `None` means no bound.
    pub fn new(cap: Option<usize>) -> Self {
        let permits = cap.map(|cap| Semaphore::new(cap.clamp(1, Semaphore::MAX_PERMITS)));
        Self { permits, dropped: AtomicU64::new(0) }
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
