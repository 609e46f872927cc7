//! The composition root (to be written).

use crate::config::Config;

/// Runs Vizard until `shutdown`.
#[expect(clippy::unused_async, reason = "to be written")]
pub async fn run(
    config: Config,
    shutdown: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    drop((config, shutdown));
    Ok(())
}
