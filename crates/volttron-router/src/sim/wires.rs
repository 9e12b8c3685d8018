//! The links of the simulated world, and the promises that can be checked while messages go out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};

use bytes::Bytes;
use rustc_hash::FxHasher;
use volttron_utils::vip::{Frames, typed};

use crate::{Output, RouterEvent, ServiceId, Unsent, WhenFull, Why};

/// Services by number: primary identity and alias.
pub(crate) const SERVICES: [(&str, &str); 2] =
    [("control", "platform.control"), ("config.store", "platform.config_store")];

/// Messages a link holds before it is full.
const QUEUE: usize = 4;

/// One connection, or the ring of a service.
#[derive(Default)]
pub(crate) struct Link {
    pub connected: bool,
    pub user: Option<&'static str>,
    /// Whether its owner reads; a frozen one fills up.
    pub frozen: bool,
    queue: VecDeque<()>,
}

impl Link {
    pub fn drain(&mut self) {
        self.queue.clear();
    }
}

/// What was tried for one message during one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub to: String,
    pub frames: Vec<Vec<u8>>,
    pub sent: Result<(), Why>,
}

/// The outside of the router.
pub(crate) struct Wires {
    pub links: BTreeMap<String, Link>,
    /// Primary names of everyone the router announced and has not announced as gone.
    pub present: BTreeSet<String>,
    /// Of these, who was found unreachable or too slow: nothing may be sent to them any more.
    dead: BTreeSet<String>,
    slow_in_a_row: BTreeMap<String, u32>,
    pub when_full: WhenFull,
    /// Everything tried during this input, broadcasts excluded.
    pub attempts: Vec<Attempt>,
    /// How much was tried since the world began, broadcasts included.
    pub attempts_ever: u64,
    /// Who was tried with `add NAME` or `drop NAME` during this input.
    announced: BTreeMap<(String, String), Vec<String>>,
    /// Who must have been tried with `drop NAME` when this input is done.
    owed: BTreeMap<String, BTreeSet<String>>,
    /// Who left during this input.
    pub left: BTreeSet<String>,
    pub refused: bool,
    pub broken: Option<String>,
    pub digest: FxHasher,
}

impl Wires {
    pub fn new(when_full: WhenFull) -> Self {
        Wires {
            links: BTreeMap::new(),
            present: BTreeSet::new(),
            dead: BTreeSet::new(),
            slow_in_a_row: BTreeMap::new(),
            when_full,
            attempts: Vec::new(),
            attempts_ever: 0,
            announced: BTreeMap::new(),
            owed: BTreeMap::new(),
            left: BTreeSet::new(),
            refused: false,
            broken: None,
            digest: FxHasher::default(),
        }
    }

    /// The router is gone, and with it everybody's connection.
    pub fn restart(&mut self) {
        self.begin();
        self.present.clear();
        self.dead.clear();
        self.slow_in_a_row.clear();
        for link in self.links.values_mut() {
            link.connected = false;
            link.drain();
        }
    }

    /// Forgets what was noted about the previous input.
    pub fn begin(&mut self) {
        self.attempts.clear();
        self.announced.clear();
        self.owed.clear();
        self.left.clear();
        self.refused = false;
    }

    /// Checks what can only be checked when an input is done.
    pub fn finish(&mut self) {
        for (name, owed) in std::mem::take(&mut self.owed) {
            let told = self.announced.remove(&("drop".to_owned(), name.clone())).unwrap_or_default();
            // Who left as well during this input may have been gone before its turn.
            let owed = owed.into_iter().filter(|to| told.contains(to) || !self.left.contains(to)).collect();
            self.check_announcement("drop", &name, &told, &owed);
        }
        if let Some(((op, name), _)) = self.announced.pop_first() {
            self.fail(format!("{op} {name} was broadcast without reason"));
        }
        if let Some(name) = self.dead.pop_first() {
            self.fail(format!("{name} was found dead but not dropped"));
        }
    }

    pub fn fail(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Attempts of this input that carry this message id.
    pub fn with_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Attempt> {
        self.attempts
            .iter()
            .filter(move |attempt| attempt.frames.get(3).is_some_and(|frame| frame == id.as_bytes()))
    }

    fn check_announcement(&mut self, op: &str, name: &str, told: &[String], owed: &BTreeSet<String>) {
        let once: BTreeSet<String> = told.iter().cloned().collect();
        if once != *owed || once.len() != told.len() {
            self.fail(format!("{op} {name} went to {told:?}, owed to {owed:?}"));
        }
    }

    /// `frames` without the recipient, as a DEALER receives them.
    fn attempt(&mut self, to: String, frames: &[Bytes]) -> Result<(), Why> {
        if !self.present.contains(&to) || self.dead.contains(&to) {
            self.fail(format!(
                "a message for {to}, present: {:?}, dead: {:?}: {frames:?}",
                self.present, self.dead
            ));
        }
        (&to, frames).hash(&mut self.digest);
        self.attempts_ever += 1;
        let sent = self.try_send(&to);
        let note = match sent {
            Ok(()) => {
                self.slow_in_a_row.remove(&to);
                false
            }
            Err(Why::NoRoute) => true,
            Err(Why::Full) => {
                let lost = self.slow_in_a_row.entry(to.clone()).or_default();
                *lost += 1;
                let service = SERVICES.iter().any(|(primary, _)| *primary == to);
                matches!(self.when_full, WhenFull::Disconnect { after } if !service && *lost >= after)
            }
        };
        if note {
            self.dead.insert(to.clone());
        }
        match frames {
            [sender, _, user, id, subsystem, op, name] if is_broadcast([sender, user, id, subsystem], op) => {
                let key = (typed::text(op).into_owned(), typed::text(name).into_owned());
                self.announced.entry(key).or_default().push(to);
            }
            _ => {
                let frames = frames.iter().map(|frame| frame.to_vec()).collect();
                self.attempts.push(Attempt { to, frames, sent });
            }
        }
        sent
    }

    fn try_send(&mut self, to: &str) -> Result<(), Why> {
        let link = self.links.get_mut(to).filter(|link| link.connected).ok_or(Why::NoRoute)?;
        if link.queue.len() == QUEUE {
            return Err(Why::Full);
        }
        if link.frozen {
            link.queue.push_back(());
        }
        Ok(())
    }

    fn added(&mut self, name: &str) {
        let owed: BTreeSet<String> = self.present.difference(&self.dead).cloned().collect();
        // Who died of this very broadcast was told as well.
        let told = self.announced.remove(&("add".to_owned(), name.to_owned())).unwrap_or_default();
        let owed =
            owed.into_iter().chain(told.iter().filter(|to| self.dead.contains(*to)).cloned()).collect();
        self.check_announcement("add", name, &told, &owed);
        match SERVICES.iter().find(|(primary, alias)| *primary == name || *alias == name) {
            // A service is there once its last name was announced.
            Some((primary, alias)) if *alias == name => {
                self.present.insert((*primary).to_owned());
            }
            Some(_) => {}
            None => {
                if !self.present.insert(name.to_owned()) {
                    self.fail(format!("{name} was added twice"));
                }
                self.slow_in_a_row.remove(name);
            }
        }
    }

    fn dropped(&mut self, name: &str) {
        let primary = SERVICES.iter().find(|(_, alias)| *alias == name).map_or(name, |(primary, _)| primary);
        if primary == name && !self.present.remove(name) {
            self.fail(format!("{name} was dropped but was not there"));
        }
        self.dead.remove(name);
        self.slow_in_a_row.remove(name);
        self.left.insert(name.to_owned());
        let owed = self.present.difference(&self.dead).cloned().collect();
        if self.owed.insert(name.to_owned(), owed).is_some() {
            self.fail(format!("{name} was dropped twice"));
        }
    }
}

fn is_broadcast(empty: [&Bytes; 4], op: &[u8]) -> bool {
    let [sender, user, id, subsystem] = empty;
    sender.is_empty()
        && user.is_empty()
        && id.is_empty()
        && *subsystem == "peerlist"
        && (op == b"add" || op == b"drop")
}

impl Output<Bytes> for Wires {
    fn wire(&mut self, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let to = typed::text(&frames[0]).into_owned();
        self.attempt(to, &frames[1..]).map_err(|why| Unsent { why, frames })
    }

    fn local(&mut self, to: ServiceId, frames: Frames<Bytes>) -> Result<(), Unsent<Bytes>> {
        let (primary, _) = SERVICES[usize::from(to.0)];
        self.attempt(primary.to_owned(), &frames).map_err(|why| Unsent { why, frames })
    }

    fn share(&mut self, frame: &Bytes) -> Bytes {
        frame.clone()
    }

    fn event(&mut self, event: RouterEvent<'_>) {
        match event {
            RouterEvent::PeerAdded { identity } => self.added(identity),
            RouterEvent::PeerDropped { identity, .. } => self.dropped(identity),
            RouterEvent::Refused { .. } | RouterEvent::Malformed { .. } => self.refused = true,
            _ => {}
        }
    }
}

/// The fingerprint of what was sent.
pub(crate) fn digest(wires: &Wires) -> u64 {
    wires.digest.finish()
}
