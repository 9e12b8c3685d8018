//! Error messages of the router (vip.md section 6.4): `[to, "", VIP1, user, id, "error", errno, text, peer, subsystem]`.

use volttron_utils::vip::{EAGAIN_TEXT, EPROTONOSUPPORT_TEXT, Frame, Frames, PROTO, subsystem};

use crate::peers::PeerId;
use crate::router::{ARGS, ID, RECIPIENT, Router, SENDER, SUBSYSTEM, USER};
use crate::{Output, Policy};

impl<F: Frame, P: Policy> Router<F, P> {
    /// Reports a failed message to its sender. `frames` is that message with the sender in front; its recipient
    /// is the peer named in the report.
    pub(crate) fn error_report(
        &mut self,
        sender: PeerId,
        mut frames: Frames<F>,
        errno: &'static str,
        text: &'static str,
        out: &mut impl Output<F>,
    ) {
        let Some(peer) = self.peers.get(sender) else { return };
        // A service that spoke under an alias is still reached by its own name.
        frames[SENDER] = out.share(&peer.identity);
        frames[USER] = out.share(&peer.acts_as);
        let about = std::mem::replace(&mut frames[RECIPIENT], F::from_static(b""));
        let what = std::mem::replace(&mut frames[SUBSYSTEM], F::from_static(subsystem::ERROR.as_bytes()));
        frames.truncate(ARGS);
        frames.extend([F::from_static(errno.as_bytes()), F::from_static(text.as_bytes()), about, what]);
        self.send_answer(sender, frames, out);
    }

    /// The router has no such subsystem (93). `frames` is the request.
    pub(crate) fn no_such_subsystem(
        &mut self,
        sender: PeerId,
        mut frames: Frames<F>,
        out: &mut impl Output<F>,
    ) {
        let what = std::mem::replace(&mut frames[SUBSYSTEM], F::from_static(subsystem::ERROR.as_bytes()));
        let args = [
            F::from_static(b"93"),
            F::from_static(EPROTONOSUPPORT_TEXT.as_bytes()),
            F::from_static(b""),
            what,
        ];
        self.answer_without_user(sender, frames, args, out);
    }

    /// A subscriber's queue is full: the publisher of the message with this `id` is told (subsystems.md
    /// section 5.6).
    pub(crate) fn delivery_failed(
        &mut self,
        publisher: PeerId,
        subscriber: PeerId,
        id: &F,
        out: &mut impl Output<F>,
    ) {
        let Some(slow) = self.peers.get(subscriber) else { return };
        let about = out.share(&slow.identity);
        let args = [
            F::from_static(b"11"),
            F::from_static(EAGAIN_TEXT.as_bytes()),
            about,
            F::from_static(subsystem::PUBSUB.as_bytes()),
        ];
        self.pubsub_error(publisher, id, args, out);
    }

    /// A publish was refused (subsystems.md section 5.5).
    pub(crate) fn publish_refused(
        &mut self,
        publisher: PeerId,
        id: &F,
        text: Vec<u8>,
        out: &mut impl Output<F>,
    ) {
        let args = [
            F::from_static(b"-32001"),
            F::from_vec(text),
            F::from_static(b""),
            F::from_static(subsystem::PUBSUB.as_bytes()),
        ];
        self.pubsub_error(publisher, id, args, out);
    }

    fn pubsub_error(&mut self, to: PeerId, id: &F, args: [F; 4], out: &mut impl Output<F>) {
        let Some(peer) = self.peers.get(to) else { return };
        let mut frames = Frames::new();
        frames.push(out.share(&peer.identity));
        frames.push(F::from_static(b""));
        frames.push(F::from_static(PROTO));
        frames.push(out.share(&peer.acts_as));
        frames.push(out.share(id));
        frames.push(F::from_static(subsystem::ERROR.as_bytes()));
        debug_assert_eq!(frames.len(), ID + 2, "the id is where an id belongs");
        frames.extend(args);
        self.send_answer(to, frames, out);
    }
}
