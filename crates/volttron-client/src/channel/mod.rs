//! Channels: opaque datagrams of several frames between two agents (subsystems.md section 7).
//!
//! Owns the table of open channels, their names and bounds, and what happens to datagrams nobody waits for. There is no
//! set-up message and no acknowledgement: both sides agree on a name by other means, usually a call. Must never look
//! into a datagram.
//!
//! Bounds: a sender waits for room in the link's queue ([`crate::Meter::channel_waits`] counts). What arrives waits in the
//! channel's own queue; the bus knows no way to hold the other side back, so past its bound datagrams are dropped
//! ([`crate::Meter::channel_overruns`]) and the receiver reads [`ChannelError::Overrun`] at the place of the gap.

mod queue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use volttron_utils::vip::{self, VipError, subsystem, typed};

use crate::link::Message;
use crate::{CallError, Cx};
use queue::Queue;

/// The frames of one message, without the channel's name.
pub type Datagram = Vec<Bytes>;

/// What random names are made of. Only the 52 letters come first, so that no name reads as a number.
pub const NAME_ALPHABET: &[u8; 63] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
/// Length of a random name, as in Python.
const NAME_LEN: usize = 30;
/// How often datagrams for channels that are not open may be logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Why a channel cannot be opened, or has a gap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// This agent has that channel open already.
    #[error("channel '{name}' to '{peer}' is open already")]
    Taken {
        /// The other side.
        peer: String,
        /// The channel.
        name: String,
    },
    /// The name or the peer cannot travel.
    #[error("channel name {name:?} cannot be used with peer {peer:?}: {why}")]
    BadName {
        /// The other side.
        peer: String,
        /// The channel.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Datagrams were dropped here, because nobody read them in time.
    #[error("datagrams were dropped: more than {datagrams} of them or {bytes} bytes were waiting to be read")]
    Overrun {
        /// The bound, in datagrams.
        datagrams: usize,
        /// The bound, in bytes.
        bytes: usize,
    },
    /// The other side did not get a datagram: it is not on the bus.
    #[error("'{peer}' is not connected to the platform and misses datagrams")]
    Unreachable {
        /// The other side.
        peer: String,
    },
    /// The other side did not get a datagram: its queue at the router is full.
    #[error("'{peer}' does not keep up and misses datagrams")]
    PeerFull {
        /// The other side.
        peer: String,
    },
    /// The connection to the platform broke; datagrams under way, in either direction, may be lost.
    #[error("the connection to the platform broke; datagrams may be lost")]
    Interrupted,
}

type Key = (Bytes, Bytes);

/// The channels of one agent, by peer and name.
#[derive(Debug, Default)]
pub(crate) struct State {
    open: Mutex<HashMap<Key, Arc<Queue>>>,
    last_logged: Mutex<Option<Instant>>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Queue>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link is down: what was under way is lost.
    pub(crate) fn interrupt(&self) {
        for queue in self.lock().values() {
            queue.push_gap(ChannelError::Interrupted);
        }
    }

    /// The agent ends.
    pub(crate) fn close(&self) {
        for (_, queue) in self.lock().drain() {
            queue.close();
        }
    }

    /// True once per [`LOG_EVERY`].
    fn may_log(&self) -> bool {
        let mut last = self.last_logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = last.is_none_or(|at| now.duration_since(at) >= LOG_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

impl Cx {
    /// Opens a channel to `peer` under a random name, to be told to the other side.
    pub fn channel(&self, peer: &str) -> Result<Channel, ChannelError> {
        self.channel_named(peer, &random_name())
    }

    /// Opens the channel `name` to `peer`. Both sides open it; what arrives before is dropped. Names of letters, digits
    /// and `_` are safe with every peer.
    pub fn channel_named(&self, peer: &str, name: &str) -> Result<Channel, ChannelError> {
        let key = (frame(peer, name, peer)?, frame(peer, name, name)?);
        let queue = Arc::new(Queue::default());
        let mut open = self.0.channels.lock();
        if open.contains_key(&key) {
            return Err(ChannelError::Taken { peer: peer.to_owned(), name: name.to_owned() });
        }
        if self.is_shutting_down() {
            queue.close();
        }
        open.insert(key.clone(), queue.clone());
        Ok(Channel { cx: self.clone(), peer: peer.to_owned(), name: name.to_owned(), key, queue })
    }

    /// Takes a channel message: a datagram for an open channel.
    pub(crate) fn on_channel(&self, message: &Message) {
        let Some((name, datagram)) = message.args.split_first() else {
            self.0.meter.malformed.add(1);
            return;
        };
        let queue = self.0.channels.lock().get(&(message.peer.clone(), name.clone())).cloned();
        match queue {
            Some(queue) if queue.push(datagram.to_vec()) => {}
            Some(_) => self.0.meter.channel_overruns.add(1),
            None => {
                self.0.meter.channel_unknown.add(1);
                if self.0.channels.may_log() {
                    let (peer, name) = (message.peer_str(), typed::text(name));
                    let dropped = self.0.meter.channel_unknown.get();
                    tracing::warn!(
                        "no channel {name:?} to '{peer}' is open; {dropped} datagrams dropped so far"
                    );
                }
            }
        }
    }

    /// Takes an error that answers a datagram: those carry no id, so every channel to that peer has a gap. True if there
    /// is one.
    pub(crate) fn on_channel_error(&self, error: &VipError) -> bool {
        let peer = || error.peer.clone();
        let gap = match error.errno {
            vip::EHOSTUNREACH => ChannelError::Unreachable { peer: peer() },
            vip::EAGAIN => ChannelError::PeerFull { peer: peer() },
            _ => return false,
        };
        let mut any = false;
        for ((to, _), queue) in self.0.channels.lock().iter() {
            if typed::text(to) == error.peer {
                queue.push_gap(gap.clone());
                any = true;
            }
        }
        any
    }
}

fn random_name() -> String {
    let mut name = String::with_capacity(NAME_LEN);
    while name.len() < NAME_LEN {
        for byte in uuid::Uuid::new_v4().into_bytes() {
            let letters = if name.is_empty() { 52 } else { NAME_ALPHABET.len() };
            // Every letter equally likely: bytes past the largest multiple are passed over.
            let at = usize::from(byte);
            if at < 256 / letters * letters && name.len() < NAME_LEN {
                name.push(char::from(NAME_ALPHABET[at % letters]));
            }
        }
    }
    name
}

/// `text` as a frame that every hop leaves as it is.
fn frame(peer: &str, name: &str, text: &str) -> Result<Bytes, ChannelError> {
    let bad = |why| ChannelError::BadName { peer: peer.to_owned(), name: name.to_owned(), why };
    if text.is_empty() {
        return Err(bad("neither may be empty"));
    }
    if text.len() > vip::MAX_IDENTITY_BYTES {
        return Err(bad("255 bytes are the most"));
    }
    if typed::is_json_like(text) {
        return Err(bad("what reads as JSON is changed by Python peers"));
    }
    typed::latin1(text).map(Bytes::from).ok_or_else(|| bad("it has characters outside ISO-8859-1"))
}

/// One end of a channel. Dropping it closes this end; the other side is not told.
#[derive(Debug)]
pub struct Channel {
    cx: Cx,
    peer: String,
    name: String,
    key: Key,
    queue: Arc<Queue>,
}

impl Channel {
    /// The other side.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The name both sides agreed on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a datagram, waiting for room in the link's queue. That the other side got it is for the two to find out;
    /// what the router reports about it comes out of [`Channel::recv`].
    ///
    /// A Python peer changes frames that read as JSON, such as one of digits only; bytes that do not survive.
    pub async fn send(&self, datagram: Datagram) -> Result<(), CallError> {
        let mut message = Message::new(self.key.0.clone(), subsystem::CHANNEL).arg(self.key.1.clone());
        message.args.extend(datagram);
        if !self.cx.connected() {
            return Err(CallError::Disconnected);
        }
        if self.cx.raw_send_counted(message).await? {
            self.cx.0.meter.channel_waits.add(1);
        }
        Ok(())
    }

    /// The next datagram in order of arrival, or what kept datagrams from arriving; the channel goes on after that. None
    /// when the agent ended. May be cancelled at any time without losing one.
    pub async fn recv(&mut self) -> Option<Result<Datagram, ChannelError>> {
        self.queue.next().await
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.cx.0.channels.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_random_and_safe() {
        let names: std::collections::HashSet<String> = (0..200).map(|_| random_name()).collect();
        assert_eq!(names.len(), 200);
        for name in names {
            assert_eq!(name.len(), NAME_LEN);
            assert!(name.bytes().all(|b| NAME_ALPHABET.contains(&b)), "{name}");
            assert!(!name.starts_with(|c: char| c.is_ascii_digit()), "{name}");
            assert!(frame("p", &name, &name).is_ok());
        }
    }

    #[test]
    fn names_that_cannot_travel_are_refused() {
        let long = "x".repeat(256);
        for bad in ["", "12", "true", "[1]", "\u{20ac}", &long] {
            assert!(matches!(frame("p", bad, bad), Err(ChannelError::BadName { .. })), "{bad}");
        }
        // What a Python side may have made up.
        assert!(frame("p", "a b\"é!", "a b\"é!").is_ok());
    }
}
