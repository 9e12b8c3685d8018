//! A thin safe binding to libzmq 4.3.5 as `volttron-zmq-sys` builds it: CURVE always there, drafts on.
//!
//! Owns: the safe face of contexts, sockets, messages, polling and monitors. It has the names of the crates.io
//! `zmq` crate where that has them, and only what the platform uses. All `unsafe` of the project is here.
//! Must never: know VIP, allocate on the way from a receive to a send, or lose frames without saying so.
//!
//! Start at [`Socket`]. The two calls the router lives on are [`Socket::recv_with`] (parts handed to the caller one
//! by one, moved) and [`Socket::send_parts`] (all parts or none; what could not be sent stays with the caller).

mod context;
mod curve;
mod error;
mod message;
mod monitor;
mod options;
mod poll;
mod socket;

pub use context::Context;
pub use curve::curve_keypair;
pub use error::Error;
pub use message::Message;
pub use monitor::{MonitorEvent, MonitorEventKind, events};
pub use poll::{PollEvents, PollItem, poll};
pub use socket::{DONTWAIT, SNDMORE, Socket, SocketType, Unsent};

/// Result of every call that libzmq can refuse.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The version of the linked libzmq, `(4, 3, 5)`.
pub fn version() -> (i32, i32, i32) {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: three valid out-pointers.
    unsafe { volttron_zmq_sys::zmq_version(&raw mut major, &raw mut minor, &raw mut patch) };
    (major, minor, patch)
}

/// Whether libzmq was built with a capability, such as `"curve"` or `"draft"`.
pub fn has(capability: &std::ffi::CStr) -> bool {
    // SAFETY: a NUL-terminated string that outlives the call.
    unsafe { volttron_zmq_sys::zmq_has(capability.as_ptr()) == 1 }
}
