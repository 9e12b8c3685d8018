//! Connections as libzmq's monitor reports them, below the messages: accepted, failed in the handshake, ended.
//!
//! A client with the wrong server key, without CURVE, or that does not speak ZMTP never reaches the router or ZAP; only
//! this tells an operator that it tried. A thread of its own, so that a storm of connections costs the router thread
//! nothing. Counts and logs; never decides anything.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use serde::Serialize;
use tracing::{debug, warn};
use zmq::{Context, MonitorEvent, MonitorEventKind, Socket, SocketType, events};

use super::lines::Lines;

const ENDPOINT: &str = "inproc://vip.connections";

/// What happened to connections since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionMeter {
    /// Accepted by a listener; the handshake follows.
    pub accepted: u64,
    /// Not accepted, usually for want of file descriptors.
    pub accept_failed: u64,
    /// Handshakes completed, authentication included.
    pub handshakes: u64,
    /// Refused by the authenticator.
    pub failed_auth: u64,
    /// Handshakes that broke the protocol: wrong server key, another security mechanism, or not ZMTP at all.
    pub failed_protocol: u64,
    /// Handshakes that ended otherwise, for example by the client's disappearing.
    pub failed_other: u64,
    /// Established connections that ended.
    pub disconnected: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    accept_failed: AtomicU64,
    handshakes: AtomicU64,
    failed_auth: AtomicU64,
    failed_protocol: AtomicU64,
    failed_other: AtomicU64,
    disconnected: AtomicU64,
}

/// The counters, for whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Counters>);

impl Connections {
    pub(super) fn meter(&self) -> ConnectionMeter {
        let c = &*self.0;
        ConnectionMeter {
            accepted: c.accepted.load(Relaxed),
            accept_failed: c.accept_failed.load(Relaxed),
            handshakes: c.handshakes.load(Relaxed),
            failed_auth: c.failed_auth.load(Relaxed),
            failed_protocol: c.failed_protocol.load(Relaxed),
            failed_other: c.failed_other.load(Relaxed),
            disconnected: c.disconnected.load(Relaxed),
        }
    }

    fn note(&self, event: &MonitorEvent, lines: &mut Lines) {
        use MonitorEventKind as Kind;
        let endpoint = event.endpoint.as_str();
        let counter = match event.kind {
            Kind::Accepted => &self.0.accepted,
            Kind::HandshakeSucceeded => &self.0.handshakes,
            Kind::Disconnected => &self.0.disconnected,
            // The authenticator has said why.
            Kind::HandshakeFailedAuth => &self.0.failed_auth,
            Kind::AcceptFailed => {
                if lines.may_log() {
                    let error = io::Error::from_raw_os_error(event.value.cast_signed());
                    warn!(endpoint, %error, "a connection could not be accepted");
                }
                &self.0.accept_failed
            }
            Kind::HandshakeFailedProtocol => {
                if lines.may_log() {
                    warn!(endpoint, code = event.value, "a connection was refused: {}", why(event.value));
                }
                &self.0.failed_protocol
            }
            Kind::HandshakeFailedNoDetail => {
                // A client that sees first that the mechanisms differ leaves without a word; so do port scanners, hence
                // ever more rarely.
                let total = self.0.failed_other.load(Relaxed) + 1;
                if total.is_power_of_two() && lines.may_log() {
                    warn!(
                        endpoint,
                        total,
                        "a client left during the handshake, as one does that uses another security mechanism: with \
                         authentication on only CURVE is accepted, neither NULL nor PLAIN, and with authentication \
                         off only NULL"
                    );
                }
                &self.0.failed_other
            }
            _ => return,
        };
        counter.fetch_add(1, Relaxed);
        debug!(endpoint, kind = ?event.kind, "connection");
    }
}

/// What a client did wrong, in words, for libzmq's code.
fn why(code: u32) -> &'static str {
    /// `ZMQ_PROTOCOL_ERROR_ZMTP_KEY_EXCHANGE`, `..._CRYPTOGRAPHIC`, `..._MECHANISM_MISMATCH`
    const KEY_EXCHANGE: u32 = 0x1000_0003;
    const CRYPTOGRAPHIC: u32 = 0x1100_0001;
    const MECHANISM_MISMATCH: u32 = 0x1100_0002;
    match code {
        KEY_EXCHANGE | CRYPTOGRAPHIC => {
            "the client has another server key than this platform's (see `vctl auth serverkey`)"
        }
        MECHANISM_MISMATCH => {
            "the client uses another security mechanism; with authentication on only CURVE is accepted, \
             neither NULL nor PLAIN, and with authentication off only NULL"
        }
        _ => "the client broke the ZMTP handshake, or is no ZeroMQ client",
    }
}

/// The monitor of one socket, and the thread that reads it.
pub(super) struct Monitor {
    socket: Socket,
}

impl Monitor {
    /// Begins to watch `socket`. Has to come before it is bound.
    pub(super) fn of(context: &Context, socket: &Socket) -> zmq::Result<Self> {
        let wanted = events::ACCEPTED
            | events::ACCEPT_FAILED
            | events::HANDSHAKE_SUCCEEDED
            | events::HANDSHAKE_FAILED
            | events::DISCONNECTED;
        socket.monitor(ENDPOINT, wanted)?;
        let monitor = context.socket(SocketType::Pair)?;
        monitor.set_linger(0)?;
        monitor.connect(ENDPOINT)?;
        Ok(Self { socket: monitor })
    }

    /// Reads until the watched socket is closed.
    pub(super) fn start(self, connections: Connections) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("vip-connections".to_owned()).spawn(move || {
            let mut lines = Lines::new(Instant::now());
            loop {
                match MonitorEvent::recv(&self.socket, 0) {
                    Ok(event) if event.kind == MonitorEventKind::MonitorStopped => return,
                    Ok(event) => {
                        lines.tick(Instant::now());
                        connections.note(&event, &mut lines);
                    }
                    Err(zmq::Error::EINTR | zmq::Error::EINVAL) => {}
                    Err(_) => return,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_once_and_in_words() {
        let (connections, mut lines) = (Connections::default(), Lines::new(Instant::now()));
        let event = |kind, value| MonitorEvent { kind, value, endpoint: "tcp://127.0.0.1:22916".to_owned() };
        for kind in [
            MonitorEventKind::Accepted,
            MonitorEventKind::AcceptFailed,
            MonitorEventKind::HandshakeSucceeded,
            MonitorEventKind::HandshakeFailedAuth,
            MonitorEventKind::HandshakeFailedProtocol,
            MonitorEventKind::HandshakeFailedNoDetail,
            MonitorEventKind::Disconnected,
            MonitorEventKind::Listening,
        ] {
            connections.note(&event(kind, 24), &mut lines);
        }
        let one = ConnectionMeter {
            accepted: 1,
            accept_failed: 1,
            handshakes: 1,
            failed_auth: 1,
            failed_protocol: 1,
            failed_other: 1,
            disconnected: 1,
        };
        assert_eq!(connections.meter(), one);
        assert!(why(0x1100_0001).contains("server key") && why(0x1100_0002).contains("PLAIN"));
    }
}
