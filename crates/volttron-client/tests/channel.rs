//! Channels over both links: datagrams whole and in order, gaps told, nothing for strangers.
#![allow(clippy::unwrap_used, missing_docs)]

mod bus;

use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use volttron_client::channel::{Datagram, NAME_ALPHABET};
use volttron_client::link::memory::MemoryBus;
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::link::{Connector, LinkEvent, Message};
use volttron_client::utils::keys::KeyPair;
use volttron_client::{Channel, ChannelError, ConnectOptions, Connection};

fn datagram(parts: &[&'static str]) -> Datagram {
    parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect()
}

async fn next(channel: &mut Channel) -> Result<Datagram, ChannelError> {
    tokio::time::timeout(Duration::from_secs(10), channel.recv()).await.expect("nothing came").expect("ended")
}

async fn pair(connector: impl Connector + Clone + std::fmt::Debug) -> (Connection, Connection) {
    let open = |name: &'static str| Connection::open(ConnectOptions::new(connector.clone()).identity(name));
    (open("alice").await.unwrap(), open("bob").await.unwrap())
}

/// Everything a channel promises, on whatever bus.
async fn works(alice: Connection, bob: Connection) {
    let mut near = alice.channel("bob").unwrap();
    assert!(near.name().bytes().all(|b| NAME_ALPHABET.contains(&b)));
    let mut far = bob.channel_named("alice", near.name()).unwrap();
    assert_eq!((near.peer(), far.peer()), ("bob", "alice"));
    let taken = bob.channel_named("alice", near.name()).unwrap_err();
    assert_eq!(taken, ChannelError::Taken { peer: "alice".into(), name: near.name().into() });

    let sent = [datagram(&["a", "b"]), datagram(&[]), datagram(&["", "123", "\u{1}\u{0}"])];
    for one in &sent {
        near.send(one.clone()).await.unwrap();
    }
    for one in &sent {
        assert_eq!(next(&mut far).await.as_ref(), Ok(one));
    }
    let large = vec![Bytes::from(vec![7; 1_000_000]), Bytes::from_static(b"end")];
    far.send(large.clone()).await.unwrap();
    assert_eq!(next(&mut near).await, Ok(large));

    // Neither another name nor another peer reaches it.
    let stray = alice.channel_named("bob", "other").unwrap();
    stray.send(datagram(&["lost"])).await.unwrap();
    near.send(datagram(&["kept"])).await.unwrap();
    assert_eq!(next(&mut far).await, Ok(datagram(&["kept"])));
    assert_eq!(bob.meter().channel_unknown.get(), 1);

    // Who does not read loses what is over the bound, and learns where.
    for n in 0..300 {
        near.send(vec![Bytes::from(format!("n{n}"))]).await.unwrap();
    }
    // Its answer comes after all of them were taken in.
    alice.ping("bob", &["x"]).await.unwrap();
    let mut got = 0;
    while let Ok(one) = next(&mut far).await {
        assert_eq!(one, [format!("n{got}")]);
        got += 1;
    }
    assert!(got < 300, "{got} of 300");
    assert_eq!(got + bob.meter().channel_overruns.get(), 300);
    near.send(datagram(&["on"])).await.unwrap();
    assert_eq!(next(&mut far).await, Ok(datagram(&["on"])));

    // The other side leaves: told by the router.
    drop(far);
    bob.close().await;
    near.send(datagram(&["anybody?"])).await.unwrap();
    assert_eq!(next(&mut near).await, Err(ChannelError::Unreachable { peer: "bob".into() }));
    // A closed channel can be opened again; the end of the agent ends it.
    let name = near.name().to_owned();
    drop(near);
    let mut again = alice.channel_named("bob", &name).unwrap();
    alice.close().await;
    assert_eq!(again.recv().await, None);
}

#[tokio::test]
async fn in_memory() {
    let (alice, bob) = pair(MemoryBus::default()).await;
    works(alice, bob).await;
}

#[tokio::test]
async fn over_zeromq() {
    let router = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    let connector = ZmqConnector::new(router.address()).unwrap().serverkey(router.server_key());
    let (alice, bob) = pair(connector).await;
    works(alice, bob).await;
}

#[tokio::test]
async fn a_broken_connection_is_a_gap() {
    let bus = MemoryBus::default();
    let (alice, bob) = pair(bus.clone()).await;
    let near = alice.channel_named("bob", "c1").unwrap();
    let mut far = bob.channel_named("alice", "c1").unwrap();
    near.send(datagram(&["before"])).await.unwrap();
    assert_eq!(next(&mut far).await, Ok(datagram(&["before"])));
    bus.cut("bob");
    assert_eq!(next(&mut far).await, Err(ChannelError::Interrupted));
    assert!(far.send(datagram(&["x"])).await.is_err());
    bus.mend("bob");
    alice.ping("bob", &["x"]).await.unwrap();
    near.send(datagram(&["after"])).await.unwrap();
    assert_eq!(next(&mut far).await, Ok(datagram(&["after"])));
}

/// The recorded session of two Python agents (9.0.4 and 10.0.5 alike): A sends two frames, B answers with one.
#[tokio::test]
async fn frames_are_those_of_python_agents() {
    let bus = MemoryBus::default();
    let mut python = bus.connect("bench.0000").await.unwrap();
    assert!(matches!(python.rx.recv().await, Some(LinkEvent::Up(_))));
    let ours = Connection::open(ConnectOptions::new(bus).identity("bench.0001")).await.unwrap();
    let mut channel = ours.channel_named("bench.0000", "chan1").unwrap();

    let recorded = ["bench.0001", "VIP1", "", "", "channel", "chan1", "a", "b"];
    python
        .tx
        .send(Message::from_frames(recorded.map(|f| Bytes::from_static(f.as_bytes()))).unwrap())
        .await
        .unwrap();
    assert_eq!(next(&mut channel).await, Ok(datagram(&["a", "b"])));
    channel.send(datagram(&["c"])).await.unwrap();
    let answer = loop {
        match python.rx.recv().await.unwrap() {
            LinkEvent::Message(message) if message.subsystem == "channel" => break message,
            _ => {}
        }
    };
    let frames: Vec<Bytes> = answer.into_frames().into_iter().collect();
    assert_eq!(frames, ["bench.0001", "VIP1", "bench.0001", "", "channel", "chan1", "c"]);
}
