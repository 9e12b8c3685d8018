//! Many peers that connect at the same moment.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use zmq::{Context, DONTWAIT, Socket};

use super::{dealer, message, wait};
use crate::bench::{
    frames::{TOPIC, joiner, publish_body},
    setup::{Keys, Outcome},
};

const PATIENCE: Duration = Duration::from_secs(110);

/// Connects all at once; each says hello and subscribes. Prints how long it took until all were answered and until a
/// publication of the first reached every one of them.
pub fn join(endpoint: &str, keys: Option<&Keys>, peers: u64) -> Outcome<()> {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
    let context = Context::new();
    context.set_max_sockets(u16::try_from(peers)? + 8)?;
    let begin = Instant::now();
    let subscribe = br#"{"prefix": "devices/", "bus": "", "all_platforms": false}"#;
    let mut waiting: Vec<Socket> = Vec::new();
    for n in 0..peers {
        let socket = dealer(&context, endpoint, &joiner(n as usize), keys)?;
        socket.send_parts(&mut message(&[b"", b"VIP1", b"", b"h", b"hello", b"hello"]), 0)?;
        socket.send_parts(&mut message(&[b"", b"VIP1", b"", b"s", b"pubsub", b"subscribe", subscribe]), 0)?;
        waiting.push(socket);
    }
    // The answer to the second tells that the first was answered, too.
    let joined = each(waiting, begin, |parts| &*parts[3] == b"s")?;
    let joined_ms = begin.elapsed().as_secs_f64() * 1e3;
    let body = publish_body();
    let publish: [&[u8]; 7] = [b"", b"VIP1", b"", b"p", b"pubsub", b"publish", TOPIC.as_bytes()];
    let mut frames = message(&publish);
    frames.push(zmq::Message::from(body.as_bytes()));
    joined.first().ok_or("nobody joined")?.send_parts(&mut frames, 0)?;
    each(joined, begin, |parts| parts.len() == 8 && &*parts[5] == b"publish")?;
    let usable_ms = begin.elapsed().as_secs_f64() * 1e3;
    println!("{}", json!({"joined_ms": joined_ms, "usable_ms": usable_ms}));
    Ok(())
}

/// Waits until every socket got a message that is `it`.
fn each(sockets: Vec<Socket>, begin: Instant, it: impl Fn(&[zmq::Message]) -> bool) -> Outcome<Vec<Socket>> {
    let mut done = Vec::new();
    let mut waiting = sockets;
    while !waiting.is_empty() {
        if begin.elapsed() > PATIENCE {
            return Err(format!("{} peers wait in vain", waiting.len()).into());
        }
        // One is enough to sleep on: all have to come.
        wait(&waiting[0], 20);
        let mut still = Vec::new();
        for socket in waiting {
            let mut found = false;
            while let Ok(parts) = socket.recv_multipart(DONTWAIT) {
                found |= parts.len() > 4 && it(&parts);
            }
            if found { done.push(socket) } else { still.push(socket) }
        }
        waiting = still;
    }
    Ok(done)
}
