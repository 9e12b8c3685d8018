//! Work that waits for files, kept off the threads that serve the bus.

use tokio::task::{JoinError, spawn_blocking};

/// Runs `work` on a thread that may wait. The error is a panic of `work`.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    #[cfg(any(test, feature = "sim"))]
    if crate::sim::is_simulated() {
        return Ok(work());
    }
    spawn_blocking(work).await
}
