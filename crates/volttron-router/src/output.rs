//! What the router wants done.

use volttron_utils::vip::Frames;

use crate::{RouterEvent, ServiceId};

/// Carries out what the router decides. Nothing here may block.
pub trait Output<F> {
    /// Sends `[recipient, sender, VIP1, user, id, subsystem, args..]` to a socket. All or nothing: on failure the
    /// frames come back untouched, because the router turns them into an error report.
    fn wire(&mut self, frames: Frames<F>) -> Result<(), Unsent<F>>;

    /// Hands `[sender, VIP1, user, id, subsystem, args..]` to a local service, as its DEALER would receive it.
    fn local(&mut self, to: ServiceId, frames: Frames<F>) -> Result<(), Unsent<F>>;

    /// Another handle on the same bytes, for fan-out: a reference count, not a copy, for anything big.
    fn share(&mut self, frame: &F) -> F;

    /// Something worth logging or acting on happened.
    fn event(&mut self, event: RouterEvent<'_>);
}

/// A message that could not be sent, with all its frames.
#[derive(Debug)]
pub struct Unsent<F> {
    /// Why not.
    pub why: Why,
    /// The frames as they were handed over.
    pub frames: Frames<F>,
}

/// Why a message could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody is connected under that identity (EHOSTUNREACH).
    NoRoute,
    /// The destination's queue is full (EAGAIN).
    Full,
}
