//! Was it sent already? Synapse forgets transaction ids after a day, so a send that may have happened longer ago is first
//! looked for in the room.

use ruma::{OwnedEventId, RoomId};

use crate::{
    clock::UnixMillis,
    event::Event,
    homeserver::Actor,
    portal::{Deps, PortalError},
    store::Former,
};

/// How long the homeserver is trusted to know a transaction id, in milliseconds (Synapse: 24 hours).
const TRUSTED: u64 = 23 * 3_600_000;

/// How many pages of a room are searched.
const PAGES: usize = 20;

/// The event that `actor` sent earlier with this transaction id. Only asked when the event was received so long ago that
/// the homeserver may have forgotten, or when the device that was in use then was lost, and its transaction ids with it; the
/// answer comes from `unsigned.transaction_id`, which the homeserver shows to the sending device alone.
pub(super) async fn already_sent(
    deps: &Deps,
    actor: &Actor,
    former: Option<&Former>,
    room: &RoomId,
    txn_id: &str,
    received: UnixMillis,
) -> Result<Option<OwnedEventId>, PortalError> {
    if let Some(former) = former.filter(|former| received <= former.until) {
        let lost = Actor {
            user: actor.user.clone(),
            device: Some(former.device.clone()),
        };
        if lost == *actor {
            return search(deps, actor, room, txn_id, received).await;
        }
        // It has to exist to be shown its transaction ids; without keys nobody notices it.
        let homeserver = &deps.homeserver;
        homeserver.create_device(&lost.user, &former.device).await?;
        let found = search(deps, &lost, room, txn_id, received).await?;
        homeserver.delete_device(&lost).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    if deps.clock.now().saturating_sub(received) < TRUSTED {
        return Ok(None);
    }
    search(deps, actor, room, txn_id, received).await
}

/// The same, however lately it may have been: also what a device sent that was lost since.
pub(super) async fn find(
    deps: &Deps,
    actor: &Actor,
    former: Option<&Former>,
    room: &RoomId,
    txn_id: &str,
    received: UnixMillis,
) -> Result<Option<OwnedEventId>, PortalError> {
    match search(deps, actor, room, txn_id, received).await? {
        Some(sent) => Ok(Some(sent)),
        None => already_sent(deps, actor, former, room, txn_id, received).await,
    }
}

/// The event that `actor` sent with this transaction id, about the time of `received` or later.
async fn search(
    deps: &Deps,
    actor: &Actor,
    room: &RoomId,
    txn_id: &str,
    received: UnixMillis,
) -> Result<Option<OwnedEventId>, PortalError> {
    let mut from: Option<String> = None;
    for _ in 0..PAGES {
        let page = deps
            .homeserver
            .messages(actor, room, from.as_deref(), 100)
            .await?;
        let mut newest = None;
        for raw in &page.chunk {
            let Some(event) = Event::decode(raw) else {
                continue;
            };
            if event.unsigned.transaction_id.as_deref() == Some(txn_id)
                && event.sender == actor.user
            {
                return Ok(Some(event.event_id));
            }
            newest = newest.max(Some(event.origin_server_ts));
        }
        // The whole page: a single time another server may have made up.
        if newest.is_some_and(|newest| newest < received.saturating_sub(TRUSTED)) {
            return Ok(None);
        }
        match page.end {
            Some(end) => from = Some(end),
            None => break,
        }
    }
    Ok(None)
}
