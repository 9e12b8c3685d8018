//! The load of the throughput cases: bare DEALERs, the same for every contestant.

mod join;
mod publish;
mod relay;

use std::time::Duration;

use zmq::{Context, DONTWAIT, Message, PollEvents, PollItem, Socket, SocketType, poll};

use super::setup::{Keys, Outcome};

pub use join::join;
pub use publish::{Progress, publish};
pub use relay::relay;

/// Time under load before the clock starts.
pub const WARM_UP: Duration = Duration::from_millis(300);

/// A connected DEALER.
pub fn dealer(context: &Context, endpoint: &str, identity: &str, keys: Option<&Keys>) -> Outcome<Socket> {
    let socket = context.socket(SocketType::Dealer)?;
    socket.set_identity(identity.as_bytes())?;
    socket.set_sndhwm(6000)?;
    socket.set_rcvhwm(6000)?;
    socket.set_linger(0)?;
    if let Some(keys) = keys {
        let own = keys.peers.get(identity).ok_or("an identity without keys")?;
        socket.set_curve_serverkey(&keys.server.public)?;
        socket.set_curve_publickey(&own.public)?;
        socket.set_curve_secretkey(&own.secret)?;
    }
    socket.connect(endpoint)?;
    Ok(socket)
}

pub fn message(parts: &[&[u8]]) -> Vec<Message> {
    parts.iter().map(|p| Message::from(*p)).collect()
}

/// Waits for a message; tells whether there is one.
pub fn wait(socket: &Socket, timeout_ms: u64) -> bool {
    let mut items = [PollItem::from_socket(socket, PollEvents::IN)];
    poll(&mut items, Some(Duration::from_millis(timeout_ms))).is_ok_and(|n| n > 0)
}

/// Asks the router something and waits for the answer with the same message id.
pub fn ask(socket: &Socket, frames: &[&[u8]]) -> Outcome<()> {
    socket.send_parts(&mut message(frames), 0)?;
    let id = frames.get(3).copied().unwrap_or_default();
    while wait(socket, 60_000) {
        while let Ok(answer) = socket.recv_multipart(DONTWAIT) {
            if answer.len() > 4 && &*answer[3] == id {
                return Ok(());
            }
        }
    }
    Err("the router does not answer".into())
}
