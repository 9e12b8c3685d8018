//! The connections of the world: what goes out through them, and the promises that can be checked while it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};

use bytes::Bytes;
use rustc_hash::FxHasher;
use tokio::sync::mpsc;
use volttron_client::link::{LinkEvent, Message};
use volttron_router::{Output, RouterEvent, ServiceId, Unsent, Why};
use volttron_utils::vip::{Frames, typed};

/// Services by number: primary identity and alias. The last one is played by the world.
pub(super) const SERVICES: [(&str, &str); 3] =
    [("platform.auth", ""), ("config.store", "platform.config_store"), ("control", "platform.control")];
/// Number of the service that the world plays.
pub(super) const CONTROL: usize = 2;
/// Messages a connection holds before it is full.
const QUEUE: usize = 12;

/// What a connection sends, in order.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// A message without its sender: `[recipient, VIP1, user, id, subsystem, args..]`.
    Frames(Vec<Bytes>),
    /// The notice that the connection is gone.
    Gone,
}

/// One connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, which occur in every combination")]
pub(super) struct Conn {
    pub identity: String,
    pub key: usize,
    /// The service of the platform that speaks through it.
    pub service: bool,
    pub open: bool,
    /// The name was in use: the socket library drops whatever it says.
    pub mute: bool,
    /// Whether its owner does not read.
    pub frozen: bool,
    pub said: VecDeque<Said>,
    pub heard: VecDeque<Vec<Bytes>>,
    /// Numbers of the publications it must hear, in order.
    pub expected: VecDeque<u64>,
    /// Its idea of who is there, as long as it missed nothing.
    pub peers: Option<BTreeSet<String>>,
    /// How many of the messages it holds are older than what it missed.
    pub stale: usize,
    /// The last number it heard of each publishing connection.
    pub last: BTreeMap<usize, u64>,
}

impl Conn {
    /// Something about who is there did not reach it: what it holds says nothing any more.
    fn miss(&mut self) {
        (self.peers, self.stale) = (None, self.heard.len());
    }
}

/// What was tried for one message during one input.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Primary name.
    pub to: String,
    /// Without the recipient.
    pub frames: Vec<Bytes>,
    pub sent: Result<(), Why>,
}

impl Attempt {
    pub fn is(&self, id: &[u8], subsystem: &str, op: Option<&str>) -> bool {
        let frame = |n: usize| self.frames.get(n).map(Bytes::as_ref);
        frame(3) == Some(id)
            && frame(4) == Some(subsystem.as_bytes())
            && op.is_none_or(|op| frame(5) == Some(op.as_bytes()))
    }
}

/// The outside of the router.
pub(super) struct Wires {
    pub conns: Vec<Conn>,
    /// Who is reached under which name.
    pub routes: BTreeMap<String, usize>,
    /// The rings of the services that run for real.
    pub rings: Vec<mpsc::Sender<LinkEvent>>,
    /// Primary names of everyone announced and not announced as gone.
    pub present: BTreeSet<String>,
    /// Of these, who was found unreachable: nothing may be sent to them any more.
    dead: BTreeSet<String>,
    pub attempts: Vec<Attempt>,
    pub left: BTreeSet<String>,
    pub refused: bool,
    pub quit: bool,
    pub broken: Option<String>,
    pub digest: FxHasher,
}

impl Wires {
    pub fn new() -> Self {
        Self {
            conns: Vec::new(),
            routes: BTreeMap::new(),
            rings: Vec::new(),
            present: BTreeSet::new(),
            dead: BTreeSet::new(),
            attempts: Vec::new(),
            left: BTreeSet::new(),
            refused: false,
            quit: false,
            broken: None,
            digest: FxHasher::default(),
        }
    }

    /// The platform is gone, and with it every connection and what was on its way.
    pub fn restart(&mut self) {
        self.begin();
        self.routes.clear();
        self.rings.clear();
        self.present.clear();
        self.dead.clear();
        for conn in &mut self.conns {
            conn.open = false;
            conn.said.clear();
            conn.heard.clear();
            conn.expected.clear();
        }
    }

    /// Forgets what was noted about the previous input.
    pub fn begin(&mut self) {
        self.attempts.clear();
        self.left.clear();
        (self.refused, self.quit) = (false, false);
    }

    /// Opens a connection, which is mute if its name is in use.
    pub fn connect(&mut self, identity: &str, key: usize, service: bool) -> usize {
        let mute = self.routes.contains_key(identity);
        let at = self.conns.len();
        self.conns.push(Conn {
            identity: identity.to_owned(),
            key,
            service,
            open: true,
            mute,
            frozen: false,
            said: VecDeque::new(),
            heard: VecDeque::new(),
            expected: VecDeque::new(),
            peers: None,
            stale: 0,
            last: BTreeMap::new(),
        });
        if !mute {
            self.routes.insert(identity.to_owned(), at);
        }
        at
    }

    /// Whether the connection of that name takes no more messages.
    pub fn is_full(&self, name: &str) -> bool {
        self.routes.get(name).is_some_and(|at| self.conns[*at].heard.len() >= QUEUE)
    }

    pub fn fail(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// `frames` without the recipient.
    fn attempt(&mut self, to: &str, frames: &[Bytes]) -> Result<(), Why> {
        if !self.present.contains(to) || self.dead.contains(to) {
            self.fail(format!("a message for {to}, who was dropped: {frames:?}"));
        }
        // Not the bytes: some hold the time or a random name, always of the same length.
        (to, frames.len(), frames.iter().map(Bytes::len).collect::<Vec<_>>()).hash(&mut self.digest);
        let sent = self.try_send(to, frames);
        if sent == Err(Why::NoRoute) {
            self.dead.insert(to.to_owned());
        }
        let broadcast =
            frames.len() == 7 && frames[0].is_empty() && frames[4] == "peerlist" && frames[3].is_empty();
        if !broadcast {
            self.attempts.push(Attempt { to: to.to_owned(), frames: frames.to_vec(), sent });
        } else if sent.is_err()
            && let Some(&at) = self.routes.get(to)
        {
            self.conns[at].miss();
        }
        sent
    }

    fn try_send(&mut self, to: &str, frames: &[Bytes]) -> Result<(), Why> {
        if let Some(ring) = SERVICES.iter().position(|(name, _)| *name == to).filter(|n| *n != CONTROL) {
            let message = Message::from_frames(frames.iter().cloned());
            let Ok(message) = message else {
                self.fail(format!("not a message: {frames:?}"));
                return Ok(());
            };
            return self.rings[ring].try_send(LinkEvent::Message(message)).map_err(|_| Why::Full);
        }
        let conn = self.routes.get(to).map(|at| &mut self.conns[*at]).ok_or(Why::NoRoute)?;
        if conn.heard.len() >= QUEUE {
            return Err(Why::Full);
        }
        conn.heard.push_back(frames.to_vec());
        Ok(())
    }
}

/// The primary name of a service.
pub(super) fn primary(name: &str) -> &str {
    SERVICES.iter().find(|(_, alias)| *alias == name).map_or(name, |(primary, _)| primary)
}

impl Output<Bytes> for Wires {
    fn wire(&mut self, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let to = typed::text(&frames[0]).into_owned();
        self.attempt(&to, &frames[1..]).map_err(|why| Unsent { why, frames })
    }

    fn local(&mut self, to: ServiceId, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let (primary, _) = SERVICES[usize::from(to.0)];
        self.attempt(primary, &frames).map_err(|why| Unsent { why, frames })
    }

    fn share(&mut self, frame: &Bytes) -> Bytes {
        frame.clone()
    }

    fn event(&mut self, event: RouterEvent<'_>) {
        match event {
            RouterEvent::PeerAdded { identity } => {
                let name = primary(identity);
                if !self.present.insert(name.to_owned()) && name == identity {
                    self.fail(format!("{name} was added twice"));
                }
            }
            RouterEvent::PeerDropped { identity, .. } => {
                if primary(identity) != identity {
                    return;
                }
                if !self.present.remove(identity) {
                    self.fail(format!("{identity} was dropped but was not there"));
                }
                self.dead.remove(identity);
                self.left.insert(identity.to_owned());
                if let Some(&at) = self.routes.get(identity) {
                    self.conns[at].miss();
                }
            }
            RouterEvent::Refused { .. } | RouterEvent::Malformed { .. } => self.refused = true,
            RouterEvent::Quit => self.quit = true,
            _ => {}
        }
    }
}

/// The fingerprint of what was sent.
pub(super) fn digest(wires: &Wires) -> u64 {
    wires.digest.finish()
}
