//! A peer that does not read harms nobody else.

use volttron_utils::keys::KeyPair;
use zmq::{DONTWAIT, PollEvents, PollItem, poll};

use crate::harness::{Bus, PATIENCE};

#[test]
fn a_frozen_subscriber_loses_messages_and_nobody_else_does() {
    const PUBLISHES: usize = 16_000;
    const WINDOW: usize = 200;
    let bus = Bus::open();
    let frozen = bus.unconnected(b"frozen", &KeyPair::generate(), None);
    frozen.socket.set_rcvhwm(1).unwrap();
    frozen.socket.set_rcvbuf(4096).unwrap();
    frozen.socket.connect(&bus.endpoint).unwrap();
    frozen.hello();
    frozen.subscribe("load");
    let reader = bus.peer("reader");
    reader.subscribe("load");
    let publisher = bus.peer("publisher");
    let body = format!(r#"{{"bus": "", "headers": {{}}, "message": "{}"}}"#, "x".repeat(1000));

    let reading = std::thread::spawn(move || {
        for n in 0..PUBLISHES {
            let message = reader.reply();
            assert_eq!((message[3].as_str(), message[5].as_str()), (n.to_string().as_str(), "publish"));
        }
        reader
    });
    let (mut sent, mut answered, mut errors) = (0, 0, 0);
    while answered < PUBLISHES {
        if sent < PUBLISHES && sent - answered < WINDOW {
            publisher.vip("", &sent.to_string(), "pubsub", &["publish", "load", &body]);
            sent += 1;
        } else {
            let mut items = [PollItem::from_socket(&publisher.socket, PollEvents::IN)];
            assert_eq!(poll(&mut items, Some(PATIENCE)).unwrap(), 1, "stuck after {answered}");
        }
        while let Ok(parts) = publisher.socket.recv_multipart(DONTWAIT) {
            match parts[4].as_bytes() {
                b"pubsub" => answered += 1,
                b"error" => {
                    assert_eq!((parts[5].as_bytes(), parts[7].as_bytes()), (&b"11"[..], &b"frozen"[..]));
                    errors += 1;
                }
                _ => {}
            }
        }
    }
    let _reader = reading.join().unwrap();
    let snapshot = bus.snapshot();
    let lost = |identity: &str| snapshot.peers.iter().find(|p| p.identity == identity).map(|p| p.lost);
    assert_eq!(snapshot.router.delivery_full, errors, "each loss is counted and told to the publisher");
    assert!(lost("frozen") >= Some(errors), "{snapshot:?}");
    assert!(errors > 0, "the subscriber was not slow enough for this test");
    assert_eq!(lost("reader"), Some(0));
    assert_eq!(snapshot.router.delivered + snapshot.router.delivery_full, 2 * PUBLISHES as u64);
}
