//! Why no router welcomes us, as far as one can know from this side of the connection, and what to do about it.
//!
//! Pure: events in, text out.

use std::fmt::Write as _;

use volttron_utils::keys::PublicKey;
use zmq::MonitorEventKind as Event;

/// What we are trying to reach, as whom.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) endpoint: String,
    pub(super) identity: String,
    pub(super) public: Option<PublicKey>,
    pub(super) encrypted: bool,
}

/// How far the best attempt so far got. Ordered: a later stage wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing accepted the connection.
    #[default]
    Nothing,
    /// Accepted, and silent since.
    Silent,
    /// Closed during the handshake.
    HandshakeClosed,
    /// The two sides do not agree on the protocol.
    HandshakeProtocol,
    /// The authenticator said no.
    Refused,
    /// Authenticated; no answer to hello.
    NoAnswer,
}

/// Collects what the monitor reports.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    stage: Stage,
    in_handshake: bool,
}

impl Diagnosis {
    pub(super) fn note(&mut self, event: Event) {
        let stage = match event {
            Event::Connected => {
                self.in_handshake = true;
                Stage::Silent
            }
            Event::HandshakeSucceeded => {
                self.in_handshake = false;
                Stage::NoAnswer
            }
            Event::HandshakeFailedAuth => Stage::Refused,
            Event::HandshakeFailedProtocol => Stage::HandshakeProtocol,
            Event::Disconnected | Event::HandshakeFailedNoDetail if self.in_handshake => {
                Stage::HandshakeClosed
            }
            _ => return,
        };
        self.stage = self.stage.max(stage);
    }

    /// Starts over, after a welcome.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// True once something accepted a connection: from then on a router owes us a welcome.
    pub(super) fn reached(&self) -> bool {
        self.stage > Stage::Nothing
    }

    /// What is known and what to do.
    pub(super) fn explain(&self, target: &Target) -> String {
        let Target { endpoint, identity, .. } = target;
        let mut text = match self.stage {
            Stage::Nothing => format!(
                "nothing listens at {endpoint}. Is the platform running, and is this its address (VOLTTRON_VIP_ADDR)?"
            ),
            Stage::Silent | Stage::HandshakeClosed | Stage::HandshakeProtocol if !target.encrypted => {
                format!(
                    "{endpoint} does not talk to us without encryption. Give the platform's public key \
                 (VOLTTRON_SERVERKEY; `vctl auth serverkey` shows it)."
                )
            }
            Stage::Silent => format!(
                "{endpoint} accepts the connection but does not finish the handshake. Either this agent's key is not \
                 authorised, or the server key is not the platform's."
            ),
            Stage::HandshakeClosed | Stage::HandshakeProtocol => format!(
                "{endpoint} ends the handshake. The server key is probably not the platform's: compare \
                 VOLTTRON_SERVERKEY and known_hosts with `vctl auth serverkey`."
            ),
            Stage::Refused => format!("{endpoint} does not accept this agent's key."),
            Stage::NoAnswer => format!(
                "No response to hello message from {endpoint}. Identity '{identity}' is probably in use by another \
                 connection, or it belongs to another key. Stop the other agent, or choose another identity \
                 (AGENT_VIP_IDENTITY)."
            ),
        };
        if matches!(self.stage, Stage::Silent | Stage::Refused)
            && let Some(public) = &target.public
        {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                " Its public key is {public}; the platform's administrator sees it among the pending requests \
                 (`vctl auth remote list`) and can approve it there, or add it with `vctl auth add`."
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use volttron_utils::keys::KeyPair;

    fn target(encrypted: bool) -> Target {
        Target {
            endpoint: "tcp://127.0.0.1:22916".into(),
            identity: "pump".into(),
            public: encrypted.then(|| KeyPair::generate().public),
            encrypted,
        }
    }

    #[test]
    fn each_failure_names_its_likely_cause() {
        let cases: &[(&[Event], bool, &str)] = &[
            (&[], true, "nothing listens"),
            (&[Event::ConnectRetried], true, "nothing listens"),
            (&[Event::Connected], true, "pending"),
            (&[Event::Connected], false, "VOLTTRON_SERVERKEY"),
            (&[Event::Connected, Event::Disconnected], true, "server key is probably not the platform's"),
            (&[Event::Connected, Event::HandshakeFailedProtocol], false, "without encryption"),
            (
                &[Event::Connected, Event::HandshakeFailedAuth, Event::Disconnected],
                true,
                "does not accept this agent's key",
            ),
            (&[Event::Connected, Event::HandshakeSucceeded], true, "Identity 'pump' is probably in use"),
        ];
        for (events, encrypted, want) in cases {
            let mut d = Diagnosis::default();
            events.iter().for_each(|e| d.note(*e));
            let text = d.explain(&target(*encrypted));
            assert!(text.contains(want), "{events:?}: {text}");
        }
    }

    #[test]
    fn a_refusal_shows_the_key_to_approve() {
        let mut d = Diagnosis::default();
        d.note(Event::Connected);
        d.note(Event::HandshakeFailedAuth);
        let target = target(true);
        assert!(d.explain(&target).contains(&target.public.expect("set").to_string()));
        assert!(d.reached());
        d.reset();
        assert!(!d.reached());
    }
}
