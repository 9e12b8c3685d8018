//! A router on real sockets for the tests of the ZeroMQ link: one thread, CURVE with a list of accepted keys.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use volttron_client::utils::address::Address;
use volttron_client::utils::keys::{KeyPair, PublicKey};
use volttron_client::utils::vip::Frames;
use volttron_router::{
    AdmitAll, Control, Input, Limits, Origin, Output, Router, RouterEvent, RouterFacts, ServiceId, Unsent,
    Why,
};

/// Who is let in: everybody, or these keys.
#[derive(Clone, Default)]
pub struct Keys(pub Arc<Mutex<Option<HashSet<String>>>>);

pub struct Bus {
    pub endpoint: String,
    pub keys: Keys,
    pub server: Option<KeyPair>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bus {
    /// Binds `endpoint` (`tcp://127.0.0.1:*` for a free port), with CURVE if there is a server key pair.
    pub fn start(endpoint: &str, server: Option<KeyPair>) -> Self {
        let (stop, keys) = (Arc::new(AtomicBool::new(false)), Keys::default());
        let context = zmq::Context::new();
        let zap = context.socket(zmq::SocketType::Rep).unwrap();
        zap.bind("inproc://zeromq.zap.01").unwrap();
        let socket = context.socket(zmq::SocketType::Router).unwrap();
        socket.set_router_mandatory(true).unwrap();
        socket.set_router_notify_disconnect(true).unwrap();
        socket.set_linger(0).unwrap();
        if let Some(pair) = &server {
            socket.set_curve_server(true).unwrap();
            socket.set_curve_secretkey(pair.secret.as_bytes()).unwrap();
            socket.set_zap_domain("vip").unwrap();
        }
        let bound = (0..200).any(|_| {
            let done = socket.bind(endpoint).is_ok();
            if !done {
                // The former socket of a restarted bus may still be closing.
                std::thread::sleep(Duration::from_millis(10));
            }
            done
        });
        assert!(bound, "cannot bind {endpoint}");
        let endpoint = socket.last_endpoint().unwrap();
        let (flag, allowed) = (stop.clone(), keys.clone());
        let thread = std::thread::spawn(move || serve(&socket, &zap, &flag, &allowed));
        Self { endpoint, keys, server, stop, thread: Some(thread) }
    }

    pub fn address(&self) -> Address {
        self.endpoint.parse().unwrap()
    }

    pub fn server_key(&self) -> PublicKey {
        self.server.as_ref().unwrap().public
    }

    /// Ends it, and starts a new one at the same endpoint.
    pub fn restart(mut self) -> Self {
        let (endpoint, server) = (self.endpoint.clone(), self.server.clone());
        self.end();
        Self::start(&endpoint, server)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.end();
    }
}

struct Out<'a>(&'a zmq::Socket);

impl Output<Bytes> for Out<'_> {
    fn wire(&mut self, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let parts: Vec<zmq::Message> = frames.iter().map(|f| zmq::Message::from(f.as_ref())).collect();
        self.0.send_multipart(parts, zmq::DONTWAIT).map_err(|unsent| {
            let why = if unsent.error == zmq::Error::EAGAIN { Why::Full } else { Why::NoRoute };
            Unsent { why, frames }
        })
    }
    fn local(&mut self, _: ServiceId, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        Err(Unsent { why: Why::NoRoute, frames })
    }
    fn share(&mut self, frame: &Bytes) -> Bytes {
        frame.clone()
    }
    fn event(&mut self, _: RouterEvent<'_>) {}
}

fn serve(socket: &zmq::Socket, zap: &zmq::Socket, stop: &AtomicBool, keys: &Keys) {
    let mut router: Router<Bytes, AdmitAll> = Router::new(AdmitAll, Limits::default());
    let mut out = Out(socket);
    let facts = RouterFacts { router_id: "r".into(), instance_name: "zmq".into(), ..RouterFacts::default() };
    router.handle(Instant::now(), Input::Control(Control::Info(Box::new(facts))), &mut out);
    while !stop.load(Ordering::SeqCst) {
        let mut items = [
            zmq::PollItem::from_socket(socket, zmq::PollEvents::IN),
            zmq::PollItem::from_socket(zap, zmq::PollEvents::IN),
        ];
        zmq::poll(&mut items, Some(Duration::from_millis(20))).unwrap();
        if let Ok(request) = zap.recv_multipart(zmq::DONTWAIT) {
            let ok = keys.0.lock().unwrap().as_ref().is_none_or(|set| {
                let raw: [u8; 32] = request[6].as_bytes().try_into().unwrap();
                set.contains(&PublicKey::from_bytes(raw).to_string())
            });
            let (code, text) = if ok { ("200", "OK") } else { ("400", "FAIL") };
            let mut reply: Vec<zmq::Message> =
                ["1.0", "", code, text, "", ""].iter().map(|t| zmq::Message::from(*t)).collect();
            reply[1] = zmq::Message::from(request[1].as_bytes());
            zap.send_multipart(reply, 0).unwrap();
        }
        for _ in 0..256 {
            let Ok(parts) = socket.recv_multipart(zmq::DONTWAIT) else { break };
            let frames: Frames<Bytes> = parts.iter().map(|p| Bytes::copy_from_slice(p)).collect();
            let input = if frames.len() == 2 && frames[1].is_empty() {
                Input::PeerGone { identity: frames[0].clone() }
            } else {
                Input::Message { from: Origin::Wire, user: None, frames }
            };
            router.handle(Instant::now(), input, &mut out);
        }
    }
}
