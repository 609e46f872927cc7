//! Publishing this Vizard's key document in the bot's profile, from where other homeservers can read it; and replacing keys when
//! they are due.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    keys::{PROFILE_FIELD, Rotate},
    portal::{Deps, PortalError},
};

/// How often is looked whether keys are due.
const LOOK: Duration = Duration::from_hours(1);
/// After a failure.
const AGAIN: Duration = Duration::from_mins(1);

/// Keeps keys and profile up to date until cancelled. A homeserver without custom profile fields is told of once: others then find
/// the document over TLS alone.
pub async fn run(deps: Deps, stop: CancellationToken) {
    if !deps.config.invites.enabled {
        return;
    }
    let mut told = false;
    while !stop.is_cancelled() {
        let wait = match keep(&deps).await {
            Ok(()) => LOOK,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "the key document could not be published in the bot's profile");
                }
                AGAIN
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = deps.rekeyed.notified() => {}
            () = deps.clock.sleep(wait) => {}
        }
    }
}

/// Replaces what is due, and writes the document into the profile if it is not there.
async fn keep(deps: &Deps) -> Result<(), PortalError> {
    if let Err(error) = deps.keys.rotate(Rotate::WhatIsDue).await {
        tracing::error!(%error, "keys that are due could not be replaced");
    }
    let document = deps.keys.document();
    let shown = deps
        .homeserver
        .profile_field(&deps.bot, &deps.bot.user, PROFILE_FIELD)
        .await?;
    if shown.as_ref() != Some(document.json()) {
        deps.homeserver
            .set_profile_field(&deps.bot, PROFILE_FIELD, document.json())
            .await?;
        tracing::info!(
            sequence = document.sequence(),
            "the key document is published"
        );
    }
    Ok(())
}
