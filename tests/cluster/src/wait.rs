//! Waiting for a condition, with a limit: the only way in which a test lets time pass.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Calls `probe` until it gives a value, and fails with `what` when that takes longer than `limit`.
///
/// An error of the probe ends the wait at once: "not yet" is `Ok(None)`.
///
/// # Errors
/// The probe's own error, or that the limit has passed.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if began.elapsed() > limit {
            bail!("waited {limit:?} in vain for this: {what}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// [`eventually`] for a yes or no.
///
/// # Errors
/// The probe's own error, or that the limit has passed.
pub async fn until(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    eventually(what, limit, async || Ok(probe().await?.then_some(()))).await
}

/// [`until`] where nothing else has to be done meanwhile.
pub(crate) fn until_blocking(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> bool,
) -> Result<()> {
    let began = Instant::now();
    while !probe() {
        if began.elapsed() > limit {
            bail!("waited {limit:?} in vain for this: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
