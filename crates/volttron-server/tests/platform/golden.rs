//! Replays recorded sessions with services of the original platform on ours: same requests, and every answer and push is
//! compared as text. Left out of the comparison: ids that each side invents, and times.

use std::collections::HashMap;

use serde_json::{Value, json};
use volttron_utils::json as py;
use volttron_utils::keys::{KeyPair, PublicKey};
use zmq::{Context, Message, PollEvents, PollItem, Socket, SocketType, poll};

use super::process::{PATIENCE, Volttron, until};

/// A bare DEALER.
struct Peer {
    socket: Socket,
    /// Id of the last request it was asked.
    asked: Value,
}

impl Peer {
    fn connect(
        context: &Context,
        platform: &Volttron,
        identity: &str,
        keys: &KeyPair,
        server: &PublicKey,
    ) -> Self {
        let socket = context.socket(SocketType::Dealer).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_identity(identity.as_bytes()).unwrap();
        socket.set_curve_publickey(keys.public.as_bytes()).unwrap();
        socket.set_curve_secretkey(keys.secret.as_bytes()).unwrap();
        socket.set_curve_serverkey(server.as_bytes()).unwrap();
        socket.connect(&platform.address()).unwrap();
        let mut peer = Self { socket, asked: Value::Null };
        peer.send("", "hello", &["hello"]);
        assert_eq!(peer.receive("hello")[5], "welcome");
        peer
    }

    fn send(&mut self, to: &str, subsystem: &str, args: &[&str]) {
        let frames = [to, "VIP1", "", "g1", subsystem];
        let parts: Vec<Message> = frames.iter().chain(args).map(|f| Message::from(f.as_bytes())).collect();
        self.socket.send_multipart(parts, 0).unwrap();
    }

    /// The next message of a subsystem; announcements of other peers are skipped.
    fn receive(&mut self, subsystem: &str) -> Vec<String> {
        until(subsystem, || {
            let mut items = [PollItem::from_socket(&self.socket, PollEvents::IN)];
            assert_eq!(poll(&mut items, Some(PATIENCE)).unwrap(), 1, "nothing arrived");
            let parts = self.socket.recv_multipart(zmq::DONTWAIT).unwrap();
            let text: Vec<String> = parts.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect();
            (text[4] == subsystem).then_some(text)
        })
    }
}

/// The text to compare: times replaced, the id of a request (invented by its sender) taken out.
fn comparable(frame: &str) -> String {
    let mut value: Value = py::from_str(frame).unwrap();
    if value.get("method").is_some() {
        value["id"] = Value::Null;
    }
    if let Some(modified) = value.pointer_mut("/result/modified") {
        assert!(modified.as_str().is_some_and(|m| m.len() == 32 && m.ends_with("+00:00")), "{modified}");
        *modified = json!("T");
    }
    let again = py::to_string(&value).unwrap();
    if value.get("method").is_none() && value.pointer("/result/modified").is_none() {
        assert_eq!(again, frame, "spelled as Python spells it");
    }
    again
}

#[test]
fn the_configuration_store_answers_and_pushes_as_recorded() {
    let steps: Vec<Value> = serde_json::from_str(include_str!("golden/config-store.json")).unwrap();
    let mut platform = Volttron::prepare();
    let rights = [
        ("A", "bench.0000", json!({"edit_config_store": {"identity": "bench.0000"}})),
        ("B", "bench.0001", json!({"edit_config_store": {"identity": "bench.0001"}})),
        ("ADM", "admin", json!({"edit_config_store": {"identity": "/.*/"}})),
    ];
    let mut keys = HashMap::new();
    for (agent, identity, capabilities) in &rights {
        keys.insert(*agent, (*identity, platform.admit(identity, capabilities)));
    }
    platform.launch(&[]);

    let context = Context::new();
    let server = platform.server_key();
    let mut peers: HashMap<&str, Peer> = keys
        .iter()
        .map(|(agent, (identity, pair))| {
            (*agent, Peer::connect(&context, &platform, identity, pair, &server))
        })
        .collect();
    for step in &steps {
        let name = step["step"].as_str().unwrap();
        for message in step["messages"].as_array().unwrap() {
            let text = |i: usize| message[i].as_str().unwrap();
            let peer = peers.get_mut(text(0)).unwrap();
            if text(1) == "recv" {
                let got = peer.receive("RPC");
                assert_eq!(got[0], text(2), "{name}");
                assert_eq!(comparable(&got[5]), comparable(text(3)), "{name}");
                let got: Value = serde_json::from_str(&got[5]).unwrap();
                if got.get("method").is_some() {
                    peer.asked = got["id"].clone();
                }
            } else {
                let mut frame: Value = serde_json::from_str(text(3)).unwrap();
                if frame.get("method").is_none() {
                    frame["id"] = peer.asked.take();
                }
                peer.send(text(2), "RPC", &[&py::to_string(&frame).unwrap()]);
            }
        }
    }
    assert!(
        !platform.file("configuration_store/bench.0001.store").exists(),
        "the last step deleted the store"
    );
}
