//! `vizard run`: until a signal.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    failure::{Exit, Failure},
    lock::Lock,
    master_key::{self, Settled},
    runtime,
};
use crate::{
    app::{self, Ended},
    clock::Clock,
    config::Loaded,
    telemetry,
};

/// Before it is run again with other devices, the first times, in seconds.
const PAUSES: [u64; 4] = [0, 1, 5, 20];
/// The same, later on.
const LONGEST_PAUSE: u64 = 60;

/// What a shell reports for a process that SIGTERM ended.
const KILLED: i32 = 128 + 15;

pub(super) fn run(loaded: Loaded) -> Result<Exit, Failure> {
    telemetry::init(&loaded.config.log).map_err(|error| Failure::internal(error.to_string()))?;
    let lock = Lock::take(&loaded)?;
    runtime(|| serve(loaded, lock))??;
    Ok(Exit::Success)
}

/// Holds the lock until Vizard has stopped.
async fn serve(loaded: Loaded, lock: Lock) -> Result<(), Failure> {
    let unhandled = |error| Failure::internal(format!("cannot handle signals: {error}"));
    let terminate = signal(SignalKind::terminate()).map_err(unhandled)?;
    let interrupt = signal(SignalKind::interrupt()).map_err(unhandled)?;
    match master_key::settle(&loaded, &lock).await? {
        Settled::Nothing => {}
        Settled::Finished => tracing::warn!("an interrupted key rotation was finished"),
        Settled::Undone => tracing::warn!("an interrupted key rotation was undone"),
    }
    let shutdown = CancellationToken::new();
    let signals = tokio::spawn(stop(terminate, interrupt, shutdown.clone()));
    let mut pauses = PAUSES.into_iter().chain(std::iter::repeat(LONGEST_PAUSE));
    let ended = loop {
        match app::run(loaded.config.clone(), &shutdown).await {
            Ok(Ended::Renewed) if !shutdown.is_cancelled() => {
                // Once is what it is for; again and again would wear out a homeserver that forgets all the time.
                let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                let pause = Duration::from_secs(pause);
                shutdown
                    .run_until_cancelled(Clock::system().sleep(pause))
                    .await;
            }
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    signals.abort();
    drop(lock);
    ended.map_err(|error| Failure::internal(format!("{error:#}")))
}

/// The first signal asks for a graceful stop, the second leaves at once: what was acknowledged is in the database.
async fn stop(mut terminate: Signal, mut interrupt: Signal, shutdown: CancellationToken) {
    for round in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if round > 0 {
            tracing::warn!("a second signal: leaving at once");
            std::process::exit(KILLED);
        }
        tracing::info!("stopping (a second signal leaves at once)");
        shutdown.cancel();
    }
}
