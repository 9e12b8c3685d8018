//! What the router reports besides messages: for logs, counters and the platform's own bookkeeping.

use crate::Refusal;

/// Something that happened inside [`crate::Router::handle`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RouterEvent<'a> {
    /// A peer spoke for the first time, or a service was attached.
    PeerAdded {
        /// Its identity.
        identity: &'a str,
    },
    /// A peer left; reported once per name, like the `drop` broadcast.
    PeerDropped {
        /// Its identity.
        identity: &'a str,
        /// What made the router drop it.
        why: DropReason,
    },
    /// A message was dropped because its sender may not use that identity.
    Refused {
        /// The identity it presented.
        identity: &'a str,
        /// Why not.
        why: Refusal,
    },
    /// A message was dropped because it is not a VIP message.
    Malformed {
        /// Who sent it, as far as known.
        sender: &'a str,
        /// What is wrong with it.
        why: Malformed,
    },
    /// A message could not be forwarded: its recipient is not connected.
    Unroutable {
        /// Who sent it.
        sender: &'a str,
        /// Who it was for.
        recipient: &'a str,
    },
    /// A message was lost because its recipient does not read fast enough.
    QueueFull {
        /// Who it was for.
        peer: &'a str,
        /// How many that peer has lost since it connected.
        dropped_total: u64,
    },
    /// A publish to a protected topic was refused.
    PublishDenied {
        /// Who published.
        identity: &'a str,
        /// On which topic.
        topic: &'a str,
    },
    /// A request only the platform's own services may make was ignored.
    NotAllowed {
        /// Who asked.
        identity: &'a str,
        /// What for, e.g. `agentstop`.
        operation: &'a str,
    },
    /// The control service asked for the platform to stop (`quit`).
    Quit,
}

/// Why a peer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its connection closed.
    Disconnected,
    /// A send found nobody there.
    Unreachable,
    /// It said that it stops, or the control service did.
    AgentStop,
    /// The platform asked for it.
    Asked,
    /// The policy no longer admits it.
    NotAdmitted,
    /// It lost too many messages in a row ([`crate::WhenFull::Disconnect`]).
    TooSlow,
    /// Its identity now belongs to a service of the platform.
    Replaced,
}

impl DropReason {
    /// For log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Disconnected => "disconnected",
            DropReason::Unreachable => "unreachable",
            DropReason::AgentStop => "agent stopped",
            DropReason::Asked => "dropped by the platform",
            DropReason::NotAdmitted => "no longer authorised",
            DropReason::TooSlow => "too slow",
            DropReason::Replaced => "identity taken over by a service",
        }
    }
}

/// What is wrong with a message. Texts of the first three are those of the router statistics
/// (platform-internals.md section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer than six frames.
    TooFewFrames,
    /// The third frame is not `VIP1`.
    BadSignature,
    /// `[identity, ""]`: a probe, or the socket library's notice that a peer is gone.
    RouterProbe,
    /// More frames than accepted.
    TooManyFrames,
    /// A frame larger than accepted.
    FrameTooBig,
    /// Frame 0 is not an identity a peer may have, or not the sending service's.
    BadIdentity,
}

impl Malformed {
    /// The name under which it is counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Malformed::TooFewFrames => "too few frames",
            Malformed::BadSignature => "bad VIP signature",
            Malformed::RouterProbe => "router probe",
            Malformed::TooManyFrames => "too many frames",
            Malformed::FrameTooBig => "frame too big",
            Malformed::BadIdentity => "bad identity",
        }
    }
}
