//! `rejoin`: back into a room, as who one was.

use crate::{
    bot::{
        ask::{self, Wish},
        call::Call,
        command::{Command, Group, Needs, Place},
        reply::Answer,
    },
    portal::PortalError,
};

pub const COMMAND: Command = Command {
    name: "rejoin",
    aliases: &["return"],
    group: Group::Rooms,
    usage: "",
    summary: "return to a room that you left",
    help: "You return behind the same pseudonym; that is what keeps a room's bans meaningful. If your pseudonym is still on its way out, it stays. If you were banned, I try nevertheless and tell you what the room says.",
    place: Place::Both,
    needs: Needs::Pseudonym,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let portal = call.portal()?;
    let wish = Wish {
        target: ask::target_of(portal, portal.room.clone()),
        knock: false,
        nick: None,
        successor_of: None,
    };
    ask::ask(call, wish).await
}
