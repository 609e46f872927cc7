//! Direct chats: the bot talks with one person at a time, and nobody else listens.

use ruma::{EventId, OwnedUserId, RoomId, UserId};

use super::{Invocation, UNENCRYPTABLE, access, dispatch, reply::Reply};
use crate::{
    homeserver::{Class, Profile},
    portal::{Deps, PortalError},
    rewrite::Scrubbed,
    store::User,
};

const CROWD: &str = "I only talk in direct chats, because what I say there is for one person alone. Please start a direct chat with me.";

const GREETING: &str = "Hello, I am Vizard. I let you take part in Matrix rooms behind a pseudonym that is made for one room alone: people there see the pseudonym, not your account.\nTo begin, send me `join` and a room, such as `join #room:server`. I then open a private room for you in which you read and write. `help` lists everything I can do.";

/// What to do about a room to which the bot came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Welcome {
    /// Stay and greet.
    Greet,
    /// Somebody else is there: say so and leave.
    Crowd,
    /// The inviter may not use Vizard: say so and leave.
    Refuse,
}

fn welcome(may_use: bool, alone: bool) -> Welcome {
    match (may_use, alone) {
        (false, _) => Welcome::Refuse,
        (true, false) => Welcome::Crowd,
        (true, true) => Welcome::Greet,
    }
}

/// Whether nobody but the bot and `person` is in a room.
fn alone(members: &[(OwnedUserId, Profile)], bot: &UserId, person: &UserId) -> bool {
    members
        .iter()
        .all(|(member, _)| member == bot || member == person)
}

/// The bot was invited to a room.
pub async fn invited(
    deps: &Deps,
    room: &RoomId,
    event: &EventId,
    inviter: &UserId,
) -> Result<(), PortalError> {
    let may = access::may_use(&deps.config.access, &deps.namespace, inviter)
        && !access::is_banned(&deps.config.access, inviter);
    // A stranger on another server does not get to choose rooms that this homeserver joins: a large one costs
    // it a lot. The invite is declined, without a word: to say why, the bot would have to join.
    if !may && inviter.server_name() != deps.namespace.server()
        || deps.namespace.role(inviter).is_some()
    {
        return leave(deps, room).await;
    }
    let via = [inviter.server_name().to_owned()];
    let nothing = serde_json::json!({});
    match deps
        .homeserver
        .join(&deps.bot, room.into(), &via, &nothing)
        .await
    {
        Ok(_) => {}
        // Taken back meanwhile.
        Err(error) if error.class() == Class::GiveUp => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    // The bot may have been here before, and has heard nothing since.
    deps.e2ee.forget_room(room);
    let members = deps.homeserver.joined_members(&deps.bot, room).await?;
    match welcome(may, alone(&members, &deps.bot.user, inviter)) {
        Welcome::Greet => {
            let notice = Reply::say(GREETING).notice();
            let source = event.as_str();
            match deps
                .say(&deps.bot, room, &notice, source, "greeting", 0)
                .await
            {
                Err(error) if error.is_unencryptable() => {
                    let notice = Scrubbed::public(UNENCRYPTABLE);
                    deps.say(&deps.bot, room, &notice, source, "in clear", 0)
                        .await?;
                }
                greeted => drop(greeted?),
            }
            remember(deps, room, inviter, &members).await.map(drop)
        }
        Welcome::Crowd => leave_crowd(deps, room).await,
        Welcome::Refuse => {
            dispatch::refuse(deps, &deps.bot, room).await?;
            leave(deps, room).await
        }
    }
}

/// Before anything is answered in a direct chat: if somebody else is there by now, the bot says so and leaves
/// (`None`), because a list of pseudonyms is for one pair of eyes. Otherwise the user's record, brought up to
/// date.
pub async fn check(
    deps: &Deps,
    invocation: &Invocation,
    user: User,
) -> Result<Option<User>, PortalError> {
    let room = &invocation.room;
    let members = deps.homeserver.joined_members(&deps.bot, room).await?;
    if !alone(&members, &deps.bot.user, &invocation.sender) {
        leave_crowd(deps, room).await?;
        return Ok(None);
    }
    let name = display_name(&members, &invocation.sender);
    if user.direct_chat.as_ref() == Some(room) && (name.is_none() || user.display_name == name) {
        return Ok(Some(user));
    }
    remember(deps, room, &invocation.sender, &members)
        .await
        .map(Some)
}

async fn remember(
    deps: &Deps,
    room: &RoomId,
    person: &UserId,
    members: &[(OwnedUserId, Profile)],
) -> Result<User, PortalError> {
    let name = display_name(members, person);
    let user = deps
        .store
        .update_user(person, |user| {
            user.direct_chat = Some(room.to_owned());
            if name.is_some() {
                user.display_name.clone_from(&name);
            }
        })
        .await?;
    Ok(user)
}

fn display_name(members: &[(OwnedUserId, Profile)], person: &UserId) -> Option<String> {
    let (_, profile) = members.iter().find(|(member, _)| member == person)?;
    profile.displayname.clone()
}

async fn leave_crowd(deps: &Deps, room: &RoomId) -> Result<(), PortalError> {
    let notice = Reply::say(CROWD).notice();
    deps.say(&deps.bot, room, &notice, room.as_str(), "crowd", 0)
        .await?;
    leave(deps, room).await
}

async fn leave(deps: &Deps, room: &RoomId) -> Result<(), PortalError> {
    match deps.homeserver.leave(&deps.bot, room).await {
        Err(error) if error.class() == Class::Retry => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn one_person_at_a_time() {
        let (bot, alice) = (user_id!("@vizard:a.example"), user_id!("@alice:a.example"));
        let members = |users: &[&UserId]| -> Vec<_> {
            users
                .iter()
                .map(|user| ((*user).to_owned(), Profile::default()))
                .collect()
        };
        assert!(alone(&members(&[bot, alice]), bot, alice));
        assert!(alone(&members(&[bot]), bot, alice));
        assert!(!alone(
            &members(&[bot, alice, user_id!("@carol:a.example")]),
            bot,
            alice
        ));
        assert_eq!(welcome(true, true), Welcome::Greet);
        assert_eq!(welcome(true, false), Welcome::Crowd);
        assert_eq!(welcome(false, true), Welcome::Refuse);
        assert_eq!(welcome(false, false), Welcome::Refuse);
    }
}
