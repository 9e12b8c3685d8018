//! Socket options, one setter each. Values are libzmq's: milliseconds, counts, bytes.

use core::ffi::{c_int, c_void};

use volttron_zmq_sys as sys;

use crate::{PollEvents, Result, Socket, error::check};

/// `int` options.
macro_rules! int_setters {
    ($($(#[$doc:meta])* $name:ident = $option:ident;)*) => { impl Socket { $(
        $(#[$doc])*
        pub fn $name(&self, value: i32) -> Result<()> { self.set_int(sys::$option, value) }
    )* } };
}

/// On/off options.
macro_rules! bool_setters {
    ($($(#[$doc:meta])* $name:ident = $option:ident;)*) => { impl Socket { $(
        $(#[$doc])*
        pub fn $name(&self, on: bool) -> Result<()> { self.set_int(sys::$option, c_int::from(on)) }
    )* } };
}

int_setters! {
    /// How long a closed socket tries to send what it still has, in ms; -1 for ever.
    set_linger = ZMQ_LINGER;
    /// Most messages queued per peer before `EAGAIN`; 0 = no limit.
    set_sndhwm = ZMQ_SNDHWM;
    /// Most messages queued per peer before it is no longer read; 0 = no limit.
    set_rcvhwm = ZMQ_RCVHWM;
    /// Longest wait of a send in ms; -1 for ever.
    set_sndtimeo = ZMQ_SNDTIMEO;
    /// Longest wait of a receive in ms; -1 for ever.
    set_rcvtimeo = ZMQ_RCVTIMEO;
    /// Kernel send buffer in bytes; -1 leaves the system's.
    set_sndbuf = ZMQ_SNDBUF;
    /// Kernel receive buffer in bytes; -1 leaves the system's.
    set_rcvbuf = ZMQ_RCVBUF;
    /// Connections waiting to be accepted.
    set_backlog = ZMQ_BACKLOG;
    /// Pause before a reconnect in ms.
    set_reconnect_ivl = ZMQ_RECONNECT_IVL;
    /// Upper limit to which the reconnect pause doubles in ms; 0 = no doubling.
    set_reconnect_ivl_max = ZMQ_RECONNECT_IVL_MAX;
    /// Longest TCP connect in ms; 0 = the system's.
    set_connect_timeout = ZMQ_CONNECT_TIMEOUT;
    /// Longest ZMTP handshake in ms; 0 = for ever.
    set_handshake_ivl = ZMQ_HANDSHAKE_IVL;
    /// TCP keepalive: 1 on, 0 off, -1 the system's.
    set_tcp_keepalive = ZMQ_TCP_KEEPALIVE;
    /// Unanswered keepalive probes before the connection is given up.
    set_tcp_keepalive_cnt = ZMQ_TCP_KEEPALIVE_CNT;
    /// Silence before the first keepalive probe in s.
    set_tcp_keepalive_idle = ZMQ_TCP_KEEPALIVE_IDLE;
    /// Time between keepalive probes in s.
    set_tcp_keepalive_intvl = ZMQ_TCP_KEEPALIVE_INTVL;
    /// Time between ZMTP PINGs in ms; 0 = none.
    set_heartbeat_ivl = ZMQ_HEARTBEAT_IVL;
    /// What the peer is told about how long to believe in us after our last PING, in ms.
    set_heartbeat_ttl = ZMQ_HEARTBEAT_TTL;
    /// Longest wait for the answer to a PING in ms.
    set_heartbeat_timeout = ZMQ_HEARTBEAT_TIMEOUT;
}

bool_setters! {
    /// ROUTER: sending to an unknown peer is `EHOSTUNREACH` instead of silence.
    set_router_mandatory = ZMQ_ROUTER_MANDATORY;
    /// ROUTER: a new connection takes over the identity of an old one.
    set_router_handover = ZMQ_ROUTER_HANDOVER;
    /// Send an empty message to each peer when it connects.
    set_probe_router = ZMQ_PROBE_ROUTER;
    /// Queue only to completed connections.
    set_immediate = ZMQ_IMMEDIATE;
    /// IPv6 as well as IPv4.
    set_ipv6 = ZMQ_IPV6;
    /// Be the CURVE server on endpoints bound from here on; `false` goes back to no security.
    set_curve_server = ZMQ_CURVE_SERVER;
    /// Be the PLAIN server on endpoints bound from here on; `false` goes back to no security.
    set_plain_server = ZMQ_PLAIN_SERVER;
}

impl Socket {
    fn set_int(&self, option: c_int, value: c_int) -> Result<()> {
        // SAFETY: a valid socket; the option is an `int`.
        check(unsafe {
            sys::zmq_setsockopt(self.raw(), option, (&raw const value).cast::<c_void>(), size_of::<c_int>())
        })
        .map(drop)
    }

    fn set_bytes(&self, option: c_int, value: &[u8]) -> Result<()> {
        // SAFETY: a valid socket; pointer and length describe the value, which libzmq copies.
        check(unsafe { sys::zmq_setsockopt(self.raw(), option, value.as_ptr().cast(), value.len()) })
            .map(drop)
    }

    fn get_int(&self, option: c_int) -> Result<c_int> {
        let mut value: c_int = 0;
        let mut len = size_of::<c_int>();
        // SAFETY: a valid socket; the option is an `int`, room and length agree.
        check(unsafe { sys::zmq_getsockopt(self.raw(), option, (&raw mut value).cast(), &raw mut len) })?;
        Ok(value)
    }

    /// The identity shown to the peer, 1 to 255 bytes, not beginning with 0. Before connecting.
    pub fn set_identity(&self, identity: &[u8]) -> Result<()> {
        self.set_bytes(sys::ZMQ_ROUTING_ID, identity)
    }

    /// ROUTER: deliver `[identity, ""]` the moment a connection closes (a draft feature of 4.3.5). The parts carry no
    /// connection properties, which tells them from the same message sent by a peer.
    pub fn set_router_notify_disconnect(&self, on: bool) -> Result<()> {
        self.set_int(sys::ZMQ_ROUTER_NOTIFY, if on { sys::ZMQ_NOTIFY_DISCONNECT } else { 0 })
    }

    /// Longest part accepted from a peer in bytes, which is disconnected when it sends more; -1 = no limit.
    pub fn set_max_msg_size(&self, bytes: i64) -> Result<()> {
        self.set_bytes(sys::ZMQ_MAXMSGSIZE, &bytes.to_ne_bytes())
    }

    /// Own CURVE public key (raw).
    pub fn set_curve_publickey(&self, key: &[u8; 32]) -> Result<()> {
        self.set_bytes(sys::ZMQ_CURVE_PUBLICKEY, key)
    }

    /// Own CURVE secret key (raw).
    pub fn set_curve_secretkey(&self, key: &[u8; 32]) -> Result<()> {
        self.set_bytes(sys::ZMQ_CURVE_SECRETKEY, key)
    }

    /// The server's CURVE public key (raw); makes the socket a CURVE client.
    pub fn set_curve_serverkey(&self, key: &[u8; 32]) -> Result<()> {
        self.set_bytes(sys::ZMQ_CURVE_SERVERKEY, key)
    }

    /// PLAIN credentials; makes the socket a PLAIN client.
    pub fn set_plain_client(&self, username: &str, password: &str) -> Result<()> {
        self.set_bytes(sys::ZMQ_PLAIN_USERNAME, username.as_bytes())?;
        self.set_bytes(sys::ZMQ_PLAIN_PASSWORD, password.as_bytes())
    }

    /// The domain told to the ZAP handler about endpoints bound from here on; not empty. Without one, the handler
    /// is not asked about NULL connections.
    pub fn set_zap_domain(&self, domain: &str) -> Result<()> {
        self.set_bytes(sys::ZMQ_ZAP_DOMAIN, domain.as_bytes())
    }

    /// What the socket can do now. Edge-triggered users of [`fd`](Self::fd) trust this alone.
    pub fn get_events(&self) -> Result<PollEvents> {
        Ok(PollEvents::from_bits(self.get_int(sys::ZMQ_EVENTS)?))
    }

    /// A descriptor that becomes readable when [`get_events`](Self::get_events) may have changed. It is libzmq's: do
    /// not read, write or close it.
    pub fn fd(&self) -> Result<std::os::fd::RawFd> {
        self.get_int(sys::ZMQ_FD)
    }

    /// [`fd`](Self::fd) to be waited for with other descriptors. Waiting is safe only when the last operation on the
    /// socket was a receive that said `EAGAIN`: any other may have taken the readiness without acting on it.
    pub fn wait_fd(&self) -> Result<std::os::fd::BorrowedFd<'_>> {
        let fd = self.fd()?;
        // SAFETY: the descriptor is the socket's own and stays open until the socket is closed, hence for this borrow.
        Ok(unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) })
    }

    /// A duplicate of [`fd`](Self::fd) that belongs to the caller, for registration with a reactor: it stays valid
    /// whatever becomes of the socket, and closing it does not touch libzmq's own.
    pub fn duplicate_fd(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        let fd = self.fd()?;
        // SAFETY: libzmq keeps its descriptor open as long as the socket, which outlives this call.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
    }

    /// The endpoint of the last bind or connect, wildcards resolved.
    pub fn last_endpoint(&self) -> Result<String> {
        // An ipc endpoint has at most 6 + 107 bytes, a tcp one a host name and a port.
        let mut text = [0_u8; 1024];
        let mut len = text.len();
        // SAFETY: a valid socket; room and length agree.
        check(unsafe {
            sys::zmq_getsockopt(self.raw(), sys::ZMQ_LAST_ENDPOINT, text.as_mut_ptr().cast(), &raw mut len)
        })?;
        // The length counts the closing NUL.
        Ok(String::from_utf8_lossy(&text[..len.saturating_sub(1)]).into_owned())
    }
}
