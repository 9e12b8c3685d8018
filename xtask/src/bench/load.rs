//! The load of the throughput cases: bare DEALERs, the same for every contestant.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use zmq::{Context, DONTWAIT, Message, PollEvents, PollItem, Socket, SocketType, poll};

use super::{
    frames::{PAYLOAD_BYTES, PUBLISH_WINDOW, RELAY_WINDOW, SUBSCRIBERS, TOPIC, publish_body, subscriber},
    setup::{Keys, Outcome},
};

/// Time under load before the clock starts.
const WARM_UP: Duration = Duration::from_millis(300);

/// A connected DEALER.
pub fn dealer(context: &Context, endpoint: &str, identity: &str, keys: Option<&Keys>) -> Outcome<Socket> {
    let socket = context.socket(SocketType::Dealer)?;
    socket.set_identity(identity.as_bytes())?;
    socket.set_sndhwm(6000)?;
    socket.set_rcvhwm(6000)?;
    socket.set_linger(0)?;
    if let Some(keys) = keys {
        let own = keys.peers.get(identity).ok_or("an identity without keys")?;
        socket.set_curve_serverkey(&keys.server.public)?;
        socket.set_curve_publickey(&own.public)?;
        socket.set_curve_secretkey(&own.secret)?;
    }
    socket.connect(endpoint)?;
    Ok(socket)
}

pub fn message(parts: &[&[u8]]) -> Vec<Message> {
    parts.iter().map(|p| Message::from(*p)).collect()
}

/// Round trips between two peers through the router, a window of them in flight. Prints how many relays (two each).
pub fn relay(endpoint: &str, keys: Option<&Keys>, duration_ms: u64) -> Outcome<()> {
    let context = Context::new();
    let echo = dealer(&context, endpoint, "b", keys)?;
    let caller = dealer(&context, endpoint, "a", keys)?;
    let stop = Arc::new(AtomicBool::new(false));
    introduce(&echo, "a", &caller)?;
    let echoing = thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                wait(&echo, 50);
                while let Ok(mut parts) = echo.recv_multipart(DONTWAIT) {
                    // [sender, VIP1, user, ..] goes back as [recipient, VIP1, "", ..].
                    parts[2] = Message::new();
                    let _ = echo.send_parts(&mut parts, 0);
                }
            }
        }
    });
    let template = message(&[
        b"b",
        b"VIP1",
        b"",
        b"m-0000001",
        b"RPC",
        b"{\"jsonrpc\": \"2.0\"}",
        b"x",
        &[b'p'; PAYLOAD_BYTES],
    ]);
    let (mut sent, mut returned) = (0_u64, 0_u64);
    let begin = Instant::now();
    let mut measured: Option<(Instant, u64)> = None;
    let end = loop {
        while sent - returned < RELAY_WINDOW as u64 {
            let mut parts: Vec<Message> = template.iter().map(Message::share).collect();
            caller.send_parts(&mut parts, 0)?;
            sent += 1;
        }
        wait(&caller, 1000);
        while caller.recv_with(DONTWAIT, drop).is_ok() {
            returned += 1;
        }
        let now = Instant::now();
        match measured {
            None if now - begin >= WARM_UP => measured = Some((now, returned)),
            Some((from, _)) if now - from >= Duration::from_millis(duration_ms) => break now,
            _ => {}
        }
    };
    let (from, before) = measured.ok_or("no measurement")?;
    let rate = 2.0 * (returned - before) as f64 / (end - from).as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    println!("{}", json!({"per_second": rate, "total": returned * 2}));
    echoing.join().map_err(|_| "the echo ended badly")?;
    Ok(())
}

/// Waits until both peers are known to the router: messages to a peer that has not connected are lost.
fn introduce(quiet: &Socket, to: &str, other: &Socket) -> Outcome<()> {
    other.send_parts(&mut message(&[b"", b"VIP1", b"", b"h", b"ping", b"ping"]), 0)?;
    let begin = Instant::now();
    loop {
        quiet.send_parts(&mut message(&[to.as_bytes(), b"VIP1", b"", b"h", b"channel", b"x"]), 0)?;
        if wait(other, 20)
            && other.recv_multipart(DONTWAIT).is_ok_and(|m| m.len() > 4 && &*m[4] == b"channel")
        {
            break;
        }
        if begin.elapsed() > Duration::from_secs(20) {
            return Err("the peers do not find each other".into());
        }
    }
    // Late arrivals of the introduction must not count as returns.
    while wait(other, 100) {
        while other.recv_with(DONTWAIT, drop).is_ok() {}
    }
    while quiet.recv_with(DONTWAIT, drop).is_ok() {}
    Ok(())
}

/// Waits for a message; tells whether there is one.
pub fn wait(socket: &Socket, timeout_ms: u64) -> bool {
    let mut items = [PollItem::from_socket(socket, PollEvents::IN)];
    poll(&mut items, Some(Duration::from_millis(timeout_ms))).is_ok_and(|n| n > 0)
}

/// Publishes to ten subscribers, a window of publishes in flight until everybody has them. Prints publishes.
pub fn fanout(endpoint: &str, keys: Option<&Keys>, duration_ms: u64) -> Outcome<()> {
    let context = Context::new();
    let publisher = dealer(&context, endpoint, "publisher", keys)?;
    let subscribers: Vec<Socket> =
        (0..SUBSCRIBERS).map(|n| dealer(&context, endpoint, &subscriber(n), keys)).collect::<Outcome<_>>()?;
    let subscribe = br#"{"prefix": "devices/", "bus": "", "all_platforms": false}"#;
    for socket in &subscribers {
        socket.send_parts(&mut message(&[b"", b"VIP1", b"", b"s", b"pubsub", b"subscribe", subscribe]), 0)?;
        while wait(socket, 10_000) {
            if socket.recv_multipart(DONTWAIT).is_ok_and(|m| m.len() > 3 && &*m[3] == b"s") {
                break;
            }
        }
    }
    let deliveries = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let reading = thread::spawn({
        let (deliveries, stop) = (deliveries.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                let mut items: Vec<PollItem<'_>> =
                    subscribers.iter().map(|s| PollItem::from_socket(s, PollEvents::IN)).collect();
                let _ = poll(&mut items, Some(Duration::from_millis(50)));
                for socket in &subscribers {
                    let mut got = 0;
                    let mut parts = 0;
                    while socket.recv_with(DONTWAIT, |_| parts += 1).is_ok() {
                        // Peer list announcements have fewer.
                        got += u64::from(parts == 8);
                        parts = 0;
                    }
                    deliveries.fetch_add(got, Ordering::Release);
                }
            }
        }
    });
    let body = publish_body();
    let template =
        message(&[b"", b"VIP1", b"", b"p-0000001", b"pubsub", b"publish", TOPIC.as_bytes(), body.as_bytes()]);
    let mut sent = 0_u64;
    let begin = Instant::now();
    let mut measured: Option<(Instant, u64)> = None;
    let everywhere = || deliveries.load(Ordering::Acquire) / SUBSCRIBERS as u64;
    let end = loop {
        while sent - everywhere() < PUBLISH_WINDOW as u64 {
            let mut parts: Vec<Message> = template.iter().map(Message::share).collect();
            publisher.send_parts(&mut parts, 0)?;
            sent += 1;
        }
        wait(&publisher, 1);
        while publisher.recv_with(DONTWAIT, drop).is_ok() {}
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
    stop.store(true, Ordering::Relaxed);
    println!("{}", json!({"per_second": rate, "total": done}));
    reading.join().map_err(|_| "reading ended badly")?;
    Ok(())
}
