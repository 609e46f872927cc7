//! `leave`: out of a room; the pseudonym is kept.

use crate::{
    bot::{
        ask,
        call::{Call, room_title},
        command::{Command, Group, Needs, Place},
        depart,
        reply::{Answer, Reply},
    },
    portal::PortalError,
    store::PortalState,
};

pub const COMMAND: Command = Command {
    name: "leave",
    aliases: &["part"],
    group: Group::Rooms,
    usage: "",
    summary: "leave a room; the pseudonym is kept for a return",
    help: "`rejoin` brings you back behind the same pseudonym, `forget` destroys it. `leave all` leaves every room, each at a random time, so that nobody can tell that the pseudonyms belong together. Leaving a portal leaves its room too. An invite that you have not answered is declined.",
    place: Place::Both,
    needs: Needs::Pseudonym,
    keywords: &["all"],
    always: true,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let Some(portal) = &call.portal else {
        return depart::all(call, false).await;
    };
    if portal.forgetting {
        return Ok(ask::forgetting(call, portal).into());
    }
    if portal.state == PortalState::Invited {
        return depart::decline(call, portal).await;
    }
    if depart::is_in(&portal.state) {
        return depart::one(call, portal, false).await;
    }
    Ok(Reply::say("You are not in ")
        .bold(&room_title(portal))
        .and(&format!(
            " any more. `{}` returns, `{}` destroys the pseudonym for good.",
            call.typed("rejoin"),
            call.typed("forget")
        ))
        .into())
}
