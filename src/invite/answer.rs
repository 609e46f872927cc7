//! Answering an invite request: with a ghost, whatever the verdict, or with the one error for what the sender got wrong. The answer
//! leaves a fixed time after the request came, whatever there was to do.

use std::time::Duration;

use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};

use super::{
    facts::{self, Gathered},
    quota, whisper,
};
use crate::{
    clock::UnixMillis,
    crypto::Seed,
    e2ee::Mail,
    keys::Unknown,
    portal::{Deps, Offered, PortalError},
    pseudonym::SignatureFault,
    sealed::{
        self, InviteRequest, Inviter, Opened, RESPONSE_TYPE, Rejected, RequestFault,
        UnverifiedRequest, Verdict,
    },
    store::{Portal, Where},
};

/// What a request turned out to be.
enum Checked {
    Good(Box<InviteRequest>, Opened),
    Wrong(Rejected),
    /// It cannot be told now: no answer, and the sender asks again.
    Unclear,
}

/// Answers a request that reached the bot, and does what is left to do then.
pub async fn request(deps: &Deps, mail: &Mail) -> Result<(), PortalError> {
    let (sent, left) = respond(deps, mail).await?;
    if let Some(left) = left {
        left.tell(deps).await?;
    }
    sent
}

/// What is left to do when an answer was sent: its user is told of the request. It is work that other answers have not, and waits for
/// others of the same user; so whoever it concerns must not be answered later for it, nor hold the place of another request.
pub(super) struct Left {
    portal: Portal,
    room: OwnedRoomId,
    inviter: OwnedUserId,
}

impl Left {
    /// Does it. Many may ask at once: each is counted before the next is looked at.
    pub(super) async fn tell(self, deps: &Deps) -> Result<(), PortalError> {
        let user = &self.portal.user;
        let _alone = deps.portals.alone_for(user).await;
        if !quota::may_reach(deps, user, deps.clock.now()).await? {
            return Ok(());
        }
        let place = if self.portal.room == self.room {
            Where::There
        } else {
            Where::Successor
        };
        whisper::about(deps, &self.portal, &self.inviter, &self.room, place).await
    }
}

/// Answers a request: whether it was sent, and what is left to do.
pub(super) async fn respond(
    deps: &Deps,
    mail: &Mail,
) -> Result<(Result<(), PortalError>, Option<Left>), PortalError> {
    let (mut left, mut inviter) = (None, None);
    let content = match check(deps, mail).await {
        Checked::Good(request, opened) => {
            let (content, portal) = answered(deps, &request, &opened).await?;
            left = portal.map(|portal| Left {
                portal,
                room: request.room.clone(),
                inviter: request.inviter.user().to_owned(),
            });
            inviter = Some(request.inviter);
            content
        }
        Checked::Wrong(rejected) => {
            count("refused", rejected.fault.name());
            let Some(reply_to) = rejected.reply_to else {
                return Ok((Ok(()), None));
            };
            sealed::refuse(&reply_to, &deps.namespace, &deps.keys.server_key())
        }
        Checked::Unclear => {
            dropped("no_keys");
            return Ok((Ok(()), None));
        }
    };
    let every = deps.config.invites.answer_after_ms;
    let wait = until_answer(mail.received, deps.clock.now(), every);
    let answer = async {
        deps.clock.sleep(Duration::from_millis(wait)).await;
        send(deps, mail, &content).await
    };
    let (sent, ()) = tokio::join!(answer, acquaint(deps, inviter.as_ref()));
    Ok((sent, left))
}

/// Looks for the keys of a pseudonym's server, which has to vouch for it when its invite comes: for every request, whatever it is
/// worth and whoever is denied, so that looking tells nothing. The answer does not wait for it. `keys` bounds the work.
async fn acquaint(deps: &Deps, inviter: Option<&Inviter>) {
    let Some(Inviter::Ghost(inviter, ..)) = inviter else {
        return;
    };
    let server = inviter.server_name();
    if server != deps.namespace.server() {
        let _ = deps.peers.document_for_stranger(server).await;
    }
}

/// In this order: shape, sender, server, expiry, signature, address.
async fn check(deps: &Deps, mail: &Mail) -> Checked {
    let server = deps.namespace.server();
    let content = mail.content.get().as_bytes();
    let now = deps.clock.now();
    let request = match UnverifiedRequest::parse(content, &mail.sender, server, now) {
        Ok(request) => request,
        Err(rejected) => return Checked::Wrong(rejected),
    };
    let own;
    let document = match request.needs_keys_of() {
        None => None,
        Some(theirs) if theirs == server => {
            own = deps.keys.document();
            Some((*own).clone())
        }
        Some(theirs) => match deps.peers.document_for_stranger(theirs).await {
            Ok(document) => Some(document),
            Err(Unknown::Refused { .. }) => None,
            Err(Unknown::Busy | Unknown::Store(_)) => return Checked::Unclear,
        },
    };
    let mut verified = request.clone().verify(document.as_ref());
    if let Err(rejected) = &verified
        && rejected.fault == RequestFault::Signature(SignatureFault::UnknownKey)
        && let Some(theirs) = request.needs_keys_of().filter(|theirs| *theirs != server)
    {
        // Their keys may have been replaced since they were fetched.
        match deps.peers.newer_for_stranger(theirs).await {
            Ok(newer) => verified = request.verify(Some(&newer)),
            Err(Unknown::Refused { .. }) => {}
            Err(Unknown::Busy | Unknown::Store(_)) => return Checked::Unclear,
        }
    }
    let request = match verified {
        Ok(request) => request,
        Err(rejected) => return Checked::Wrong(rejected),
    };
    let keys = deps.keys.hpke();
    let (address, room, by) = (&request.sealed, &request.room, &request.inviter_key);
    match sealed::open(address, server, &keys, room, by) {
        Ok(opened) => Checked::Good(Box::new(request), opened),
        Err(error) => Checked::Wrong(request.reject(error.into())),
    }
}

/// The answer, once what has to be known of it here is written down; and the portal of a user who is to be told of the request.
async fn answered(
    deps: &Deps,
    request: &InviteRequest,
    opened: &Opened,
) -> Result<(Value, Option<Portal>), PortalError> {
    let (secret, server_key) = (deps.keys.invite_secret(), deps.keys.server_key());
    let prepared = sealed::answer(request, secret, &deps.namespace, &server_key);
    let gathered = facts::gather(deps, request, opened, deps.clock.now()).await?;
    let before = Offered::of(deps, &prepared.ghost).await?;
    let verdict = sealed::verdict(&gathered.facts);
    match verdict {
        Verdict::Real => count("answered", ""),
        Verdict::Decoy(reason) => count("decoy", reason.name()),
    }
    let told = matches!(verdict, Verdict::Decoy(reason) if reason.is_told_to_the_user());
    // Who is in the room because this ghost was real needs not be told of it. Who is told is told once, however often is asked.
    let told = told && before.as_ref().is_none_or(|before| before.decoy);
    let real = verdict == Verdict::Real;
    let seed = prepared.key.seed().into();
    let offered = offered(deps, request, opened, &gathered, seed, !real);
    // What was offered before stays as it was, and costs nobody anything, however many ask at once.
    if gathered.over.peer || gathered.over.inviter {
        if before.is_none() {
            let server = request.inviter.user().server_name();
            let now = deps.clock.now();
            deps.beyond.add(&prepared.ghost, server, &offered, now);
        }
    } else if offered.note(deps, &prepared.ghost).await? {
        gathered.quotas.count(deps).await?;
    }
    Ok((prepared.content, gathered.portal.filter(|_| told)))
}

fn offered(
    deps: &Deps,
    request: &InviteRequest,
    opened: &Opened,
    gathered: &Gathered,
    seed: Seed,
    decoy: bool,
) -> Offered {
    // Whom a decoy names is of no more use.
    let (user, address) = if decoy {
        (facts::nobody(deps), None)
    } else {
        (gathered.user.clone(), gathered.address.clone())
    };
    Offered {
        room: request.room.clone(),
        inviter: request.inviter.user().to_owned(),
        by_ghost: matches!(request.inviter, Inviter::Ghost(..)),
        user,
        seed,
        decoy,
        payload: gathered.payload,
        single_until: opened.is_single_use().then_some(opened.expires_ts),
        address,
        expires: request.expires_ts,
        leave_at: request.expires_ts + deps.rng.below(spread(deps)),
        declined: false,
        shown: 0,
    }
}

/// Ghosts that were not accepted leave within so long after their invite's end.
pub(super) fn spread(deps: &Deps) -> UnixMillis {
    u64::from(deps.config.invites.spread_minutes) * 60 * 1000
}

async fn send(deps: &Deps, mail: &Mail, content: &Value) -> Result<(), PortalError> {
    // Another one for the same request when it comes again: its first answer may have been lost.
    let source = format!(
        "{} {}",
        content["request_hash"].as_str().unwrap_or_default(),
        mail.received
    );
    let txn_id = deps
        .store
        .txn_id(&deps.bot.user, &source, "invite answer", 0);
    let messages = json!({ mail.sender.as_str(): { "*": content } });
    deps.homeserver
        .send_to_device(&deps.bot, RESPONSE_TYPE, &txn_id, &messages)
        .await?;
    Ok(())
}

/// How long an answer waits, in milliseconds: until `every` milliseconds after the request, or twice that many, and so on.
fn until_answer(received: UnixMillis, now: UnixMillis, every: u64) -> u64 {
    let since = now.saturating_sub(received);
    match since.checked_rem(every) {
        Some(over) if over > 0 || since == 0 => every - over,
        _ => 0,
    }
}

/// Counts a request that gets no answer, because there is no time for it now.
pub(super) fn dropped(reason: &'static str) {
    count("dropped", reason);
}

fn count(outcome: &'static str, reason: &'static str) {
    metrics::counter!("vizard_invite_requests_total", "outcome" => outcome, "reason" => reason)
        .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_at_set_times() {
        for (now, every, wait) in [
            (1000, 300, 300),
            (1001, 300, 299),
            (1299, 300, 1),
            (1300, 300, 0),
            (1301, 300, 299),
            (1950, 300, 250),
            (1950, 0, 0),
            // A clock that was set back.
            (900, 300, 300),
        ] {
            assert_eq!(until_answer(1000, now, every), wait, "{now} {every}");
        }
    }
}
