//! Working off the lane of a direct chat with the bot.

use std::{sync::Arc, time::Duration};

use ruma::RoomId;

use super::{
    attempt::{if_openable, persist},
    lane::handled,
    lanes::{LaneKey, Lanes, Taken},
    outcome::Outcome,
};
use crate::{
    bot,
    clock::UnixMillis,
    event::{Event, Membership},
    invite,
    portal::PortalError,
    relay::ENCRYPTED,
    store::{Link, PortalId},
};

/// Events handled between two commits.
const BATCH: usize = 100;
/// How long a message waits for its key, in milliseconds, and how long from look to look.
const PATIENCE: u64 = 10_000;
const LOOK: Duration = Duration::from_millis(300);

/// Works off the lane of a direct chat.
pub(super) async fn direct(lanes: &Arc<Lanes>, room: &RoomId) {
    let key = LaneKey::Direct(room.to_owned());
    let id = lane_id(lanes, room);
    let mut outcome = Outcome::new(lanes, 0);
    loop {
        let items = match lanes.take(&key, BATCH, false) {
            Taken::Items(items) => items,
            Taken::Nothing if lanes.stop.is_cancelled() => return,
            Taken::Nothing => {
                // If it lacks nothing any more by now, the next look ends it.
                lanes.catches_up(&key).await;
                continue;
            }
            Taken::Ended => return,
        };
        let asked: Vec<_> = items.iter().map(|item| &*item.event.event_id).collect();
        let mut handled = handled(lanes, id, &asked).await;
        drop(items);
        while let Some(item) = lanes.next(&key) {
            if handled.insert(item.event.event_id.clone()) {
                if persist(lanes, None, || {
                    answer(lanes, room, &item.event, item.received)
                })
                .await
                .is_none()
                    && lanes.stop.is_cancelled()
                {
                    return;
                }
                let link = Link::of(&item.event, item.direction, None);
                outcome.links.push((id, link));
            }
            outcome.count += 1;
            lanes.noted(&key);
            outcome.closing.add(item.transaction);
        }
        outcome.commit().await;
        if lanes.stop.is_cancelled() {
            return;
        }
    }
}

/// Under which id it is written down what was handled in a direct chat.
pub(super) fn lane_id(lanes: &Lanes, room: &RoomId) -> PortalId {
    let mut id = [0; 16];
    id.copy_from_slice(&lanes.deps.store.derive("direct", &[room.as_bytes()])[..16]);
    PortalId(id)
}

async fn answer(
    lanes: &Arc<Lanes>,
    room: &RoomId,
    event: &Event,
    received: UnixMillis,
) -> Result<(), PortalError> {
    let deps = &lanes.deps;
    #[cfg(debug_assertions)]
    crate::trap::spring(event.content.get());
    let opened;
    let event = if event.kind == ENCRYPTED {
        let decrypted = deps.e2ee.decrypt(&deps.bot, event).await;
        opened = if_openable(event, decrypted.map_err(Into::into))?;
        &opened
    } else {
        event
    };
    if event.state_key.as_deref() == Some(deps.namespace.bot().as_str())
        && event.membership() == Some(Membership::Invite)
    {
        return bot::invited(deps, room, &event.event_id, &event.sender).await;
    }
    match event.membership() {
        Some(Membership::Invite) => return invite::arrive::arrived(deps, event).await,
        Some(Membership::Leave | Membership::Ban) => {
            return invite::arrive::taken_back(deps, event).await;
        }
        _ => {}
    }
    if event.kind == ENCRYPTED && event.was_redacted() {
        return Ok(());
    }
    if event.kind == ENCRYPTED && !event.trust.is_void() {
        if event.trust.lacks_key() && deps.clock.now().saturating_sub(received) < PATIENCE {
            return Err(PortalError::NotYet(LOOK));
        }
        return bot::cannot_read(deps, room).await;
    }
    let Some(text) = bot::text_of(event) else {
        return Ok(());
    };
    let text = bot::strip_prefix(&text, &deps.config.portal.command_prefix).unwrap_or(text);
    bot::handle(deps, &bot::Invocation::new(event, text, None)).await
}
