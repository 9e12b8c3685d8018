//! libzmq's sockets with the platform's settings (vip.md section 1.1).

use zmq::{Context, Socket, SocketType};

use super::zap;

/// Most messages queued towards one peer, and from it.
const HIGH_WATER_MESSAGES: i32 = 6000;
const KEEPALIVE_IDLE_S: i32 = 180;
const KEEPALIVE_INTERVAL_S: i32 = 20;
const KEEPALIVE_PROBES: i32 = 6;
/// A dead connection is gone after 15 s at most; libzmq peers answer by themselves.
const HEARTBEAT_INTERVAL_MS: i32 = 5_000;
const HEARTBEAT_TIMEOUT_MS: i32 = 10_000;
const HEARTBEAT_TTL_MS: i32 = 15_000;
const LINGER_MS: i32 = 1;
/// Connections that wait to be accepted. libzmq's 100 are too few when a site's agents all start at once: what does not
/// fit tries again a second later.
const BACKLOG: i32 = 2048;

/// A context whose IO threads (which do the cryptography) leave room for the router thread and the services.
pub(super) fn context() -> zmq::Result<Context> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let context = Context::new();
    context.set_io_threads((cores / 2).clamp(1, 4) as u16)?;
    Ok(context)
}

/// The bus's socket, not yet bound.
pub(super) fn router(context: &Context, identity: &str, max_frame_bytes: i64) -> zmq::Result<Socket> {
    let socket = context.socket(SocketType::Router)?;
    socket.set_identity(identity.as_bytes())?;
    socket.set_router_mandatory(true)?;
    socket.set_router_notify_disconnect(true)?;
    // ROUTER_HANDOVER stays off: an identity in use cannot be taken over (vip.md section 1.3).
    socket.set_sndtimeo(0)?;
    socket.set_sndhwm(HIGH_WATER_MESSAGES)?;
    socket.set_rcvhwm(HIGH_WATER_MESSAGES)?;
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(KEEPALIVE_IDLE_S)?;
    socket.set_tcp_keepalive_intvl(KEEPALIVE_INTERVAL_S)?;
    socket.set_tcp_keepalive_cnt(KEEPALIVE_PROBES)?;
    socket.set_heartbeat_ivl(HEARTBEAT_INTERVAL_MS)?;
    socket.set_heartbeat_timeout(HEARTBEAT_TIMEOUT_MS)?;
    socket.set_heartbeat_ttl(HEARTBEAT_TTL_MS)?;
    socket.set_max_msg_size(max_frame_bytes)?;
    socket.set_linger(LINGER_MS)?;
    socket.set_backlog(BACKLOG)?;
    Ok(socket)
}

/// The socket on which libzmq asks who may connect. A ROUTER, because a REP could not hold a refusal back while it
/// answers others. Has to be bound before the bus's socket.
pub(super) fn zap(context: &Context) -> zmq::Result<Socket> {
    let socket = context.socket(SocketType::Router)?;
    socket.set_linger(0)?;
    // Handshakes in progress, not connections; beyond it libzmq lets the handshake fail and the client try again.
    socket.set_rcvhwm(HIGH_WATER_MESSAGES)?;
    socket.bind(zap::ENDPOINT)?;
    Ok(socket)
}
