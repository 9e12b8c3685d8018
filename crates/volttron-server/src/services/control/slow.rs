//! Telling the operator about peers that do not read: health BAD while there are any, and an alert.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use volttron_client::{Cx, PublishError, Status};

use crate::front::SlowPeer;

/// Alert key operators read in status lists; never renamed.
pub const ALERT_KEY: &str = "peers_lose_messages";
/// News about further peers wait for this long after an alert. Shorter than libzmq's heartbeats take to find out that a
/// frozen peer is dead, after which there would be nobody to name.
const ALERT_GAP: Duration = Duration::from_secs(10);
/// An alert that goes on for this long is repeated.
const ALERT_REPEAT: Duration = Duration::from_mins(5);
/// Peers named in one report; the others are only counted.
const MAX_NAMED: usize = 20;

/// When to publish an alert.
#[derive(Debug, Default)]
struct Alerts {
    last: Option<Instant>,
    named: Vec<String>,
}

impl Alerts {
    /// Whether one is due, given who is slow now.
    fn is_due(&mut self, now: Instant, slow: &[SlowPeer]) -> bool {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        let fresh = slow.iter().any(|peer| !self.named.contains(&peer.identity));
        let due = match since {
            None => !slow.is_empty(),
            Some(since) => (fresh && since >= ALERT_GAP) || (!slow.is_empty() && since >= ALERT_REPEAT),
        };
        if due {
            self.last = Some(now);
            self.named = slow.iter().map(|peer| peer.identity.clone()).collect();
        } else {
            // Who recovered and falls behind again is news.
            self.named.retain(|name| slow.iter().any(|peer| peer.identity == *name));
        }
        due
    }
}

/// What health and alert say.
fn context(slow: &[SlowPeer]) -> Value {
    let lost: serde_json::Map<String, Value> =
        slow.iter().take(MAX_NAMED).map(|peer| (peer.identity.clone(), peer.lost.into())).collect();
    json!({
        "reason": format!(
            "{} of the peers on the bus do not read their messages and lose them; stop or restart them, or let them \
             subscribe to less",
            slow.len()
        ),
        "messages_lost": lost,
    })
}

/// Follows the list as long as the service lives.
pub async fn watch(mut slow: watch::Receiver<Vec<SlowPeer>>, cx: Cx) {
    let mut alerts = Alerts::default();
    let mut was_bad = false;
    loop {
        let now_slow = slow.borrow_and_update().clone();
        if !now_slow.is_empty() {
            report(&cx, &now_slow, &mut alerts).await;
        } else if was_bad {
            tracing::info!("no peer loses messages any more");
            cx.health().good(Value::Null);
        }
        was_bad = !now_slow.is_empty();
        // The list may stay as it is while an alert becomes due.
        let look_again = tokio::time::sleep(ALERT_GAP);
        tokio::select! {
            changed = slow.changed() => if changed.is_err() { return },
            () = look_again, if !now_slow.is_empty() => {}
        }
    }
}

async fn report(cx: &Cx, slow: &[SlowPeer], alerts: &mut Alerts) {
    let context = context(slow);
    cx.health().bad(&context);
    if alerts.is_due(Instant::now(), slow) {
        tracing::warn!("peers lose messages because they do not read: {}", context["messages_lost"]);
        match cx.health().alert(ALERT_KEY, Status::Bad, &context).await {
            // The peer that is too slow may be one of those that want alerts; the others have it.
            Ok(_) | Err(PublishError::SubscriberFull { .. }) => {}
            Err(error) => tracing::error!("cannot publish the alert '{ALERT_KEY}': {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(names: &[&str]) -> Vec<SlowPeer> {
        names.iter().map(|name| SlowPeer { identity: (*name).to_owned(), lost: 3 }).collect()
    }

    #[test]
    fn alerts_come_at_once_then_for_news_and_then_rarely() {
        let (mut alerts, start) = (Alerts::default(), Instant::now());
        let s = Duration::from_secs;
        for (after, slow, due) in [
            (s(0), &[][..], false),
            (s(1), &["a"], true),
            (s(2), &["a", "b"], false),
            (s(11), &["a", "b"], true),
            (s(90), &["a", "b"], false),
            (s(311), &["a", "b"], true),
            (s(312), &["b"], false),
            (s(313), &["a", "b"], false),
            (s(321), &["a", "b"], true),
            (s(322), &[], false),
            (s(330), &["a"], false),
            (s(331), &["a"], true),
        ] {
            assert_eq!(alerts.is_due(start + after, &peers(slow)), due, "after {after:?}");
        }
    }

    #[test]
    fn the_report_names_some_and_counts_all() {
        let names: Vec<String> = (0..50).map(|n| format!("p{n:02}")).collect();
        let many = peers(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let context = context(&many);
        assert!(context["reason"].as_str().expect("text").starts_with("50 of the peers"));
        assert_eq!(context["messages_lost"].as_object().expect("a map").len(), MAX_NAMED);
        assert_eq!(context["messages_lost"]["p00"], 3);
    }
}
