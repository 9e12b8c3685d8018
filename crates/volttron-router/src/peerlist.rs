//! `peerlist`: who is connected (vip.md section 6.2).

use volttron_utils::vip::{Frame, Frames};

use crate::peers::PeerId;
use crate::router::{ARGS, Router};
use crate::{Output, Policy};

impl<F: Frame, P: Policy> Router<F, P> {
    /// A listing has one frame per name, so it may have more frames than any inbound message.
    pub(crate) fn on_peerlist(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        let mut args = Frames::<F>::new();
        match frames.get(ARGS).map(AsRef::as_ref) {
            Some(b"list") => {
                args.push(F::from_static(b"listing"));
                for (_, peer) in self.peers.iter() {
                    args.extend(peer.names().map(|(name, _)| out.share(name)));
                }
            }
            Some(_) => {
                self.meter.bad_requests += 1;
                args.extend([F::from_static(b"error"), F::from_static(b"unknown operation")]);
            }
            None => {
                self.meter.bad_requests += 1;
                args.extend([F::from_static(b"error"), F::from_static(b"missing operation")]);
            }
        }
        self.answer_without_user(sender, frames, args, out);
    }
}
