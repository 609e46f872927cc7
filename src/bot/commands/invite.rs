//! `invite WHO`: somebody else into the room, so that only their own server learns whom.

use ruma::{OwnedRoomId, RoomAliasId, RoomId};

use crate::{
    bot::{
        call::{Asked, Call},
        command::{Command, Group, Needs, Place},
        reply::{Answer, Reply},
        whom::{self, Words},
    },
    homeserver::{Actor, Class},
    portal::{JoinTarget, PortalError},
    store::{InviteTask, PortalId, Route, Task, Whom},
};

pub const COMMAND: Command = Command {
    name: "invite",
    aliases: &[],
    group: Group::Invites,
    usage: "WHO [--plain]",
    summary: "invite somebody; only their own server learns whom",
    help: "WHO is a Matrix ID (`@bob:b.example`), a link to one, or a sealed address (`vz1:…`). I seal the ID so that only the Vizard of b.example can read it, and ask it for a pseudonym; yours then invites that one. Your homeserver, the room and everybody in it see only the two pseudonyms.\nMy answer changes as the invite goes on, and tells if they join. If they do not, nobody is told why. `invites` shows what waits.\nTo hide the ID from this server too, seal it yourself, on the page https://b.example/seal or with `vizard seal`, and give me the `vz1:` text as WHO.\n`--plain` sends an ordinary invite instead, for servers without a Vizard: then everybody sees whom.\nIf you are in a room under your own name, write `invite WHO to ROOM` in our direct chat: I ask for a pseudonym for them and tell you its Matrix ID, and you invite that from your client.",
    place: Place::Both,
    needs: Needs::JoinedOrPerson,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    match plan(call).await? {
        Asked::Found(plan) => queue(call, plan).await,
        Asked::Answered(reply) => Ok(reply.into()),
    }
}

/// Who is invited into which room, by which pseudonym if by one.
struct Plan {
    whom: Whom,
    portal: Option<PortalId>,
    room: OwnedRoomId,
}

async fn plan(call: &Call<'_>) -> Result<Asked<Plan>, PortalError> {
    let answered = |text: &str| Ok(Asked::Answered(Reply::say(text)));
    let Words {
        who,
        room,
        plain,
        unknown,
    } = whom::split(call.rest);
    if let Some(unknown) = unknown {
        let reply = Reply::say("I do not know ").code(&unknown).and(". Write ");
        return Ok(Asked::Answered(reply.code(&call.usage()).and(".")));
    }
    if !plain && !call.deps.config.invites.enabled {
        return answered("The administrator of this Vizard has switched sealed invites off.");
    }
    let whom = match whom::read(&who, &call.invocation.mentions) {
        Ok(whom) => whom,
        Err(text) => return answered(&text),
    };
    if let Whom::User(user) = &whom
        && let Some(text) = whom::unfit(&call.deps.namespace, &call.user.mxid, user, plain)
    {
        return answered(text);
    }
    let whom = match whom {
        Whom::User(user) if plain => Whom::Plain(user),
        Whom::Sealed(_) if plain => {
            return answered(
                "A sealed address cannot be invited openly: nobody but its own server can read whom it names.",
            );
        }
        whom => whom,
    };
    let (portal, room) = match (&call.portal, room) {
        (Some(portal), None) => (Some(portal.id), portal.room.clone()),
        (Some(_), Some(_)) => {
            return answered(
                "Here it is always this portal's room. For another one, ask me in our direct chat.",
            );
        }
        (None, None) => {
            return answered(
                "Into which room? As one of your pseudonyms: `invite WHICH WHO`, where WHICH is its number in `list`, its room or its nick. Under your own name: `invite WHO to ROOM`.",
            );
        }
        (None, Some(_)) if plain => {
            return answered("For that you do not need me: invite them from your client.");
        }
        (None, Some(room)) => match named(call, &room).await? {
            Asked::Found(room) => (None, room),
            Asked::Answered(reply) => return Ok(Asked::Answered(reply)),
        },
    };
    Ok(Asked::Found(Plan { whom, portal, room }))
}

/// The room after `to`.
async fn named(call: &Call<'_>, text: &str) -> Result<Asked<OwnedRoomId>, PortalError> {
    let target = match JoinTarget::parse(text) {
        Ok(target) => target,
        Err(error) => return Ok(Asked::Answered(Reply::say(&error.to_string()))),
    };
    let room = if let Ok(room) = <&RoomId>::try_from(&*target.room) {
        room.to_owned()
    } else if let Ok(alias) = <&RoomAliasId>::try_from(&*target.room) {
        match call
            .deps
            .homeserver
            .resolve_alias(&call.deps.bot, alias)
            .await
        {
            Ok((room, _)) => room,
            Err(error) if error.class() == Class::GiveUp => {
                let reply = Reply::say("There is no such room: ").code(alias.as_str());
                return Ok(Asked::Answered(reply.and(" is not known.")));
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        return Err(PortalError::Gone);
    };
    if matches!(call.deps.store.route(&room).await?, Route::Portal(_)) {
        return Ok(Asked::Answered(Reply::say(
            "That is a portal. Nobody else can be in it; name the room behind it, by its pseudonym.",
        )));
    }
    Ok(Asked::Found(room))
}

async fn queue(call: &Call<'_>, plan: Plan) -> Result<Answer, PortalError> {
    let deps = call.deps;
    let event = call.invocation.event.as_str();
    let (user, command) = (&call.user.mxid, &call.invocation.event);
    if let Err(wait) = deps.limits.take_once(user, command, deps.clock.now()) {
        return Ok(Reply::say(&format!(
            "That is too fast. Please try again in {} s.",
            wait.as_secs() + 1
        ))
        .into());
    }
    let server = match &plan.whom {
        Whom::User(user) => Some(user.server_name().to_owned()),
        Whom::Plain(_) | Whom::Sealed(_) => None,
    };
    let task = InviteTask {
        user: call.user.mxid.clone(),
        portal: plan.portal,
        room: plan.room,
        whom: plan.whom,
        request: None,
        ghost: None,
        noted: false,
        report: call.new_report(),
    };
    // The job says all that is to be said of how it goes.
    deps.add_job(event, deps.clock.now(), Task::Invite(Box::new(task)))
        .await?;
    if let Some(server) = server
        && let Err(error) = warn(call, server.as_str()).await
        && error.class() == Class::Retry
    {
        return Err(error);
    }
    // That nothing more can be said is no reason to say that nothing was done: the invite is on its way.
    Ok(Answer::none())
}

/// Where the command can be read by the homeserver, that is said: once, beside the report, which changes.
async fn warn(call: &Call<'_>, server: &str) -> Result<(), PortalError> {
    let deps = call.deps;
    let room = &call.invocation.room;
    let actor: Actor = match call.invocation.portal {
        Some(id) => deps.host(&*deps.portals.get(id).await?),
        None => deps.bot.clone(),
    };
    if deps.e2ee.is_encrypted(&actor, room).await? {
        return Ok(());
    }
    let notice = Reply::say(&format!(
        "This chat is not encrypted, so your homeserver can read whom you named. Next time seal the ID at https://{server}/seal or with `vizard seal`, and give me the text that begins with `vz1:`."
    ))
    .notice();
    let source = call.invocation.event.as_str();
    deps.say(&actor, room, &notice, source, "in clear", 0)
        .await?;
    Ok(())
}
