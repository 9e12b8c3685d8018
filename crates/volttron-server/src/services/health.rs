//! The health service, `platform.health`: who is on the bus, since when, and what they last said of themselves
//! (platform-internals.md section 3.2, lifecycle.md section 11).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;
use volttron_client::{Access, Agent, Cx, Method, PeerEvent, Registrar, Subscription};
use volttron_utils::{identity, time};

/// Topic prefix of heartbeats; older agents say `heartbeats/`.
const HEARTBEATS: &str = "heartbeat";
/// How long agents may be silent before they are called stale: three usual periods.
const STALE_AFTER: Duration = Duration::from_mins(3);

#[derive(Debug, Clone)]
struct Peer {
    connected: Timestamp,
    /// Time and text of the last heartbeat.
    heartbeat: Option<(Timestamp, Value)>,
    /// Last sign of life on a clock that does not jump.
    seen: Instant,
}

/// The service.
#[derive(Debug)]
pub struct Health {
    peers: Mutex<BTreeMap<String, Peer>>,
    zone: TimeZone,
}

impl Default for Health {
    fn default() -> Self {
        Self { peers: Mutex::default(), zone: TimeZone::system() }
    }
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn added(&self, peer: &str) {
        if identity::is_control_connection(peer) {
            return;
        }
        let fresh = Peer { connected: Timestamp::now(), heartbeat: None, seen: Instant::now() };
        self.lock().entry(peer.to_owned()).or_insert(fresh);
    }

    fn dropped(&self, peer: &str) {
        self.lock().remove(peer);
    }

    /// Makes the table agree with a full list, after the start and when events were lost.
    fn resync(&self, present: impl IntoIterator<Item = String>) {
        let present: Vec<String> = present.into_iter().collect();
        self.lock().retain(|known, _| present.contains(known));
        for peer in present {
            self.added(&peer);
        }
    }

    /// A heartbeat counts for the peer that sent it, whatever its topic says.
    fn heartbeat(&self, sender: &str, message: Value) {
        if let Some(peer) = self.lock().get_mut(sender) {
            peer.heartbeat = Some((Timestamp::now(), message));
            peer.seen = Instant::now();
        }
    }

    fn report(&self) -> Map<String, Value> {
        let now = Instant::now();
        self.lock().iter().map(|(name, peer)| (name.clone(), self.describe(name, peer, now))).collect()
    }

    /// Times without zone are local, as 9.x writes them; the `_utc` fields are ours.
    fn describe(&self, name: &str, peer: &Peer, now: Instant) -> Value {
        let local = |at: Timestamp| time::format_naive(self.zone.to_datetime(at));
        let mut out = Map::new();
        out.insert("peer".to_owned(), name.into());
        out.insert("service_agent".to_owned(), identity::is_service(name).into());
        out.insert("connected".to_owned(), local(peer.connected).into());
        if let Some((at, message)) = &peer.heartbeat {
            out.insert("last_heartbeat".to_owned(), local(*at).into());
            out.insert("message".to_owned(), message.clone());
            out.insert("last_heartbeat_utc".to_owned(), time::format_timestamp(*at).into());
        }
        out.insert("connected_utc".to_owned(), time::format_timestamp(peer.connected).into());
        if now.saturating_duration_since(peer.seen) > STALE_AFTER {
            out.insert("stale".to_owned(), json!(true));
        }
        Value::Object(out)
    }

    /// Follows the router's announcements and the heartbeats as long as the service lives.
    ///
    /// In one task and announcements first: an agent's first heartbeat comes right behind the news that it is there,
    /// and counts for nobody if it is looked at before.
    async fn follow(self: Arc<Self>, cx: Cx, mut heartbeats: Subscription) {
        let mut events = cx.peer_events();
        self.resync(cx.peers());
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Ok(PeerEvent::Added(peer)) => self.added(&peer),
                    Ok(PeerEvent::Dropped(peer)) => self.dropped(&peer),
                    Err(RecvError::Lagged(_)) => self.resync(cx.peers()),
                    Err(RecvError::Closed) => return,
                },
                heartbeat = heartbeats.next() => {
                    let Some(heartbeat) = heartbeat else { return };
                    if let Ok(message) = heartbeat.json::<Value>() {
                        self.heartbeat(&heartbeat.sender, message);
                    }
                }
            }
        }
    }
}

impl Agent for Health {
    const NAME: &'static str = "HealthService";

    fn register(b: &mut Registrar<Self>) {
        b.rpc(
            Method::new("get_platform_health", Access::Open),
            |s: Arc<Self>, _| async move { Ok(s.report()) },
        )
        .on_start(|s: Arc<Self>, cx: Cx| async move {
            let heartbeats = cx.subscribe(HEARTBEATS).await?;
            cx.spawn(s.follow(cx.clone(), heartbeats));
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use volttron_client::testing::TestPlatform;

    use super::*;

    #[test]
    fn the_report() {
        let health = Health { zone: TimeZone::UTC, ..Health::default() };
        for peer in ["control", "a", "control.connection", "control.connection.12-x", "platform.config_store"]
        {
            health.added(peer);
        }
        health.heartbeat("a", json!("GOOD"));
        health.heartbeat("unknown", json!("GOOD"));
        let report = health.report();
        assert_eq!(report.keys().collect::<Vec<_>>(), ["a", "control", "platform.config_store"]);
        let a = &report["a"];
        assert_eq!(
            (&a["peer"], &a["service_agent"], &a["message"]),
            (&json!("a"), &json!(false), &json!("GOOD"))
        );
        let naive = a["last_heartbeat"].as_str().unwrap();
        assert_eq!(naive.len(), 26, "no offset: {naive}");
        assert_eq!(a["last_heartbeat_utc"].as_str().unwrap(), format!("{naive}+00:00"));
        assert_eq!(report["control"]["service_agent"], true);
        assert!(report["control"].get("message").is_none() && report["control"].get("stale").is_none());
        health.dropped("a");
        assert!(!health.report().contains_key("a"));
    }

    #[test]
    fn a_full_list_replaces_what_was_known() {
        let health = Health::default();
        health.added("gone");
        health.added("stays");
        let since = health.report()["stays"]["connected"].clone();
        health.resync(["stays".to_owned(), "new".to_owned()]);
        assert_eq!(health.report().keys().collect::<Vec<_>>(), ["new", "stays"]);
        assert_eq!(health.report()["stays"]["connected"], since);
    }

    #[test]
    fn silence_is_stale_after_three_periods() {
        let health = Health::default();
        health.added("a");
        let peer = health.lock()["a"].clone();
        let later = Instant::now() + STALE_AFTER + Duration::from_secs(1);
        assert_eq!(health.describe("a", &peer, later)["stale"], true);
    }

    /// An agent's first heartbeat comes right behind the news that it is there, and the next one a minute later.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_first_heartbeat_of_every_agent_counts() {
        let platform = TestPlatform::new().await;
        let health = platform.agent(identity::HEALTH, Health::default()).await;
        let asker = platform.peer("asker").await;
        for n in 0..200 {
            let name = format!("agent{n}");
            let agent = platform.agent(&name, Quiet).await;
            let report = || async {
                asker.call(identity::HEALTH, "get_platform_health").send::<Value>().await.unwrap()
            };
            let heard = async { while report().await[&name]["message"] != "GOOD" {} };
            tokio::time::timeout(Duration::from_secs(10), heard)
                .await
                .unwrap_or_else(|_| panic!("{name} beat"));
            agent.stop().await;
        }
        health.stop().await;
    }

    struct Quiet;

    impl Agent for Quiet {
        const NAME: &'static str = "Quiet";
        fn register(_: &mut Registrar<Self>) {}
    }
}
