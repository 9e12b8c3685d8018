//! The services inside the process, as the router thread sees them: a bounded ring each way.
//!
//! Deliveries are staged and handed over once per batch, so that a burst wakes tokio once.

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::{self, error::TryRecvError};
use volttron_client::link::{DownReason, LinkEvent, LinkPeer, Message, RouterInfo};
use volttron_router::ServiceId;
use volttron_utils::vip::{self, Frame, Frames};

use super::ZmqFrame;

/// One attached service.
struct Local {
    identity: Bytes,
    outgoing: mpsc::Receiver<Message>,
    events: mpsc::Sender<LinkEvent>,
    /// Deliveries of this batch. Never more than `events` has room for: only this thread puts anything in.
    staged: Vec<LinkEvent>,
    delivered: u64,
    lost: u64,
}

/// A local service's queues, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMeter {
    /// Its identity.
    pub identity: String,
    /// Messages handed to it.
    pub delivered: u64,
    /// Messages it lost because its ring was full.
    pub lost: u64,
    /// Messages in its ring now.
    pub queued: usize,
}

/// All attached services. Slots are reused; a [`ServiceId`] is a slot's index.
#[derive(Default)]
pub(super) struct Locals {
    slots: Vec<Option<Local>>,
}

/// What a look into a service's ring gave. Frames are moved on at once, so the size of the enum costs nothing.
#[allow(clippy::large_enum_variant)]
pub(super) enum Taken {
    /// A message, as the router wants it.
    Frames(Frames<ZmqFrame>),
    /// Nothing now.
    Empty,
    /// The service let go of its link, and everything it queued before has been taken.
    Ended,
}

impl Locals {
    /// Makes room for a service and tells its number, `None` if there are as many as numbers.
    pub(super) fn attach(&mut self, identity: &str, peer: LinkPeer) -> Option<ServiceId> {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let id = ServiceId(u16::try_from(slot).ok()?);
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(Local {
            identity: Bytes::copy_from_slice(identity.as_bytes()),
            outgoing: peer.outgoing,
            events: peer.events,
            staged: Vec::new(),
            delivered: 0,
            lost: 0,
        });
        Some(id)
    }

    pub(super) fn detach(&mut self, id: ServiceId) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.0)) {
            *slot = None;
        }
    }

    pub(super) fn is_attached(&self, identity: &str) -> bool {
        self.slots.iter().flatten().any(|local| local.identity == identity.as_bytes())
    }

    /// Whether a service's ring has no room; none if no service has that identity.
    pub(super) fn is_full(&self, identity: &str) -> Option<bool> {
        let local = self.slots.iter().flatten().find(|local| local.identity == identity.as_bytes())?;
        Some(local.staged.len() >= local.events.capacity())
    }

    /// Numbers in use and free, to be walked with [`take`](Self::take).
    pub(super) fn ids(&self) -> impl Iterator<Item = ServiceId> + use<> {
        (0..self.slots.len()).map(|slot| ServiceId(slot as u16))
    }

    /// Tells a service that it is connected.
    pub(super) fn up(&mut self, id: ServiceId, router: &str) {
        if let Some(local) = self.get(id) {
            local.staged.push(LinkEvent::Up(RouterInfo {
                version: "1.0".to_owned(),
                router: router.to_owned(),
                identity: String::from_utf8_lossy(&local.identity).into_owned(),
            }));
        }
    }

    /// Takes the next message a service sent: `[itself, recipient, VIP1, user, id, subsystem, args..]`.
    pub(super) fn take(&mut self, id: ServiceId) -> Taken {
        let Some(local) = self.get(id) else { return Taken::Empty };
        match local.outgoing.try_recv() {
            Ok(message) => Taken::Frames(to_frames(&local.identity, &message)),
            Err(TryRecvError::Empty) if local.events.is_closed() => Taken::Ended,
            Err(TryRecvError::Empty) => Taken::Empty,
            Err(TryRecvError::Disconnected) => Taken::Ended,
        }
    }

    /// Stages a delivery. `false` when the service's ring has no room; unknown services take everything, because the
    /// router is about to hear that they are gone.
    pub(super) fn stage(&mut self, to: ServiceId, frames: &[ZmqFrame]) -> bool {
        let Some(local) = self.get(to) else { return true };
        if local.staged.len() >= local.events.capacity() {
            local.lost += 1;
            return false;
        }
        if let Some(message) = to_message(frames) {
            local.staged.push(LinkEvent::Message(message));
            local.delivered += 1;
        }
        true
    }

    /// Hands the staged deliveries over.
    pub(super) fn flush(&mut self) {
        for local in self.slots.iter_mut().flatten() {
            for event in local.staged.drain(..) {
                // Room was checked when it was staged; a closed ring is noticed by `take`.
                let _ = local.events.try_send(event);
            }
        }
    }

    /// Tells every service that the bus is gone for good, and lets go of them.
    pub(super) fn close(&mut self) {
        self.flush();
        for local in self.slots.drain(..).flatten() {
            let _ = local.events.try_send(LinkEvent::Down(DownReason::Closed));
        }
    }

    pub(super) fn meters(&self) -> Vec<LocalMeter> {
        let meter = |local: &Local| LocalMeter {
            identity: String::from_utf8_lossy(&local.identity).into_owned(),
            delivered: local.delivered,
            lost: local.lost,
            queued: local.events.max_capacity() - local.events.capacity(),
        };
        self.slots.iter().flatten().map(meter).collect()
    }

    fn get(&mut self, id: ServiceId) -> Option<&mut Local> {
        self.slots.get_mut(usize::from(id.0))?.as_mut()
    }
}

fn to_frames(identity: &[u8], message: &Message) -> Frames<ZmqFrame> {
    let mut frames = Frames::with_capacity(6 + message.args.len());
    frames.push(ZmqFrame::from_slice(identity));
    frames.push(ZmqFrame::from_slice(&message.peer));
    frames.push(ZmqFrame::from_static(vip::PROTO));
    for frame in [&message.user, &message.id, &message.subsystem].into_iter().chain(&message.args) {
        frames.push(ZmqFrame::from_slice(frame));
    }
    frames
}

/// Copies the frames once, into one block that the message's fields are slices of.
fn to_message(frames: &[ZmqFrame]) -> Option<Message> {
    let total = frames.iter().map(|f| f.as_ref().len()).sum();
    let mut block = BytesMut::with_capacity(total);
    for frame in frames {
        block.extend_from_slice(frame.as_ref());
    }
    let block = block.freeze();
    let mut at = 0;
    let slices = frames.iter().map(|frame| {
        let from = at;
        at += frame.as_ref().len();
        block.slice(from..at)
    });
    // The router built these frames; anything else than a message would be a bug of its.
    let message = Message::from_frames(slices);
    debug_assert!(message.is_ok(), "not a message: {frames:?}");
    message.ok()
}

#[cfg(test)]
mod tests {
    use volttron_client::link::Link;

    use super::*;

    fn frames(parts: &[&str]) -> Vec<ZmqFrame> {
        parts.iter().map(|p| ZmqFrame::from_slice(p.as_bytes())).collect()
    }

    fn attached(bound: usize) -> (Locals, ServiceId, Link) {
        let mut locals = Locals::default();
        let (link, peer) = Link::channel(bound, None);
        let id = locals.attach("control", peer).expect("room");
        (locals, id, link)
    }

    #[test]
    fn messages_keep_their_frames_both_ways() {
        let (mut locals, id, mut link) = attached(8);
        locals.up(id, "router-1");
        assert!(locals.stage(id, &frames(&["bob", "VIP1", "bob", "7", "RPC", "", "{}"])));
        assert!(link.rx.try_recv().is_err(), "staged until the end of the batch");
        locals.flush();
        let Ok(LinkEvent::Up(info)) = link.rx.try_recv() else { panic!("up comes first") };
        assert_eq!(
            (info.version.as_str(), info.router.as_str(), info.identity.as_str()),
            ("1.0", "router-1", "control")
        );
        let Ok(LinkEvent::Message(message)) = link.rx.try_recv() else { panic!("then the message") };
        assert_eq!((message.peer_str().as_ref(), message.id_str().as_ref()), ("bob", "7"));
        assert_eq!(message.args, [Bytes::new(), Bytes::from_static(b"{}")]);

        link.tx.try_send(message.reply(vec![Bytes::from_static(b"done")])).expect("room");
        let Taken::Frames(sent) = locals.take(id) else { panic!("a message was queued") };
        let texts: Vec<_> = sent.iter().map(|f| String::from_utf8_lossy(f.as_ref()).into_owned()).collect();
        assert_eq!(texts, ["control", "bob", "VIP1", "", "7", "RPC", "done"]);
        assert!(matches!(locals.take(id), Taken::Empty));
    }

    #[test]
    fn a_full_ring_refuses_and_counts() {
        let (mut locals, id, mut link) = attached(2);
        let message = frames(&["", "VIP1", "", "", "ping", "x"]);
        assert!(locals.stage(id, &message) && locals.stage(id, &message));
        assert!(!locals.stage(id, &message), "staged messages count");
        locals.flush();
        assert!(!locals.stage(id, &message));
        assert!(link.rx.try_recv().is_ok());
        assert!(locals.stage(id, &message), "room again");
        let meter = &locals.meters()[0];
        assert_eq!((meter.delivered, meter.lost), (3, 2));
    }

    #[test]
    fn what_was_queued_before_letting_go_is_still_taken() {
        let (mut locals, id, link) = attached(8);
        link.tx.try_send(Message::new("bob", "ping")).expect("room");
        drop(link);
        assert!(matches!(locals.take(id), Taken::Frames(_)));
        assert!(matches!(locals.take(id), Taken::Ended));
        locals.detach(id);
        assert!(!locals.is_attached("control"));
        let (_link, peer) = Link::channel(1, None);
        assert_eq!(locals.attach("other", peer), Some(id), "the slot is used again");
    }

    #[test]
    fn closing_is_told() {
        let (mut locals, _, mut link) = attached(1);
        locals.close();
        assert!(matches!(link.rx.try_recv(), Ok(LinkEvent::Down(DownReason::Closed))));
        assert!(link.rx.try_recv().is_err());
    }
}
