//! `agentstop`: an agent says goodbye, or the control service does for it (vip.md sections 6.2 and 7.2).

use volttron_utils::vip::{Frame, Frames, subsystem};

use crate::peers::{PeerId, Place};
use crate::router::{ARGS, Router};
use crate::{DropReason, Output, Policy, RouterEvent};

/// Identity of the control service, the one service that may stop others.
pub(crate) const CONTROL: &str = "control";

impl<F: Frame, P: Policy> Router<F, P> {
    /// Never answered. Python takes it from anyone for anyone; here a peer speaks only for itself, unless
    /// `--open-methods` lifts that. Services of the platform leave with the platform, not through this.
    pub(crate) fn on_agentstop(&mut self, sender: PeerId, frames: &Frames<F>, out: &mut impl Output<F>) {
        let Some(named) = frames.get(ARGS) else {
            self.meter.bad_requests += 1;
            return;
        };
        let Some(target) = self.peers.find(named.as_ref()).map(|name| name.peer) else { return };
        let on_wire = self.peers.get(target).is_some_and(|peer| peer.place == Place::Wire);
        let Some(from) = self.peers.get(sender) else { return };
        if target == sender && !on_wire {
            // Every agent says goodbye when it stops, a service of the platform too; it leaves when it is detached.
            return;
        }
        let may = target == sender || self.is_control(sender) || self.policy.open_methods();
        if may && on_wire {
            self.drop_peer(target, DropReason::AgentStop);
        } else {
            self.meter.not_allowed += 1;
            out.event(RouterEvent::NotAllowed { identity: &from.name, operation: subsystem::AGENTSTOP });
        }
    }

    /// Whether the peer is the control service of this process.
    pub(crate) fn is_control(&self, peer: PeerId) -> bool {
        self.is_service(peer, CONTROL)
    }

    /// Whether the peer is the in-process service with this primary identity.
    pub(crate) fn is_service(&self, peer: PeerId, identity: &str) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.place != Place::Wire && &*peer.name == identity)
    }
}
