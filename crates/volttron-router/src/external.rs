//! Requests that belong to links between platforms (platform-internals.md section 4).
//!
//! This router has no such links: it answers so that nobody waits for an effect, and counts.

use volttron_utils::vip::{Frame, Frames};

use crate::peers::PeerId;
use crate::router::Router;
use crate::{Output, Policy};

impl<F: Frame, P: Policy> Router<F, P> {
    /// `routing_table` is never answered.
    pub(crate) fn on_routing_table(&mut self) {
        self.meter.external_ignored += 1;
    }

    /// `external_rpc`: no platform is connected, so the subsystem does not exist here.
    pub(crate) fn on_external_rpc(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        self.meter.external_ignored += 1;
        self.no_such_subsystem(sender, frames, out);
    }
}
