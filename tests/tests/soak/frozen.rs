//! Subscribers that do not read while others publish as fast as the platform takes it: memory stays bounded, healthy
//! subscribers miss nothing, and an operator is told.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use volttron_client::{Connection, Headers, PublishError, SubscribeOptions, Subscription};
use volttron_tests::deaf::Deaf;
use volttron_tests::platform::Platform;
use volttron_tests::probe::peer;
use volttron_tests::programs::program;
use volttron_tests::wait::until;
use volttron_utils::keys::KeyPair;
use volttron_utils::vip::Message;

use crate::setting;
use crate::world::PATIENCE;

/// How long the short form publishes after the platform has noticed.
const SHORT_S: u64 = 3;
/// Each waits for the router's answer before it publishes again.
const PUBLISHERS: usize = 8;
/// Publications that [`fill`] makes before it waits for the platform.
const FILL_BATCH: usize = 200;
/// Publications that a healthy subscriber may be behind before publishers wait for it: this is about those who do not
/// read at all, not about who is faster.
const WINDOW: u64 = 2000;
/// What the platform may grow by: two queues of 6000 messages of a few KB with all their frames, and as much again.
const GROWTH_LIMIT_KB: u64 = 128 * 1024;
/// A process of ours that stands still.
const FROZEN: &str = "listener";
/// A connection that is kept open and never read.
const DEAF: &str = "deaf";

/// Publications that got through, for the figures.
#[derive(Default)]
struct Counts {
    published: AtomicU64,
    received: [AtomicU64; 2],
    stop: AtomicBool,
}

/// Publishes numbered messages on a topic of its own until told to stop; how many.
async fn publish(connection: Arc<Connection>, publisher: usize, counts: Arc<Counts>) -> u64 {
    let topic = format!("devices/soak/publisher{publisher}/all");
    let padding: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("SomePointName{n:02}"), json!(20.5 + f64::from(n)))).collect();
    let padding = json!(padding).to_string();
    let mut n = 0;
    while !counts.stop.load(Ordering::Acquire) {
        let slowest = counts.received.iter().map(|r| r.load(Ordering::Relaxed)).min().unwrap_or_default();
        if counts.published.load(Ordering::Relaxed) > slowest + WINDOW {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let message = format!("[{padding}, {{\"n\": {n}}}]");
        match connection.publish_json(&topic, Headers::default(), &message).await {
            // Told about those who do not read; the others have it.
            Ok(_) | Err(PublishError::SubscriberFull { .. }) => {}
            Err(error) => panic!("{topic}: {error}"),
        }
        n += 1;
        counts.published.fetch_add(1, Ordering::Relaxed);
    }
    n
}

/// Publishes the same message, for those alone who do not read, without waiting for every answer: their queues have to be
/// full before libzmq's heartbeats find out that they are dead, also on a machine that has other things to do.
async fn fill(connection: Arc<Connection>, full: Arc<AtomicBool>) {
    let body = json!({"bus": "", "headers": {}, "message": ["x".repeat(1100), {}]}).to_string();
    while !full.load(Ordering::Acquire) {
        for _ in 0..FILL_BATCH {
            let args =
                ["publish", "devices/filling/all", &body].map(|arg| Bytes::copy_from_slice(arg.as_bytes()));
            let message = args.into_iter().fold(Message::new("", "pubsub").with_id("filling"), Message::arg);
            connection.raw_send(message).await.expect("the platform runs");
        }
        // The answer comes behind those to all of the above.
        let _ = connection.publish("devices/filling/all", &json!(["x", {}])).await;
    }
}

/// Requires every message of every publisher, in order, until all that were published have come; how many of each.
async fn receive(mut subscription: Subscription, who: usize, counts: Arc<Counts>) -> HashMap<String, u64> {
    let mut next: HashMap<String, u64> = HashMap::new();
    loop {
        let waiting = tokio::time::timeout(Duration::from_millis(100), subscription.next()).await;
        let Ok(publication) = waiting else {
            let (published, received) = (&counts.published, &counts.received[who]);
            if counts.stop.load(Ordering::Acquire)
                && published.load(Ordering::Acquire) == received.load(Ordering::Acquire)
            {
                return next;
            }
            continue;
        };
        let publication = publication.expect("the subscription lives");
        let message: Value = publication.json().expect("JSON");
        let expected = next.entry(publication.topic.clone()).or_default();
        assert_eq!(message[1]["n"], *expected, "{}, subscriber {who}", publication.topic);
        *expected += 1;
        assert_eq!(subscription.lagged(), 0, "subscriber {who} reads too slowly for this test");
        counts.received[who].fetch_add(1, Ordering::Relaxed);
    }
}

/// Resident memory of a process.
fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the platform runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("signal a process that runs");
}

/// What `vctl health control` shows: the platform's own health.
fn health(platform: &Platform) -> Value {
    platform.vctl_json(&["health", "control"])
}

/// The bus's counters.
fn meter(runtime: &Runtime, asker: &Connection) -> Value {
    runtime.block_on(asker.call("control", "bus_meter").send()).expect("bus_meter")
}

/// Waits until a peer is subscribed to something.
fn subscribed(runtime: &Runtime, asker: &Connection, who: &str) {
    until(&format!("the subscription of {who}"), PATIENCE, || {
        let meter = meter(runtime, asker);
        meter["peers"][who]["subscriptions"].as_u64().filter(|&n| n > 0)
    });
}

/// Runs it.
pub fn run() {
    let seconds: u64 = setting("VOLTTRON_SOAK_SECONDS", SHORT_S);
    let mut platform = Platform::prepare();
    let keys: HashMap<&str, KeyPair> = ["first", "second", "publisher", "asker", DEAF]
        .into_iter()
        .map(|identity| (identity, platform.admit(identity, &json!({}))))
        .collect();
    platform.launch();
    let path = program("volttron-listener");
    let config = platform.home().join("listener.json");
    fs::write(&config, "{\"log-level\": \"DEBUG\"}").expect("write");
    let (path, config) = (path.display().to_string(), config.display().to_string());
    let installed = platform.vctl_json(&[
        "install",
        &path,
        "--vip-identity",
        FROZEN,
        "--agent-config",
        &config,
        "--start",
    ]);
    let frozen = u32::try_from(installed["pid"].as_u64().expect("a pid")).expect("a pid");

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (address, key) = (platform.address(), platform.server_key());
    let connect = |identity: &str| runtime.block_on(peer(identity, &address, &key, keys[identity].clone()));
    let (first, second, publisher, asker) =
        (connect("first"), connect("second"), connect("publisher"), connect("asker"));
    let counts = Arc::new(Counts::default());
    let options = || SubscribeOptions { capacity: 100_000, ..SubscribeOptions::default() };
    let receivers: Vec<JoinHandle<HashMap<String, u64>>> = [&first, &second]
        .into_iter()
        .enumerate()
        .map(|(who, connection)| {
            let subscription =
                runtime.block_on(connection.subscribe_with("devices/soak", options())).expect("subscribe");
            runtime.spawn(receive(subscription, who, counts.clone()))
        })
        .collect();
    let mut alerts = runtime.block_on(asker.subscribe("alerts/ControlService")).expect("subscribe");
    let mut socket = Some(Deaf::connect(&platform, DEAF, &keys[DEAF]));
    subscribed(&runtime, &asker, DEAF);
    subscribed(&runtime, &asker, FROZEN);
    until("the platform to be well", PATIENCE, || (health(&platform)["message"] == "GOOD").then_some(()));

    signal(frozen, Signal::STOP);
    let start_kb = resident_kb(platform.pid());
    let begun = Instant::now();
    let publisher = Arc::new(publisher);
    let publishers: Vec<JoinHandle<u64>> =
        (0..PUBLISHERS).map(|n| runtime.spawn(publish(publisher.clone(), n, counts.clone()))).collect();

    let full = Arc::new(AtomicBool::new(false));
    let filler = runtime.spawn(fill(publisher.clone(), full.clone()));

    // libzmq's heartbeats find out that they are dead. Then they come back, and stop reading again.
    let mut frozen_again = 0;
    let mut peaks_kb = vec![start_kb];
    let mut freeze_again = |peaks_kb: &mut Vec<u64>| {
        let resident_kb = resident_kb(platform.pid());
        if let Some(peak) = peaks_kb.last_mut() {
            *peak = resident_kb.max(*peak);
        }
        let meter = meter(&runtime, &asker);
        if meter["peers"][FROZEN].is_null() {
            signal(frozen, Signal::CONT);
            subscribed(&runtime, &asker, FROZEN);
            signal(frozen, Signal::STOP);
            frozen_again += 1;
            peaks_kb.push(0);
        }
        if meter["peers"][DEAF].is_null() {
            socket = None;
            socket.replace(Deaf::connect(&platform, DEAF, &keys[DEAF]));
            subscribed(&runtime, &asker, DEAF);
            frozen_again += 1;
            peaks_kb.push(0);
        }
    };

    // The operator is told who it is and how much was lost.
    let mut named = BTreeSet::new();
    until("health to name both", PATIENCE * 3, || {
        freeze_again(&mut peaks_kb);
        let health = health(&platform);
        let lost = health["context"]["messages_lost"].as_object().cloned().unwrap_or_default();
        assert!(lost.is_empty() || health["message"] == "BAD", "{health}");
        named.extend(lost.into_iter().filter(|(_, lost)| lost.as_u64() > Some(0)).map(|(who, _)| who));
        (named.len() == 2).then_some(())
    });
    assert!(named.contains(FROZEN) && named.contains(DEAF), "{named:?}");
    let noticed = begun.elapsed();
    full.store(true, Ordering::Release);
    runtime.block_on(filler).expect("the queues were filled");
    let alert = runtime.block_on(alerts.next()).expect("an alert");
    assert_eq!(alert.topic, "alerts/ControlService/site1_control");
    assert_eq!(alert.headers.get_str("alert_key"), Some("peers_lose_messages"));
    let until_then = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until_then {
        std::thread::sleep(Duration::from_millis(100));
        freeze_again(&mut peaks_kb);
    }
    counts.stop.store(true, Ordering::Release);
    let sent: Vec<u64> =
        publishers.into_iter().map(|task| runtime.block_on(task).expect("a publisher")).collect();
    let took = begun.elapsed();
    let lost = meter(&runtime, &asker)["router"]["delivery_full"].as_u64().expect("a number");
    for task in receivers {
        let received = runtime.block_on(task).expect("a healthy subscriber got everything in order");
        for (n, sent) in sent.iter().enumerate() {
            assert_eq!(received[&format!("devices/soak/publisher{n}/all")], *sent, "publisher {n}");
        }
    }
    assert!(lost > 0);
    assert!(platform.log().contains("peer does not read its messages"), "the log tells");

    // One of them reads again, the other leaves.
    signal(frozen, Signal::CONT);
    drop(socket);
    until("health to be good again", PATIENCE, || (health(&platform)["message"] == "GOOD").then_some(()));
    let end_kb = resident_kb(platform.pid());
    let published: u64 = sent.iter().sum();
    println!(
        "seconds  published  per second  healthy lost  slow lost  came back and froze again  noticed after"
    );
    println!(
        "{:>7.1}  {published:>9}  {:>10.0}  {:>12}  {lost:>9}  {frozen_again:>25}  {:>10} ms",
        took.as_secs_f64(),
        published as f64 / took.as_secs_f64(),
        0,
        noticed.as_millis(),
    );
    let highest_kb = peaks_kb.iter().copied().max().unwrap_or_default();
    println!(
        "resident memory of the platform in kB: {start_kb} at the start, {highest_kb} at most, {end_kb} at the end; \
         highest between one freezing and the next: {peaks_kb:?}"
    );
    assert!(highest_kb < start_kb + GROWTH_LIMIT_KB, "the platform's memory grew too much");
}
