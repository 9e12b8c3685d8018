//! A subscriber on a bare socket that never reads.

use serde_json::json;
use volttron_utils::keys::{KeyPair, PublicKey};

use crate::platform::Platform;

/// A connection that stays until it is dropped: the socket first, as libzmq wants it.
pub struct Deaf {
    _socket: zmq::Socket,
    _context: zmq::Context,
}

impl Deaf {
    /// Connects as `identity` and subscribes to `devices`.
    ///
    /// # Panics
    /// If the socket cannot be made.
    pub fn connect(platform: &Platform, identity: &str, keys: &KeyPair) -> Self {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::SocketType::Dealer).expect("a socket");
        let server: PublicKey = platform.server_key().parse().expect("a key");
        socket.set_identity(identity.as_bytes()).expect("identity");
        socket.set_curve_publickey(keys.public.as_bytes()).expect("public key");
        socket.set_curve_secretkey(keys.secret.as_bytes()).expect("secret key");
        socket.set_curve_serverkey(server.as_bytes()).expect("server key");
        socket.set_linger(0).expect("linger");
        socket.connect(&platform.address()).expect("connect");
        let subscribe = json!({"prefix": "devices", "bus": "", "all_platforms": false}).to_string();
        for message in [
            &["", "VIP1", "", "1", "hello", "hello"][..],
            &["", "VIP1", "", "2", "pubsub", "subscribe", &subscribe],
        ] {
            let parts: Vec<zmq::Message> = message.iter().map(|part| zmq::Message::from(*part)).collect();
            socket.send_multipart(parts, 0).map_err(|unsent| unsent.error).expect("send");
        }
        Self { _socket: socket, _context: context }
    }
}
