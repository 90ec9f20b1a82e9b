//! Work that takes the processor for a while: beside the thread that everybody's requests, probes and clocks are on.

use std::panic::resume_unwind;

use tokio::task::{JoinError, spawn_blocking};

/// Bytes up to which a pass over them takes less than handing them to another thread and back is worth.
pub const AT_ONCE: usize = 64 << 10;

/// What the work comes to, on another thread. It goes on there, whoever waits for it.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work)
        .await
        .map_err(JoinError::try_into_panic)
    {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The process ends.
        Err(Err(_)) => std::future::pending().await,
    }
}
