//! Write protection of topics (subsystems.md section 5.5).

use volttron_utils::json::python;
use volttron_utils::vip::{Frame, typed};

use crate::peers::PeerId;
use crate::router::Router;
use crate::{Denied, Output, Policy, RouterEvent};

impl<F: Frame, P: Policy> Router<F, P> {
    /// `None` if the peer may publish on the topic, else the text for the refusal. A yes is remembered with the
    /// topic, so that the usual publish asks no policy.
    pub(crate) fn publish_denied(
        &mut self,
        publisher: PeerId,
        bus: &[u8],
        topic: &[u8],
        out: &mut impl Output<F>,
    ) -> Option<Vec<u8>> {
        let generation = self.policy.generation();
        let peer = self.peers.get(publisher)?;
        let mut bus = self.buses.get_mut(bus);
        if bus.as_ref().is_some_and(|bus| bus.is_allowed(topic, generation, peer.serial)) {
            return None;
        }
        let text = typed::text(topic);
        match self.policy.publish(&peer.acts_as_name, &text) {
            Ok(()) => {
                if let Some(bus) = &mut bus {
                    bus.allow(topic, self.limits.cached_topics, generation, peer.serial);
                }
                None
            }
            Err(denied) => {
                self.meter.publish_denied += 1;
                out.event(RouterEvent::PublishDenied { identity: &peer.name, topic: &text });
                Some(typed::latin1_lossy(&refusal(&text, &denied)))
            }
        }
    }
}

fn refusal(topic: &str, Denied { required, provided_repr }: &Denied) -> String {
    let required = required.iter().map(|name| python::repr_str(name)).collect::<Vec<_>>().join(", ");
    format!(
        "to publish to topic \"{topic}\" requires capabilities [{required}], but capability list {provided_repr} was provided"
    )
}
