//! ZAP: libzmq asks who may connect (RFC 27; auth.md section 2).
//!
//! Owns the frames of question and answer and the waiting of refusals. Must never decide (that is the
//! [`Authenticator`]'s) or block (a refusal that has to wait stands in a bounded list while others are answered).

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration, time::Instant};

use smallvec::SmallVec;
use zmq::Message;

/// Where libzmq asks.
pub(super) const ENDPOINT: &str = "inproc://zeromq.zap.01";
/// The domain of every endpoint of the platform (vip.md section 1.1).
pub const DOMAIN: &str = "vip";
/// Most refusals that wait at the same time. Beyond it a refusal is sent at once: the back-off slows down guessing,
/// it does not protect anything by itself.
const MAX_WAITING: usize = 1024;
/// libzmq gives a handshake up after 30 s, an answer later than that reaches nobody.
const MAX_DELAY: Duration = Duration::from_secs(30);
/// How soon a waiting refusal notices that the rules changed.
const RECHECK: Duration = Duration::from_millis(200);

/// What a client presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// Nothing (an endpoint without security).
    Null,
    /// User name and password, as sent.
    Plain {
        /// User name.
        username: &'a [u8],
        /// Password.
        password: &'a [u8],
    },
    /// The client's CURVE public key (raw), which it has proven to own.
    Curve(&'a [u8; 32]),
}

impl Credentials<'_> {
    /// The mechanism as auth.json names it.
    pub const fn mechanism(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Plain { .. } => "PLAIN",
            Self::Curve(_) => "CURVE",
        }
    }
}

/// A connection that wants in. The VIP identity is not known at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZapRequest<'a> {
    /// Domain of the endpoint, `vip`.
    pub domain: &'a str,
    /// Peer address: IP text without port, or `localhost:<uid>:<gid>:<pid>` on ipc.
    pub address: &'a str,
    /// What it presents.
    pub credentials: Credentials<'a>,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZapAnswer {
    /// Let in. `user_id` becomes the `User-Id` property of every message of the connection: the 43-character public
    /// key of a CURVE client, empty for one without.
    Allow {
        /// See above. Text without NUL, at most 255 bytes.
        user_id: String,
    },
    /// Refuse, after `delay`.
    Deny {
        /// How long the refusal waits; at most 30 s count.
        delay: Duration,
    },
}

/// Who decides. Called in the router thread for each new connection: must not block or wait.
pub trait Authenticator: Send + 'static {
    /// Decides about one connection.
    fn decide(&self, request: &ZapRequest<'_>) -> ZapAnswer;

    /// Changes whenever a decision may have changed. Refusals that wait are then decided again, so that a key that is
    /// granted while its owner waits gets in at once.
    fn generation(&self) -> u64 {
        0
    }
}

impl<F: Fn(&ZapRequest<'_>) -> ZapAnswer + Send + 'static> Authenticator for F {
    fn decide(&self, request: &ZapRequest<'_>) -> ZapAnswer {
        self(request)
    }
}

/// Frames of one answer: reply address, empty, version, request id, status, text, user, metadata.
pub(super) type Reply = SmallVec<[Message; 8]>;

/// Counters of the authenticator's door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZapMeter {
    /// Connections let in.
    pub allowed: u64,
    /// Connections refused.
    pub denied: u64,
    /// Questions of a wrong version or shape, never answered.
    pub malformed: u64,
    /// Refusals sent before their time because too many waited.
    pub denied_early: u64,
}

/// The handler: question in, answer out now or later.
pub(super) struct Zap {
    authenticator: Box<dyn Authenticator>,
    waiting: BinaryHeap<Waiting>,
    sequence: u64,
    /// The rules that the waiting refusals were decided by, and when that was last looked at.
    generation: u64,
    looked_at: Option<Instant>,
    pub(super) meter: ZapMeter,
}

/// A refusal that waits for its time. Ordered so that the heap gives the earliest first.
struct Waiting {
    due: Reverse<(Instant, u64)>,
    question: Vec<Message>,
    reply: Reply,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

impl Zap {
    pub(super) fn new(authenticator: Box<dyn Authenticator>) -> Self {
        let generation = authenticator.generation();
        let (waiting, meter) = (BinaryHeap::new(), ZapMeter::default());
        Self { authenticator, waiting, sequence: 0, generation, looked_at: None, meter }
    }

    /// Takes a question; gives the answer if it is to be sent now.
    pub(super) fn ask(&mut self, now: Instant, frames: &[Message]) -> Option<Reply> {
        let Some(request) = parse(frames) else {
            self.meter.malformed += 1;
            return None;
        };
        match self.authenticator.decide(&request) {
            ZapAnswer::Allow { user_id } => {
                self.meter.allowed += 1;
                Some(reply(frames, "200", "SUCCESS", &user_id))
            }
            ZapAnswer::Deny { delay } => {
                self.meter.denied += 1;
                let reply = reply(frames, "400", "FAIL", "");
                if delay.is_zero() {
                    return Some(reply);
                }
                if self.waiting.len() >= MAX_WAITING {
                    self.meter.denied_early += 1;
                    return Some(reply);
                }
                self.sequence += 1;
                let due = Reverse((now + delay.min(MAX_DELAY), self.sequence));
                let question = frames.iter().map(Message::share).collect();
                self.waiting.push(Waiting { due, question, reply });
                self.looked_at.get_or_insert(now);
                None
            }
        }
    }

    /// The next refusal whose time has come, or that is none any more.
    pub(super) fn due(&mut self, now: Instant) -> Option<Reply> {
        self.looked_at = Some(now);
        let generation = self.authenticator.generation();
        if generation != self.generation {
            self.generation = generation;
            self.decide_again(now);
        }
        if self.waiting.peek()?.due.0.0 > now {
            return None;
        }
        self.waiting.pop().map(|w| w.reply)
    }

    /// Grants at once what the new rules grant; everything else goes on waiting as long as it would have.
    fn decide_again(&mut self, now: Instant) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            let answer = parse(&waiting.question).map(|request| self.authenticator.decide(&request));
            if let Some(ZapAnswer::Allow { user_id }) = answer {
                self.meter.denied -= 1;
                self.meter.allowed += 1;
                waiting.reply = reply(&waiting.question, "200", "SUCCESS", &user_id);
                waiting.due = Reverse((now, waiting.due.0.1));
            }
            self.waiting.push(waiting);
        }
    }

    /// When to call [`due`](Self::due) next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.waiting.peek()?.due.0.0;
        Some(self.looked_at.map_or(due, |at| due.min(at + RECHECK)))
    }

    /// Refusals that wait now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// Frames: reply address, empty, `1.0`, request id, domain, address, listener's identity, mechanism, credentials.
fn parse(frames: &[Message]) -> Option<ZapRequest<'_>> {
    let [_, _, version, _, domain, address, _, mechanism, credentials @ ..] = frames else { return None };
    if version.as_bytes() != b"1.0" {
        return None;
    }
    let credentials = match (mechanism.as_bytes(), credentials) {
        (b"NULL", []) => Credentials::Null,
        (b"PLAIN", [username, password]) => Credentials::Plain { username, password },
        (b"CURVE", [key]) => Credentials::Curve(key.as_bytes().try_into().ok()?),
        _ => return None,
    };
    Some(ZapRequest {
        domain: std::str::from_utf8(domain).ok()?,
        address: std::str::from_utf8(address).ok()?,
        credentials,
    })
}

/// Takes any frames as a question, refuses and grants it. Entry for fuzzing.
///
/// # Panics
/// When an answer is not what libzmq expects.
#[doc(hidden)]
pub fn check_zap(frames: &[Message]) {
    for user_id in [None, Some("u".repeat(43))] {
        let decision = match &user_id {
            Some(user_id) => ZapAnswer::Allow { user_id: user_id.clone() },
            None => ZapAnswer::Deny { delay: Duration::ZERO },
        };
        let mut zap = Zap::new(Box::new(move |_: &ZapRequest<'_>| decision.clone()));
        let answer = zap.ask(Instant::now(), frames);
        assert_eq!(answer.is_none(), zap.meter.malformed == 1, "a question is answered or counted");
        assert!(answer.is_none_or(|answer| answer.len() == 8), "an answer has eight frames");
    }
}

fn reply(request: &[Message], status: &'static str, text: &'static str, user_id: &str) -> Reply {
    let echoed = request[..4].iter().map(Message::share);
    echoed.chain([status, text, user_id, ""].into_iter().map(Message::from)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn frames(parts: &[&[u8]]) -> Vec<Message> {
        parts.iter().map(|p| Message::from(*p)).collect()
    }

    fn curve_request(id: &str, key: &[u8]) -> Vec<Message> {
        frames(&[b"conn", b"", b"1.0", id.as_bytes(), b"vip", b"127.0.0.1", b"router", b"CURVE", key])
    }

    fn texts(reply: &Reply) -> Vec<String> {
        reply.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect()
    }

    fn deny_after(ms: u64) -> Zap {
        Zap::new(Box::new(move |_: &ZapRequest<'_>| ZapAnswer::Deny { delay: Duration::from_millis(ms) }))
    }

    #[test]
    fn an_allowed_key_gets_its_user_id() {
        let mut zap = Zap::new(Box::new(|r: &ZapRequest<'_>| {
            assert_eq!((r.domain, r.address), ("vip", "127.0.0.1"));
            assert_eq!(r.credentials, Credentials::Curve(&[7; 32]));
            ZapAnswer::Allow { user_id: "me".into() }
        }));
        let reply = zap.ask(Instant::now(), &curve_request("1", &[7; 32])).expect("answered at once");
        assert_eq!(texts(&reply), ["conn", "", "1.0", "1", "200", "SUCCESS", "me", ""]);
        assert_eq!(zap.meter, ZapMeter { allowed: 1, ..ZapMeter::default() });
    }

    #[test]
    fn every_mechanism_is_read_and_nothing_else() {
        let base: [&[u8]; 7] = [b"c", b"", b"1.0", b"1", b"vip", b"::1", b"r"];
        let ask = |version: &'static [u8], tail: &[&[u8]]| {
            let mut all = base.to_vec();
            all[2] = version;
            all.extend_from_slice(tail);
            parse(&frames(&all)).map(|r| r.credentials.mechanism())
        };
        assert_eq!(ask(b"1.0", &[b"NULL"]), Some("NULL"));
        assert_eq!(ask(b"1.0", &[b"PLAIN", b"u", b"p"]), Some("PLAIN"));
        assert_eq!(ask(b"1.0", &[b"CURVE", &[0; 32]]), Some("CURVE"));
        assert_eq!(ask(b"2.0", &[b"NULL"]), None);
        assert_eq!(ask(b"1.0", &[b"CURVE", &[0; 31]]), None);
        assert_eq!(ask(b"1.0", &[b"CURVE"]), None);
        assert_eq!(ask(b"1.0", &[b"PLAIN", b"u"]), None);
        assert_eq!(ask(b"1.0", &[b"GSSAPI", b"x"]), None);
        assert_eq!(ask(b"1.0", &[]), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn refusals_wait_their_time_in_order_and_others_do_not_wait_for_them() {
        let start = Instant::now();
        let mut zap = deny_after(500);
        assert!(zap.ask(start, &curve_request("1", &[1; 32])).is_none());
        assert!(zap.ask(start + Duration::from_millis(1), &curve_request("2", &[2; 32])).is_none());
        zap.authenticator = Box::new(|_: &ZapRequest<'_>| ZapAnswer::Allow { user_id: String::new() });
        assert!(zap.ask(start, &curve_request("3", &[3; 32])).is_some());
        assert_eq!(zap.next_due(), Some(start + RECHECK), "rules may change while refusals wait");
        assert!(zap.due(start + Duration::from_millis(499)).is_none());
        let later = start + Duration::from_secs(1);
        assert_eq!(texts(&zap.due(later).expect("first"))[3..6], ["1", "400", "FAIL"]);
        assert_eq!(texts(&zap.due(later).expect("second"))[3], "2");
        assert!(zap.due(later).is_none());
        assert_eq!(zap.meter.denied, 2);
    }

    #[test]
    fn new_rules_let_in_who_waits() {
        struct Rules(Arc<AtomicU64>);
        impl Authenticator for Rules {
            fn decide(&self, r: &ZapRequest<'_>) -> ZapAnswer {
                if self.generation() > 0 && r.credentials == Credentials::Curve(&[2; 32]) {
                    return ZapAnswer::Allow { user_id: "two".into() };
                }
                ZapAnswer::Deny { delay: Duration::from_secs(20) }
            }
            fn generation(&self) -> u64 {
                self.0.load(Ordering::Relaxed)
            }
        }
        let (start, generation) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let mut zap = Zap::new(Box::new(Rules(generation.clone())));
        for n in [1, 2] {
            assert!(zap.ask(start, &curve_request(&n.to_string(), &[n; 32])).is_none());
        }
        assert!(zap.due(start + RECHECK).is_none());
        generation.store(1, Ordering::Relaxed);
        let reply = zap.due(start + 2 * RECHECK).expect("granted");
        assert_eq!(texts(&reply)[3..7], ["2", "200", "SUCCESS", "two"]);
        assert!(zap.due(start + 3 * RECHECK).is_none());
        assert_eq!((zap.meter.allowed, zap.meter.denied, zap.waiting()), (1, 1, 1));
        assert_eq!(texts(&zap.due(start + Duration::from_secs(20)).expect("refused"))[3..5], ["1", "400"]);
    }

    #[test]
    fn the_waiting_list_is_bounded() {
        let now = Instant::now();
        let mut zap = deny_after(1000);
        let at_once =
            (0..MAX_WAITING + 5).filter(|_| zap.ask(now, &curve_request("x", &[1; 32])).is_some()).count();
        assert_eq!((at_once, zap.waiting(), zap.meter.denied_early), (5, MAX_WAITING, 5));
    }

    #[test]
    fn a_delay_beyond_the_handshake_is_cut() {
        let now = Instant::now();
        let mut zap = deny_after(100_000);
        zap.ask(now, &curve_request("x", &[1; 32]));
        assert!(zap.due(now + Duration::from_millis(29_999)).is_none());
        assert!(zap.due(now + MAX_DELAY).is_some());
    }

    #[test]
    fn nonsense_is_counted_and_not_answered() {
        let mut zap = deny_after(0);
        assert!(zap.ask(Instant::now(), &frames(&[b"x"])).is_none());
        assert_eq!(zap.meter.malformed, 1);
    }
}
