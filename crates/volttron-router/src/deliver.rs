//! Getting messages out, and what follows when that fails (vip.md sections 6.4 and 7.2).

use volttron_utils::vip::{EAGAIN_TEXT, EHOSTUNREACH_TEXT, Frame, Frames, PROTO, subsystem};

use crate::peers::{PeerId, Place};
use crate::router::{ARGS, ID, RECIPIENT, Router, SENDER, SUBSYSTEM, USER};
use crate::stats::Labels;
use crate::{DropReason, Output, Policy, RouterEvent, Unsent, WhenFull, Why};

/// A peer that was removed; its names are still to be announced as dropped.
pub(crate) struct Departure<F> {
    names: Vec<(F, Box<str>)>,
    why: DropReason,
}

impl<F: Frame, P: Policy> Router<F, P> {
    /// Sends a message to another peer: frames by move, only addresses and user change.
    /// `size` is that of all frames.
    pub(crate) fn forward(
        &mut self,
        sender: PeerId,
        mut frames: Frames<F>,
        size: u64,
        out: &mut impl Output<F>,
    ) {
        let Some(name) = self.peers.find(frames[RECIPIENT].as_ref()) else {
            return self.unreachable(sender, frames, out);
        };
        let Some(from) = self.peers.get(sender) else { return };
        let local = from.place != Place::Wire;
        // A service speaks under the name in frame 0, which may be one of its aliases.
        let named = |frames: &Frames<F>| (frames[USER].as_ref().len() + frames[SENDER].as_ref().len()) as u64;
        let before = named(&frames);
        frames[USER] = out.share(if local { &frames[SENDER] } else { &from.acts_as });
        // Before remembering: a service may call itself by its alias.
        if local && !self.addressed.is_empty() {
            let (subsystem, id) = (frames[SUBSYSTEM].as_ref(), frames[ID].as_ref());
            let alias = self.addressed.recall(name.peer, sender, subsystem, id);
            if let Some((alias, _)) = alias.and_then(|n| from.aliases.get(usize::from(n) - 1)) {
                frames[SENDER] = out.share(alias);
                frames[USER] = out.share(alias);
            }
        }
        let size = size - before + named(&frames);
        if name.alias != 0 {
            let (subsystem, id) = (frames[SUBSYSTEM].as_ref(), frames[ID].as_ref());
            self.addressed.remember(sender, name.peer, subsystem, id, name.alias);
        }
        frames.swap(SENDER, RECIPIENT);
        match self.deliver(name.peer, frames, size, out) {
            Ok(()) => self.meter.forwarded += 1,
            Err(Unsent { why, mut frames }) => {
                frames.swap(SENDER, RECIPIENT);
                match why {
                    Why::NoRoute => self.unreachable(sender, frames, out),
                    Why::Full => {
                        self.meter.queue_full_direct += 1;
                        self.error_report(sender, frames, "11", EAGAIN_TEXT, out);
                    }
                }
            }
        }
    }

    fn unreachable(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        self.meter.unreachable += 1;
        if let Some(from) = self.peers.get(sender) {
            let recipient = volttron_utils::vip::typed::text(frames[RECIPIENT].as_ref());
            out.event(RouterEvent::Unroutable { sender: &from.name, recipient: &recipient });
        }
        self.error_report(sender, frames, "113", EHOSTUNREACH_TEXT, out);
    }

    /// Hands `[recipient, sender, VIP1, user, id, subsystem, args..]` to wherever `to` lives. On failure the peer
    /// has been dealt with (counted or dropped) and the frames are as they were. `size` is that of all frames: the
    /// caller knows it cheaper than by asking each.
    pub(crate) fn deliver(
        &mut self,
        to: PeerId,
        frames: Frames<F>,
        size: u64,
        out: &mut impl Output<F>,
    ) -> Result<(), Unsent<F>> {
        let Some(peer) = self.peers.get_mut(to) else {
            return Err(Unsent { why: Why::NoRoute, frames });
        };
        debug_assert_eq!(size, bytes(&frames), "the size a caller told");
        let labels = self.stats.is_enabled().then(|| Labels::of(&frames));
        let sent = match peer.place {
            Place::Wire => out.wire(frames),
            Place::Local(service) => {
                let mut frames = frames;
                let recipient = frames.remove(0);
                out.local(service, frames).map_err(|mut unsent| {
                    unsent.frames.insert(0, recipient);
                    unsent
                })
            }
        };
        match &sent {
            Ok(()) => {
                peer.dropped_in_a_row = 0;
                peer.traffic.sent += 1;
                peer.traffic.sent_bytes += size;
                self.stats.outgoing(labels);
            }
            Err(Unsent { why: Why::NoRoute, .. }) => {
                self.stats.error(labels, EHOSTUNREACH_TEXT);
                self.drop_peer(to, DropReason::Unreachable);
            }
            Err(Unsent { why: Why::Full, .. }) => {
                self.stats.error(labels, EAGAIN_TEXT);
                peer.dropped += 1;
                peer.dropped_in_a_row = peer.dropped_in_a_row.saturating_add(1);
                let lost = peer.dropped_in_a_row;
                // A service has no connection to make anew; it stays and loses messages.
                let wire = peer.place == Place::Wire;
                out.event(RouterEvent::QueueFull { peer: &peer.name, dropped_total: peer.dropped });
                match self.limits.when_full {
                    WhenFull::Disconnect { after } if wire && lost >= after => {
                        self.drop_peer(to, DropReason::TooSlow);
                    }
                    _ => {}
                }
            }
        }
        sent
    }

    /// Answers a request addressed to the router. `frames` is the request: its first six frames become those of
    /// the answer.
    pub(crate) fn answer(
        &mut self,
        to: PeerId,
        mut frames: Frames<F>,
        args: impl IntoIterator<Item = F>,
        out: &mut impl Output<F>,
    ) {
        frames.truncate(ARGS);
        let Some(peer) = self.peers.get(to) else { return };
        frames[USER] = out.share(&peer.acts_as);
        frames.extend(args);
        self.send_answer(to, frames, out);
    }

    /// [`Self::answer`] with an empty USER frame: peerlist, query and "no such subsystem" (vip.md section 4.3).
    pub(crate) fn answer_without_user(
        &mut self,
        to: PeerId,
        mut frames: Frames<F>,
        args: impl IntoIterator<Item = F>,
        out: &mut impl Output<F>,
    ) {
        frames.truncate(ARGS);
        frames[USER] = F::from_static(b"");
        frames.extend(args);
        self.send_answer(to, frames, out);
    }

    pub(crate) fn send_answer(&mut self, to: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        // A failed answer causes no further error (vip.md section 6.4).
        let size = bytes(&frames);
        match self.deliver(to, frames, size, out) {
            Ok(()) => self.meter.replies += 1,
            Err(_) => self.meter.replies_lost += 1,
        }
    }

    /// Tells every peer that `name` was added or dropped (vip.md section 7.1).
    pub(crate) fn broadcast(&mut self, op: &'static str, name: &F, out: &mut impl Output<F>) {
        let mut everyone = std::mem::take(&mut self.scratch);
        everyone.clear();
        everyone.extend(self.peers.iter().map(|(id, _)| id));
        for &id in &everyone {
            let Some(peer) = self.peers.get(id) else { continue };
            let mut frames = Frames::new();
            frames.push(out.share(&peer.identity));
            frames.push(F::from_static(b""));
            frames.push(F::from_static(PROTO));
            frames.push(F::from_static(b""));
            frames.push(F::from_static(b""));
            frames.push(F::from_static(subsystem::PEERLIST.as_bytes()));
            frames.push(F::from_static(op.as_bytes()));
            frames.push(out.share(name));
            self.send_answer(id, frames, out);
        }
        self.scratch = everyone;
    }

    /// Removes a peer and everything it subscribed to, at once; the others hear of it in
    /// [`Self::announce_departures`]. Nothing is sent to it any more.
    pub(crate) fn drop_peer(&mut self, id: PeerId, why: DropReason) {
        let Some(peer) = self.peers.remove(id) else { return };
        self.meter.peers_dropped += 1;
        self.addressed.forget(id);
        for (table, bus, prefix) in peer.subscriptions.iter() {
            self.buses.remove(table, bus, prefix, id);
        }
        let mut names = vec![(peer.identity, peer.name)];
        names.extend(peer.aliases);
        self.departures.push_back(Departure { names, why });
    }

    /// Announces who left. An announcement may find further peers gone; each leaves only once, so this ends.
    pub(crate) fn announce_departures(&mut self, out: &mut impl Output<F>) {
        while let Some(Departure { names, why }) = self.departures.pop_front() {
            for (frame, name) in names {
                out.event(RouterEvent::PeerDropped { identity: &name, why });
                self.broadcast("drop", &frame, out);
            }
        }
    }
}

/// Size of a message: all its frames.
pub(crate) fn bytes<F: AsRef<[u8]>>(frames: &Frames<F>) -> u64 {
    frames.iter().map(|frame| frame.as_ref().len() as u64).sum()
}
