//! The platform goes and comes back under agents that run outside of it: all of them are there again by themselves, with
//! their subscriptions, and what is published from then on reaches every one of them.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{Agent, AgentBuilder, AgentHandle, Connection, Cx, Publication, Registrar};
use volttron_tests::lines::Lines;
use volttron_tests::platform::Platform;
use volttron_tests::probe;
use volttron_tests::programs::program;
use volttron_tests::python::{PythonAgent, interpreter};
use volttron_utils::keys::KeyPair;

const AGENTS: usize = 20;
const LISTENERS: usize = 2;
const PYTHONS: usize = 2;
/// The demand: everybody is subscribed again so soon after the platform's return.
const DEMAND: Duration = Duration::from_secs(2);
/// Guards against hanging for ever.
const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "restart/tick";

/// An agent that subscribes and counts its starts.
struct Watcher {
    name: String,
    seen: UnboundedSender<(String, u64)>,
    starts: AtomicU32,
}

impl Agent for Watcher {
    const NAME: &'static str = "Watcher";

    fn register(b: &mut Registrar<Self>) {
        b.subscribe("restart/", |me: Arc<Self>, _: Cx, p: Publication| async move {
            let n = number(&p.json::<Value>().expect("JSON"));
            me.seen.send((me.name.clone(), n)).expect("the test listens");
        })
        .on_start(|me, _| async move {
            me.starts.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
    }
}

fn number(message: &Value) -> u64 {
    message["n"].as_u64().expect("a number")
}

/// A listener as a program, started outside of the platform.
struct Listener {
    child: Child,
    log: Lines,
}

impl Listener {
    fn start(platform: &Platform, name: &str, keys: &KeyPair) -> Self {
        let mut child = Command::new(program("volttron-listener"))
            .env_clear()
            .env("VOLTTRON_HOME", platform.home())
            .env("VOLTTRON_VIP_ADDR", platform.address())
            .env("VOLTTRON_SERVERKEY", platform.server_key())
            .env("AGENT_VIP_IDENTITY", name)
            .env("AGENT_PUBLICKEY", keys.public.to_string())
            .env("AGENT_SECRETKEY", keys.secret.reveal())
            // Its log then comes as JSON.
            .env("_LAUNCHED_BY_PLATFORM", "True")
            .current_dir(platform.home())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the listener");
        let mut log = Lines::new(child.stderr.take().expect("piped"));
        log.expect("the listener's greeting", PATIENCE, |line| line.to_string().contains("Hello"));
        Self { child, log }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everybody, and what is known about who got what.
struct Crowd {
    watchers: Vec<(Arc<Watcher>, AgentHandle)>,
    listeners: Vec<Listener>,
    pythons: Vec<PythonAgent>,
    seen: UnboundedReceiver<(String, u64)>,
    source: Connection,
    next: u64,
    /// Number to the count that the router reported.
    published: BTreeMap<u64, u32>,
    /// Who got which numbers, in order.
    got: BTreeMap<String, Vec<u64>>,
}

impl Crowd {
    async fn gather(platform: &mut Platform) -> Option<Self> {
        let python = interpreter()?;
        let name = |kind: &str, n: usize| format!("{kind}-{n}");
        let admit = |kind: &str, n: usize| -> Vec<(String, KeyPair)> {
            let all = (0..n).map(|n| name(kind, n));
            all.map(|name| {
                let keys = platform.admit(&name, &json!({"edit_config_store": {"identity": name}}));
                (name, keys)
            })
            .collect()
        };
        let (rust, listeners, pythons) =
            (admit("watcher", AGENTS), admit("lst", LISTENERS), admit("py", PYTHONS));
        let source = platform.admit("source", &json!({}));
        platform.launch();
        let (address, server_key) = (platform.address(), platform.server_key());
        let (tx, seen) = unbounded_channel();
        let mut watchers = Vec::new();
        for (name, keys) in rust {
            let starts = AtomicU32::new(0);
            let watcher = Arc::new(Watcher { name: name.clone(), seen: tx.clone(), starts });
            let connector = ZmqConnector::new(address.parse().expect("an address")).expect("a connector");
            let connector = connector.keys(keys).serverkey(server_key.parse().expect("a key"));
            let builder = AgentBuilder::shared(watcher.clone()).identity(name).connector(connector);
            let handle = builder.spawn().await.expect("the agent connects");
            assert!(handle.started().await, "the agent starts");
            watchers.push((watcher, handle));
        }
        let listeners = listeners.iter().map(|(name, keys)| Listener::start(platform, name, keys)).collect();
        let mut pythons: Vec<PythonAgent> = pythons
            .iter()
            .map(|(name, keys)| PythonAgent::start(&python, name, &address, &server_key, keys))
            .collect();
        for py in &mut pythons {
            py.ask("subscribe", json!({"prefix": "restart/"})).expect("subscribed");
        }
        let source = probe::peer("source", &address, &server_key, source).await;
        let (published, got) = (BTreeMap::new(), BTreeMap::new());
        Some(Self { watchers, listeners, pythons, seen, source, next: 0, published, got })
    }

    fn size(&self) -> u32 {
        u32::try_from(self.watchers.len() + self.listeners.len() + self.pythons.len()).expect("few")
    }

    /// The stock Python client gives up and closes its socket after fifty attempts, some six seconds.
    fn python_agents_leave(&mut self) {
        for py in self.pythons.drain(..) {
            py.stop();
        }
    }

    /// Publishes the next number; how many subscribers it went to, none while the platform is away.
    async fn tick(&mut self) -> Option<u32> {
        let n = self.next;
        self.next += 1;
        // The mark is for who reads logs.
        let message = json!({"n": n, "mark": format!("<{n:06}>")});
        let count = self.source.publish(TOPIC, &message).await.ok()?;
        self.published.insert(n, count);
        Some(count)
    }

    /// Publishes until everybody is subscribed; how long that took since `back`.
    async fn until_complete(&mut self, back: Instant) -> Duration {
        loop {
            let count = self.tick().await;
            let elapsed = back.elapsed();
            if count == Some(self.size()) {
                return elapsed;
            }
            assert!(elapsed < PATIENCE, "{count:?} of {} are subscribed again", self.size());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Publishes some more, now that everybody listens, and waits until everybody has the last of them.
    async fn finish_round(&mut self) {
        for _ in 0..100 {
            assert_eq!(self.tick().await, Some(self.size()));
        }
        let last = self.next - 1;
        let mut waiting: std::collections::BTreeSet<String> =
            self.watchers.iter().map(|(watcher, _)| watcher.name.clone()).collect();
        while !waiting.is_empty() {
            let next = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
            let (name, n) = next.unwrap_or_else(|_| panic!("{waiting:?} did not get {last}")).expect("open");
            if n == last {
                waiting.remove(&name);
            }
            self.got.entry(name).or_default().push(n);
        }
        for (at, listener) in self.listeners.iter_mut().enumerate() {
            let mark = format!("<{last:06}>");
            let end = listener.log.expect(&mark, PATIENCE, |line| line.to_string().contains(&mark));
            let mut lines = listener.log.drain(|line| line.to_string().contains(TOPIC));
            lines.push(end);
            self.got.entry(format!("lst-{at}")).or_default().extend(lines.iter().map(marked));
        }
        for (at, py) in self.pythons.iter_mut().enumerate() {
            let end = py.event("publication", |p| p["message"]["n"] == last);
            let mut events = py.events("publication");
            events.push(end);
            self.got
                .entry(format!("py-{at}"))
                .or_default()
                .extend(events.iter().map(|e| number(&e["message"])));
        }
    }

    /// Everybody got everything exactly once and in order, counted from their own subscription on.
    fn judge(&self) {
        assert_eq!(self.got.len(), AGENTS + LISTENERS + PYTHONS);
        for (name, numbers) in &self.got {
            assert!(numbers.is_sorted_by(|a, b| a < b), "{name} got {numbers:?}");
        }
        let mut received: BTreeMap<u64, u32> = BTreeMap::new();
        for n in self.got.values().flatten() {
            *received.entry(*n).or_default() += 1;
        }
        // A publish whose answer was lost with the connection may have reached some.
        for (n, count) in &self.published {
            assert_eq!(received.get(n).copied().unwrap_or_default(), *count, "receivers of {n}");
        }
        for (watcher, handle) in &self.watchers {
            assert_eq!(watcher.starts.load(Ordering::SeqCst), 1, "starts of {}", watcher.name);
            assert_eq!(handle.cx().meter().publications_lagged.get(), 0);
        }
    }

    async fn leave(mut self) {
        for listener in &mut self.listeners {
            kill_process(Pid::from_child(&listener.child), Signal::INT).expect("signal the listener");
            assert!(listener.child.wait().expect("wait for the listener").success());
            // The greeting of its start came once, before the first round.
            let again = listener.log.drain(|line| line.to_string().contains("Hello"));
            assert!(again.is_empty(), "{again:?}");
        }
        for py in self.pythons {
            py.stop();
        }
        for (_, handle) in self.watchers {
            handle.stop().await;
        }
    }
}

/// The number in a line of a listener's log.
fn marked(line: &Value) -> u64 {
    let text = line.to_string();
    let at = text.find('<').expect("a mark");
    text[at + 1..at + 7].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_agents_outlive_their_platform() {
    let mut platform = Platform::prepare();
    let Some(mut crowd) = Crowd::gather(&mut platform).await else { return };
    crowd.until_complete(Instant::now()).await;
    crowd.finish_round().await;

    type Ending = fn(&mut Platform);
    let endings: [(&str, Duration, Ending); 3] = [
        ("killed and started again at once", Duration::ZERO, |platform| platform.kill()),
        ("stopped in order and started again at once", Duration::ZERO, |platform| {
            platform.terminate();
        }),
        // Long enough for everybody to have slowed down to their slowest pace of trying; a pace that went on doubling would
        // now wait for more than five seconds.
        ("killed and away for a while", Duration::from_secs(7), |platform| platform.kill()),
    ];
    for (what, away, end) in endings {
        tokio::task::block_in_place(|| {
            if away > Duration::ZERO {
                crowd.python_agents_leave();
            }
            end(&mut platform);
            std::thread::sleep(away);
            platform.launch();
        });
        let took = crowd.until_complete(Instant::now()).await;
        eprintln!("{what}: all {} subscribed again {} ms after its return", crowd.size(), took.as_millis());
        assert!(took <= DEMAND, "{what}: {took:?}");
        crowd.finish_round().await;
        crowd.judge();
    }
    crowd.leave().await;
}
