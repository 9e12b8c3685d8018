//! Showing passing messages to an operator (`vctl watch`), without ever holding one up.
//!
//! While nobody watches this costs one comparison per message. Each watch has a bounded queue; what does not fit is
//! counted. Frames that look as if they carried a secret are not shown.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;
use tokio::sync::mpsc;
use volttron_router::{Input, Meter};
use volttron_utils::time::{format_timestamp, now_utc};
use volttron_utils::vip::{Frames, typed};

use super::ZmqFrame;

/// Most messages waiting for one watcher.
const QUEUE: usize = 4096;
/// Most watches at a time; a further one replaces the oldest.
pub const WATCHES: usize = 8;
/// Most bytes shown of one frame, and most frames of one message.
const FRAME_BYTES: usize = 2048;
const FRAMES: usize = 16;
/// Words (lower case) that make a frame's contents nobody's business.
const SECRETS: [&[u8]; 3] = [b"secret", b"passw", b"token"];
const LEFT_OUT: &str = "(left out: it may contain a secret)";

/// Which messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFilter {
    /// From or to one of these identities; from and to anybody when empty. The router is the empty identity.
    pub peers: Vec<String>,
    /// Of this subsystem.
    pub subsystem: Option<String>,
    /// Publications on topics that begin so, and nothing else.
    pub topic: Option<String>,
    /// Not from or to this identity: whoever watches is not shown its own questions.
    pub except: Option<String>,
}

/// A message that passed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// When, in the platform's form of timestamps (UTC).
    pub at: String,
    /// Who sent it.
    pub from: String,
    /// Whom it was for; empty for the router.
    pub to: String,
    /// Frame 4.
    pub id: String,
    /// Frame 5.
    pub subsystem: String,
    /// What follows, as text, the beginning of each.
    pub args: Vec<String>,
    /// Size of all frames.
    pub bytes: u64,
    /// What became of it.
    pub outcome: String,
}

/// The operator's end.
#[derive(Debug)]
pub struct Watch {
    seen: mpsc::Receiver<Seen>,
    lost: Arc<AtomicU64>,
}

impl Watch {
    /// Waits for the next message. `None` when the bus is gone or too many others watch.
    pub async fn next(&mut self) -> Option<Seen> {
        self.seen.recv().await
    }

    /// The next message if there is one already.
    pub fn try_next(&mut self) -> Option<Seen> {
        self.seen.try_recv().ok()
    }

    /// Messages not shown because they came faster than they were taken, since the last call.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Relaxed)
    }
}

/// The router thread's end.
pub(crate) struct Watching {
    filter: WatchFilter,
    /// Whether the message that the router has now is to be shown.
    wants_it: bool,
    to: mpsc::Sender<Seen>,
    lost: Arc<AtomicU64>,
}

impl Watching {
    pub(super) fn new(filter: WatchFilter) -> (Self, Watch) {
        let (to, seen) = mpsc::channel(QUEUE);
        let lost = Arc::<AtomicU64>::default();
        (Self { filter, wants_it: false, to, lost: lost.clone() }, Watch { seen, lost })
    }
}

/// All watches.
#[derive(Default)]
pub(super) struct Watches(Vec<Watching>);

impl Watches {
    pub(super) fn add(&mut self, watching: Watching) {
        self.0.retain(|w| !w.to.is_closed());
        if self.0.len() >= WATCHES {
            self.0.remove(0);
        }
        self.0.push(watching);
    }

    /// How many there are.
    pub(super) fn open(&self) -> usize {
        self.0.iter().filter(|watching| !watching.to.is_closed()).count()
    }

    /// What would be shown of this input, before the router takes it. Nothing if nobody wants it.
    pub(super) fn look(&mut self, input: &Input<ZmqFrame>) -> Option<Seen> {
        if self.0.is_empty() {
            return None;
        }
        let Input::Message { frames, .. } = input else { return None };
        let mut wanted = false;
        for watching in &mut self.0 {
            watching.wants_it = watching.filter.wants(frames);
            wanted |= watching.wants_it;
        }
        wanted.then(|| Seen::of(frames))
    }

    /// Shows what [`Self::look`] gave last to everybody who wants it.
    pub(super) fn show(&mut self, mut seen: Seen, before: &Meter, after: &Meter) {
        seen.outcome = outcome(before, after);
        self.0.retain(|watching| {
            if watching.wants_it && watching.to.try_send(seen.clone()).is_err() {
                watching.lost.fetch_add(1, Relaxed);
            }
            !watching.to.is_closed()
        });
    }
}

impl WatchFilter {
    fn wants(&self, frames: &Frames<ZmqFrame>) -> bool {
        let frame = |n: usize| frames.get(n).map_or(&[][..], AsRef::as_ref);
        let (from, to, subsystem) = (typed::text(frame(0)), typed::text(frame(1)), typed::text(frame(5)));
        let topic = (subsystem == "pubsub" && frame(6) == b"publish").then(|| frame(7));
        (self.peers.is_empty() || self.peers.iter().any(|name| *name == from || *name == to))
            && self.except.as_ref().is_none_or(|name| *name != from && *name != to)
            && self.subsystem.as_ref().is_none_or(|wanted| *wanted == subsystem)
            && self
                .topic
                .as_ref()
                .is_none_or(|prefix| topic.is_some_and(|t| t.starts_with(prefix.as_bytes())))
    }
}

impl Seen {
    fn of(frames: &Frames<ZmqFrame>) -> Self {
        let text = |n: usize| frames.get(n).map(|f| shown(f.as_ref())).unwrap_or_default();
        Self {
            at: format_timestamp(now_utc()),
            from: text(0),
            to: text(1),
            id: text(4),
            subsystem: text(5),
            args: frames.iter().skip(6).take(FRAMES).map(|f| contents(f.as_ref())).collect(),
            bytes: frames.iter().map(|f| f.as_ref().len() as u64).sum(),
            outcome: String::new(),
        }
    }
}

fn contents(frame: &[u8]) -> String {
    let secret = |word: &&[u8]| frame.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    if SECRETS.iter().any(secret) { LEFT_OUT.to_owned() } else { shown(frame) }
}

/// The beginning of a frame as text; bytes that are none are shown as Rust would write them.
fn shown(frame: &[u8]) -> String {
    let part = &frame[..frame.len().min(FRAME_BYTES)];
    let mut text = match std::str::from_utf8(part) {
        Ok(text) => text.to_owned(),
        // Cut in the middle of a character.
        Err(e) if frame.len() > FRAME_BYTES && e.error_len().is_none() => {
            String::from_utf8_lossy(&part[..e.valid_up_to()]).into_owned()
        }
        Err(_) => part.escape_ascii().to_string(),
    };
    if frame.len() > FRAME_BYTES {
        let _ = write!(text, "... ({} bytes)", frame.len());
    }
    text
}

/// One of the router's figures.
type Count = fn(&Meter) -> u64;

/// What the router's books say about one message.
fn outcome(before: &Meter, after: &Meter) -> String {
    let grew = |of: Count| of(after) - of(before);
    if grew(|m| m.published) > 0 {
        let lost = grew(|m| m.delivery_full + m.delivery_gone);
        let delivered = format!("delivered to {}", grew(|m| m.delivered));
        return if lost > 0 { format!("{delivered}, lost for {lost}") } else { delivered };
    }
    let words: [(Count, &str); 8] = [
        (|m| m.forwarded, "forwarded"),
        (|m| m.unreachable, "recipient is not connected"),
        (|m| m.queue_full_direct, "recipient's queue is full"),
        (|m| m.refused, "refused: not the sender's identity"),
        (|m| m.malformed, "malformed"),
        (|m| m.publish_denied, "denied: protected topic"),
        (|m| m.not_allowed, "not allowed"),
        (|m| m.bad_requests, "not understood"),
    ];
    let found = words.iter().find(|(of, _)| grew(*of) > 0).map(|(_, word)| *word);
    found.unwrap_or(if grew(|m| m.replies) > 0 { "answered" } else { "taken" }).to_owned()
}

#[cfg(test)]
mod tests {
    use volttron_router::Origin;
    use volttron_utils::vip::Frame;

    use super::*;

    fn message(parts: &[&[u8]]) -> Input<ZmqFrame> {
        let frames = parts.iter().map(|p| ZmqFrame::from_slice(p)).collect();
        Input::Message { from: Origin::Wire, user: None, frames }
    }

    fn publication(topic: &str) -> Input<ZmqFrame> {
        message(&[b"pump", b"", b"VIP1", b"", b"7", b"pubsub", b"publish", topic.as_bytes(), b"{}"])
    }

    fn passes(watches: &mut Watches, input: &Input<ZmqFrame>) {
        if let Some(seen) = watches.look(input) {
            watches.show(seen, &Meter::default(), &Meter { forwarded: 1, ..Meter::default() });
        }
    }

    #[test]
    fn filters() {
        let call = message(&[b"a", b"b", b"VIP1", b"", b"1", b"RPC", b"{}"]);
        let filter = WatchFilter::default;
        for (filter, want_call, want_publication) in [
            (filter(), true, true),
            (WatchFilter { peers: vec!["b".into()], ..filter() }, true, false),
            (WatchFilter { peers: vec!["pump".into(), "x".into()], ..filter() }, false, true),
            (WatchFilter { except: Some("a".into()), ..filter() }, false, true),
            (WatchFilter { subsystem: Some("RPC".into()), ..filter() }, true, false),
            (WatchFilter { topic: Some("devices/".into()), ..filter() }, false, true),
            (WatchFilter { topic: Some("record/".into()), ..filter() }, false, false),
        ] {
            let (mut watches, (watching, mut watch)) = (Watches::default(), Watching::new(filter.clone()));
            watches.add(watching);
            passes(&mut watches, &call);
            assert_eq!(watch.try_next().is_some(), want_call, "{filter:?}");
            passes(&mut watches, &publication("devices/a"));
            assert_eq!(watch.try_next().is_some(), want_publication, "{filter:?}");
        }
    }

    #[test]
    fn a_slow_watcher_loses_and_is_told_and_a_gone_one_costs_nothing() {
        let (mut watches, (watching, mut watch)) =
            (Watches::default(), Watching::new(WatchFilter::default()));
        watches.add(watching);
        for _ in 0..QUEUE + 5 {
            passes(&mut watches, &publication("t"));
        }
        assert_eq!((watch.take_lost(), watch.take_lost()), (5, 0));
        assert_eq!(watch.try_next().map(|s| (s.from, s.outcome)), Some(("pump".into(), "forwarded".into())));
        drop(watch);
        passes(&mut watches, &publication("t"));
        assert!(watches.look(&publication("t")).is_none());
    }

    #[test]
    fn secrets_and_bulk_are_not_shown() {
        let big = vec![b'x'; FRAME_BYTES + 1];
        let input = message(&[
            b"a",
            b"b",
            b"VIP1",
            b"",
            b"1",
            b"RPC",
            br#"{"params": {"secretKey": "k"}}"#,
            &big,
            b"\xff\x01",
        ]);
        let Input::Message { frames, .. } = &input else { unreachable!() };
        let seen = Seen::of(frames);
        assert_eq!(seen.args[0], LEFT_OUT);
        assert!(seen.args[1].ends_with("(2049 bytes)") && seen.args[1].len() < FRAME_BYTES + 30);
        assert_eq!(seen.args[2], "\\xff\\x01");
    }

    #[test]
    fn a_topic_that_sounds_secret_is_still_found() {
        let filter = WatchFilter { topic: Some("devices/token".into()), ..WatchFilter::default() };
        let (mut watches, (watching, mut watch)) = (Watches::default(), Watching::new(filter));
        watches.add(watching);
        passes(&mut watches, &publication("devices/token_counter"));
        assert_eq!(watch.try_next().map(|seen| seen.args[1].clone()), Some(LEFT_OUT.to_owned()));
    }

    #[test]
    fn outcomes() {
        let zero = Meter::default();
        for (after, want) in [
            (Meter { published: 1, delivered: 3, delivery_full: 1, ..zero }, "delivered to 3, lost for 1"),
            (Meter { publish_denied: 1, replies: 1, ..zero }, "denied: protected topic"),
            (Meter { unreachable: 1, replies: 1, ..zero }, "recipient is not connected"),
            (Meter { to_router: 1, replies: 1, ..zero }, "answered"),
            (zero, "taken"),
        ] {
            assert_eq!(outcome(&zero, &after), want);
        }
    }
}
