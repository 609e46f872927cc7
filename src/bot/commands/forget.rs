//! `forget`: destroys a pseudonym, for good, after asking.

use std::sync::Arc;

use crate::{
    bot::{
        call::{Call, room_title},
        command::{Command, Group, Needs, Place},
        depart,
        reply::{Answer, Reply},
        stamp::Mark,
    },
    clock::UnixMillis,
    portal::PortalError,
    store::{Portal, PortalId},
};

/// How long a question waits to be confirmed (a little less or more, because the time carries a mark).
const WAIT: UnixMillis = 10 * 60_000;

const GONE: &str = "It is forgotten already.";

/// How many other rooms are named that go with those that are forgotten. A room says what it likes about that.
const NAMED: usize = 20;

/// What stands in the user's record for "all of them"; no portal has this id.
const ALL: PortalId = PortalId([0xff; 16]);

pub const COMMAND: Command = Command {
    name: "forget",
    aliases: &[],
    group: Group::Pseudonyms,
    usage: "",
    summary: "destroy a pseudonym for good",
    help: "The pseudonym leaves, its key and the link to you are destroyed, and you get no new one in that room, ever. I ask first: `forget confirm`, or the same command again within 10 minutes, does it. `forget all` destroys every pseudonym, each at a random time, so that nobody can tell that they belong together.",
    place: Place::Both,
    needs: Needs::Pseudonym,
    keywords: &["all", "confirm"],
    always: true,
    run: |call| Box::pin(run(call)),
};

/// What to do about a request to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Ask.
    Ask(PortalId),
    /// Ask once more: it was sent before the question was there to be read. The question waits as it did, so that who answers it is
    /// understood soon also if the homeserver's clock is behind.
    AskAgain(PortalId),
    /// It was confirmed.
    Do(PortalId),
    /// There is nothing to confirm.
    Nothing,
}

/// `named` is what the command names, or `None` for `confirm`. `here` is the portal in which it was given:
/// there, `confirm` is about that portal or about all; `now` is when it was said. The command that asked never confirms itself, and
/// none does that was said before it was `asked`: while Vizard is away, people type things twice.
fn step(
    waiting: Option<(PortalId, UnixMillis)>,
    asked: UnixMillis,
    named: Option<PortalId>,
    here: Option<PortalId>,
    now: UnixMillis,
    mark: Mark,
) -> Step {
    let waiting = waiting.filter(|(_, until)| *until > now && !mark.is_on(*until));
    let confirmed = if now >= asked {
        Step::Do
    } else {
        Step::AskAgain
    };
    match (named, waiting) {
        (None, Some((id, _))) if id == ALL || here.is_none_or(|here| here == id) => confirmed(id),
        (None, _) => Step::Nothing,
        (Some(id), Some((about, _))) if about == id => confirmed(id),
        (Some(id), _) => Step::Ask(id),
    }
}

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let named = match &call.portal {
        Some(portal) => Some(portal.id),
        None if call.first_word().as_deref() == Some("all") => Some(ALL),
        None => None,
    };
    let now = call.deps.clock.now();
    let mark = call.mark();
    // One that was confirmed in time is done, however long that takes: it may be on record as being forgotten already.
    let sent = call.invocation.sent.min(now);
    match step(
        call.user.confirm_forget,
        call.user.forget_asked,
        named,
        call.invocation.portal,
        sent,
        mark,
    ) {
        Step::Do(ALL) => depart::all(call, true).await,
        Step::Do(id) => match call.deps.portals.get(id).await {
            Ok(portal) => depart::one(call, &portal, true).await,
            Err(PortalError::Gone) => Ok(Reply::say(GONE).into()),
            Err(error) => Err(error),
        },
        Step::Ask(_) if call.user.pseudonyms.is_empty() => {
            Ok(Reply::say("You have no pseudonym that could be forgotten.").into())
        }
        Step::Ask(id) => {
            call.deps
                .store
                .update_user(&call.user.mxid, |user| {
                    user.confirm_forget = Some((id, mark.on(now + WAIT)));
                    user.forget_asked = now;
                })
                .await?;
            question(call, id).await
        }
        Step::AskAgain(id) => question(call, id).await,
        Step::Nothing => Ok(Reply::say(&format!(
            "Nothing waits to be confirmed. `{}` comes first.",
            call.usage()
        ))
        .into()),
    }
}

async fn question(call: &Call<'_>, id: PortalId) -> Result<Answer, PortalError> {
    let mut portals = Vec::new();
    for pseudonym in &call.user.pseudonyms {
        if id == ALL || id == pseudonym.portal {
            match call.deps.portals.get(pseudonym.portal).await {
                Ok(portal) => portals.push(portal),
                Err(PortalError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let reply = match &portals[..] {
        [] => return Ok(Reply::say(GONE).into()),
        [portal] if id != ALL => about_one(portal),
        portals => about_all(portals.len(), call.deps.config.privacy.spread_hours),
    };
    Ok(how_to_confirm(and_others(reply, &portals), call).into())
}

fn about_one(portal: &Portal) -> Reply {
    Reply::say("Do you want to forget ")
        .bold(&portal.ghost.nick)
        .and(" in ")
        .quote(&room_title(portal))
        .and("? This is final: it leaves the room, its key and its link to you are destroyed, and you will never have another pseudonym in that room. What it wrote stays there.")
}

fn about_all(count: usize, hours: u32) -> Reply {
    Reply::say(&format!(
        "Do you want to forget all {count} pseudonyms? This is final: they leave their rooms, their keys and their links to you are destroyed, and you will never have another pseudonym in those rooms. What they wrote stays there. They go one by one within {hours} hours, so that nobody can tell that they belong together."
    ))
}

/// Names the rooms that go with these, by their ids alone: what they are called is theirs to say.
fn and_others(reply: Reply, portals: &[Arc<Portal>]) -> Reply {
    let named = portals
        .iter()
        .flat_map(|portal| portal.replaced.iter().chain(&portal.successor));
    let mut others: Vec<_> = named
        .filter(|room| portals.iter().all(|portal| portal.room != **room))
        .collect();
    others.sort();
    others.dedup();
    if others.is_empty() {
        return reply;
    }
    let mut reply = reply.and(" Nor will you ever have one in ");
    for (at, room) in others.iter().take(NAMED).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        reply = reply.and(comma).code(room.as_str());
    }
    if others.len() > NAMED {
        reply = reply.and(&format!(" and {} others", others.len() - NAMED));
    }
    reply.and(if portals.len() == 1 {
        ", which this room says it replaced, or was replaced by."
    } else {
        ", which these rooms say they replaced, or were replaced by."
    })
}

fn how_to_confirm(reply: Reply, call: &Call<'_>) -> Reply {
    let days = call.deps.config.abuse.escrow_days;
    let reply = if days > 0 {
        reply.and(&format!(
            " In case of abuse, the administrator can still open a sealed copy of the link for {days} days."
        ))
    } else {
        reply
    };
    reply.and(&format!(
        "\nTo go on, write `{}` within 10 minutes; `{}` keeps everything as it is.",
        call.typed("forget confirm"),
        call.typed("cancel")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_before_it_forgets() {
        let (first, second) = (PortalId([1; 16]), PortalId([2; 16]));
        let now = 1_700_000_000_000;
        let (asking, confirming) = (Mark::new(&[1; 32]), Mark::new(&[2; 32]));
        let waits = |id| Some((id, asking.on(now + WAIT)));
        let later = now + 60_000;
        for (waiting, named, here, mark, expected) in [
            (None, Some(first), None, asking, Step::Ask(first)),
            // Handled again after a crash: it does not confirm itself.
            (waits(first), Some(first), None, asking, Step::Ask(first)),
            (waits(ALL), Some(ALL), None, asking, Step::Ask(ALL)),
            // Again, or `confirm`.
            (waits(first), Some(first), None, confirming, Step::Do(first)),
            (waits(first), None, None, confirming, Step::Do(first)),
            (waits(ALL), None, None, confirming, Step::Do(ALL)),
            (waits(ALL), Some(ALL), None, confirming, Step::Do(ALL)),
            // Another one is another question.
            (
                waits(first),
                Some(second),
                None,
                confirming,
                Step::Ask(second),
            ),
            (waits(first), Some(ALL), None, confirming, Step::Ask(ALL)),
            (waits(ALL), Some(first), None, confirming, Step::Ask(first)),
            // In a portal, `confirm` is about that portal.
            (waits(first), None, Some(first), confirming, Step::Do(first)),
            (waits(first), None, Some(second), confirming, Step::Nothing),
            (waits(ALL), None, Some(second), confirming, Step::Do(ALL)),
            (None, None, None, confirming, Step::Nothing),
        ] {
            let step = step(waiting, now, named, here, later, mark);
            assert_eq!(step, expected);
        }
        // Sent before the question was there.
        for (id, named) in [(first, Some(first)), (first, None), (ALL, Some(ALL))] {
            let step = |sent| step(waits(id), now, named, None, sent, confirming);
            assert_eq!(step(now - 1), Step::AskAgain(id));
            assert_eq!(step(now), Step::Do(id));
        }
        let too_late = now + WAIT + 60_000;
        assert_eq!(
            step(waits(first), now, None, None, too_late, confirming),
            Step::Nothing
        );
        assert_eq!(
            step(waits(first), now, Some(first), None, too_late, confirming),
            Step::Ask(first)
        );
    }
}
