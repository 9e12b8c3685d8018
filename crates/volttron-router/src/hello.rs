//! `hello`: who is there (vip.md section 6.2).

use volttron_utils::vip::{Frame, Frames};

use crate::peers::PeerId;
use crate::router::{Router, SENDER};
use crate::{Output, Policy};

impl<F: Frame, P: Policy> Router<F, P> {
    /// Arguments are ignored: the answer is always the welcome.
    pub(crate) fn on_hello(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        let requester = out.share(&frames[SENDER]);
        let router = F::from_slice(self.facts.router_id.as_bytes());
        let args = [F::from_static(b"welcome"), F::from_static(b"1.0"), router, requester];
        self.answer(sender, frames, args, out);
    }
}
