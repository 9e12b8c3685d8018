//! What can happen to the router.

use std::fmt;

use bytes::Bytes;
use volttron_utils::vip::Frames;

use crate::query::RouterFacts;

/// A platform service connected inside the process; numbers are given out by whoever attaches services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u16);

/// Where a message came from. Only this decides who may speak as a platform service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A socket; frame 0 is the identity the socket library vouches for.
    Wire,
    /// An in-process service; frame 0 is its identity or one of its aliases.
    Local(ServiceId),
}

/// What a connection authenticated as: the text the authenticator put into its metadata, here the 43 characters
/// of a public key. Inline and `Copy`, because it comes with every message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserId {
    len: u8,
    bytes: [u8; UserId::MAX_BYTES],
}

impl UserId {
    /// Longest text taken.
    pub const MAX_BYTES: usize = 64;

    /// `None` for the empty text (not authenticated) and for texts no authenticator of ours writes.
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return None;
        }
        let mut bytes = [0; Self::MAX_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(UserId { len: text.len() as u8, bytes })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // It was text when it came in and is never written to.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", self.as_str())
    }
}

/// One event for [`crate::Router::handle`].
#[derive(Debug)]
pub enum Input<F> {
    /// A message arrived: `[sender, recipient, VIP1, user, id, subsystem, args..]`.
    Message {
        /// Where from.
        from: Origin,
        /// What the connection authenticated as; `None` without authentication and for local services.
        user: Option<UserId>,
        /// All its frames.
        frames: Frames<F>,
    },
    /// A connection closed. Unknown identities are ignored, so reporting twice does no harm.
    PeerGone {
        /// Its identity.
        identity: Bytes,
    },
    /// The platform wants something.
    Control(Control),
    /// Time passes; to be sent about once a second. Peers that the policy no longer admits are dropped here.
    Tick,
}

/// What the platform may want from its router.
#[derive(Clone, Debug)]
pub enum Control {
    /// An in-process service becomes a peer under its identity and all aliases (vip.md section 4.2).
    AttachService {
        /// Its number from now on.
        id: ServiceId,
        /// Primary (9.x) identity.
        identity: String,
        /// Further identities it answers under.
        aliases: Vec<String>,
    },
    /// The service is gone.
    DetachService(ServiceId),
    /// Facts for `hello` and `query` answers.
    Info(Box<RouterFacts>),
    /// Drop a peer as if it had sent `agentstop`.
    DropPeer(String),
    /// Start (resetting) or stop the per-name statistics of platform-internals.md section 5.
    StatsEnable(bool),
    /// Ignore everything from now on. Drops are not announced: the platform is going away.
    Shutdown,
}
