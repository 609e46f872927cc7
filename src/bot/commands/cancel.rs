//! `cancel`: takes back what is still waiting.

use std::sync::Arc;

use crate::{
    bot::{
        call::{Asked, Call},
        command::{Command, Group, Needs, Place},
        depart,
        reply::{Answer, Reply},
        select,
    },
    portal::PortalError,
    store::{Portal, PortalState},
};

pub const COMMAND: Command = Command {
    name: "cancel",
    aliases: &["stop"],
    group: Group::Rooms,
    usage: "[WHICH]",
    summary: "take back a join, a knock or a `forget` that still waits",
    help: "A `forget` that waits to be confirmed is dropped. A join or knock that is not through yet is given up; the pseudonym is kept as after `leave`. If there are several, name one. An invite that you name is declined.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: true,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let now = call.deps.clock.now();
    if call.rest.is_empty()
        && call
            .user
            .confirm_forget
            .is_some_and(|(_, until)| until > now)
    {
        call.deps
            .store
            .update_user(&call.user.mxid, |user| user.confirm_forget = None)
            .await?;
        return Ok(Reply::say("All right, nothing is forgotten.").into());
    }
    let waiting = match waiting(call).await? {
        Asked::Found(waiting) => waiting,
        Asked::Answered(reply) => return Ok(reply.into()),
    };
    Ok(match &waiting[..] {
        [] => Reply::say(&format!(
            "Nothing waits that could be cancelled. To get out of a room, use `{}`.",
            call.typed("leave")
        ))
        .into(),
        [one] if one.state == PortalState::Invited => return depart::decline(call, one).await,
        [one] => return depart::one(call, one, false).await,
        _ => Reply::say("Several joins wait. Please name one of them; `list` shows them.").into(),
    })
}

/// The portals that are meant and whose join or knock is not through.
async fn waiting(call: &Call<'_>) -> Result<Asked<Vec<Arc<Portal>>>, PortalError> {
    let mut candidates = Vec::new();
    if let Some(here) = call.invocation.portal {
        candidates.push(call.deps.portals.get(here).await?);
    } else if call.rest.is_empty() {
        for pseudonym in &call.user.pseudonyms {
            match call.deps.portals.get(pseudonym.portal).await {
                Ok(portal) => candidates.push(portal),
                Err(PortalError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
    } else {
        match select::select(call.deps, &call.user, call.rest, &call.usage()).await? {
            Asked::Found((portal, _)) => candidates.push(portal),
            Asked::Answered(reply) => return Ok(Asked::Answered(reply)),
        }
    }
    // An invite is declined only if it is named.
    let named = call.invocation.portal.is_some() || !call.rest.is_empty();
    candidates.retain(|portal| match portal.state {
        PortalState::Joining | PortalState::Knocking => true,
        PortalState::Invited => named,
        _ => false,
    });
    Ok(Asked::Found(candidates))
}
