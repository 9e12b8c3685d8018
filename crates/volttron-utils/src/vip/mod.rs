//! Frames and messages of the VIP protocol (vip.md sections 2, 3 and 6.4).
//!
//! Owns: the [`Frame`] abstraction over socket libraries, the layout of a [`Message`] as an agent sees it, the
//! meaning of [`typed`] values, and [`VipError`]. Must never send, route or log anything, and never rewrites a
//! frame: values are read out of the bytes, the bytes stay as they came.

mod error;
mod message;
pub mod typed;

pub use error::{
    EAGAIN, EAGAIN_TEXT, EHOSTUNREACH, EHOSTUNREACH_TEXT, EPROTONOSUPPORT, EPROTONOSUPPORT_TEXT, VipError,
};
pub use message::{BadMessage, Message};

use bytes::Bytes;
use smallvec::SmallVec;

/// The signature every VIP message carries right after the address frames.
pub const PROTO: &[u8] = b"VIP1";

/// Protocol generation offered by `--describe`; compatibility between running programs depends on this number
/// alone, never on crate versions.
pub const PROTOCOL: u32 = 1;

/// Most frames a router accepts in one message (platform-internals.md section 7). Messages it sends may have
/// more: a peer listing carries one frame per peer.
pub const MAX_FRAMES: usize = 64;

/// Most bytes of one frame (platform-internals.md section 7).
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

/// Longest identity that can appear on the wire, in bytes (vip.md section 4.1).
pub const MAX_IDENTITY_BYTES: usize = 255;

/// One part of a multipart message, whatever library owns its memory.
///
/// Implemented for [`Bytes`] (links inside the process, agents) and `Vec<u8>` (tests); the server wraps the
/// socket library's message in a type of its own.
pub trait Frame: AsRef<[u8]> + Send + 'static {
    /// A frame holding a copy of `bytes`.
    fn from_slice(bytes: &[u8]) -> Self;
    /// A frame over bytes that live as long as the program; copies unless the implementation knows better.
    fn from_static(bytes: &'static [u8]) -> Self
    where
        Self: Sized,
    {
        Self::from_slice(bytes)
    }
    /// A frame that takes over `bytes`; copies unless the implementation knows better.
    fn from_vec(bytes: Vec<u8>) -> Self
    where
        Self: Sized,
    {
        Self::from_slice(&bytes)
    }
}

impl Frame for Bytes {
    fn from_slice(bytes: &[u8]) -> Self {
        Bytes::copy_from_slice(bytes)
    }
    fn from_static(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes)
    }
    fn from_vec(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes)
    }
}

impl Frame for Vec<u8> {
    fn from_slice(bytes: &[u8]) -> Self {
        bytes.to_vec()
    }
    fn from_vec(bytes: Vec<u8>) -> Self {
        bytes
    }
}

/// The frames of one message. Twelve cover every fixed-length VIP message without a heap allocation.
pub type Frames<F> = SmallVec<[F; 12]>;

/// Subsystem names as they appear in the SUBSYSTEM frame (subsystems.md, opening table).
pub mod subsystem {
    /// Greeting; answered by the router and every agent.
    pub const HELLO: &str = "hello";
    /// Liveness probe; answered by the router and every agent.
    pub const PING: &str = "ping";
    /// Who is connected; answered by the router.
    pub const PEERLIST: &str = "peerlist";
    /// Facts about the platform; answered by the router.
    pub const QUERY: &str = "query";
    /// Publish and subscribe; requests to the router, deliveries to agents.
    pub const PUBSUB: &str = "pubsub";
    /// Remote procedure calls between agents. Upper case on the wire.
    pub const RPC: &str = "RPC";
    /// Error reports, inbound only.
    pub const ERROR: &str = "error";
    /// Opaque frames between two agents.
    pub const CHANNEL: &str = "channel";
    /// "This agent stops": drop its peer entry.
    pub const AGENTSTOP: &str = "agentstop";
    /// Stop the platform; only the control service may say it.
    pub const QUIT: &str = "quit";
    /// Links to other platforms.
    pub const ROUTING_TABLE: &str = "routing_table";
    /// RPC to an agent of another platform.
    pub const EXTERNAL_RPC: &str = "external_rpc";
}
