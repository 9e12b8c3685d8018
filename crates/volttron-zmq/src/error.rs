//! The error of a libzmq call: an errno with libzmq's text for it.

use std::{ffi::CStr, fmt};

use volttron_zmq_sys as sys;

/// An errno as libzmq reports it. Compare with the constants: `Err(Error::EAGAIN) => ..`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error(i32);

impl Error {
    /// Would block: nothing to receive, or the high-water mark is reached.
    pub const EAGAIN: Self = Self(libc::EAGAIN);
    /// The peer a mandatory ROUTER should send to is not connected.
    pub const EHOSTUNREACH: Self = Self(libc::EHOSTUNREACH);
    /// The address is bound by somebody else.
    pub const EADDRINUSE: Self = Self(libc::EADDRINUSE);
    /// The address does not belong to this machine.
    pub const EADDRNOTAVAIL: Self = Self(libc::EADDRNOTAVAIL);
    /// Not allowed, for instance to bind a low port.
    pub const EACCES: Self = Self(libc::EACCES);
    /// A bad argument.
    pub const EINVAL: Self = Self(libc::EINVAL);
    /// No such device or interface, or no such endpoint.
    pub const ENODEV: Self = Self(libc::ENODEV);
    /// Nothing there: the file, the endpoint or the property.
    pub const ENOENT: Self = Self(libc::ENOENT);
    /// The socket path is longer than the 107 bytes the system takes.
    pub const ENAMETOOLONG: Self = Self(libc::ENAMETOOLONG);
    /// Interrupted by a signal before anything happened.
    pub const EINTR: Self = Self(libc::EINTR);
    /// The transport is not known to libzmq.
    pub const EPROTONOSUPPORT: Self = Self(libc::EPROTONOSUPPORT);
    /// Too many sockets or files.
    pub const EMFILE: Self = Self(libc::EMFILE);
    /// The socket is in the wrong state for this.
    pub const EFSM: Self = Self(sys::EFSM);
    /// The context is being shut down.
    pub const ETERM: Self = Self(sys::ETERM);

    /// The error of the libzmq call that just failed in this thread.
    pub(crate) fn last() -> Self {
        // SAFETY: no arguments; reads the thread's errno.
        Self(unsafe { sys::zmq_errno() })
    }

    /// The errno.
    pub const fn errno(self) -> i32 {
        self.0
    }

    /// libzmq's text for it.
    pub fn message(self) -> &'static str {
        // SAFETY: zmq_strerror returns a NUL-terminated string, static for libzmq's own numbers. For system errnos
        // it is strerror's, which glibc keeps for the process when the number is known and only rewrites for
        // unknown numbers; those get a fixed text below instead.
        let text = unsafe { CStr::from_ptr(sys::zmq_strerror(self.0)) };
        if text.to_bytes().starts_with(b"Unknown error") {
            return "unknown error";
        }
        text.to_str().unwrap_or("unknown error")
    }
}

impl From<Error> for std::io::Error {
    fn from(e: Error) -> Self {
        if e.0 >= sys::EFSM { std::io::Error::other(e) } else { std::io::Error::from_raw_os_error(e.0) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zmq::Error({}: {})", self.0, self.message())
    }
}

impl std::error::Error for Error {}

/// Turns libzmq's -1 into the thread's error.
pub(crate) fn check(rc: core::ffi::c_int) -> Result<core::ffi::c_int, Error> {
    if rc == -1 { Err(Error::last()) } else { Ok(rc) }
}
