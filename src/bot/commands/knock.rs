//! `knock ROOM [as NICK]`: asks to be let into a room that is not open.

use super::join;
use crate::{
    bot::{
        ask::{self, Wish},
        call::{Asked, Call},
        command::{Command, Group, Needs, Place},
        reply::Answer,
        select::{self, Found},
    },
    portal::PortalError,
    store::PortalId,
};

pub const COMMAND: Command = Command {
    name: "knock",
    aliases: &[],
    group: Group::Rooms,
    usage: "ROOM [as NICK]",
    summary: "ask to be let into a room that is not open",
    help: "The pseudonym knocks, and members of the room can let it in; not every room allows knocking. ROOM is as for `join`, or a room in which you had a pseudonym before. In a portal, `% knock` alone knocks at its room.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let Some(portal) = known(call) else {
        return match join::wish(call, true) {
            Asked::Found(wish) => ask::ask(call, wish).await,
            Asked::Answered(reply) => Ok(reply.into()),
        };
    };
    let portal = call.deps.portals.get(portal).await?;
    let wish = Wish {
        target: ask::target_of(&portal, portal.room.clone()),
        knock: true,
        nick: None,
        successor_of: None,
    };
    ask::ask(call, wish).await
}

/// The pseudonym that is meant, if one is.
fn known(call: &Call<'_>) -> Option<PortalId> {
    if call.rest.is_empty() {
        return call.invocation.portal;
    }
    match select::find(&call.user.pseudonyms, call.rest) {
        Found::One(index) => Some(call.user.pseudonyms[index].portal),
        _ => None,
    }
}
