//! `quit`: the platform stops (vip.md section 6.2).

use volttron_utils::vip::{Frame, Frames};

use crate::peers::PeerId;
use crate::router::Router;
use crate::{Output, Policy, RouterEvent};

impl<F: Frame, P: Policy> Router<F, P> {
    /// From the control service inside the process it is obeyed without an answer; from anyone else the router has
    /// no such subsystem.
    pub(crate) fn on_quit(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        if self.is_control(sender) {
            out.event(RouterEvent::Quit);
        } else {
            self.meter.not_allowed += 1;
            self.no_such_subsystem(sender, frames, out);
        }
    }
}
