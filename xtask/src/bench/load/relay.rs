//! Round trips between two peers through the router.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use zmq::{Context, DONTWAIT, Message, Socket};

use super::{WARM_UP, dealer, message, wait};
use crate::bench::{
    frames::relay_window,
    setup::{Keys, Outcome},
};

/// Round trips between two peers through the router, a window of them in flight. Prints how many relays (two each).
pub fn relay(endpoint: &str, keys: Option<&Keys>, duration_ms: u64, bytes: usize) -> Outcome<()> {
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
        &vec![b'p'; bytes],
    ]);
    let (mut sent, mut returned) = (0_u64, 0_u64);
    let begin = Instant::now();
    let mut measured: Option<(Instant, u64)> = None;
    let end = loop {
        while sent - returned < relay_window(bytes) {
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
