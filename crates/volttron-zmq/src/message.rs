//! One message part, libzmq's own 64 bytes, moved and never copied between a receive and a send.

use core::ffi::c_void;
use std::{cell::UnsafeCell, ffi::CStr, fmt, mem::MaybeUninit, ops::Deref, ptr};

use volttron_zmq_sys as sys;

/// From this length on a `Vec` is handed to libzmq instead of being copied: below, the copy is cheaper than the
/// bookkeeping of foreign memory.
const ADOPT_BYTES: usize = 1024;
/// Up to this length libzmq keeps the content inside the 64 bytes.
const INLINE_BYTES: usize = 33;

/// One part of a message. Parts up to 33 bytes live inside the value, longer ones in a reference-counted block.
///
/// `Send` but not `Sync`: [`share`](Self::share) may mark the original as shared.
#[repr(transparent)]
pub struct Message(UnsafeCell<sys::zmq_msg_t>);

// SAFETY: a zmq_msg_t has no thread affinity; its reference counts (content and metadata) are atomic.
unsafe impl Send for Message {}

impl Message {
    /// An empty part.
    pub fn new() -> Self {
        let mut msg = MaybeUninit::uninit();
        // SAFETY: zmq_msg_init initialises what it is given and cannot fail.
        unsafe {
            sys::zmq_msg_init(msg.as_mut_ptr());
            Self(UnsafeCell::new(msg.assume_init()))
        }
    }

    /// A part of `len` bytes that `fill` writes.
    ///
    /// # Panics
    /// When memory is exhausted.
    pub fn with_len(len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut msg = MaybeUninit::uninit();
        // SAFETY: zmq_msg_init_size initialises the message or fails; its content is zeroed below before it is seen
        // as a slice of initialised bytes.
        let mut this = unsafe {
            let rc = sys::zmq_msg_init_size(msg.as_mut_ptr(), len);
            assert!(rc == 0, "out of memory for a message of {len} bytes");
            ptr::write_bytes(sys::zmq_msg_data(msg.as_mut_ptr()).cast::<u8>(), 0, len);
            Self(UnsafeCell::new(msg.assume_init()))
        };
        // SAFETY: the part is new, so its content is not shared; data and size describe it.
        fill(unsafe { std::slice::from_raw_parts_mut(sys::zmq_msg_data(this.0.get_mut()).cast(), len) });
        this
    }

    fn copied(bytes: &[u8]) -> Self {
        let mut msg = MaybeUninit::uninit();
        // SAFETY: zmq_msg_init_size initialises the message or fails, and gives room for `len` bytes.
        unsafe {
            let rc = sys::zmq_msg_init_size(msg.as_mut_ptr(), bytes.len());
            assert!(rc == 0, "out of memory for a message of {} bytes", bytes.len());
            ptr::copy_nonoverlapping(bytes.as_ptr(), sys::zmq_msg_data(msg.as_mut_ptr()).cast(), bytes.len());
            Self(UnsafeCell::new(msg.assume_init()))
        }
    }

    /// A part over constant bytes, without a copy or an allocation when they are long.
    ///
    /// # Panics
    /// When memory is exhausted.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        if bytes.len() <= INLINE_BYTES {
            return Self::copied(bytes);
        }
        let mut msg = MaybeUninit::uninit();
        // SAFETY: the bytes live forever, libzmq never writes to a message's content, and no free function is given.
        unsafe {
            let rc = sys::zmq_msg_init_data(
                msg.as_mut_ptr(),
                bytes.as_ptr().cast_mut().cast(),
                bytes.len(),
                None,
                ptr::null_mut(),
            );
            assert!(rc == 0, "out of memory for a message header");
            Self(UnsafeCell::new(msg.assume_init()))
        }
    }

    fn adopted(bytes: Vec<u8>) -> Self {
        unsafe extern "C" fn free(data: *mut c_void, capacity: *mut c_void) {
            // SAFETY: `data` and `capacity` are those of the Vec forgotten below; libzmq calls this once.
            drop(unsafe { Vec::from_raw_parts(data.cast::<u8>(), 0, capacity as usize) });
        }
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        let mut msg = MaybeUninit::uninit();
        // SAFETY: ownership of the allocation goes to libzmq, which frees it with `free`, in any thread.
        unsafe {
            let rc = sys::zmq_msg_init_data(
                msg.as_mut_ptr(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                Some(free),
                bytes.capacity() as *mut c_void,
            );
            assert!(rc == 0, "out of memory for a message header");
            Self(UnsafeCell::new(msg.assume_init()))
        }
    }

    /// A second part with the same content: a reference above 33 bytes, a copy below.
    #[must_use]
    pub fn share(&self) -> Self {
        let mut copy = Self::new();
        // SAFETY: both are initialised; zmq_msg_copy may set the original's "shared" flag, which is why it sits in
        // an UnsafeCell, and no other reference to the header exists during the call (the type is not Sync, and
        // slices given out point at the content, which zmq_msg_copy does not touch or move).
        unsafe { sys::zmq_msg_copy(copy.0.get_mut(), self.0.get()) };
        copy
    }

    /// The content.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: data and size describe the content, which stays where it is and unchanged while `self` is
        // borrowed (inline content moves only with `self`). The pointer is never null, also for an empty part.
        unsafe {
            std::slice::from_raw_parts(
                sys::zmq_msg_data(self.0.get()).cast(),
                sys::zmq_msg_size(self.0.get()),
            )
        }
    }

    /// Length of the content in bytes.
    pub fn len(&self) -> usize {
        // SAFETY: an initialised message.
        unsafe { sys::zmq_msg_size(self.0.get()) }
    }

    /// Whether the content is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether more parts of the same message follow (received parts only).
    pub fn more(&self) -> bool {
        // SAFETY: an initialised message.
        unsafe { sys::zmq_msg_more(self.0.get()) != 0 }
    }

    /// A property of the connection the part came from: `User-Id` (from the ZAP answer), `Peer-Address`,
    /// `Socket-Type`, `Identity`. `None` when there is none, as on parts that libzmq made itself (a disconnect
    /// notification) or that were made here.
    pub fn gets(&self, property: &CStr) -> Option<&str> {
        // SAFETY: an initialised message and a NUL-terminated name; the result, when not null, is NUL-terminated and
        // lives as long as the message's metadata, hence as `self`.
        unsafe {
            let value = sys::zmq_msg_gets(self.0.get(), property.as_ptr());
            if value.is_null() { None } else { CStr::from_ptr(value).to_str().ok() }
        }
    }

    pub(crate) fn raw_mut(&mut self) -> *mut sys::zmq_msg_t {
        self.0.get_mut()
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: initialised by every constructor; after a send it is an initialised empty part.
        unsafe { sys::zmq_msg_close(self.0.get_mut()) };
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Message {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsMut<Message> for Message {
    fn as_mut(&mut self) -> &mut Message {
        self
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::copied(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Self {
        Self::copied(bytes)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::copied(text.as_bytes())
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() < ADOPT_BYTES { Self::copied(&bytes) } else { Self::adopted(bytes) }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_bytes().escape_ascii().to_string(), f)
    }
}
