//! Waiting for something that only shows itself when looked at, such as a file another program writes.

use std::time::{Duration, Instant};

/// Looks until `probe` gives a value; panics with `what` after `limit`.
///
/// The limit guards against hanging for ever; it is no statement about speed.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
