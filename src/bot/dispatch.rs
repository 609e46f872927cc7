//! From a line of text to a command and its answer.

use std::sync::Arc;

use super::{
    Invocation, access,
    call::{Asked, Call, room_title},
    command::Needs,
    commands, direct, help, parse,
    reply::{Answer, Reply},
    select, whom,
};
use crate::{
    homeserver::Actor,
    portal::{Deps, PortalError},
    store::{Portal, PortalState, User},
};

/// The leg of the first thing that is said about a command. It is the leg of a report's first message too, so
/// that a command that is handled twice, and takes another turn the second time, still says one thing.
const FIRST: &str = "report";

/// Whoever may not use Vizard reads this, once.
pub const REFUSAL: &str = "Sorry, this Vizard is not open to you. The administrator of the homeserver decides who may use it.";

const IN_CLEAR: &str = "Not done: this came unencrypted into an encrypted chat, so the servers could have changed it, or made it up. Does your client encrypt here?";

/// Answers a command.
pub async fn handle(deps: &Deps, invocation: &Invocation) -> Result<(), PortalError> {
    if deps.namespace.role(&invocation.sender).is_some() {
        return Ok(());
    }
    let here = match invocation.portal {
        Some(id) => Some(deps.portals.get(id).await?),
        None => None,
    };
    // In a portal the user alone is heard, whoever else may have found a way in.
    if here
        .as_ref()
        .is_some_and(|portal| portal.user != invocation.sender)
    {
        return Ok(());
    }
    let actor = here
        .as_ref()
        .map_or_else(|| deps.bot.clone(), |portal| deps.host(portal));
    let user = deps.store.user(&invocation.sender).await?;
    let line = parse::line(&invocation.text, &deps.config.portal.command_prefix);
    let admin = access::is_admin(&deps.config.access, &invocation.sender);
    let command = commands::find(line.name).filter(|command| command.is_for(admin));

    let may = access::may_use(&deps.config.access, &deps.namespace, &invocation.sender)
        && !access::is_banned(&deps.config.access, &invocation.sender);
    let keeps = user
        .as_ref()
        .is_some_and(|user| !user.pseudonyms.is_empty())
        && command.is_some_and(|command| command.always);
    if !may && !keeps {
        return refuse(deps, &actor, &invocation.room).await;
    }
    let user = user.unwrap_or_else(|| User::new(invocation.sender.clone()));
    let user = match here {
        Some(_) => user,
        None => match direct::check(deps, invocation, user).await? {
            Some(user) => user,
            None => return Ok(()),
        },
    };
    // In an encrypted chat nothing is done that a server may have made up.
    let forgeable = invocation.in_clear && deps.e2ee.is_encrypted(&actor, &invocation.room).await?;
    let answer = match command {
        _ if forgeable => Reply::say(IN_CLEAR).into(),
        Some(command) => {
            let call = Call {
                deps,
                invocation,
                command,
                user,
                portal: here,
                rest: line.rest,
            };
            run(call).await?
        }
        None => help::unknown(deps, line.name, invocation.portal.is_some(), admin).into(),
    };
    say(deps, &actor, invocation, &answer).await
}

/// Finds what the command needs, and runs it.
async fn run(mut call: Call<'_>) -> Result<Answer, PortalError> {
    let command = call.command;
    let in_portal = call.invocation.portal.is_some();
    if !command.works_in(in_portal) {
        return Ok(Reply::say(&format!(
            "`{}` works inside a portal: `{}`.",
            command.name,
            command.usage(Some(&call.deps.config.portal.command_prefix))
        ))
        .into());
    }
    let keyword = call
        .first_word()
        .is_some_and(|word| command.keywords.contains(&word.as_str()));
    let named = match command.needs {
        Needs::Nothing => false,
        Needs::MaybePseudonym => !call.rest.is_empty(),
        Needs::Pseudonym | Needs::Joined => true,
        Needs::JoinedOrPerson => !whom::begins_with_person(&call.user, call.rest),
    };
    if keyword {
        call.portal = None;
    } else if !in_portal && named {
        match select::select(call.deps, &call.user, call.rest, &call.usage()).await? {
            Asked::Found((portal, rest)) => {
                call.portal = Some(portal);
                call.rest = rest;
            }
            Asked::Answered(reply) => return Ok(reply.into()),
        }
    }
    if let (true, Some(portal)) = (command.needs.a_joined_one(), &call.portal)
        && portal.state != PortalState::Joined
    {
        return Ok(not_joined(&call, portal).into());
    }
    let takes_nothing = command.usage.is_empty() && command.needs != Needs::Nothing;
    if takes_nothing && !keyword && !call.rest.is_empty() {
        return Ok(too_much(&call).into());
    }
    (command.run)(&call).await
}

fn not_joined(call: &Call<'_>, portal: &Arc<Portal>) -> Reply {
    let what_next = match portal.state {
        _ if portal.forgetting => "It is being forgotten.",
        PortalState::Joining => "Its join is still under way; please try again when it is done.",
        PortalState::Knocking => "It has knocked and waits to be let in.",
        PortalState::Leaving => "It is leaving.",
        PortalState::Invited => "It is invited, and you have not answered; `rejoin` accepts.",
        _ => "`rejoin` takes it back.",
    };
    Reply::say(&format!(
        "`{}` needs a pseudonym that is in its room, and “",
        call.command.name
    ))
    .quote(&portal.ghost.nick)
    .and("” is not in ")
    .quote(&room_title(portal))
    .and(". ")
    .and(&what_next.replace("rejoin", &call.typed("rejoin")))
}

fn too_much(call: &Call<'_>) -> Reply {
    let here = match call.invocation.portal {
        Some(_) => {
            " In a portal it always means this portal; for another one, ask me in our direct chat."
        }
        None => "",
    };
    Reply::say(&format!(
        "That is more than I understand. Write `{}`.{here}",
        call.usage()
    ))
}

/// The one polite line. Its transaction id is the room's, so that asking again does not repeat it.
pub async fn refuse(deps: &Deps, actor: &Actor, room: &ruma::RoomId) -> Result<(), PortalError> {
    let notice = Reply::say(REFUSAL).notice();
    deps.say(actor, room, &notice, room.as_str(), "refused", 0)
        .await?;
    Ok(())
}

async fn say(
    deps: &Deps,
    actor: &Actor,
    invocation: &Invocation,
    answer: &Answer,
) -> Result<(), PortalError> {
    for (part, reply) in (0..).zip(&answer.0) {
        let notice = reply.notice().in_reply_to(&invocation.event);
        let source = invocation.event.as_str();
        deps.say(actor, &invocation.room, &notice, source, FIRST, part)
            .await?;
    }
    Ok(())
}
