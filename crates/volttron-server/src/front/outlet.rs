//! Carrying out what the router decides: sends on the sockets, deliveries to local services, log lines.

use std::time::Instant;

use tokio::sync::watch;
use tracing::{debug, info, warn};
use volttron_router::{Output, RouterEvent, ServiceId, Unsent, Why};
use volttron_utils::vip::Frames;

use super::{FrontState, ZmqFrame, lines::Lines, locals::Locals, slow::SlowPeers};

/// Everything the router may touch while it handles one input.
pub(super) struct Outlet<'a> {
    pub(super) socket: &'a zmq::Socket,
    pub(super) locals: &'a mut Locals,
    pub(super) reporter: &'a mut Reporter,
}

impl Output<ZmqFrame> for Outlet<'_> {
    fn wire(&mut self, mut frames: Frames<ZmqFrame>) -> Result<(), Unsent<ZmqFrame>> {
        match self.socket.send_parts(&mut frames, zmq::DONTWAIT) {
            Ok(()) => Ok(()),
            Err(zmq::Error::EHOSTUNREACH) => Err(Unsent { why: Why::NoRoute, frames }),
            Err(zmq::Error::EAGAIN) => Err(Unsent { why: Why::Full, frames }),
            Err(e) => {
                // Python ends here (vip.md section 6.4); nothing a peer does leads here, so say it and go on.
                self.reporter.send_failed(e);
                Ok(())
            }
        }
    }

    fn local(&mut self, to: ServiceId, frames: Frames<ZmqFrame>) -> Result<(), Unsent<ZmqFrame>> {
        if self.locals.stage(to, &frames) { Ok(()) } else { Err(Unsent { why: Why::Full, frames }) }
    }

    fn share(&mut self, frame: &ZmqFrame) -> ZmqFrame {
        ZmqFrame(frame.0.share())
    }

    fn event(&mut self, event: RouterEvent<'_>) {
        self.reporter.event(&event);
    }
}

/// Turns router events into log lines and into the platform's state.
pub(super) struct Reporter {
    state: watch::Sender<FrontState>,
    lines: Lines,
    pub(super) send_failures: u64,
    pub(super) slow: SlowPeers,
}

impl Reporter {
    pub(super) fn new(state: watch::Sender<FrontState>, slow: SlowPeers, now: Instant) -> Self {
        Self { state, lines: Lines::new(now), send_failures: 0, slow }
    }

    fn send_failed(&mut self, error: zmq::Error) {
        self.send_failures += 1;
        if self.may_log() {
            warn!(%error, "a message could not be sent and is lost");
        }
    }

    fn event(&mut self, event: &RouterEvent<'_>) {
        match event {
            RouterEvent::PeerAdded { identity } => debug!(identity, "peer connected"),
            RouterEvent::PeerDropped { identity, why } => {
                debug!(identity, why = why.as_str(), "peer gone");
                if let Some(lost) = self.slow.gone(identity) {
                    warn!(
                        identity,
                        lost,
                        why = why.as_str(),
                        "a peer that did not read its messages is gone"
                    );
                }
            }
            RouterEvent::Unroutable { sender, recipient } => {
                debug!(sender, recipient, "recipient is not connected");
            }
            RouterEvent::Quit => {
                info!("the control service asked the platform to stop");
                self.set_state(FrontState::QuitRequested);
            }
            RouterEvent::QueueFull { peer, dropped_total } => {
                self.slow.lost(peer, *dropped_total);
                // Powers of two: a slow peer is named at once and then ever more rarely.
                if dropped_total.is_power_of_two() {
                    warn!(peer, dropped_total, "peer does not read its messages; they are lost");
                }
            }
            RouterEvent::Refused { identity, why } if self.may_log() => {
                warn!(identity, %why, "identity refused");
            }
            RouterEvent::Malformed { sender, why } if self.may_log() => {
                warn!(sender, why = why.as_str(), "malformed message dropped");
            }
            RouterEvent::PublishDenied { identity, topic } if self.may_log() => {
                warn!(identity, topic, "publish to a protected topic refused");
            }
            RouterEvent::NotAllowed { identity, operation } if self.may_log() => {
                warn!(identity, operation, "only a platform service may do this; ignored");
            }
            other => debug!(?other, "router event"),
        }
    }

    pub(super) fn set_state(&self, state: FrontState) {
        self.state.send_replace(state);
    }

    /// Whether one more line about a misbehaving peer may be written now.
    pub(super) fn may_log(&mut self) -> bool {
        self.lines.may_log()
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now: Instant) {
        self.lines.tick(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quit_reaches_the_platform() {
        let state = watch::Sender::new(FrontState::Running);
        let seen = state.subscribe();
        Reporter::new(state, SlowPeers::default(), Instant::now()).event(&RouterEvent::Quit);
        assert_eq!(*seen.borrow(), FrontState::QuitRequested);
    }
}
