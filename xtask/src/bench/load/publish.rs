//! Publications from some peers to some others, a window of them in flight until everybody has them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use zmq::{Context, DONTWAIT, Message, PollEvents, PollItem, Socket, poll};

use super::{WARM_UP, ask, dealer, message, wait};
use crate::bench::{
    frames::{
        Fan, IDLE_PEERS, PUBLISH_WINDOW, TOPIC, idle, idle_prefix, publish_body, publisher, subscriber,
    },
    setup::{Keys, Outcome},
};

/// Connects everybody, publishes, prints publishes per second.
pub fn publish(endpoint: &str, keys: Option<&Keys>, duration_ms: u64, fan: Fan) -> Outcome<()> {
    let context = Context::new();
    let connect = |name: String| dealer(&context, endpoint, &name, keys);
    let publishers: Vec<Socket> = (0..fan.publishers).map(publisher).map(connect).collect::<Outcome<_>>()?;
    let subscribers: Vec<Socket> =
        (0..fan.subscribers).map(subscriber).map(connect).collect::<Outcome<_>>()?;
    for socket in &subscribers {
        ask(
            socket,
            &[b"", b"VIP1", b"", b"s", b"pubsub", b"subscribe", &prefixes(&["devices/".to_owned()])],
        )?;
    }
    // Those that subscribe to something else; they get nothing but are in the router's way.
    let mut idlers = Vec::new();
    for n in 0..if fan.idle > 0 { IDLE_PEERS } else { 0 } {
        let socket = connect(idle(n))?;
        let own: Vec<String> = (0..fan.idle / IDLE_PEERS).map(|i| idle_prefix(n, i)).collect();
        for some in own.chunks(100) {
            ask(&socket, &[b"", b"VIP1", b"", b"s", b"pubsub", b"subscribe", &prefixes(some)])?;
        }
        idlers.push(socket);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let progress = Progress::new(fan);
    let reading = read(subscribers, progress.deliveries.clone(), stop.clone());
    let body = publish_body();
    let template =
        message(&[b"", b"VIP1", b"", b"p-0000001", b"pubsub", b"publish", TOPIC.as_bytes(), body.as_bytes()]);
    let result = progress.measure(
        duration_ms,
        |n| {
            let mut parts: Vec<Message> = template.iter().map(Message::share).collect();
            let from = &publishers[n as usize % publishers.len()];
            from.send_parts(&mut parts, 0)?;
            // The router's answers to earlier ones.
            while from.recv_with(DONTWAIT, drop).is_ok() {}
            Ok(())
        },
        || {
            wait(&publishers[0], 1);
            for from in &publishers {
                while from.recv_with(DONTWAIT, drop).is_ok() {}
            }
            Ok(())
        },
    );
    stop.store(true, Ordering::Relaxed);
    reading.join().map_err(|_| "reading ended badly")?;
    result
}

fn prefixes(prefixes: &[String]) -> Vec<u8> {
    json!({"prefix": prefixes, "bus": "", "all_platforms": false}).to_string().into_bytes()
}

/// Counts deliveries on all subscribers, in one thread.
fn read(
    subscribers: Vec<Socket>,
    deliveries: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let mut items: Vec<PollItem<'_>> =
                subscribers.iter().map(|s| PollItem::from_socket(s, PollEvents::IN)).collect();
            let _ = poll(&mut items, Some(Duration::from_millis(50)));
            for socket in &subscribers {
                let (mut got, mut parts) = (0, 0);
                while socket.recv_with(DONTWAIT, |_| parts += 1).is_ok() {
                    // Peer list announcements have fewer.
                    got += u64::from(parts == 8);
                    parts = 0;
                }
                deliveries.fetch_add(got, Ordering::Release);
            }
        }
    })
}

/// How far a load of publications is; the same for every kind of broker.
pub struct Progress {
    pub deliveries: Arc<AtomicU64>,
    subscribers: u64,
}

impl Progress {
    pub fn new(fan: Fan) -> Self {
        Self { deliveries: Arc::default(), subscribers: fan.subscribers as u64 }
    }

    /// Publishes with a window in flight for this long after the warm-up, and prints what came of it.
    pub fn measure(
        &self,
        duration_ms: u64,
        mut publish: impl FnMut(u64) -> Outcome<()>,
        mut full: impl FnMut() -> Outcome<()>,
    ) -> Outcome<()> {
        let everywhere = || self.deliveries.load(Ordering::Acquire) / self.subscribers;
        let (mut sent, begin) = (0_u64, Instant::now());
        let mut measured: Option<(Instant, u64)> = None;
        let end = loop {
            while sent - everywhere() < PUBLISH_WINDOW {
                publish(sent)?;
                sent += 1;
            }
            full()?;
            let now = Instant::now();
            match measured {
                None if now - begin >= WARM_UP => measured = Some((now, everywhere())),
                Some((from, _)) if now - from >= Duration::from_millis(duration_ms) => break now,
                _ => {}
            }
            if measured.is_some_and(|(from, _)| now - from > Duration::from_secs(60)) {
                return Err("deliveries are missing".into());
            }
        };
        let done = everywhere();
        let (from, before) = measured.ok_or("no measurement")?;
        let rate = (done - before) as f64 / (end - from).as_secs_f64();
        println!("{}", json!({"per_second": rate, "total": done}));
        Ok(())
    }
}
