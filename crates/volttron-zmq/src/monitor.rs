//! Connection events of a socket, as its monitor reports them.

use volttron_zmq_sys as sys;

use crate::{Error, Message, Result, Socket};

/// Bits for [`Socket::monitor`].
pub mod events {
    use volttron_zmq_sys as sys;

    /// The transport connection is made (the ZMTP handshake follows).
    pub const CONNECTED: u16 = sys::ZMQ_EVENT_CONNECTED;
    /// A connect failed and will be tried again.
    pub const CONNECT_RETRIED: u16 = sys::ZMQ_EVENT_CONNECT_RETRIED;
    /// A connection was accepted (the ZMTP handshake follows).
    pub const ACCEPTED: u16 = sys::ZMQ_EVENT_ACCEPTED;
    /// A connection could not be accepted.
    pub const ACCEPT_FAILED: u16 = sys::ZMQ_EVENT_ACCEPT_FAILED;
    /// An established connection ended.
    pub const DISCONNECTED: u16 = sys::ZMQ_EVENT_DISCONNECTED;
    /// The handshake is complete, authentication included.
    pub const HANDSHAKE_SUCCEEDED: u16 = sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
    /// The three ways a handshake fails.
    pub const HANDSHAKE_FAILED: u16 = sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
        | sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
        | sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    /// Everything.
    pub const ALL: u16 = sys::ZMQ_EVENT_ALL;
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MonitorEventKind {
    /// Transport connected; value: descriptor.
    Connected,
    /// Connecting goes on in the background.
    ConnectDelayed,
    /// Another attempt follows; value: pause in ms.
    ConnectRetried,
    /// Bound; value: descriptor.
    Listening,
    /// Not bound; value: errno.
    BindFailed,
    /// Accepted; value: descriptor.
    Accepted,
    /// Not accepted; value: errno.
    AcceptFailed,
    /// Closed by this side.
    Closed,
    /// Closing failed; value: errno.
    CloseFailed,
    /// Ended by the other side or by an error.
    Disconnected,
    /// The monitor ends.
    MonitorStopped,
    /// Handshake failed by a system error; value: errno.
    HandshakeFailedNoDetail,
    /// Handshake complete.
    HandshakeSucceeded,
    /// Handshake failed by a protocol error, as a wrong server key gives; value: libzmq's code.
    HandshakeFailedProtocol,
    /// Refused by the server's authenticator; value: ZAP status (400, 300, 500).
    HandshakeFailedAuth,
    /// An event this binding has no name for.
    Other(u16),
}

/// An event with its number and the endpoint it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorEvent {
    /// What happened.
    pub kind: MonitorEventKind,
    /// See [`MonitorEventKind`].
    pub value: u32,
    /// The endpoint.
    pub endpoint: String,
}

impl MonitorEvent {
    /// Reads the next event from the PAIR socket connected to a monitor.
    pub fn recv(monitor: &Socket, flags: i32) -> Result<Self> {
        let parts = monitor.recv_multipart(flags)?;
        Self::parse(&parts).ok_or(Error::EINVAL)
    }

    /// Reads an event from the two parts of a monitor's message.
    pub fn parse(parts: &[Message]) -> Option<Self> {
        let [head, endpoint] = parts else { return None };
        let [k0, k1, v0, v1, v2, v3] = *head.as_bytes() else { return None };
        Some(Self {
            kind: kind(u16::from_ne_bytes([k0, k1])),
            value: u32::from_ne_bytes([v0, v1, v2, v3]),
            endpoint: String::from_utf8_lossy(endpoint).into_owned(),
        })
    }
}

fn kind(number: u16) -> MonitorEventKind {
    use MonitorEventKind as K;
    match number {
        sys::ZMQ_EVENT_CONNECTED => K::Connected,
        sys::ZMQ_EVENT_CONNECT_DELAYED => K::ConnectDelayed,
        sys::ZMQ_EVENT_CONNECT_RETRIED => K::ConnectRetried,
        sys::ZMQ_EVENT_LISTENING => K::Listening,
        sys::ZMQ_EVENT_BIND_FAILED => K::BindFailed,
        sys::ZMQ_EVENT_ACCEPTED => K::Accepted,
        sys::ZMQ_EVENT_ACCEPT_FAILED => K::AcceptFailed,
        sys::ZMQ_EVENT_CLOSED => K::Closed,
        sys::ZMQ_EVENT_CLOSE_FAILED => K::CloseFailed,
        sys::ZMQ_EVENT_DISCONNECTED => K::Disconnected,
        sys::ZMQ_EVENT_MONITOR_STOPPED => K::MonitorStopped,
        sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL => K::HandshakeFailedNoDetail,
        sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED => K::HandshakeSucceeded,
        sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL => K::HandshakeFailedProtocol,
        sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH => K::HandshakeFailedAuth,
        other => K::Other(other),
    }
}
