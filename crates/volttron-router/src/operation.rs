//! Every operation the router itself answers or obeys, and who may ask for it (vip.md section 6.2).
//!
//! One table, and one function that checks it before any handler runs. An operation that is not in the table does
//! not exist; one cannot be added to it without saying who may. Must never look at what an operation does.

use volttron_utils::vip::{Frame, Frames};

use crate::agentstop::CONTROL;
use crate::peers::PeerId;
use crate::pubsub::AUTH;
use crate::router::{ARGS, Router, SUBSYSTEM};
use crate::{Output, Policy, RouterEvent};

/// Who may ask the router for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Every peer the policy admits.
    Everybody,
    /// Every peer, for topics on which the policy lets it publish ([`Policy::publish`]).
    Publishers,
    /// The peer named by the first argument, and this service inside the platform's process.
    ItselfOr(&'static str),
    /// This service inside the platform's process.
    Service(&'static str),
    /// Nobody: it belongs to links between platforms, which this router does not have.
    Nobody,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $subsystem:literal $(/ $name:literal)? : $who:expr $(, $hardened:ident)?;)*) => {
        /// Something a peer can ask of the router.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($(#[$doc])* $variant,)*
        }

        impl Operation {
            /// All there are.
            pub const ALL: &[Operation] = &[$(Operation::$variant),*];

            /// The operation of a message to the router: its subsystem, and its first argument where a subsystem has
            /// several operations.
            fn of(subsystem: &str, argument: Option<&str>) -> Option<Self> {
                match (subsystem, argument) {
                    $(operations!(@pattern $subsystem $($name)?) => Some(Operation::$variant),)*
                    _ => None,
                }
            }

            /// The subsystem, and the first argument if the subsystem has several operations.
            pub const fn name(self) -> (&'static str, Option<&'static str>) {
                match self {
                    $(Operation::$variant => operations!(@name $subsystem $($name)?),)*
                }
            }

            /// Who may ask for it.
            pub const fn who(self) -> Who {
                match self {
                    $(Operation::$variant => $who,)*
                }
            }

            /// Whether 9.x grants it to everybody, so that `--open-methods` does as well.
            pub const fn is_hardened(self) -> bool {
                match self {
                    $(Operation::$variant => operations!(@hardened $($hardened)?),)*
                }
            }
        }
    };
    (@pattern $subsystem:literal) => { ($subsystem, _) };
    (@pattern $subsystem:literal $name:literal) => { ($subsystem, Some($name)) };
    (@name $subsystem:literal) => { ($subsystem, None) };
    (@name $subsystem:literal $name:literal) => { ($subsystem, Some($name)) };
    (@hardened) => { false };
    (@hardened hardened) => { true };
}

operations! {
    /// Who is there.
    Hello = "hello": Who::Everybody;
    /// The data comes back.
    Ping = "ping": Who::Everybody;
    /// Who is connected.
    Peerlist = "peerlist": Who::Everybody;
    /// Facts about the platform.
    Query = "query": Who::Everybody;
    /// A failure report addressed to the router; swallowed.
    Error = "error": Who::Everybody;
    /// Publish on a topic.
    Publish = "pubsub" / "publish": Who::Publishers;
    /// Add subscriptions of the sender.
    Subscribe = "pubsub" / "subscribe": Who::Everybody;
    /// Remove subscriptions of the sender.
    Unsubscribe = "pubsub" / "unsubscribe": Who::Everybody;
    /// Replace the subscriptions of the sender.
    Synchronize = "pubsub" / "synchronize": Who::Everybody;
    /// Which subscriptions there are.
    List = "pubsub" / "list": Who::Everybody;
    /// An answer addressed to the router; swallowed.
    PubsubAnswer = "pubsub" / "request_response": Who::Everybody;
    /// A failure report addressed to the router; swallowed.
    PubsubError = "pubsub" / "error": Who::Everybody;
    /// New capabilities of users.
    AuthUpdate = "pubsub" / "auth_update": Who::Service(AUTH), hardened;
    /// New protected topics.
    ProtectedUpdate = "pubsub" / "protected_update": Who::Service(AUTH), hardened;
    /// Subscriptions of another platform.
    ExternalList = "pubsub" / "external_list": Who::Nobody;
    /// A message published on another platform.
    ExternalPublish = "pubsub" / "external_publish": Who::Nobody;
    /// A peer leaves.
    AgentStop = "agentstop": Who::ItselfOr(CONTROL), hardened;
    /// The platform stops.
    Quit = "quit": Who::Service(CONTROL);
    /// Setting up links between platforms.
    RoutingTable = "routing_table": Who::Nobody;
    /// A call from or to another platform.
    ExternalRpc = "external_rpc": Who::Nobody;
}

impl Operation {
    /// The operation a message to the router asks for.
    pub(crate) fn asked<F: Frame>(frames: &Frames<F>) -> Option<Self> {
        let text = |at: usize| std::str::from_utf8(frames.get(at)?.as_ref()).ok();
        Self::of(text(SUBSYSTEM)?, text(ARGS))
    }

    /// As in logs: the last part of its name.
    pub fn as_str(self) -> &'static str {
        let (subsystem, name) = self.name();
        name.unwrap_or(subsystem)
    }
}

impl<F: Frame, P: Policy> Router<F, P> {
    /// The one check of who may ask the router for something. [`Who::Publishers`] still have to ask for their topic.
    pub(crate) fn may(&self, sender: PeerId, operation: Operation, frames: &Frames<F>) -> bool {
        let lifted = || operation.is_hardened() && self.policy.open_methods();
        match operation.who() {
            Who::Everybody | Who::Publishers => true,
            Who::Service(service) => self.is_service(sender, service) || lifted(),
            Who::ItselfOr(service) => {
                // Nobody is meant, so nothing can happen to anybody.
                let named = frames.get(ARGS).and_then(|name| self.peers.find(name.as_ref()));
                named.is_none_or(|name| name.peer == sender) || self.is_service(sender, service) || lifted()
            }
            Who::Nobody => false,
        }
    }

    /// Counts and reports a refusal, and answers where the sender waits for an answer.
    pub(crate) fn refuse(
        &mut self,
        sender: PeerId,
        operation: Operation,
        frames: Frames<F>,
        out: &mut impl Output<F>,
    ) {
        if operation.who() == Who::Nobody {
            self.meter.external_ignored += 1;
        } else {
            self.not_allowed(sender, operation, out);
        }
        match operation {
            Operation::Quit | Operation::ExternalRpc => self.no_such_subsystem(sender, frames, out),
            Operation::ExternalList => self.answer_bool(sender, frames, Ok(false), out),
            _ => {}
        }
    }

    /// Counts and reports that `sender` asked for something that is not for it.
    pub(crate) fn not_allowed(&mut self, sender: PeerId, operation: Operation, out: &mut impl Output<F>) {
        self.meter.not_allowed += 1;
        if let Some(peer) = self.peers.get(sender) {
            self.policy.refused(&peer.acts_as_name, operation.as_str());
            out.event(RouterEvent::NotAllowed { identity: &peer.name, operation: operation.as_str() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_found_by_their_names_and_nothing_else_is() {
        for &operation in Operation::ALL {
            let (subsystem, name) = operation.name();
            assert_eq!(Operation::of(subsystem, name), Some(operation));
            if name.is_some() {
                assert_eq!(Operation::of(subsystem, None), None);
                assert_eq!(Operation::of(subsystem, Some("nonsense")), None);
            } else {
                assert_eq!(Operation::of(subsystem, Some("whatever")), Some(operation));
            }
        }
        for unknown in ["", "RPC", "auth_token", "channel", "Hello", "hello "] {
            assert_eq!(Operation::of(unknown, Some("hello")), None, "{unknown}");
        }
    }
}
