//! The context: libzmq's IO threads, shared by the sockets made from it.

use core::ffi::{c_int, c_void};
use std::{fmt, sync::Arc};

use volttron_zmq_sys as sys;

use crate::{Result, Socket, SocketType, error::check};

/// libzmq's IO threads and the `inproc` name space. Cheap to clone; the last clone (sockets hold one each) ends it.
#[derive(Clone)]
pub struct Context(Arc<Raw>);

struct Raw(*mut c_void);

// SAFETY: libzmq documents contexts as thread-safe.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Drop for Raw {
    fn drop(&mut self) {
        // Interrupted by a signal, it has to be called again; every other error cannot happen on a valid context.
        // SAFETY: the pointer came from zmq_ctx_new and no socket of it is open: each holds an Arc of this.
        while unsafe { sys::zmq_ctx_term(self.0) } == -1 {
            if crate::Error::last() != crate::Error::EINTR {
                break;
            }
        }
    }
}

impl Context {
    /// A new context with one IO thread.
    ///
    /// # Panics
    /// When the process is out of memory or file descriptors.
    pub fn new() -> Self {
        // SAFETY: no arguments.
        let raw = unsafe { sys::zmq_ctx_new() };
        assert!(!raw.is_null(), "zmq_ctx_new: {}", crate::Error::last());
        Self(Arc::new(Raw(raw)))
    }

    /// Number of IO threads (which also do the CURVE cryptography). Before the first socket only.
    pub fn set_io_threads(&self, threads: u16) -> Result<()> {
        self.set(sys::ZMQ_IO_THREADS, c_int::from(threads))
    }

    /// The most sockets this context can have, connections not counted. Before the first socket only.
    pub fn set_max_sockets(&self, sockets: u16) -> Result<()> {
        self.set(sys::ZMQ_MAX_SOCKETS, c_int::from(sockets))
    }

    fn set(&self, option: c_int, value: c_int) -> Result<()> {
        // SAFETY: a valid context.
        check(unsafe { sys::zmq_ctx_set(self.0.0, option, value) }).map(drop)
    }

    /// Makes a socket.
    pub fn socket(&self, kind: SocketType) -> Result<Socket> {
        Socket::new(self.clone(), kind)
    }

    /// Makes every blocking call on the context's sockets return `ETERM`, now and from here on.
    pub fn shutdown(&self) -> Result<()> {
        // SAFETY: a valid context.
        check(unsafe { sys::zmq_ctx_shutdown(self.0.0) }).map(drop)
    }

    pub(crate) fn raw(&self) -> *mut c_void {
        self.0.0
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zmq::Context")
    }
}
