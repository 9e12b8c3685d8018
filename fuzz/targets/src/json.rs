//! Bytes as documents: in pubsub requests and in RPC frames.

use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use volttron_router::{AdmitAll, Input, Limits, Origin, Output, Router, RouterEvent, ServiceId, Unsent};
use volttron_utils::json;
use volttron_utils::jsonrpc::{self, Batch, Incoming};
use volttron_utils::vip::Frames;

/// Keeps the bodies of deliveries.
#[derive(Default)]
struct Bodies(Vec<Bytes>);

impl Output<Bytes> for Bodies {
    fn wire(&mut self, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        if let [_, _, _, _, _, _, op, _, body] = &frames[..] {
            self.0.extend((op == "publish").then(|| body.clone()));
        }
        Ok(())
    }
    fn local(&mut self, _: ServiceId, _: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        Ok(())
    }
    fn share(&mut self, frame: &Bytes) -> Bytes {
        frame.clone()
    }
    fn event(&mut self, _: RouterEvent<'_>) {}
}

/// The bytes as the document of every pubsub operation. A delivered body holds what parsing the published one
/// gives.
pub fn pubsub_json(data: &[u8]) {
    let mut router: Router<Bytes, AdmitAll> = Router::new(AdmitAll, Limits::default());
    let mut bodies = Bodies::default();
    let now = Instant::now();
    let mut send = |args: &[&[u8]]| {
        let frames = [&[&b"alice"[..], b"", b"VIP1", b"", b"i", b"pubsub"], args].concat();
        let frames = frames.into_iter().map(Bytes::copy_from_slice).collect();
        router.handle(now, Input::Message { from: Origin::Wire, user: None, frames }, &mut bodies);
    };
    for op in [&b"subscribe"[..], b"list", b"unsubscribe", b"external_list"] {
        send(&[op, data]);
    }
    send(&[b"synchronize", b"connected", data]);
    send(&[b"subscribe", b"{\"prefix\": \"\", \"bus\": \"\"}"]);
    send(&[b"publish", b"topic", data]);
    send(&[b"publish", data, b"{\"bus\": \"\", \"headers\": {}, \"message\": 1}"]);
    let published: Option<Value> = json::from_latin1(data).ok();
    for body in bodies.0 {
        let delivered: Value = json::from_latin1(&body).expect("a delivery is a document");
        assert_eq!(delivered["sender"], "alice");
        if delivered["message"] != 1 {
            let published = published.as_ref().expect("only documents are delivered");
            for member in ["bus", "headers", "message"] {
                assert_eq!(published.get(member), delivered.get(member), "{member}");
            }
        }
    }
}

/// The bytes as an RPC frame. What is understood can be written and is understood again.
pub fn rpc_json(data: &[u8]) {
    let parsed: Result<Value, _> = json::from_latin1(data);
    assert_eq!(json::is_json(data), parsed.is_ok(), "scanner and parser agree: {parsed:?}");
    let written = match jsonrpc::parse(data) {
        Batch::Single(one) => write(one),
        Batch::Many(list) => list.into_iter().fold(Vec::new(), |mut all, one| {
            all.extend(write(one));
            all
        }),
    };
    for (value, text) in written {
        let again: Value = json::from_str(&text).expect("what is written can be read");
        assert!(text.is_ascii(), "the wire is ASCII");
        assert_eq!(again, value);
    }
}

fn write(one: Incoming) -> Vec<(Value, String)> {
    let value = match one {
        Incoming::Request(request) => request.into_value(),
        Incoming::Response(response) | Incoming::Invalid(response) => response.into_value(),
        Incoming::Ignored => return Vec::new(),
    };
    let text = json::to_string(&value).expect("values can be written");
    vec![(value, text)]
}
