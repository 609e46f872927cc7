//! `follow`: into the room that replaced this one, with the same pseudonym.

use crate::{
    bot::{
        ask::{self, Wish},
        call::{Call, room_title},
        command::{Command, Group, Needs, Place},
        reply::{Answer, Reply},
    },
    portal::PortalError,
    store::PortalState,
};

pub const COMMAND: Command = Command {
    name: "follow",
    aliases: &["upgrade"],
    group: Group::Rooms,
    usage: "",
    summary: "go along when a room was replaced by a new one",
    help: "When a room is upgraded, its people move to a new room. The pseudonym and the portal go along: members see that you are the same.",
    place: Place::Both,
    needs: Needs::Pseudonym,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let portal = call.portal()?;
    if portal.forgetting {
        return Ok(ask::forgetting(call, portal).into());
    }
    let Some(successor) = portal.successor.clone() else {
        return Ok(Reply::default()
            .bold(&room_title(portal))
            .and(" was not replaced by another room, as far as I know. There is nothing to follow.")
            .into());
    };
    if portal.state == PortalState::Leaving {
        return Ok(ask::leaving(call, portal).await?.into());
    }
    let wish = Wish {
        target: ask::target_of(portal, successor),
        knock: false,
        nick: None,
        successor_of: Some(portal.id),
    };
    ask::ask(call, wish).await
}
