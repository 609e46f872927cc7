//! Avatars: copied to the local media store, so that no remote `mxc` ever stands in a portal.
//!
//! Whoever has an avatar chooses the server that keeps it, which may answer slowly or never, and what comes after it waits. So it
//! is tried once and not for long. What failed is left alone for an hour; a portal that was kept waiting asks the same server for
//! none for an hour, and no server for a minute. (It alone: else whoever has an unfinished upload somewhere could have that server
//! left alone by all.)

use ruma::{MxcUri, OwnedMxcUri};

use super::{Deps, PortalError};
use crate::homeserver::{Actor, Class};

/// How long what failed is not asked for again, in milliseconds.
const FAILED: u64 = 3_600_000;
/// The same of all avatars, in a portal that was kept waiting.
const KEPT_WAITING: u64 = 60_000;

/// Copies an avatar. One that cannot be had or is too large is left out; only a homeserver that is away is an error.
pub(super) async fn copy_avatar(
    deps: &Deps,
    reader: &Actor,
    owner: &Actor,
    remote: &MxcUri,
) -> Result<Option<OwnedMxcUri>, PortalError> {
    let Ok(server) = remote.server_name() else {
        return Ok(None);
    };
    // The reader is in one portal only.
    let here = (reader.user.as_str(), "");
    let there = (reader.user.as_str(), server.as_str());
    let this = ("", remote.as_str());
    let left_alone = |what| deps.no_avatar_until.at(what) > deps.clock.now();
    if [here, there, this].into_iter().any(left_alone) {
        return Ok(None);
    }
    let max = deps.config.portal.max_avatar_kib * 1024;
    let media = match deps.homeserver.download(reader, remote, max).await {
        Ok(media) => media,
        Err(error) => {
            metrics::counter!("vizard_failures_total", "class" => "avatar").increment(1);
            tracing::debug!(class = ?error.class(), "an avatar could not be fetched");
            if error.class() == Class::Retry {
                // Where the homeserver itself is away, everything waits.
                deps.homeserver.versions().await?;
                let now = deps.clock.now();
                deps.no_avatar_until.note(here, now + KEPT_WAITING);
                deps.no_avatar_until.note(there, now + FAILED);
            }
            let until = deps.clock.now() + FAILED;
            deps.no_avatar_until.note(this, until);
            return Ok(None);
        }
    };
    let kind = media
        .content_type
        .as_deref()
        .filter(|kind| kind.starts_with("image/") && !kind.contains("svg"));
    let Some(kind) = kind.map(ToOwned::to_owned) else {
        return Ok(None);
    };
    let local = deps.homeserver.reserve_media(owner).await?;
    match deps
        .homeserver
        .upload(owner, &local, media.bytes, &kind)
        .await
    {
        Ok(()) => Ok(Some(local)),
        Err(error) if error.class() == Class::GiveUp => Ok(None),
        Err(error) => Err(error.into()),
    }
}
