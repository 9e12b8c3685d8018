//! `ping`: the data comes back (vip.md section 6.2).

use volttron_utils::vip::{Frame, Frames};

use crate::peers::PeerId;
use crate::router::{ARGS, Router, USER};
use crate::{Output, Policy};

impl<F: Frame, P: Policy> Router<F, P> {
    /// Whatever the operation, it becomes `pong`: stock Python clients send `drop` (subsystems.md section 2).
    pub(crate) fn on_ping(&mut self, sender: PeerId, mut frames: Frames<F>, out: &mut impl Output<F>) {
        let Some(peer) = self.peers.get(sender) else { return };
        frames[USER] = out.share(&peer.acts_as);
        let pong = F::from_static(b"pong");
        match frames.get_mut(ARGS) {
            Some(op) => *op = pong,
            None => frames.push(pong),
        }
        self.send_answer(sender, frames, out);
    }
}
