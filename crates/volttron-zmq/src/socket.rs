//! Sockets: making, binding, connecting, sending whole messages, receiving whole messages.

use core::ffi::{c_int, c_void};
use std::{ffi::CString, fmt};

use volttron_zmq_sys as sys;

use crate::{Context, Error, Message, Result, error::check};

/// Do not wait: `EAGAIN` instead.
pub const DONTWAIT: i32 = sys::ZMQ_DONTWAIT;
/// More parts follow ([`Socket::send`] only; [`Socket::send_parts`] sets it itself).
pub const SNDMORE: i32 = sys::ZMQ_SNDMORE;

/// The socket types the platform uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketType {
    /// One to one, for monitors.
    Pair,
    /// Request.
    Req,
    /// Reply.
    Rep,
    /// An agent's end.
    Dealer,
    /// The platform's end: addresses connections by identity.
    Router,
}

/// A socket. `Send` but not `Sync`: one thread at a time. Closed when dropped, with the linger that was set.
pub struct Socket {
    raw: *mut c_void,
    /// Keeps the context alive; it can only end when its sockets are closed.
    _context: Context,
}

// SAFETY: libzmq allows moving a socket to another thread with a full fence, which handing a value over implies.
unsafe impl Send for Socket {}

/// A message that could not be sent, with all its parts.
#[derive(Debug)]
pub struct Unsent<B> {
    /// Why: [`Error::EAGAIN`], [`Error::EHOSTUNREACH`], ...
    pub error: Error,
    /// The parts, untouched.
    pub parts: B,
}

impl Socket {
    pub(crate) fn new(context: Context, kind: SocketType) -> Result<Self> {
        let kind = match kind {
            SocketType::Pair => sys::ZMQ_PAIR,
            SocketType::Req => sys::ZMQ_REQ,
            SocketType::Rep => sys::ZMQ_REP,
            SocketType::Dealer => sys::ZMQ_DEALER,
            SocketType::Router => sys::ZMQ_ROUTER,
        };
        // SAFETY: a valid context.
        let raw = unsafe { sys::zmq_socket(context.raw(), kind) };
        if raw.is_null() { Err(Error::last()) } else { Ok(Self { raw, _context: context }) }
    }

    /// Accepts connections on `endpoint`. Options set later do not apply to it.
    pub fn bind(&self, endpoint: &str) -> Result<()> {
        let endpoint = c_text(endpoint)?;
        // SAFETY: a valid socket and a NUL-terminated text.
        check(unsafe { sys::zmq_bind(self.raw, endpoint.as_ptr()) }).map(drop)
    }

    /// Connects to `endpoint`, in the background and again after each loss.
    pub fn connect(&self, endpoint: &str) -> Result<()> {
        let endpoint = c_text(endpoint)?;
        // SAFETY: a valid socket and a NUL-terminated text.
        check(unsafe { sys::zmq_connect(self.raw, endpoint.as_ptr()) }).map(drop)
    }

    /// Stops accepting on an endpoint, named as [`last_endpoint`](Self::last_endpoint) told it.
    pub fn unbind(&self, endpoint: &str) -> Result<()> {
        let endpoint = c_text(endpoint)?;
        // SAFETY: a valid socket and a NUL-terminated text.
        check(unsafe { sys::zmq_unbind(self.raw, endpoint.as_ptr()) }).map(drop)
    }

    /// Ends the connection(s) made by [`connect`](Self::connect).
    pub fn disconnect(&self, endpoint: &str) -> Result<()> {
        let endpoint = c_text(endpoint)?;
        // SAFETY: a valid socket and a NUL-terminated text.
        check(unsafe { sys::zmq_disconnect(self.raw, endpoint.as_ptr()) }).map(drop)
    }

    /// Sends one part.
    pub fn send(&self, part: impl Into<Message>, flags: i32) -> Result<()> {
        self.send_part(&mut part.into(), flags)
    }

    fn send_part(&self, part: &mut Message, flags: c_int) -> Result<()> {
        loop {
            // SAFETY: a valid socket and an initialised part; on success libzmq leaves an empty one, on failure it
            // leaves it as it was.
            match check(unsafe { sys::zmq_msg_send(part.raw_mut(), self.raw, flags) }) {
                Err(Error::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Sends the parts as one message: all of them, or none.
    ///
    /// After success every part is empty, after an error every part is as it was. Once libzmq has taken the first
    /// part the message counts as sent: if the connection dies before the last part is written, libzmq discards what
    /// it has, exactly as it does with a message that was complete at that moment.
    pub fn send_parts<M: AsMut<Message>>(&self, parts: &mut [M], flags: i32) -> Result<()> {
        let Some((last, firsts)) = parts.split_last_mut() else { return Err(Error::EINVAL) };
        let Some((first, middle)) = firsts.split_first_mut() else {
            return self.send_part(last.as_mut(), flags);
        };
        self.send_part(first.as_mut(), flags | SNDMORE)?;
        // A refusal from here on means the pipe is gone and rolled back. The rest is still sent, because libzmq
        // skips parts up to the one without SNDMORE: stopping early would make it swallow the next message.
        for part in middle {
            let _ = self.send_part(part.as_mut(), flags | SNDMORE);
        }
        let _ = self.send_part(last.as_mut(), flags);
        Ok(())
    }

    /// As [`send_parts`](Self::send_parts), taking a collection and giving it back when it cannot be sent.
    pub fn send_multipart<B, M>(&self, mut parts: B, flags: i32) -> Result<(), Unsent<B>>
    where
        B: AsMut<[M]>,
        M: AsMut<Message>,
    {
        self.send_parts(parts.as_mut(), flags).map_err(|error| Unsent { error, parts })
    }

    /// Receives one part into `part`.
    pub fn recv(&self, part: &mut Message, flags: i32) -> Result<()> {
        loop {
            // SAFETY: a valid socket and an initialised part.
            match check(unsafe { sys::zmq_msg_recv(part.raw_mut(), self.raw, flags) }) {
                Err(Error::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Receives one part.
    pub fn recv_msg(&self, flags: i32) -> Result<Message> {
        let mut part = Message::new();
        self.recv(&mut part, flags)?;
        Ok(part)
    }

    /// Receives one whole message, handing each part to `take`. No allocation, no copy: parts are moved.
    pub fn recv_with(&self, flags: i32, mut take: impl FnMut(Message)) -> Result<()> {
        loop {
            let part = self.recv_msg(flags)?;
            let more = part.more();
            take(part);
            if !more {
                return Ok(());
            }
        }
    }

    /// Receives one whole message.
    pub fn recv_multipart(&self, flags: i32) -> Result<Vec<Message>> {
        let mut parts = Vec::with_capacity(12);
        self.recv_with(flags, |part| parts.push(part))?;
        Ok(parts)
    }

    /// Whether a ROUTER can send to the peer now: `Ok(true)`, `Ok(false)` when its queue is full, `EHOSTUNREACH` when
    /// it is not connected.
    pub fn peer_writable(&self, identity: &[u8]) -> Result<bool> {
        // SAFETY: a valid socket; pointer and length describe the identity.
        let state = check(unsafe {
            sys::zmq_socket_get_peer_state(self.raw, identity.as_ptr().cast(), identity.len())
        })?;
        Ok(state & c_int::from(sys::ZMQ_POLLOUT) != 0)
    }

    /// Reports the socket's connection events on an `inproc://` endpoint, to be read by a PAIR socket with
    /// [`MonitorEvent::recv`](crate::MonitorEvent::recv). `events` is a sum of [`crate::events`].
    pub fn monitor(&self, endpoint: &str, events: u16) -> Result<()> {
        let endpoint = c_text(endpoint)?;
        // SAFETY: a valid socket and a NUL-terminated text.
        check(unsafe { sys::zmq_socket_monitor(self.raw, endpoint.as_ptr(), c_int::from(events)) }).map(drop)
    }

    pub(crate) fn raw(&self) -> *mut c_void {
        self.raw
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: a valid socket, closed once.
        unsafe { sys::zmq_close(self.raw) };
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zmq::Socket")
    }
}

fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::EINVAL)
}
