//! Who may do what, and how much of it.
//!
//! The router asks a [`Policy`] and keeps to [`Limits`]; it knows nothing of keys, files or capabilities.

use thiserror::Error;
use volttron_utils::vip;

/// Decides about identities and protected topics. Asked on the router thread, so it must answer from memory.
pub trait Policy {
    /// Whether a connection that authenticated as `user` may use `identity`: services' identities never, and an
    /// identity bound to a key only with that key (vip.md section 4.2, auth.md section 9.2). The answer is kept
    /// until [`Self::generation`] changes.
    fn admit(&self, identity: &str, user: Option<&str>) -> Result<(), Refusal>;

    /// Whether `identity` may publish on `topic` (subsystems.md section 5.5). A yes is kept until
    /// [`Self::generation`] changes.
    fn publish(&self, identity: &str, topic: &str) -> Result<(), Denied>;

    /// Whether the restrictions of vip.md section 6.2 on `agentstop` and on the auth service's own operations
    /// are lifted (`--open-methods`).
    fn open_methods(&self) -> bool {
        false
    }

    /// Learns that `identity` asked for an operation of the router that is not for it.
    fn refused(&self, identity: &str, operation: &str) {
        let _ = (identity, operation);
    }

    /// Changes whenever an answer may have changed.
    fn generation(&self) -> u64 {
        0
    }
}

/// Why an identity is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It belongs to the platform process itself.
    #[error("the identity belongs to a platform service")]
    ServiceIdentity,
    /// An auth entry gives it to another key.
    #[error("the identity is bound to another key")]
    BoundToOtherKey,
    /// The connection did not authenticate.
    #[error("the connection is not authenticated")]
    NotAuthenticated,
    /// The key has no enabled auth entry any more.
    #[error("the key is not authorised")]
    NotAuthorised,
    /// There are as many peers as the router accepts.
    #[error("too many peers")]
    TooManyPeers,
}

/// Why a publish is refused; both parts go into the text sent to the publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Capabilities the topic requires.
    pub required: Vec<String>,
    /// What the publisher has, as a Python literal, e.g. `{'foo': None}`.
    pub provided_repr: String,
}

/// Admits everyone and protects nothing. For tests and for links in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Policy for AdmitAll {
    fn admit(&self, _identity: &str, _user: Option<&str>) -> Result<(), Refusal> {
        Ok(())
    }
    fn publish(&self, _identity: &str, _topic: &str) -> Result<(), Denied> {
        Ok(())
    }
}

/// What happens to a peer that does not read fast enough. A message for a full queue is always lost and reported
/// to its sender with error 11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Nothing else: the newest messages are lost until it reads again.
    DropNewest,
    /// After this many lost in a row its entry and subscriptions are dropped; its next message adds it again.
    /// Services inside the process are never dropped for it.
    Disconnect {
        /// Lost messages without one delivered in between.
        after: u32,
    },
}

/// Bounds on everything a peer can make the router keep or build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames of one inbound message.
    pub frames: usize,
    /// Bytes of one inbound frame.
    pub frame_bytes: usize,
    /// Peers known at a time, services included.
    pub peers: usize,
    /// Subscriptions of one peer.
    pub subscriptions_per_peer: usize,
    /// Bytes of all prefixes and bus names of one peer's subscriptions.
    pub subscription_bytes_per_peer: usize,
    /// Bytes of a pubsub request that is parsed (everything but a publish).
    pub control_bytes: usize,
    /// Bytes of one answer to pubsub `list`; entries beyond are left out and counted.
    pub list_bytes: usize,
    /// Topics whose subscribers are remembered, per bus.
    pub cached_topics: usize,
    /// What happens to slow peers.
    pub when_full: WhenFull,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frames: vip::MAX_FRAMES,
            frame_bytes: vip::MAX_FRAME_BYTES,
            peers: 10_000,
            subscriptions_per_peer: 10_000,
            subscription_bytes_per_peer: 1024 * 1024,
            control_bytes: 2 * 1024 * 1024,
            list_bytes: 16 * 1024 * 1024,
            cached_topics: 8192,
            when_full: WhenFull::DropNewest,
        }
    }
}
