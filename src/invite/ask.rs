//! Asking for a ghost, and inviting it: a job that can stop at any line and be carried on.
//!
//! Each step is stored before the next begins ([`Outcome::Again`]): the request once it is sealed and signed, with which the invitee's
//! name is gone for good; the ghost that was answered; that the invite is on record. So a crash asks the same question again and
//! invites the same ghost. Whoever asked reads how it goes in one message. Called by `worker`.

use std::sync::Arc;

use ruma::{OwnedUserId, RoomId, ServerName, UserId};
use serde_json::Value;

use super::{exchange, words};
use crate::{
    clock::UnixMillis,
    homeserver::{Actor, Class, Error},
    keys::Unknown,
    portal::{
        Deps, Outcome, PortalError,
        sent::{self, SentInvite},
    },
    pseudonym::{SenderKey, SenderKeyId, nick_of},
    sealed::{
        InviterKey, KeyDocument, MAX_REQUEST_AHEAD_MS, Reply, RequestDraft, SealedAddress, Sealing,
        seal,
    },
    store::{Asking, InviteTask, Portal, PortalState, StoreError, Whom},
};

const HOUR: UnixMillis = 60 * 60 * 1000;
/// How many times a homeserver that does not answer is asked.
const TRIES: u32 = 4;

/// Carries an invite as far as it goes. `attempts` counts earlier tries of the same job.
pub async fn run(
    deps: &Deps,
    task: &mut InviteTask,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    match step(deps, task, attempts).await {
        Err(error) => failed(deps, task, attempts, error).await,
        done => done,
    }
}

async fn step(deps: &Deps, task: &mut InviteTask, attempts: u32) -> Result<Outcome, PortalError> {
    let portal = match task.portal {
        Some(id) => Some(deps.portals.get(id).await?),
        None => None,
    };
    if let Some(portal) = &portal
        && portal.state != PortalState::Joined
    {
        return outside(deps, task, portal).await;
    }
    let actor = portal
        .as_ref()
        .map_or_else(|| deps.bot.clone(), |portal| deps.ghost(portal));
    let server = match &task.whom {
        Whom::Plain(user) => {
            let user = user.clone();
            return openly(deps, task, &actor, &user).await;
        }
        Whom::User(user) => user.server_name().to_owned(),
        Whom::Sealed(text) => match SealedAddress::parse(text) {
            Ok(address) => address.server().to_owned(),
            Err(error) => return over(deps, task, &error.to_string()).await,
        },
    };
    if let Some(ghost) = task.ghost.clone() {
        return invite(deps, task, portal.as_deref(), &actor, &ghost, &server).await;
    }
    let document = match keys(deps, task, &server).await? {
        Ok(document) => document,
        Err(Unknown::Store(_)) => return Ok(Outcome::Later),
        Err(Unknown::Busy) if attempts + 1 < TRIES => return Ok(Outcome::Later),
        Err(error) => {
            let text = words::no_keys(deps, task, &server, &error);
            return over(deps, task, &text).await;
        }
    };
    match task.request.clone() {
        None => sign(deps, task, portal.as_deref(), &document).await,
        Some(asking) => {
            let telling = async {
                let text = words::asking(deps, &server).await;
                deps.report(&mut task.report, "asking", &text).await
            };
            let asked = Box::pin(exchange::ask(deps, &actor, &task.room, &asking, document));
            // The question does not wait for the words about it.
            let (told, answered) = tokio::join!(telling, asked);
            told?;
            match answered? {
                Some(Reply::Ghost { ghost, .. }) => named(deps, task, ghost, &server).await,
                Some(Reply::Refused) => over(deps, task, &words::refused(&server)).await,
                None => {
                    let text = words::silent(deps, task, &server);
                    over(deps, task, &text).await
                }
            }
        }
    }
}

/// The pseudonym is not in the room by now. It may have invited before it left, in a step that was cut off.
async fn outside(
    deps: &Deps,
    task: &mut InviteTask,
    portal: &Portal,
) -> Result<Outcome, PortalError> {
    let Some(invitee) = invitee(task) else {
        return over(deps, task, words::OUTSIDE).await;
    };
    let is_invited = is_invited(deps, portal, &task.room, &invitee).await;
    let text = match is_invited {
        Err(error) if error.class() == Class::Retry => return Err(error.into()),
        Err(_) => words::UNCLEAR.to_owned(),
        Ok(true) if task.ghost.is_some() => words::invited_before(&nick_of_ghost(&invitee)),
        Ok(true) => words::INVITED_BEFORE.to_owned(),
        Ok(false) => {
            sent::drop_note(deps, portal.id, &invitee).await?;
            words::OUTSIDE.to_owned()
        }
    };
    over(deps, task, &text).await
}

/// Whom the pseudonym may have invited by now.
fn invitee(task: &InviteTask) -> Option<OwnedUserId> {
    let invitee = match &task.whom {
        Whom::Plain(user) => Some(user.clone()),
        _ => task.ghost.clone(),
    };
    invitee.filter(|_| task.noted)
}

/// Whether somebody is invited to the room, or in it. Who has left can still read how the room was then.
async fn is_invited(
    deps: &Deps,
    portal: &Portal,
    room: &RoomId,
    invitee: &UserId,
) -> Result<bool, Error> {
    let membership = membership(deps, &deps.ghost(portal), room, invitee).await?;
    Ok(matches!(membership.as_deref(), Some("invite" | "join")))
}

async fn membership(
    deps: &Deps,
    actor: &Actor,
    room: &RoomId,
    user: &UserId,
) -> Result<Option<String>, Error> {
    let kind = "m.room.member";
    let member = deps
        .homeserver
        .state_event(actor, room, kind, user.as_str())
        .await?;
    let member: Value = member
        .and_then(|content| serde_json::from_str(content.get()).ok())
        .unwrap_or_default();
    Ok(member["membership"].as_str().map(ToOwned::to_owned))
}

/// The keys of the invitee's Vizard, which may be this one. If they have to be fetched, that is told meanwhile.
async fn keys(
    deps: &Deps,
    task: &mut InviteTask,
    server: &ServerName,
) -> Result<Result<Arc<KeyDocument>, Unknown>, PortalError> {
    if server == deps.namespace.server() {
        return Ok(Ok(deps.keys.document()));
    }
    if let Ok(Some(document)) = deps.peers.at_hand(server).await {
        return Ok(Ok(Arc::new(document)));
    }
    let text = format!("looking for {server}'s keys…");
    let telling = deps.report(&mut task.report, "looking", &text);
    let (told, document) = tokio::join!(telling, deps.peers.document(server));
    told?;
    Ok(document.map(Arc::new))
}

/// Seals whom it is for, if that was not done before, and signs the request.
async fn sign(
    deps: &Deps,
    task: &mut InviteTask,
    portal: Option<&Portal>,
    document: &KeyDocument,
) -> Result<Outcome, PortalError> {
    let now = deps.clock.now();
    // An hour less than the longest that is taken, for clocks that differ.
    let longest = MAX_REQUEST_AHEAD_MS - HOUR;
    let expires_ts = now + (u64::from(deps.config.invites.expire_hours) * HOUR).min(longest);
    let server_key = deps.keys.server_key();
    let key = portal.map(|portal| SenderKey::from_seed(&portal.ghost.seed));
    let inviter = key.as_ref().map_or_else(
        || InviterKey::from(server_key.public()),
        |key| InviterKey::from(key.id()),
    );
    let sealed = match &task.whom {
        Whom::Sealed(text) => SealedAddress::parse(text).map_err(|error| error.to_string()),
        Whom::User(user) | Whom::Plain(user) => match document.sealing_key(now) {
            None => Err(words::no_sealing_key(user.server_name())),
            Some(key) => {
                let sealing = Sealing::Bound {
                    user,
                    room: &task.room,
                    inviter,
                };
                seal(&deps.rng, &key, sealing, expires_ts).map_err(|error| error.to_string())
            }
        },
    };
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(text) => return over(deps, task, &text).await,
    };
    let draft = RequestDraft {
        sealed: &sealed,
        room: &task.room,
        expires_ts,
    };
    let signed = match (portal, &key) {
        (Some(portal), Some(key)) => draft.sign_as_ghost(&deps.rng, &portal.ghost.id, key),
        _ => draft.sign_as_bot(&deps.rng, &deps.bot.user, &server_key),
    };
    let asking = Asking {
        content: signed.content.to_string(),
        id: signed.asked.request_id,
        hash: signed.asked.request_hash,
        server: signed.asked.server,
        expires: expires_ts,
    };
    task.whom = Whom::Sealed(sealed.to_string());
    let begun = serde_json::to_string(&asking).map_err(StoreError::from)?;
    let begun = deps.once(&task.report.command, begun).await?;
    task.request = begun.and_then(|asking| serde_json::from_str(&asking).ok());
    Ok(match task.request {
        Some(_) => Outcome::Again,
        None => Outcome::Done,
    })
}

/// Another Vizard named a ghost. That it is invited is on record before it is.
async fn named(
    deps: &Deps,
    task: &mut InviteTask,
    ghost: OwnedUserId,
    server: &ServerName,
) -> Result<Outcome, PortalError> {
    if let Some(portal) = task.portal {
        let now = deps.clock.now();
        let invite = SentInvite {
            nick: nick_of_ghost(&ghost),
            ghost: ghost.clone(),
            server: server.to_string(),
            sent: now,
            expires: task.request.as_ref().map_or(now, |asking| asking.expires),
            report: task.report.clone(),
        };
        sent::note(deps, portal, &invite).await?;
        task.noted = true;
    }
    task.ghost = Some(ghost);
    Ok(Outcome::Again)
}

fn nick_of_ghost(ghost: &UserId) -> String {
    SenderKeyId::of_ghost(ghost).map_or_else(|| ghost.to_string(), |key| nick_of(&key))
}

/// Invites the ghost, or tells whoever is to invite it.
async fn invite(
    deps: &Deps,
    task: &mut InviteTask,
    portal: Option<&Portal>,
    actor: &Actor,
    ghost: &UserId,
    server: &ServerName,
) -> Result<Outcome, PortalError> {
    let Some(portal) = portal else {
        let now = deps.clock.now();
        let expires = task.request.as_ref().map_or(now, |asking| asking.expires);
        let text = words::handed_over(ghost, &task.room, expires.saturating_sub(now));
        return over(deps, task, &text).await;
    };
    let nick = nick_of_ghost(ghost);
    match deps.homeserver.invite(actor, &task.room, ghost).await {
        Ok(()) => {
            let text = format!("invited as {nick}; waiting for an answer from {server}.");
            over(deps, task, &text).await
        }
        Err(error) if error.class() == Class::GiveUp => {
            sent::drop_note(deps, portal.id, ghost).await?;
            over(deps, task, &words::forbidden(&error)).await
        }
        Err(error) => Err(error.into()),
    }
}

/// An ordinary invite, which hides nothing.
async fn openly(
    deps: &Deps,
    task: &mut InviteTask,
    actor: &Actor,
    user: &UserId,
) -> Result<Outcome, PortalError> {
    // Only before anything is done: afterwards it may be this invite by which they came.
    if !task.noted {
        match membership(deps, actor, &task.room, user).await {
            Ok(Some(membership)) if membership == "join" => {
                return over(deps, task, words::IN_ROOM).await;
            }
            Err(error) if error.class() == Class::Retry => return Err(error.into()),
            _ => {}
        }
        task.noted = true;
        return Ok(Outcome::Again);
    }
    let text = "inviting openly, for everybody to see…";
    let telling = deps.report(&mut task.report, "openly", text);
    // Another server is asked, which may be slow.
    let (told, invited) = tokio::join!(telling, deps.homeserver.invite(actor, &task.room, user));
    if let Err(error) = told
        && error.class() == Class::Retry
    {
        // To say it, and to invite, once more does no harm.
        return Err(error);
    }
    // What was done is done, whatever became of the words about it.
    let text = match invited {
        Ok(()) => words::invited_openly(user.server_name()),
        Err(error) if error.class() == Class::GiveUp => words::forbidden(&error),
        Err(error) => return Err(error.into()),
    };
    over(deps, task, &text).await
}

/// The last word.
async fn over(deps: &Deps, task: &mut InviteTask, text: &str) -> Result<Outcome, PortalError> {
    deps.report_if_possible(&mut task.report, "over", text)
        .await?;
    deps.no_more(&task.report.command).await?;
    Ok(Outcome::Done)
}

/// A step failed: it is done again later, or that is it.
async fn failed(
    deps: &Deps,
    task: &mut InviteTask,
    attempts: u32,
    error: PortalError,
) -> Result<Outcome, PortalError> {
    let mends = error.lost_device().is_some();
    if mends || matches!(error, PortalError::Store(_) | PortalError::Gone) {
        return Err(error);
    }
    if error.class() == Class::Retry && attempts + 1 < TRIES {
        return Err(error);
    }
    tracing::warn!(class = ?error.class(), "an invite was given up");
    abandon(deps, task).await?;
    Ok(Outcome::Done)
}

/// An invite is given up from outside: whoever asked is told. The homeserver may have done it all the same, and only not said so.
pub async fn abandon(deps: &Deps, task: &mut InviteTask) -> Result<(), PortalError> {
    let portal = match task.portal {
        Some(id) => match deps.portals.get(id).await {
            Err(PortalError::Gone) => None,
            other => Some(other?),
        },
        None => None,
    };
    let mut nobody = None;
    let text = match (portal, invitee(task)) {
        (Some(portal), Some(invitee)) => {
            let is_invited = is_invited(deps, &portal, &task.room, &invitee).await;
            match (is_invited, &task.whom) {
                (Ok(true), Whom::Plain(user)) => words::invited_openly(user.server_name()),
                (Ok(true), _) => words::invited(&nick_of_ghost(&invitee)),
                (Ok(false), _) => {
                    nobody = Some((portal.id, invitee));
                    words::FAILED.to_owned()
                }
                (Err(_), _) => words::UNCLEAR.to_owned(),
            }
        }
        _ => words::FAILED.to_owned(),
    };
    over(deps, task, &text).await?;
    // Only now: while this cannot be told, the job may be tried again, and invite after all.
    if let Some((portal, invitee)) = nobody {
        sent::drop_note(deps, portal, &invitee).await?;
    }
    Ok(())
}
