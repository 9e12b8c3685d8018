//! What asks the platform to stop: SIGINT, SIGTERM, the control service, or the bus's own end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::PlatformError;
use crate::front::FrontState;

/// Why the platform stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// SIGINT or SIGTERM: sockets have to be free at once.
    Signal(&'static str),
    /// `control.stop_platform`.
    Quit,
    /// The bus is gone without being asked.
    BusEnded,
}

/// The signals, caught from the moment of construction.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn catch() -> Result<Self, PlatformError> {
        let catch =
            |kind| signal(kind).map_err(|source| PlatformError::System { action: "catch signals", source });
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Reason {
        tokio::select! {
            _ = self.interrupt.recv() => Reason::Signal("SIGINT"),
            _ = self.terminate.recv() => Reason::Signal("SIGTERM"),
        }
    }

    /// Whatever comes first.
    pub(super) async fn wait(&mut self, mut bus: watch::Receiver<FrontState>) -> Reason {
        tokio::select! {
            reason = self.next() => reason,
            state = bus.wait_for(|s| *s != FrontState::Running) => match state.map(|s| *s) {
                Ok(FrontState::QuitRequested) => Reason::Quit,
                _ => Reason::BusEnded,
            },
        }
    }
}
