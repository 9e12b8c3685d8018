//! A peer that keeps the platform busy: inserts numbered points the acknowledged way, and publishes.
//!
//! It knows nothing of kills. What fails is repeated or left out, by turns, and its link has to come back by itself.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use volttron_client::Connection;
use volttron_tests::probe::peer;
use volttron_tests::wait::until;
use volttron_utils::headers::Headers;

use crate::world::{DEVICE, HISTORIAN, PATIENCE, World};

/// Points of one `insert`; a kill in between must not split what is acknowledged.
pub const POINTS: u32 = 10;
/// Inserts under way at the same time.
const WRITERS: usize = 8;
/// Between two inserts of a writer: 2000 points a second in all, which a debug build of the historian stores on an old
/// disk, so that the queue is as long as kills make it and no longer.
const INSERT_EVERY: Duration = Duration::from_millis(40);
/// How long an unanswered call is waited for: less than most callers, so that more of them are repeated.
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// After a failure, so that a missing historian is not asked thousands of times a second.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two publications.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// The historian's topic of a point of this load.
pub fn topic(point: u32) -> String {
    format!("soak/load/p{point}")
}

/// The time of everything that insert number `n` stores.
pub fn time_of(n: u32) -> String {
    let start = 1_767_225_600_000_000; // 2026-01-01
    let at = jiff::Timestamp::from_microsecond(start + i64::from(n) * 1000).expect("in this century");
    at.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
}

/// What the load got an answer for, when all is over.
pub struct Journal {
    /// Numbers of the inserts that were acknowledged, each once.
    pub acknowledged: Vec<u32>,
    /// Numbers from here on were never sent.
    pub end: u32,
    /// Unanswered inserts that were sent again.
    pub repeated: u64,
    /// Unanswered inserts that were not.
    pub left_out: u64,
}

/// When the most recent sign of each kind was asked for; a sign asked for after a kill says that the way works again.
#[derive(Clone, Copy, Debug)]
struct Signs {
    /// The historian acknowledged an insert.
    stored: Option<Instant>,
    /// A publication reached the historian and the listener.
    published: Option<Instant>,
    /// The driver's reading came.
    driven: Option<Instant>,
}

struct Shared {
    connection: Connection,
    stop: AtomicBool,
    next: AtomicU32,
    acknowledged: Mutex<Vec<u32>>,
    signs: Mutex<Signs>,
    repeated: AtomicU64,
    left_out: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running load.
pub struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
    /// Publisher and listener to the driver.
    others: Vec<JoinHandle<()>>,
}

impl Load {
    /// Connects and begins.
    pub fn start(world: &World) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (address, key) = (world.platform.address(), world.platform.server_key());
        let connection = runtime.block_on(peer("soak.load", &address, &key, world.load_keys.clone()));
        let shared = Arc::new(Shared {
            connection,
            stop: AtomicBool::new(false),
            next: AtomicU32::new(0),
            acknowledged: Mutex::default(),
            signs: Mutex::new(Signs { stored: None, published: None, driven: None }),
            repeated: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        });
        let mut readings = runtime
            .block_on(shared.connection.subscribe(&format!("devices/{DEVICE}/all")))
            .expect("subscribe to the driver");
        let driven = shared.clone();
        let others = vec![
            runtime.spawn(publish(shared.clone())),
            runtime.spawn(async move {
                while readings.next().await.is_some() {
                    lock(&driven.signs).driven = Some(Instant::now());
                }
            }),
        ];
        let writers = (0..WRITERS).map(|_| runtime.spawn(write(shared.clone()))).collect();
        Self { runtime, shared, writers, others }
    }

    /// What does not work again yet, after something was killed at `killed`; none if all does.
    pub fn missing_since(&self, killed: Instant) -> Option<&'static str> {
        let signs = *lock(&self.shared.signs);
        let after = |sign: Option<Instant>| sign.is_some_and(|at| at > killed);
        if !after(signs.stored) {
            Some("an acknowledged insert")
        } else if !after(signs.published) {
            Some("a publication that historian and listener get")
        } else if !after(signs.driven) {
            Some("a reading of the driver")
        } else {
            None
        }
    }

    /// Points acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        lock(&self.shared.acknowledged).len() as u64 * u64::from(POINTS)
    }

    /// Ends the load and waits until the historian has stored all of it.
    pub fn finish(self) -> Journal {
        let Self { runtime, shared, writers, others } = self;
        shared.stop.store(true, Ordering::Release);
        for writer in writers {
            runtime.block_on(writer).expect("a writer ends");
        }
        for other in others {
            other.abort();
            let _ = runtime.block_on(other);
        }
        // The queue is stored in its order: when the last insert is in the database, all are.
        let last = shared.next.fetch_add(1, Ordering::Relaxed);
        until("the last insert", PATIENCE, || {
            runtime.block_on(insert(&shared.connection, last)).then_some(())
        });
        lock(&shared.acknowledged).push(last);
        until("the queue to be stored", Duration::from_secs(300), || {
            let newest = shared.connection.call(HISTORIAN, "query").named("topic", topic(0));
            let newest = newest.named("order", "LAST_TO_FIRST").named("count", 1);
            let rows: Value = runtime.block_on(newest.send()).ok()?;
            (rows["values"][0][1] == last).then_some(())
        });
        let shared = Arc::into_inner(shared).expect("all tasks have ended");
        runtime.block_on(shared.connection.close());
        Journal {
            acknowledged: shared.acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner),
            end: shared.next.into_inner(),
            repeated: shared.repeated.into_inner(),
            left_out: shared.left_out.into_inner(),
        }
    }
}

/// Inserts number after number until told to stop.
async fn write(shared: Arc<Shared>) {
    let mut repeat = false;
    let mut pace = tokio::time::interval(INSERT_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.stop.load(Ordering::Acquire) {
        pace.tick().await;
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        loop {
            let asked = Instant::now();
            if insert(&shared.connection, n).await {
                lock(&shared.acknowledged).push(n);
                lock(&shared.signs).stored = Some(asked);
                break;
            }
            tokio::time::sleep(PAUSE).await;
            repeat = !repeat;
            if !repeat || shared.stop.load(Ordering::Acquire) {
                shared.left_out.fetch_add(1, Ordering::Relaxed);
                break;
            }
            shared.repeated.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One insert; whether it was acknowledged.
async fn insert(connection: &Connection, n: u32) -> bool {
    let values: Map<String, Value> = (0..POINTS).map(|point| (format!("p{point}"), json!(n))).collect();
    let headers = json!({"TimeStamp": time_of(n), "Date": time_of(n)});
    let record = json!({"topic": "devices/soak/load/all", "headers": headers, "message": [values, {}]});
    let call = connection.call(HISTORIAN, "insert").named("records", [record]);
    call.timeout(CALL_LIMIT).send::<Value>().await.is_ok()
}

/// Publishes a device's readings until aborted.
async fn publish(shared: Arc<Shared>) {
    for n in 0_u64.. {
        let asked = Instant::now();
        let headers = Headers::default().with("TimeStamp", jiff::Timestamp::now().to_string());
        let reading = json!([{"n": n}, {"n": {"units": "count", "type": "integer", "tz": "UTC"}}]);
        let sent = shared.connection.publish_with("devices/soak/published/all", headers, &reading).await;
        if sent.is_ok_and(|receivers| receivers >= 2) {
            lock(&shared.signs).published = Some(asked);
        }
        tokio::time::sleep(PUBLISH_EVERY).await;
    }
}
