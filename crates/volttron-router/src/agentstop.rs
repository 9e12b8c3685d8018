//! `agentstop`: an agent says goodbye, or the control service does for it (vip.md sections 6.2 and 7.2).

use volttron_utils::vip::{Frame, Frames};

use crate::peers::{PeerId, Place};
use crate::router::{ARGS, Router};
use crate::{DropReason, Operation, Output, Policy};

/// Identity of the control service, the one service that may stop others.
pub(crate) const CONTROL: &str = "control";

impl<F: Frame, P: Policy> Router<F, P> {
    /// Never answered. Python takes it from anyone for anyone; who may here is in the table of operations. Services
    /// of the platform leave with the platform, not through this.
    pub(crate) fn on_agentstop(&mut self, sender: PeerId, frames: &Frames<F>, out: &mut impl Output<F>) {
        let Some(named) = frames.get(ARGS) else {
            self.meter.bad_requests += 1;
            return;
        };
        let Some(target) = self.peers.find(named.as_ref()).map(|name| name.peer) else { return };
        if self.peers.get(target).is_some_and(|peer| peer.place == Place::Wire) {
            self.drop_peer(target, DropReason::AgentStop);
        } else if target != sender {
            self.not_allowed(sender, Operation::AgentStop, out);
        }
        // Every agent says goodbye when it stops, a service of the platform too; it leaves when it is detached.
    }

    /// Whether the peer is the in-process service with this primary identity.
    pub(crate) fn is_service(&self, peer: PeerId, identity: &str) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.place != Place::Wire && &*peer.name == identity)
    }
}
