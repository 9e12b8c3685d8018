//! When the router thread has to wake without anybody ringing.
//!
//! A timer descriptor instead of a timeout on the poll: a timeout sets a kernel timer up and takes it down around every
//! single wait, which on virtual machines costs more than handling the message that ends the wait.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Goes off once, at the moment it was last set to.
pub(super) struct Alarm {
    fd: OwnedFd,
    at: Option<Instant>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { fd: timerfd_create(TimerfdClockId::Monotonic, flags)?, at: None })
    }

    /// Goes off at `at`; costs nothing when it is set to that already.
    pub(super) fn set(&mut self, now: Instant, at: Instant) -> io::Result<()> {
        if self.at == Some(at) {
            return Ok(());
        }
        // Zero would switch it off.
        let wait = at.saturating_duration_since(now).max(Duration::from_nanos(1));
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: none, it_value: wait };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        self.at = Some(at);
        Ok(())
    }

    /// Has to be called when the descriptor is readable.
    pub(super) fn answer(&mut self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.fd, &mut count);
        self.at = None;
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use zmq::{PollEvents, PollItem, poll};

    use super::*;

    fn goes_off_within(alarm: &Alarm, patience: Duration) -> bool {
        poll(&mut [PollItem::from_fd(alarm.fd(), PollEvents::IN)], Some(patience)).expect("poll") == 1
    }

    #[test]
    fn goes_off_once_at_the_last_time_set() {
        let mut alarm = Alarm::new().expect("a timer");
        let now = Instant::now();
        alarm.set(now, now + Duration::from_secs(1000)).expect("set");
        assert!(!goes_off_within(&alarm, Duration::ZERO));
        // A moment that has passed is now.
        alarm.set(now, now.checked_sub(Duration::from_nanos(1)).expect("uptime")).expect("set");
        assert!(goes_off_within(&alarm, Duration::from_secs(20)));
        alarm.answer();
        assert!(!goes_off_within(&alarm, Duration::ZERO));
        alarm.set(now, now).expect("set again");
        assert!(goes_off_within(&alarm, Duration::from_secs(20)));
    }
}
