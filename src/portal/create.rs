//! A room made behind a fresh pseudonym: a job that can stop at any line and be carried on.
//!
//! The pseudonym's seed is stored before anything is made of it. Its ghost owns one room only, so a room that it is in is the one
//! whose id was lost in a crash. The creator joins before the room has an id, so the member event with the mapping is written right
//! after. From there on it is as after a join: a portal is opened. Called by `worker`.

use data_encoding::HEXLOWER;
use ruma::OwnedRoomId;
use serde_json::{Value, json};

use super::{
    Deps, Outcome, PortalError, device,
    ghost::{entered, mapping, new_portal},
    room,
    state::RoomState,
};
use crate::{
    homeserver::{Actor, Class},
    pseudonym::{SenderKey, nick_of},
    rewrite::Scrubbed,
    store::{CreateTask, Created, Portal, PortalId, PortalState},
};

/// How many times a homeserver that does not answer is asked.
const TRIES: u32 = 4;

/// Carries the making of a room as far as it goes.
pub async fn run(
    deps: &Deps,
    task: &mut CreateTask,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    match step(deps, task).await {
        Err(error) => failed(deps, task, attempts, error).await,
        done => done,
    }
}

async fn step(deps: &Deps, task: &mut CreateTask) -> Result<Outcome, PortalError> {
    let Some(seed) = task.seed else {
        let seed = HEXLOWER.encode(&SenderKey::generate(&deps.rng).seed());
        let begun = deps.once(&task.report.command, seed).await?;
        task.seed = begun.and_then(|seed| seed_of(&seed));
        return Ok(match task.seed {
            Some(_) => Outcome::Again,
            None => Outcome::Done,
        });
    };
    let key = SenderKey::from_seed(&seed);
    let nick = task.nick.clone().unwrap_or_else(|| nick_of(&key.id()));
    let ghost = Actor {
        user: deps.namespace.ghost(&key.id()),
        // Derived, so that it is the same after a crash.
        device: Some(device::device_of(&deps.store.derive("creator", &[&seed]))),
    };
    let Some(room) = task.room.clone() else {
        task.room = Some(make(deps, task, &ghost, &nick).await?);
        return Ok(Outcome::Again);
    };
    let mut portal = new_portal(deps, &task.user, &room, &key, Some(&nick));
    portal.ghost.device = ghost.device;
    portal.ghost.ready = true;
    match deps.portals.create(&portal).await? {
        Created::New => open(deps, task, portal.id).await,
        Created::AlreadyThere(id) => open(deps, task, id).await,
        // Nobody can have a pseudonym in a room that is new, but while it was being made.
        Created::Forgotten => Ok(Outcome::Done),
    }
}

fn seed_of(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The ghost and its room.
async fn make(
    deps: &Deps,
    task: &CreateTask,
    ghost: &Actor,
    nick: &str,
) -> Result<OwnedRoomId, PortalError> {
    if let Some(device) = &ghost.device {
        deps.settle(&ghost.user, device).await?;
    }
    if let Some(room) = deps.homeserver.joined_rooms(ghost).await?.pop() {
        return Ok(room);
    }
    deps.homeserver.set_displayname(ghost, nick).await?;
    // Before anybody sees the ghost: the first that they write is for its device as well.
    deps.e2ee.settle(ghost).await?;
    let room = deps.homeserver.create_room(ghost, &body(task)).await?;
    Ok(room)
}

/// What is asked of the homeserver. Nothing in it comes from the user but the name.
fn body(task: &CreateTask) -> Value {
    let visibility = if task.public { "shared" } else { "invited" };
    let mut state = vec![
        json!({"type": "m.room.guest_access", "content": {"guest_access": "forbidden"}}),
        json!({"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}),
    ];
    if task.encrypted {
        state.push(json!({"type": "m.room.encryption", "content": room::encryption()}));
    }
    json!({
        "preset": if task.public { "public_chat" } else { "private_chat" },
        "visibility": "private",
        "name": task.name,
        "initial_state": state,
    })
}

/// The member event, the portal, and the last word.
async fn open(deps: &Deps, task: &mut CreateTask, id: PortalId) -> Result<Outcome, PortalError> {
    let _alone = deps.portals.alone(id).await;
    room::adopt(deps, &*deps.portals.get(id).await?).await?;
    let portal = deps.portals.get(id).await?;
    if !matches!(portal.state, PortalState::Joining | PortalState::Joined) {
        return Ok(Outcome::Done); // cancelled, or left meanwhile
    }
    let (ghost, room) = (deps.ghost(&portal), &portal.room);
    let member = Scrubbed::ghost_member(&portal.ghost.nick, &mapping(deps, &portal, room));
    deps.homeserver
        .send_state(&ghost, room, &member, ghost.user.as_str())
        .await?;
    let state = RoomState::fetch(deps, &ghost, room).await?;
    room::open(deps, &portal, &state).await?;
    let portal = deps
        .portals
        .update(id, |portal| {
            if portal.state == PortalState::Joining {
                portal.state = PortalState::Joined;
                entered(portal, &state);
            }
        })
        .await?;
    let text = told(deps, task, &portal);
    deps.report_if_possible(&mut task.report, "created", &text)
        .await?;
    deps.no_more(&task.report.command).await?;
    Ok(Outcome::Joined(id))
}

fn told(deps: &Deps, task: &CreateTask, portal: &Portal) -> String {
    let prefix = &deps.config.portal.command_prefix;
    let link = portal
        .portal_room
        .as_deref()
        .map(|room| room.matrix_to_uri().to_string());
    let who = if task.public {
        format!(
            "Anybody may join by {}. To invite somebody,",
            portal
                .room
                .matrix_to_uri_via([deps.namespace.server().to_owned()])
        )
    } else {
        "Only those whom you invite may join. To invite somebody,".to_owned()
    };
    format!(
        "created “{}” as {}\nAccept the invitation to your private portal, where you read and write: {}\n{who} write `{prefix} invite @somebody:server` in the portal.",
        task.name,
        portal.ghost.nick,
        link.unwrap_or_default()
    )
}

/// A step failed: it is done again later, or that is it.
async fn failed(
    deps: &Deps,
    task: &mut CreateTask,
    attempts: u32,
    error: PortalError,
) -> Result<Outcome, PortalError> {
    let again = error.class() == Class::Retry && attempts + 1 < TRIES;
    if again || matches!(error, PortalError::Store(_) | PortalError::Gone) {
        return Err(error);
    }
    tracing::warn!(class = ?error.class(), "a room was not made");
    let why = match &error {
        PortalError::Homeserver(error) => error.errcode().unwrap_or("no answer").to_owned(),
        _ => "no answer".to_owned(),
    };
    give_up(deps, task, &why).await?;
    Ok(Outcome::Done)
}

/// A room is given up from outside: whoever asked for it is told why.
pub async fn abandon(deps: &Deps, task: &mut CreateTask, why: &str) -> Result<(), PortalError> {
    end(deps, task, &format!("That did not work: {why}.")).await
}

async fn give_up(deps: &Deps, task: &mut CreateTask, why: &str) -> Result<(), PortalError> {
    let text = format!(
        "That did not work: your homeserver did not do a step of the way ({why}). Try the same command again later; if it keeps failing, tell its admin."
    );
    end(deps, task, &text).await
}

async fn end(deps: &Deps, task: &mut CreateTask, text: &str) -> Result<(), PortalError> {
    deps.report_if_possible(&mut task.report, "failed", text)
        .await?;
    deps.no_more(&task.report.command).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Report;

    fn task(encrypted: bool, public: bool) -> CreateTask {
        CreateTask {
            user: ruma::owned_user_id!("@alice:a.example"),
            name: "Tea".to_owned(),
            encrypted,
            public,
            nick: Some("Quiet Heron".to_owned()),
            seed: None,
            room: None,
            report: Report {
                room: ruma::owned_room_id!("!chat:a.example"),
                command: ruma::owned_event_id!("$command"),
                portal: None,
                unasked: false,
                silent: false,
                message: None,
            },
        }
    }

    #[test]
    fn nothing_tells_who_made_it() {
        for (encrypted, public) in [(false, false), (true, false), (false, true), (true, true)] {
            let body = body(&task(encrypted, public));
            let text = body.to_string();
            assert_eq!(text.contains("m.megolm"), encrypted);
            assert_eq!(text.contains("public_chat"), public);
            assert_eq!(text.contains(r#""history_visibility":"invited""#), !public);
            assert!(!text.contains("alice") && !text.contains("chat:"), "{text}");
            assert_eq!(body["name"], "Tea");
        }
    }
}
