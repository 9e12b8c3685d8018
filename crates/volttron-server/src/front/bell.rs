//! Waking the router thread out of its poll: an eventfd written only when the thread may be asleep.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::event::{EventfdFlags, eventfd};

/// Rung by many, answered by the router thread. Ring after putting something into a queue; look into the queues
/// after answering. Between a first ring and its answer further rings cost one atomic operation.
pub(crate) struct Bell {
    fd: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, rung: AtomicBool::new(false) })
    }

    /// Wakes the thread, now or the next time it would sleep.
    pub(crate) fn ring(&self) {
        // AcqRel: the queue entry made before this is seen by whoever takes the flag down.
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Fails only when the counter is full, that is when the thread has a wake-up waiting anyway.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Takes the ring. The descriptor has to be emptied before the flag: the other way round a ring in between would
    /// leave the flag up with nothing to wake the thread.
    pub(crate) fn answer(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.fd, &mut count);
        self.rung.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        thread,
        time::Duration,
    };

    use zmq::{PollEvents, PollItem, poll};

    use super::*;

    fn is_ringing(bell: &Bell, patience: Duration) -> bool {
        poll(&mut [PollItem::from_fd(bell.fd(), PollEvents::IN)], Some(patience)).expect("poll") == 1
    }

    #[test]
    fn rings_once_until_answered() {
        let bell = Bell::new().expect("an eventfd");
        assert!(!is_ringing(&bell, Duration::ZERO));
        bell.ring();
        bell.ring();
        let mut count = [0; 8];
        rustix::io::read(&bell.fd, &mut count).expect("rung");
        assert_eq!(u64::from_ne_bytes(count), 1, "the second ring wrote nothing");
        bell.answer();
        bell.ring();
        assert!(is_ringing(&bell, Duration::ZERO));
        bell.answer();
        assert!(!is_ringing(&bell, Duration::ZERO));
    }

    #[test]
    fn no_ring_is_lost() {
        const RINGS: usize = 20_000;
        let bell = Arc::new(Bell::new().expect("an eventfd"));
        let (put, take) = mpsc::channel();
        let ringers: Vec<_> = (0..2)
            .map(|_| {
                let (bell, put) = (bell.clone(), put.clone());
                thread::spawn(move || {
                    for _ in 0..RINGS {
                        put.send(()).expect("open");
                        bell.ring();
                    }
                })
            })
            .collect();
        let mut taken = 0;
        while taken < 2 * RINGS {
            assert!(is_ringing(&bell, Duration::from_secs(20)), "asleep with {taken} taken");
            bell.answer();
            taken += take.try_iter().count();
        }
        for ringer in ringers {
            ringer.join().expect("no panic");
        }
    }
}
