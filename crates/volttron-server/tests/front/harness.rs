//! A bus on a free port and bare peers.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use volttron_router::{Control, Denied, Limits, Policy, Refusal, Router, RouterFacts};
use volttron_server::front::{
    Bind, Front, FrontConfig, FrontSnapshot, RunningFront,
    zap::{Authenticator, ZapAnswer, ZapRequest},
};
use volttron_utils::keys::{KeyPair, PublicKey, SecretKey};
use zmq::{Context, DONTWAIT, Message, PollEvents, PollItem, Socket, SocketType, poll};

/// Long enough that only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Refuses bound identities to other keys, panics on the topic `boom`.
#[derive(Default)]
pub struct TestPolicy {
    /// identity -> the only user it is for
    pub bound: HashMap<String, String>,
}

impl Policy for TestPolicy {
    fn admit(&self, identity: &str, user: Option<&str>) -> Result<(), Refusal> {
        if identity == "control" {
            return Err(Refusal::ServiceIdentity);
        }
        match self.bound.get(identity) {
            Some(owner) if user != Some(owner.as_str()) => Err(Refusal::BoundToOtherKey),
            _ => Ok(()),
        }
    }

    fn publish(&self, _: &str, topic: &str) -> Result<(), Denied> {
        assert_ne!(topic, "boom", "a bug, for the test");
        Ok(())
    }
}

pub struct Bus {
    pub front: RunningFront,
    pub endpoint: String,
    pub server_key: Option<PublicKey>,
    pub ctx: Context,
}

/// Lets every key in, under its text as user id.
pub fn allow_all(request: &ZapRequest<'_>) -> ZapAnswer {
    ZapAnswer::Allow { user_id: key_text(request).unwrap_or_default() }
}

pub fn key_text(request: &ZapRequest<'_>) -> Option<String> {
    match request.credentials {
        volttron_server::front::zap::Credentials::Curve(key) => Some(PublicKey::from_bytes(*key).to_string()),
        _ => None,
    }
}

impl Bus {
    /// Without authentication.
    pub fn open() -> Self {
        Self::start(&["tcp://127.0.0.1:*"], None, None, TestPolicy::default())
    }

    /// With CURVE.
    pub fn curve(authenticator: impl Authenticator, policy: TestPolicy) -> Self {
        let keys = KeyPair::generate();
        Self::start(&["tcp://127.0.0.1:*"], Some(keys), Some(Box::new(authenticator)), policy)
    }

    pub fn start(
        addresses: &[&str],
        keys: Option<KeyPair>,
        authenticator: Option<Box<dyn Authenticator>>,
        policy: TestPolicy,
    ) -> Self {
        Self::start_with(addresses, keys, authenticator, policy, false)
    }

    /// Without authentication, connections waiting until they are admitted.
    pub fn holding_peers() -> Self {
        Self::start_with(&["tcp://127.0.0.1:*"], None, None, TestPolicy::default(), true)
    }

    fn start_with(
        addresses: &[&str],
        keys: Option<KeyPair>,
        authenticator: Option<Box<dyn Authenticator>>,
        policy: TestPolicy,
        holding: bool,
    ) -> Self {
        let secret: Option<&SecretKey> = keys.as_ref().map(|k| &k.secret);
        let binds = addresses.iter().map(|a| Bind::new(&a.parse().unwrap(), secret).unwrap()).collect();
        let config = FrontConfig { max_frame_bytes: 1 << 20, ..FrontConfig::new(binds, authenticator) };
        let front = Front::bind(config).unwrap();
        let mut router = Router::new(policy, Limits::default());
        let facts = RouterFacts {
            router_id: front.identity().to_owned(),
            instance_name: "test".to_owned(),
            ..RouterFacts::default()
        };
        router.handle(
            Instant::now(),
            volttron_router::Input::Control(Control::Info(Box::new(facts))),
            &mut Nowhere,
        );
        let front = if holding { front.start_holding_peers(router) } else { front.start(router) }.unwrap();
        let endpoint = front.endpoints()[0].clone();
        Self { front, endpoint, server_key: keys.map(|k| k.public), ctx: Context::new() }
    }

    /// A connected peer that has said hello.
    pub fn peer(&self, identity: &str) -> Peer {
        let peer = self.silent_peer(identity.as_bytes(), &KeyPair::generate());
        peer.hello();
        peer
    }

    /// A connecting peer.
    pub fn silent_peer(&self, identity: &[u8], keys: &KeyPair) -> Peer {
        let peer = self.unconnected(identity, keys, self.server_key.as_ref());
        peer.socket.connect(&self.endpoint).unwrap();
        peer
    }

    pub fn unconnected(&self, identity: &[u8], keys: &KeyPair, server: Option<&PublicKey>) -> Peer {
        let socket = self.ctx.socket(SocketType::Dealer).unwrap();
        socket.set_linger(0).unwrap();
        if !identity.is_empty() {
            socket.set_identity(identity).unwrap();
        }
        if let Some(server) = server {
            socket.set_curve_publickey(keys.public.as_bytes()).unwrap();
            socket.set_curve_secretkey(keys.secret.as_bytes()).unwrap();
            socket.set_curve_serverkey(server.as_bytes()).unwrap();
        }
        Peer { socket }
    }

    pub fn snapshot(&self) -> FrontSnapshot {
        // In a thread of its own, so that it works inside a runtime too.
        std::thread::scope(|s| s.spawn(|| block_on(self.front.control().snapshot()).unwrap()).join().unwrap())
    }

    /// Waits until `is_so`, looking at fresh snapshots.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&FrontSnapshot) -> bool) -> FrontSnapshot {
        let end = Instant::now() + PATIENCE;
        loop {
            let snapshot = self.snapshot();
            if is_so(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < end, "never: {what}: {snapshot:?}");
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// For inputs before the thread runs.
struct Nowhere;

impl<F: volttron_utils::vip::Frame> volttron_router::Output<F> for Nowhere {
    fn wire(&mut self, _: volttron_utils::vip::Frames<F>) -> Result<(), volttron_router::Unsent<F>> {
        unreachable!("nobody is connected")
    }
    fn local(
        &mut self,
        _: volttron_router::ServiceId,
        _: volttron_utils::vip::Frames<F>,
    ) -> Result<(), volttron_router::Unsent<F>> {
        unreachable!("nobody is connected")
    }
    fn share(&mut self, frame: &F) -> F {
        F::from_slice(frame.as_ref())
    }
    fn event(&mut self, _: volttron_router::RouterEvent<'_>) {}
}

pub struct Peer {
    pub socket: Socket,
}

impl Peer {
    pub fn send(&self, frames: &[&[u8]]) {
        let parts: Vec<Message> = frames.iter().map(|f| Message::from(*f)).collect();
        self.socket.send_multipart(parts, 0).unwrap();
    }

    /// `[peer, VIP1, "", id, subsystem, args..]`
    pub fn vip(&self, peer: &str, id: &str, subsystem: &str, args: &[&str]) {
        let head = [peer, "VIP1", "", id, subsystem];
        let frames: Vec<&[u8]> = head.iter().chain(args).map(|f| f.as_bytes()).collect();
        self.send(&frames);
    }

    /// The next message, frames escaped as text.
    pub fn recv(&self) -> Vec<String> {
        let mut items = [PollItem::from_socket(&self.socket, PollEvents::IN)];
        assert_eq!(poll(&mut items, Some(PATIENCE)).unwrap(), 1, "nothing arrived");
        self.try_recv().unwrap()
    }

    pub fn try_recv(&self) -> Option<Vec<String>> {
        let parts = self.socket.recv_multipart(DONTWAIT).ok()?;
        Some(parts.iter().map(|p| p.escape_ascii().to_string()).collect())
    }

    /// The next message that is not a peer list announcement.
    pub fn reply(&self) -> Vec<String> {
        loop {
            let message = self.recv();
            if message.get(4).map(String::as_str) != Some("peerlist") || !message[3].is_empty() {
                return message;
            }
        }
    }

    /// Everything that had arrived when a ping comes back.
    pub fn drain(&self) -> Vec<Vec<String>> {
        self.vip("", "fence", "ping", &["ping"]);
        let mut seen = Vec::new();
        loop {
            let message = self.recv();
            if message[3] == "fence" {
                return seen;
            }
            seen.push(message);
        }
    }

    pub fn hello(&self) -> Vec<String> {
        self.vip("", "h", "hello", &["hello"]);
        let welcome = self.reply();
        assert_eq!(welcome[4..6], ["hello", "welcome"], "{welcome:?}");
        welcome
    }

    pub fn subscribe(&self, prefix: &str) {
        let request = format!(r#"{{"prefix": "{prefix}", "bus": "", "all_platforms": false}}"#);
        self.vip("", "s", "pubsub", &["subscribe", &request]);
        assert_eq!(self.reply()[4..], ["pubsub", "request_response", r"\x01"]);
    }
}
