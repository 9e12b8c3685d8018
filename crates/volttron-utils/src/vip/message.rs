//! A VIP message as the DEALER socket of an agent sees it.

use std::borrow::Cow;

use bytes::Bytes;
use thiserror::Error;

use super::{Frames, MAX_FRAMES, PROTO, typed};

/// `[peer, VIP1, user, id, subsystem, args..]`: received, `peer` is the sender (empty = the router); sent, it is
/// the destination (vip.md section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The other end's identity; empty is the router itself.
    pub peer: Bytes,
    /// On receipt the sender's identity as the router vouches for it; left empty on sending.
    pub user: Bytes,
    /// Opaque correlation id, echoed by whoever answers.
    pub id: Bytes,
    /// Subsystem name, see [`super::subsystem`].
    pub subsystem: Bytes,
    /// The frames after the subsystem.
    pub args: Vec<Bytes>,
}

/// Why frames are not a VIP message (vip.md section 2: a local protocol error).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadMessage {
    /// Fewer than the five frames peer, signature, user, id and subsystem.
    #[error("too few frames: {0}, a message has at least 5")]
    TooFew(usize),
    /// More frames than any message has.
    #[error("too many frames")]
    TooMany,
    /// The second frame is not `VIP1`.
    #[error("bad VIP signature")]
    BadSignature,
}

impl Message {
    /// A message to `peer` with empty user and id and no arguments.
    pub fn new(peer: impl Into<Bytes>, subsystem: impl Into<Bytes>) -> Self {
        Message { peer: peer.into(), subsystem: subsystem.into(), ..Message::default() }
    }

    /// Sets the correlation id. Ids that parse as JSON are changed by Python peers (vip.md section 3.4).
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Bytes>) -> Self {
        self.id = id.into();
        self
    }

    /// Appends one argument frame.
    #[must_use]
    pub fn arg(mut self, frame: impl Into<Bytes>) -> Self {
        self.args.push(frame.into());
        self
    }

    /// Reads the frames of a DEALER. A peer listing may be long, so the bound is far above what is accepted from
    /// peers: a listing carries one frame per peer.
    pub fn from_frames(frames: impl IntoIterator<Item = Bytes>) -> Result<Self, BadMessage> {
        const MOST: usize = MAX_FRAMES * 1024;
        let mut frames = frames.into_iter();
        let mut seen = 0;
        let mut next = || {
            let frame = frames.next().ok_or(BadMessage::TooFew(seen));
            seen += 1;
            frame
        };
        let peer = next()?;
        let proto = next()?;
        if proto.as_ref() != PROTO {
            return Err(BadMessage::BadSignature);
        }
        let (user, id, subsystem) = (next()?, next()?, next()?);
        let mut args = Vec::new();
        for frame in frames {
            if args.len() == MOST {
                return Err(BadMessage::TooMany);
            }
            args.push(frame);
        }
        Ok(Message { peer, user, id, subsystem, args })
    }

    /// The frames to put on a DEALER socket.
    pub fn into_frames(self) -> Frames<Bytes> {
        let mut frames = Frames::with_capacity(5 + self.args.len());
        frames.extend([self.peer, Bytes::from_static(PROTO), self.user, self.id, self.subsystem]);
        frames.extend(self.args);
        frames
    }

    /// The answer to this message: to its sender, with the same id and subsystem, user cleared (vip.md 4.3).
    #[must_use]
    pub fn reply(&self, args: Vec<Bytes>) -> Message {
        Message {
            peer: self.peer.clone(),
            user: Bytes::new(),
            id: self.id.clone(),
            subsystem: self.subsystem.clone(),
            args,
        }
    }

    /// The other end's identity as text.
    pub fn peer_str(&self) -> Cow<'_, str> {
        typed::text(&self.peer)
    }
    /// The user frame as text.
    pub fn user_str(&self) -> Cow<'_, str> {
        typed::text(&self.user)
    }
    /// The correlation id as text.
    pub fn id_str(&self) -> Cow<'_, str> {
        typed::text(&self.id)
    }
    /// The subsystem name as text.
    pub fn subsystem_str(&self) -> Cow<'_, str> {
        typed::text(&self.subsystem)
    }
    /// Argument `n` as text, `None` if there are fewer.
    pub fn arg_str(&self, n: usize) -> Option<Cow<'_, str>> {
        self.args.get(n).map(|frame| typed::text(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(parts: &[&'static str]) -> Vec<Bytes> {
        parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect()
    }

    #[test]
    fn round_trip_keeps_every_frame() {
        let parts = ["bob", "VIP1", "alice", "i1", "RPC", "{}", ""];
        let message = Message::from_frames(frames(&parts)).expect("well formed");
        assert_eq!(message.user_str(), "alice");
        assert_eq!(message.arg_str(0).as_deref(), Some("{}"));
        assert_eq!(message.into_frames().to_vec(), frames(&parts));
    }

    #[test]
    fn malformed_frames_are_named() {
        for (parts, why) in [
            (&[][..], BadMessage::TooFew(0)),
            (&["", "VIP1", "", "x"][..], BadMessage::TooFew(4)),
            (&["", "VIP2", "", "x", "hello"][..], BadMessage::BadSignature),
        ] {
            assert_eq!(Message::from_frames(frames(parts)), Err(why), "{parts:?}");
        }
    }

    #[test]
    fn a_reply_goes_back_with_the_same_id_and_no_user() {
        let message =
            Message::from_frames(frames(&["bob", "VIP1", "bob", "i1", "ping", "ping", "x"])).expect("ok");
        let reply = message.reply(frames(&["pong", "x"]));
        assert_eq!(reply.into_frames().to_vec(), frames(&["bob", "VIP1", "", "i1", "ping", "pong", "x"]));
    }
}
