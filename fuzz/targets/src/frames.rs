//! Bytes as messages to a router with some peers, some of which cannot be reached.

use std::time::Instant;

use bytes::Bytes;
use volttron_router::{
    AdmitAll, Control, Input, Limits, Origin, Output, Router, RouterEvent, ServiceId, Unsent, Why,
};
use volttron_utils::vip::Frames;

/// Takes everything, except what is for `gone` or `full`.
struct Sink {
    sent: u64,
}

impl Sink {
    fn take(&mut self, to: &[u8], frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let why = match to {
            b"gone" => Why::NoRoute,
            b"full" => Why::Full,
            _ => {
                self.sent += 1;
                return Ok(());
            }
        };
        Err(Unsent { why, frames })
    }
}

impl Output<Bytes> for Sink {
    fn wire(&mut self, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        assert!(frames.len() >= 6, "what goes out is a VIP message");
        let to = frames[0].clone();
        self.take(&to, frames)
    }
    fn local(&mut self, _: ServiceId, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        assert!(frames.len() >= 5, "what goes out is a VIP message");
        self.take(b"", frames)
    }
    fn share(&mut self, frame: &Bytes) -> Bytes {
        frame.clone()
    }
    fn event(&mut self, event: RouterEvent<'_>) {
        assert!(event != RouterEvent::Quit, "nobody here may stop the platform");
    }
}

/// Messages, each a sender byte, a number of frames, and the frames, each with one byte of length in front. Senders
/// and frames below 16 stand for words a router knows, so that the fuzzer finds its way in.
pub fn frames(data: &[u8]) {
    let mut router: Router<Bytes, AdmitAll> =
        Router::new(AdmitAll, Limits { control_bytes: 4096, ..Limits::default() });
    let mut sink = Sink { sent: 0 };
    let now = Instant::now();
    let aliases = vec!["platform.config_store".to_owned()];
    let attach = Control::AttachService { id: ServiceId(0), identity: "config.store".to_owned(), aliases };
    router.handle(now, Input::Control(attach), &mut sink);
    router.handle(now, Input::Control(Control::StatsEnable(true)), &mut sink);
    for peer in ["alice", "bob", "gone", "full"] {
        let hello = [peer, "", "VIP1", "", "", "pubsub", "subscribe", "{\"prefix\": \"a\", \"bus\": \"\"}"];
        let frames = hello.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect();
        router.handle(now, Input::Message { from: Origin::Wire, user: None, frames }, &mut sink);
    }
    let mut rest = data;
    while let Some((&kind, more)) = rest.split_first() {
        rest = more;
        let input = match kind {
            0 => Input::PeerGone { identity: frame(&mut rest) },
            1 => Input::Tick,
            kind => {
                let from = if kind == 2 { Origin::Local(ServiceId(0)) } else { Origin::Wire };
                let count = usize::from(rest.first().copied().unwrap_or(0)) % 70;
                rest = rest.get(1..).unwrap_or_default();
                Input::Message { from, user: None, frames: (0..count).map(|_| frame(&mut rest)).collect() }
            }
        };
        router.handle(now, input, &mut sink);
        assert!(router.meter().adds_up(), "{:?}", router.meter());
    }
    assert!(router.stats().is_object());
}

fn frame(rest: &mut &[u8]) -> Bytes {
    const WORDS: [&str; 15] = [
        "",
        "VIP1",
        "alice",
        "bob",
        "pubsub",
        "publish",
        "subscribe",
        "unsubscribe",
        "synchronize",
        "connected",
        "hello",
        "peerlist",
        "list",
        "agentstop",
        "config.store",
    ];
    let Some((&first, more)) = rest.split_first() else { return Bytes::new() };
    *rest = more;
    if let Some(word) = WORDS.get(usize::from(first)) {
        return Bytes::from_static(word.as_bytes());
    }
    let len = (usize::from(first) - WORDS.len()).min(rest.len());
    let (bytes, after) = rest.split_at(len);
    *rest = after;
    Bytes::copy_from_slice(bytes)
}
