//! In steady state a relayed message costs the platform no allocation, and a publication one, however many it reaches.
//!
//! A program of its own: the allocator that counts is the whole program's. libzmq's own memory is not counted; it is what
//! the bare library needs as well.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use volttron_router::{AdmitAll, Limits, Router};
use volttron_server::front::{Bind, Front, FrontConfig};
use zmq::{Context, DONTWAIT, Message, PollEvents, PollItem, Socket, SocketType, poll};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const MESSAGES: usize = 5_000;
/// Answers to the clock (once a second) and the like.
const OTHER: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(30);

fn dealer(context: &Context, endpoint: &str, identity: &str) -> Socket {
    let socket = context.socket(SocketType::Dealer).unwrap();
    socket.set_identity(identity.as_bytes()).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

/// Sends the frames and takes whatever comes back until `parts` frames came in one message, without allocating.
fn exchange(from: &Socket, frames: &[Message], to: &Socket, parts: usize) {
    let mut out: [Message; 8] =
        std::array::from_fn(|n| frames.get(n).map(Message::share).unwrap_or_default());
    from.send_parts(&mut out[..frames.len()], 0).unwrap();
    loop {
        let mut item = [PollItem::from_socket(to, PollEvents::IN)];
        assert_eq!(poll(&mut item, Some(PATIENCE)).unwrap(), 1, "nothing came");
        let mut got = 0;
        while to.recv_with(DONTWAIT, |_| got += 1).is_ok() {
            if got == parts {
                return;
            }
            got = 0;
        }
    }
}

fn blocks(mut work: impl FnMut()) -> u64 {
    let before = dhat::HeapStats::get().total_blocks;
    for _ in 0..MESSAGES {
        work();
    }
    dhat::HeapStats::get().total_blocks - before
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures, for who runs it with --nocapture")]
fn relaying_allocates_nothing_and_publishing_once() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let bind = Bind::new(&"tcp://127.0.0.1:*".parse().unwrap(), None).unwrap();
    let front = Front::bind(FrontConfig::new(vec![bind], None)).unwrap();
    let running = front.start(Router::new(AdmitAll, Limits::default())).unwrap();
    let endpoint = running.endpoints()[0].clone();
    let context = Context::new();
    let (a, b) = (dealer(&context, &endpoint, "a"), dealer(&context, &endpoint, "b"));
    let frames = |parts: &[&[u8]]| parts.iter().map(|p| Message::from(*p)).collect::<Vec<_>>();
    // [.., subsystem, op, what] comes back as [sender, VIP1, user, id, subsystem, op, what].
    let hello = frames(&[b"", b"VIP1", b"", b"1", b"hello", b"hello"]);
    exchange(&a, &hello, &a, 9);
    exchange(&b, &hello, &b, 9);
    let body = "x".repeat(300);
    let message = frames(&[b"b", b"VIP1", b"", b"m-1", b"RPC", body.as_bytes(), b"more"]);
    for _ in 0..100 {
        exchange(&a, &message, &b, 7);
    }
    let relayed = blocks(|| exchange(&a, &message, &b, 7));
    println!("{relayed} allocations for {MESSAGES} relayed messages");
    assert!(relayed < OTHER, "{relayed} allocations for {MESSAGES} relayed messages");

    let subscribe = br#"{"prefix": "devices/", "bus": "", "all_platforms": false}"#;
    exchange(&b, &frames(&[b"", b"VIP1", b"", b"s", b"pubsub", b"subscribe", subscribe]), &b, 7);
    let body = format!(r#"{{"bus": "", "headers": {{}}, "message": "{body}"}}"#);
    let publish = frames(&[b"", b"VIP1", b"", b"p-1", b"pubsub", b"publish", b"devices/x", body.as_bytes()]);
    for _ in 0..100 {
        exchange(&a, &publish, &b, 8);
    }
    let published = blocks(|| exchange(&a, &publish, &b, 8));
    println!("{published} allocations for {MESSAGES} publications");
    assert!(published <= MESSAGES as u64 + OTHER, "{published} allocations for {MESSAGES} publications");
    running.stop();
}
