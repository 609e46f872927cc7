//! Invites that a portal's ghost sent and that wait: what `invites` lists, and what becomes of each.
//!
//! `invite` writes an invite down before it is sent ([`note`]); `relay` says what it hears of who comes and goes ([`heard`]); and of
//! those of whom nothing was heard long after their end, upkeep has it said that they did not come ([`give_up`]). That a
//! ghost did not come reads the same whatever the reason is: a refusal, a decoy and an invite that ran out are not to be told apart,
//! and nothing here could.

use std::time::Duration;

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{Deps, PortalError};
use crate::{
    clock::UnixMillis,
    event::{Event, Membership},
    pseudonym::SenderKeyId,
    rewrite::clean_name,
    sealed::MAX_REQUEST_AHEAD_MS,
    store::{Note, PortalId, Report},
};

/// Invites of one portal that are remembered; the oldest goes.
const MOST: usize = 50;
/// For so long after its end an invite may still be told of: ghosts leave some hours after it, each at a time of its own.
const LINGER: UnixMillis = DAY / 2;
const DAY: UnixMillis = 24 * 60 * 60 * 1000;

/// An invite that was sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentInvite {
    /// The ghost that is invited.
    pub ghost: OwnedUserId,
    /// What it is called as long as nobody said otherwise.
    pub nick: String,
    /// The server for whose user it is. Who that is, is not known any more.
    pub server: String,
    /// When it was sent.
    pub sent: UnixMillis,
    /// Until when it can be accepted.
    pub expires: UnixMillis,
    /// Who is told.
    pub report: Report,
}

impl std::fmt::Debug for SentInvite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SentInvite(…)")
    }
}

/// The invites of one portal that wait, oldest first. Found by the portal's id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sent {
    invites: Vec<SentInvite>,
    /// Whose they are.
    #[serde(default)]
    portal: Option<PortalId>,
}

impl Note for Sent {
    const KIND: i64 = 7;
}

impl Sent {
    fn add(mut self, invite: &SentInvite) -> Self {
        self.invites.retain(|other| other.ghost != invite.ghost);
        self.invites.push(invite.clone());
        let too_many = self.invites.len().saturating_sub(MOST);
        self.invites.drain(..too_many);
        self
    }

    fn without(mut self, ghost: &UserId) -> Self {
        self.invites.retain(|invite| invite.ghost != ghost);
        self
    }
}

/// Writes an invite down, in the place of an earlier one of the same ghost.
pub async fn note(deps: &Deps, portal: PortalId, invite: &SentInvite) -> Result<(), PortalError> {
    change(deps, portal, |sent| sent.add(invite)).await
}

/// Forgets an invite.
pub async fn drop_note(deps: &Deps, portal: PortalId, ghost: &UserId) -> Result<(), PortalError> {
    change(deps, portal, |sent| sent.without(ghost)).await
}

/// Forgets all that a portal sent.
pub async fn clear(deps: &Deps, portal: PortalId) -> Result<(), PortalError> {
    deps.store.delete_note::<Sent>(&portal.0).await?;
    Ok(())
}

async fn change(
    deps: &Deps,
    portal: PortalId,
    change: impl Fn(Sent) -> Sent + Send + Sync,
) -> Result<(), PortalError> {
    // No invite lasts longer, and what became of it is said within a day.
    let due = deps.clock.now() + MAX_REQUEST_AHEAD_MS + LINGER + DAY;
    let change = |sent: Option<Sent>| Sent {
        portal: Some(portal),
        ..change(sent.unwrap_or_default())
    };
    deps.store.change_note(&portal.0, Some(due), change).await?;
    Ok(())
}

async fn read(deps: &Deps, portal: PortalId) -> Result<Sent, PortalError> {
    let sent = deps.store.note::<Sent>(&portal.0).await?;
    Ok(sent.unwrap_or_default())
}

/// The invites that can still be accepted, oldest first.
pub async fn waiting(deps: &Deps, portal: PortalId) -> Result<Vec<SentInvite>, PortalError> {
    let now = deps.clock.now();
    let mut sent = read(deps, portal).await?;
    sent.invites.retain(|invite| invite.expires > now);
    Ok(sent.invites)
}

/// A member of the portal's room came or went: if it was invited from here, whoever invited it is told.
pub async fn heard(
    deps: &Deps,
    portal: PortalId,
    member: &UserId,
    event: &Event,
) -> Result<(), PortalError> {
    // Few are, and only they are worth a look.
    if SenderKeyId::of_ghost(member).is_none() {
        return Ok(());
    }
    let (step, came) = match event.membership() {
        Some(Membership::Join) => ("came", true),
        Some(Membership::Leave | Membership::Ban) => ("gone", false),
        _ => return Ok(()),
    };
    let sent = read(deps, portal).await?;
    let Some(mut invite) = sent.invites.into_iter().find(|it| it.ghost == member) else {
        return Ok(());
    };
    let text = if came {
        let name = name_of(event).unwrap_or_else(|| invite.nick.clone());
        format!("{name} (invited for {}) joined.", invite.server)
    } else {
        did_not_come(&invite)
    };
    deps.report_if_possible(&mut invite.report, step, &text)
        .await?;
    drop_note(deps, portal, member).await
}

/// Says of all invites that are long over that nobody came. Their ghosts may never have left, or nobody may have heard it.
pub async fn give_up(deps: &Deps) -> Result<(), PortalError> {
    let now = deps.clock.now();
    // A portal whose room cannot be written to is not to keep the others waiting.
    let mut failed = Ok(());
    for sent in deps.store.notes::<Sent>().await? {
        let Some(portal) = sent.portal else { continue };
        let over = |invite: &SentInvite| invite.expires.saturating_add(LINGER) <= now;
        for mut invite in sent.invites.into_iter().filter(over) {
            let text = did_not_come(&invite);
            let told = deps.report_if_possible(&mut invite.report, "gone", &text);
            match told.await {
                Ok(()) => drop_note(deps, portal, &invite.ghost).await?,
                Err(error) => failed = failed.and(Err(error)),
            }
        }
    }
    failed
}

fn did_not_come(invite: &SentInvite) -> String {
    format!(
        "{} (invited for {}) did not come: the invite ended without an answer.",
        invite.nick, invite.server
    )
}

fn name_of(event: &Event) -> Option<String> {
    #[derive(Deserialize)]
    struct Content {
        displayname: Option<String>,
    }
    let content: Content = serde_json::from_str(event.content.get()).ok()?;
    let name = clean_name(&content.displayname?);
    (!name.is_empty()).then_some(name)
}

/// A length of time as a person says it: rounded down to minutes, hours or days.
#[must_use]
pub fn in_words(length: UnixMillis) -> String {
    let seconds = Duration::from_millis(length).as_secs();
    let (number, unit) = match seconds {
        0..7_200 => (seconds / 60, "minute"),
        7_200..360_000 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(number: usize, expires: UnixMillis) -> SentInvite {
        SentInvite {
            ghost: UserId::parse(format!("@g{number}:b.example")).expect("a user"),
            nick: "Amber Finch".to_owned(),
            server: "b.example".to_owned(),
            sent: 0,
            expires,
            report: Report {
                room: ruma::owned_room_id!("!r:a.example"),
                command: ruma::owned_event_id!("$e"),
                portal: None,
                unasked: false,
                silent: false,
                message: None,
            },
        }
    }

    #[test]
    fn it_is_bounded() {
        let mut sent = Sent::default();
        for number in 0..2 * MOST {
            sent = sent.add(&invite(number, 1000));
            sent = sent.add(&invite(number, 1000));
        }
        assert_eq!(sent.invites.len(), MOST);
        assert_eq!(sent.invites[0], invite(MOST, 1000), "the oldest went");
        let ghost = invite(MOST, 0).ghost;
        sent = sent.without(&ghost);
        assert_eq!(sent.invites.len(), MOST - 1);
    }

    #[test]
    fn lengths_in_words() {
        for (minutes, text) in [
            (0, "0 minutes"),
            (1, "1 minute"),
            (119, "119 minutes"),
            (120, "2 hours"),
            (5999, "99 hours"),
            (6000, "4 days"),
            (7 * 24 * 60, "7 days"),
        ] {
            assert_eq!(in_words(minutes * 60_000), text);
        }
    }
}
