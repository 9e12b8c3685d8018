//! The measure: bare loops on `zmq_msg_t` that do nothing but receive, swap addresses and send.
//!
//! No binding, no allocation, no checks: the fastest a router on libzmq can be. The one place outside the binding
//! where the library's functions are called directly, because what the binding costs is part of what is measured.
#![allow(unsafe_code)]

use std::{ffi::CString, mem::MaybeUninit, ptr};

use volttron_zmq_sys as sys;

use super::{
    frames::{delivered_body, subscriber},
    setup::{Keys, Outcome},
};

const MAX_PARTS: usize = 16;

/// A message being handled: parts in libzmq's own form, reused for each message.
struct Parts {
    parts: [MaybeUninit<sys::zmq_msg_t>; MAX_PARTS],
}

impl Parts {
    fn new() -> Self {
        let mut parts = [const { MaybeUninit::uninit() }; MAX_PARTS];
        for part in &mut parts {
            // SAFETY: initialises the part.
            unsafe { sys::zmq_msg_init(part.as_mut_ptr()) };
        }
        Self { parts }
    }

    fn at(&mut self, n: usize) -> *mut sys::zmq_msg_t {
        self.parts[n].as_mut_ptr()
    }
}

/// Binds a ROUTER with the settings of the platform's and says where.
fn bind(keys: Option<&Keys>) -> Outcome<*mut core::ffi::c_void> {
    let set = |socket, option, value: &[u8]| {
        // SAFETY: a valid socket; pointer and length describe the value.
        let rc = unsafe { sys::zmq_setsockopt(socket, option, value.as_ptr().cast(), value.len()) };
        assert_eq!(rc, 0, "option {option}");
    };
    // SAFETY: plain calls of the library with valid arguments; the socket is used by this thread alone.
    unsafe {
        let context = sys::zmq_ctx_new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        sys::zmq_ctx_set(context, sys::ZMQ_IO_THREADS, (cores / 2).clamp(1, 4) as i32);
        let socket = sys::zmq_socket(context, sys::ZMQ_ROUTER);
        let int = |value: i32| value.to_ne_bytes();
        set(socket, sys::ZMQ_ROUTER_MANDATORY, &int(1));
        set(socket, sys::ZMQ_SNDHWM, &int(6000));
        set(socket, sys::ZMQ_RCVHWM, &int(6000));
        if let Some(keys) = keys {
            set(socket, sys::ZMQ_CURVE_SERVER, &int(1));
            set(socket, sys::ZMQ_CURVE_SECRETKEY, &keys.server.secret);
        }
        let any = CString::new("tcp://127.0.0.1:*")?;
        if sys::zmq_bind(socket, any.as_ptr()) != 0 {
            return Err("cannot bind".into());
        }
        let mut endpoint = [0_u8; 256];
        let mut len = endpoint.len();
        sys::zmq_getsockopt(socket, sys::ZMQ_LAST_ENDPOINT, endpoint.as_mut_ptr().cast(), &raw mut len);
        println!("{}", String::from_utf8_lossy(&endpoint[..len - 1]));
        Ok(socket)
    }
}

/// Receives a message, tells how many parts it has.
///
/// # Safety
/// `socket` is valid and used by this thread alone.
unsafe fn receive(socket: *mut core::ffi::c_void, parts: &mut Parts) -> usize {
    let mut n = 0;
    loop {
        // SAFETY: as this function's; the part is initialised.
        unsafe {
            if sys::zmq_msg_recv(parts.at(n), socket, 0) < 0 {
                return 0;
            }
            let more = sys::zmq_msg_more(parts.at(n)) != 0;
            n += 1;
            if !more {
                return n;
            }
        }
        assert!(n < MAX_PARTS, "more parts than measured messages have");
    }
}

/// Sends every message on to the peer named in its second part.
pub fn relay(keys: Option<&Keys>) -> Outcome<()> {
    let socket = bind(keys)?;
    let mut parts = Parts::new();
    loop {
        // SAFETY: the socket is this thread's; parts are initialised before and after each call.
        unsafe {
            let n = receive(socket, &mut parts);
            if n < 6 {
                continue;
            }
            // USER becomes the sender, as a router of VIP has it.
            sys::zmq_msg_copy(parts.at(3), parts.at(0));
            parts.parts.swap(0, 1);
            for i in 0..n {
                let flags = sys::ZMQ_DONTWAIT | if i + 1 < n { sys::ZMQ_SNDMORE } else { 0 };
                if sys::zmq_msg_send(parts.at(i), socket, flags) < 0 {
                    break;
                }
            }
        }
    }
}

/// Sends ready-made deliveries to every subscriber for each message that arrives, then an answer to its sender.
pub fn fanout(keys: Option<&Keys>, subscribers: usize) -> Outcome<()> {
    let socket = bind(keys)?;
    let mut parts = Parts::new();
    let body = delivered_body("publisher.0").into_bytes();
    let mut out = Parts::new();
    // SAFETY: as in `relay`; every part given to libzmq is initialised, and sent parts are left empty by it.
    unsafe {
        let fill = |part: *mut sys::zmq_msg_t, bytes: &[u8]| {
            sys::zmq_msg_close(part);
            sys::zmq_msg_init_size(part, bytes.len());
            ptr::copy_nonoverlapping(bytes.as_ptr(), sys::zmq_msg_data(part).cast(), bytes.len());
        };
        let mut ready = Parts::new();
        fill(ready.at(0), &body);
        let names: Vec<String> = (0..subscribers).map(subscriber).collect();
        let send = |out: &mut Parts, n: usize| {
            for i in 0..n {
                let flags = sys::ZMQ_DONTWAIT | if i + 1 < n { sys::ZMQ_SNDMORE } else { 0 };
                if sys::zmq_msg_send(out.at(i), socket, flags) < 0 {
                    break;
                }
            }
        };
        loop {
            // [sender, "", VIP1, user, id, pubsub, op, topic, body]
            let n = receive(socket, &mut parts);
            if n < 6 {
                continue;
            }
            if n < 9 {
                // Anything but a publish is answered as it came: the load's "are you there".
                send(&mut parts, n);
                continue;
            }
            for name in &names {
                // [recipient, "", VIP1, user, id, pubsub, publish, topic, body]
                fill(out.at(0), name.as_bytes());
                for i in 1..8 {
                    sys::zmq_msg_copy(out.at(i), parts.at(i));
                }
                sys::zmq_msg_copy(out.at(8), ready.at(0));
                send(&mut out, 9);
            }
            for i in 0..6 {
                sys::zmq_msg_copy(out.at(i), parts.at(i));
            }
            fill(out.at(6), b"request_response");
            fill(out.at(7), &(subscribers as u32).to_le_bytes());
            send(&mut out, 8);
        }
    }
}
