//! Waiting on several sockets and descriptors.

use core::ffi::{c_int, c_long, c_short};
use std::{marker::PhantomData, os::fd::BorrowedFd, ptr, time::Duration};

use volttron_zmq_sys as sys;

use crate::{Error, Result, Socket, error::check};

/// Readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PollEvents {
    /// Something to receive.
    pub readable: bool,
    /// Room to send.
    pub writable: bool,
    /// A descriptor's error state.
    pub error: bool,
}

impl PollEvents {
    /// Wait for something to receive.
    pub const IN: Self = Self { readable: true, writable: false, error: false };
    /// Wait for room to send.
    pub const OUT: Self = Self { readable: false, writable: true, error: false };

    pub(crate) fn from_bits(bits: c_int) -> Self {
        let has = |bit: c_short| bits & c_int::from(bit) != 0;
        Self { readable: has(sys::ZMQ_POLLIN), writable: has(sys::ZMQ_POLLOUT), error: has(sys::ZMQ_POLLERR) }
    }

    fn bits(self) -> c_short {
        let bit = |on: bool, bit: c_short| if on { bit } else { 0 };
        bit(self.readable, sys::ZMQ_POLLIN)
            | bit(self.writable, sys::ZMQ_POLLOUT)
            | bit(self.error, sys::ZMQ_POLLERR)
    }
}

/// A socket or descriptor to wait for, and what was found.
#[repr(transparent)]
pub struct PollItem<'a> {
    raw: sys::zmq_pollitem_t,
    source: PhantomData<&'a Socket>,
}

impl<'a> PollItem<'a> {
    /// Wait for a socket.
    pub fn from_socket(socket: &'a Socket, events: PollEvents) -> Self {
        let raw = sys::zmq_pollitem_t { socket: socket.raw(), fd: 0, events: events.bits(), revents: 0 };
        Self { raw, source: PhantomData }
    }

    /// Wait for a descriptor.
    pub fn from_fd(fd: BorrowedFd<'a>, events: PollEvents) -> Self {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&fd);
        let raw = sys::zmq_pollitem_t { socket: ptr::null_mut(), fd, events: events.bits(), revents: 0 };
        Self { raw, source: PhantomData }
    }

    /// What the last [`poll`] found.
    pub fn found(&self) -> PollEvents {
        PollEvents::from_bits(c_int::from(self.raw.revents))
    }

    /// Whether the last [`poll`] found something to receive (or an error to be had by trying).
    pub fn is_readable(&self) -> bool {
        let found = self.found();
        found.readable || found.error
    }
}

/// Waits until an item is ready or the time is over (`None`: for ever). Returns how many are ready; a signal ends the
/// wait with 0.
pub fn poll(items: &mut [PollItem<'_>], timeout: Option<Duration>) -> Result<usize> {
    // Rounded up, so that a wait never ends before its time and spins.
    let timeout_ms =
        timeout.map_or(-1, |t| c_long::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(c_long::MAX));
    let count = c_int::try_from(items.len()).map_err(|_| Error::EINVAL)?;
    // SAFETY: PollItem is a transparent wrapper of zmq_pollitem_t; the sockets and descriptors outlive the items.
    match check(unsafe { sys::zmq_poll(items.as_mut_ptr().cast(), count, timeout_ms) }) {
        Ok(ready) => Ok(usize::try_from(ready).unwrap_or(0)),
        Err(Error::EINTR) => Ok(0),
        Err(e) => Err(e),
    }
}
