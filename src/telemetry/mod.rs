//! Logs and metrics: what an operator sees of Vizard.
//!
//! Nothing that names a person, a room, an event or a content is logged above `trace`: whoever wants such a value in a
//! log line wraps it in [`Shy`]. Other crates' logs are held at `warn`, because what they print is not ours to
//! vouch for (see [`filter()`]). Called by `cli` and `app` to start; by everybody through `tracing` and `metrics`.
//! Never opens a listener: `app` serves what [`metrics()`] renders.

mod filter;
mod metrics;
mod shy;

use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use filter::{FilterError, filter};
pub use metrics::metrics;
pub use shy::Shy;

use crate::config::{Log, LogFormat};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` makes no sense.
    #[error("log.level: {0}")]
    Filter(#[from] FilterError),
    /// Something else in this process logs already.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging to standard error. Once per process.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let filter = filter(&log.level)?;
    let open = filter.would_enable("vizard", &tracing::Level::TRACE);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Human => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()?;
    shy::set_open(open);
    Ok(())
}
