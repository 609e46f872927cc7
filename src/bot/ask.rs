//! Asking to be in a room: what `join`, `knock`, `rejoin` and `follow` have in common. The asking itself is a
//! job.

use ruma::{OwnedRoomId, OwnedRoomOrAliasId, RoomId};

use super::{
    call::{Call, room_title},
    depart,
    reply::{Answer, Reply},
    stamp,
};
use crate::{
    config::Denial,
    portal::{JoinTarget, PortalError, slips_out},
    store::{JoinStage, JoinTask, Portal, PortalId, PortalState, Route, Task},
};

/// What is asked for.
#[derive(Debug)]
pub struct Wish {
    /// The room.
    pub target: JoinTarget,
    /// Knock instead of joining.
    pub knock: bool,
    /// The name that the user wants, cleaned.
    pub nick: Option<String>,
    /// The portal whose room was replaced by the target.
    pub successor_of: Option<PortalId>,
}

/// The room of a portal, and the servers that know it.
pub fn target_of(portal: &Portal, room: OwnedRoomId) -> JoinTarget {
    let mut via = portal.via.clone();
    for known in [room.server_name(), portal.room.server_name()] {
        if let Some(server) = known.filter(|server| !via.iter().any(|via| via == *server)) {
            via.push(server.to_owned());
        }
    }
    JoinTarget {
        room: room.into(),
        via,
    }
}

/// Checks a wish, tells that it is being asked for, and queues it.
pub async fn ask(call: &Call<'_>, wish: Wish) -> Result<Answer, PortalError> {
    let access = &call.deps.config.access;
    if let Some(denial) = access.denial(&wish.target.room, &wish.target.via) {
        return Ok(denied(denial).into());
    }
    // Which room an alias leads to shows when it is asked for: then the cap is looked at once more.
    let mut departing = None;
    let mut capped = wish.successor_of.is_none() && room_id(&wish.target.room).is_some();
    if let Some(room) = room_id(&wish.target.room) {
        if let Some(refusal) = own_room(call, room).await? {
            return Ok(refusal.into());
        }
        if let Some(portal) = there_already(call, room).await? {
            if portal.state == PortalState::Leaving && !portal.forgetting {
                departing = Some(portal);
            } else if let Some(reply) = already(call, &portal, wish.knock).await? {
                return Ok(reply.into());
            }
            capped = false;
        }
    }
    if let Some(refusal) = limits(call, capped).await? {
        return Ok(refusal.into());
    }
    // If it stays, the job finds the ghost in its room, looks what became of that meanwhile, and invites the user to the portal. It is
    // queued before the departure is called off, and waits for that: whatever fails in between, all of this is done once more.
    let mut staying = None;
    if let Some(portal) = departing {
        match depart::still_there(call, portal.id).await? {
            Some(still_there) => staying = Some((still_there, portal)),
            None => return Ok(leaving(call, &portal).await?.into()),
        }
    }
    let mut report = call.new_report();
    let text = opening(&wish, call.deps.namespace.server().as_str());
    call.deps.report(&mut report, "asking", &text).await?;
    let task = JoinTask {
        user: call.user.mxid.clone(),
        target: wish.target.room,
        via: wish.target.via,
        knock: wish.knock,
        nick: wish.nick,
        successor_of: wish.successor_of,
        fresh: false,
        stage: JoinStage::default(),
        report: report.clone(),
    };
    call.deps
        .add_job(
            call.invocation.event.as_str(),
            call.deps.clock.now(),
            Task::Join(task),
        )
        .await?;
    if let Some((still_there, portal)) = staying
        && !still_there.call_off(call).await?
    {
        // It was forgotten meanwhile, in its portal. The report is the answer, and the job ends by itself.
        let text = format!(
            "{} is being forgotten by now. That is final, and there is no way back.",
            portal.ghost.nick
        );
        call.deps.report(&mut report, "forgotten", &text).await?;
    }
    Ok(Answer::none())
}

fn room_id(room: &OwnedRoomOrAliasId) -> Option<&RoomId> {
    <&RoomId>::try_from(&**room).ok()
}

fn opening(wish: &Wish, own_server: &str) -> String {
    let server = wish
        .target
        .server()
        .map_or(own_server, ruma::ServerName::as_str);
    if wish.knock {
        format!("Knocking, by way of {server}…")
    } else {
        format!("Asking {server}…")
    }
}

fn denied(denial: Denial) -> Reply {
    Reply::say(match denial {
        Denial::Room => "The administrator of this Vizard does not allow joining that room.",
        Denial::Server => {
            "The administrator of this Vizard does not allow joining rooms of that server."
        }
    })
}

/// A room of Vizard's own leads nowhere.
async fn own_room(call: &Call<'_>, room: &RoomId) -> Result<Option<Reply>, PortalError> {
    let own = if call.user.direct_chat.as_deref() == Some(room) || call.invocation.room == room {
        "That is the room in which we talk. Give me the room that you want to join."
    } else if matches!(call.deps.store.route(room).await?, Route::Portal(_)) {
        "That is a portal already, not a room to join. Give me the room behind it."
    } else {
        return Ok(None);
    };
    Ok(Some(Reply::say(own)))
}

async fn there_already(
    call: &Call<'_>,
    room: &RoomId,
) -> Result<Option<std::sync::Arc<Portal>>, PortalError> {
    let mut pseudonyms = call.user.pseudonyms.iter();
    let Some(known) = pseudonyms.find(|pseudonym| pseudonym.room == room) else {
        return Ok(None);
    };
    match call.deps.portals.get(known.portal).await {
        Ok(portal) => Ok(Some(portal)),
        Err(PortalError::Gone) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What to say when there is a pseudonym in the room; `None` when asking makes sense.
async fn already(
    call: &Call<'_>,
    portal: &Portal,
    knock: bool,
) -> Result<Option<Reply>, PortalError> {
    let nick = &portal.ghost.nick;
    Ok(Some(match portal.state {
        _ if portal.forgetting => forgetting(call, portal),
        PortalState::Joined => {
            let reply = Reply::say("You are in ")
                .bold(&room_title(portal))
                .and(" already, as ")
                .bold(nick)
                .and(".");
            match &portal.portal_room {
                Some(room) if call.invocation.room == *room => reply.and(" This is its portal."),
                Some(room) => reply.and(" ").link("Open the portal", &call.link(room)),
                None => reply,
            }
        }
        PortalState::Joining => Reply::say(&format!(
            "I am asking for you already, please wait a moment. `{}` stops it.",
            call.typed("cancel")
        )),
        PortalState::Knocking if knock => Reply::say(&format!(
            "You have knocked there already, as {nick}. `{}` takes it back.",
            call.typed("cancel")
        )),
        PortalState::Leaving => leaving(call, portal).await?,
        PortalState::Knocking | PortalState::Left | PortalState::Banned | PortalState::Invited => {
            return Ok(None);
        }
    }))
}

/// What to say while a pseudonym is being forgotten.
pub fn forgetting(call: &Call<'_>, portal: &Portal) -> Reply {
    let hours = call.deps.config.privacy.spread_hours;
    Reply::say("Your pseudonym ")
        .bold(&portal.ghost.nick)
        .and(" in ")
        .bold(&room_title(portal))
        .and(&format!(
            " is being forgotten. That is final, and there is no way back. It takes a moment or, if you forgot several at the same time, up to {hours} hours: if they went together, people could tell that they belong together. `{}`, once more, does it at once.",
            call.typed("forget"),
        ))
}

/// What to say while a pseudonym leaves its room: what was asked for would end with that.
pub async fn leaving(call: &Call<'_>, portal: &Portal) -> Result<Reply, PortalError> {
    // One that never was there goes because of what was forgotten, and is not to be told how to go at once.
    let (deps, user) = (call.deps, &call.user.mxid);
    if portal.joined_at == 0 && deps.store.is_forgotten(user, &portal.room).await? {
        return Ok(Reply::say(&slips_out(deps, portal)));
    }
    let hours = deps.config.privacy.spread_hours;
    Ok(Reply::say("Your pseudonym ")
        .bold(&portal.ghost.nick)
        .and(" is leaving ")
        .bold(&room_title(portal))
        .and(&format!(
            ". That takes a moment or, if you left several rooms at about the same time, up to {hours} hours: if their pseudonyms went together, people could tell that they belong together. `{}` shows when it has left; then ask again. `{}` lets it leave at once.",
            call.typed("list"),
            call.typed("leave"),
        )))
}

/// The cap of pseudonyms and the limit of joins. A join counts once, however often its command is handled.
pub async fn limits(call: &Call<'_>, capped: bool) -> Result<Option<Reply>, PortalError> {
    let access = &call.deps.config.access;
    let now = call.deps.clock.now();
    let mark = call.mark();
    let counted =
        |user: &crate::store::User| user.recent_joins.iter().any(|join| mark.is_on(*join));
    if capped && !counted(&call.user) && call.user.pseudonyms.len() >= access.max_pseudonyms {
        return Ok(Some(Reply::say(&format!(
            "You have {} pseudonyms, which is as many as one person may have here. `forget` one that you no longer need, or ask the administrator.",
            call.user.pseudonyms.len()
        ))));
    }
    let limit = access.joins_per_hour;
    let user = call
        .deps
        .store
        .update_user(&call.user.mxid, |user| {
            let _ = stamp::count_join(&mut user.recent_joins, now, mark, limit);
        })
        .await?;
    if counted(&user) {
        return Ok(None);
    }
    let mut joins = user.recent_joins;
    let free = stamp::count_join(&mut joins, now, mark, limit)
        .err()
        .unwrap_or(now);
    let minutes = free.saturating_sub(now).div_ceil(60_000).max(1);
    Ok(Some(Reply::say(&format!(
        "That is enough for now: {limit} rooms an hour. Please try again in about {minutes} min.",
    ))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_server_that_is_asked() {
        for (text, knock, expected) in [
            ("#pub:b.example", false, "Asking b.example…"),
            ("!v12room c.example", false, "Asking c.example…"),
            ("!v12room", false, "Asking a.example…"),
            ("#pub:b.example", true, "Knocking, by way of b.example…"),
        ] {
            let wish = Wish {
                target: JoinTarget::parse(text).expect("a room"),
                knock,
                nick: None,
                successor_of: None,
            };
            assert_eq!(opening(&wish, "a.example"), expected);
        }
    }
}
