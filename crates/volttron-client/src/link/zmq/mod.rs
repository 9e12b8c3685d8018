//! The link over ZeroMQ: a DEALER socket with CURVE, owned by one task.
//!
//! Owns the connection's settings ([`ZmqConnector`]); the task is in `task`, what is said when it fails in `diagnosis`.
//! Must never block: every socket operation is non-blocking, waiting is the runtime's.

mod diagnosis;
mod task;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use volttron_utils::address::{Address, Scheme};
use volttron_utils::keys::{KeyPair, PublicKey};

use super::{ConnectError, Connector, Link};
use diagnosis::Target;
use task::Task;

/// How long after the first contact with a router its welcome may take (vip.md section 9).
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Messages queued per direction inside libzmq (vip.md section 1.2).
const HIGH_WATER: i32 = 6000;
/// Longest frame we accept.
const MAX_FRAME_BYTES: i64 = 64 * 1024 * 1024;
/// How long a closed socket tries to deliver what it has, in ms. Python says 1 and relies on luck; our farewell
/// (`agentstop`) should arrive.
const LINGER_MS: i32 = 500;

/// Connects to a platform over ZeroMQ. One connector may make many links; they share its IO thread.
#[derive(Clone, Debug)]
pub struct ZmqConnector {
    address: Address,
    keys: Option<KeyPair>,
    serverkey: Option<PublicKey>,
    reconnect: Duration,
    hello_deadline: Duration,
    context: zmq::Context,
}

impl ZmqConnector {
    /// Connects to `address`; keys that it carries as parameters are used unless set otherwise.
    pub fn new(address: Address) -> Result<Self, ConnectError> {
        let bad = |why: String| ConnectError::Address { address: address.base(), why };
        if address.scheme == Scheme::Inproc {
            return Err(bad("inproc addresses exist inside one process only".into()));
        }
        let serverkey = address.serverkey().transpose().map_err(|e| bad(format!("serverkey: {e}")))?;
        let public = address.publickey().transpose().map_err(|e| bad(format!("publickey: {e}")))?;
        let secret = address.secretkey().transpose().map_err(|e| bad(format!("secretkey: {e}")))?;
        let keys = public.zip(secret).map(|(public, secret)| KeyPair { public, secret });
        Ok(Self {
            address,
            keys,
            serverkey,
            reconnect: Duration::from_millis(100),
            hello_deadline: HELLO_DEADLINE,
            context: zmq::Context::new(),
        })
    }

    /// Own key pair. Without one, a throw-away pair is made when a server key is known.
    #[must_use]
    pub fn keys(mut self, keys: KeyPair) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The platform's public key. Without it the connection is neither encrypted nor authenticated.
    #[must_use]
    pub fn serverkey(mut self, key: PublicKey) -> Self {
        self.serverkey = Some(key);
        self
    }

    /// Pause before reconnecting; 100 ms otherwise.
    #[must_use]
    pub fn reconnect_interval(mut self, pause: Duration) -> Self {
        self.reconnect = pause;
        self
    }

    /// How long the router's welcome may take after the first contact; 10 s otherwise.
    #[must_use]
    pub fn hello_deadline(mut self, limit: Duration) -> Self {
        self.hello_deadline = limit;
        self
    }

    /// The address, without keys.
    pub fn endpoint(&self) -> String {
        self.address.base()
    }

    fn socket(&self, identity: &str) -> Result<zmq::Socket, zmq::Error> {
        let socket = self.context.socket(zmq::SocketType::Dealer)?;
        socket.set_identity(identity.as_bytes())?;
        // ZMQ_IMMEDIATE stays off, although it does what is wanted here: when a connection is lost it makes libzmq take the
        // queue away from the reader, and if that happens between two parts of a message libzmq ends the program
        // (`!_more` in fq.cpp). The task drops the queue itself, between messages.
        socket.set_sndhwm(HIGH_WATER)?;
        socket.set_rcvhwm(HIGH_WATER)?;
        socket.set_linger(LINGER_MS)?;
        socket.set_max_msg_size(MAX_FRAME_BYTES)?;
        socket.set_ipv6(self.address.ipv6())?;
        let pause = i32::try_from(self.reconnect.as_millis()).unwrap_or(i32::MAX).max(1);
        socket.set_reconnect_ivl(pause)?;
        // Doubling up to this: a platform that is away for long is not hammered by every agent ten times a second, and
        // still has them all back within two seconds of its return.
        socket.set_reconnect_ivl_max(pause.max(1000))?;
        if self.address.scheme == Scheme::Tcp {
            socket.set_tcp_keepalive(1)?;
            socket.set_tcp_keepalive_idle(180)?;
            socket.set_tcp_keepalive_intvl(20)?;
            socket.set_tcp_keepalive_cnt(6)?;
        }
        socket.set_heartbeat_ivl(5000)?;
        socket.set_heartbeat_timeout(10_000)?;
        socket.set_heartbeat_ttl(15_000)?;
        self.secure(&socket)?;
        Ok(socket)
    }

    /// CURVE, PLAIN or nothing (vip.md section 5.2).
    fn secure(&self, socket: &zmq::Socket) -> Result<(), zmq::Error> {
        if let Some(server) = &self.serverkey {
            let throw_away;
            let keys = if let Some(keys) = &self.keys {
                keys
            } else {
                throw_away = KeyPair::generate();
                &throw_away
            };
            socket.set_curve_serverkey(server.as_bytes())?;
            socket.set_curve_publickey(keys.public.as_bytes())?;
            socket.set_curve_secretkey(keys.secret.as_bytes())?;
        } else if let (Some(user), Some(password)) =
            (self.address.param("username"), self.address.param("password"))
        {
            socket.set_plain_client(user, password)?;
        }
        Ok(())
    }

    fn open(&self, identity: &str) -> Result<Link, ConnectError> {
        let system = |what: &str| {
            let what = format!("{what} for {}", self.address.base());
            move |why: String| ConnectError::System { what, why }
        };
        let socket = self.socket(identity).map_err(|e| system("make a socket")(e.to_string()))?;
        let target = Target {
            endpoint: self.address.base(),
            identity: identity.to_owned(),
            public: self.keys.as_ref().map(|k| k.public),
            encrypted: self.serverkey.is_some(),
        };
        let (link, peer) = Link::channel(Link::BOUND, None);
        let task = Task::new(&self.context, socket, target, (self.hello_deadline, self.reconnect), peer)
            .map_err(|e| system("connect")(e.to_string()))?;
        tokio::spawn(task.run());
        Ok(link)
    }
}

impl Connector for ZmqConnector {
    fn connect<'a>(&'a self, identity: &'a str) -> BoxFuture<'a, Result<Link, ConnectError>> {
        std::future::ready(self.open(identity)).boxed()
    }

    fn authenticated(&self) -> bool {
        self.serverkey.is_some()
    }
}
