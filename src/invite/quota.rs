//! How much others may ask for in a day. What is counted is one small note for each who is counted, so a server that asks more
//! than it may cannot fill the database: beyond its quota, or the inviter's, nothing is written at all. That nothing is counted
//! there either keeps one inviter from using up what their whole server may.
//!
//! Those who ask are counted when they ask; the user when an invite reaches them, which they see: nobody can use up in silence what
//! others may send them.

use ruma::{ServerName, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    clock::UnixMillis,
    portal::{Deps, PortalError},
    sealed::Inviter,
    store::Note,
};

const DAY: UnixMillis = 24 * 60 * 60 * 1000;
/// Requests of all strange servers together that are looked into in a day: names of servers cost little, and each has its own
/// quota. Servers that somebody here has asked, or that the admin named, are not among them: no stranger takes anything from those.
const ALL: u32 = 50_000;
/// Ghosts without a record that are made to leave in a day for all strange servers together.
const STRAYS: u32 = 10_000;

/// How often something happened on a day. Found by the day, and by whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    count: u32,
}

impl Note for Count {
    const KIND: i64 = 5;
}

/// Who is counted, on the day of a request.
#[derive(Clone)]
pub struct Quotas {
    day: u64,
    /// `None`: the server is no stranger.
    all: Option<Vec<u8>>,
    peer: Vec<u8>,
    inviter: Vec<u8>,
    invitee: Vec<u8>,
    /// A bot asks for many: then its server alone is counted.
    by_ghost: bool,
}

/// Who has used up what they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// The inviter's server, or all strange servers together. Then nothing is written down.
    pub peer: bool,
    /// The inviter. Then nothing is written down either.
    pub inviter: bool,
    /// The invitee.
    pub invitee: bool,
}

impl Quotas {
    /// Of a request by `inviter`, whose server is a stranger or not, that names `user`.
    #[must_use]
    pub fn of(inviter: &Inviter, stranger: bool, user: &UserId, now: UnixMillis) -> Self {
        let day = now / DAY;
        let server = inviter.user().server_name();
        Self {
            day,
            all: stranger.then(|| key(day, "all", &[])),
            peer: peer(day, server),
            inviter: key(day, "inviter", inviter.user().as_bytes()),
            invitee: invitee(day, user),
            by_ghost: matches!(inviter, Inviter::Ghost(..)),
        }
    }

    /// Looks at all of them.
    pub async fn look(&self, deps: &Deps) -> Result<Over, PortalError> {
        let limits = &deps.config.invites;
        let by_all = match &self.all {
            Some(all) => used(deps, all).await?,
            None => 0,
        };
        let by_peer = used(deps, &self.peer).await?;
        let by_inviter = used(deps, &self.inviter).await?;
        let to_user = used(deps, &self.invitee).await?;
        Ok(Over {
            peer: by_peer >= limits.per_peer_day || by_all >= ALL,
            inviter: self.by_ghost && by_inviter >= limits.per_inviter_day,
            invitee: to_user >= limits.per_invitee_day,
        })
    }

    /// Counts a request, wherever it leads.
    pub async fn count(&self, deps: &Deps) -> Result<(), PortalError> {
        for key in self.all.iter().chain([&self.peer, &self.inviter]) {
            add(deps, self.day, key).await?;
        }
        Ok(())
    }
}

/// Whether another invite may reach a user today.
pub async fn may_reach(deps: &Deps, user: &UserId, now: UnixMillis) -> Result<bool, PortalError> {
    let reached = used(deps, &invitee(now / DAY, user)).await?;
    Ok(reached < deps.config.invites.per_invitee_day)
}

/// An invite has reached a user.
pub async fn reached(deps: &Deps, user: &UserId, now: UnixMillis) -> Result<(), PortalError> {
    let day = now / DAY;
    add(deps, day, &invitee(day, user)).await
}

/// Whether nobody here has given cause to know a server: neither has anybody asked it for something, nor did the admin name it.
pub async fn is_strange(deps: &Deps, server: &ServerName) -> Result<bool, PortalError> {
    let pinned = deps.peers.pinned(server).await?;
    let named = server == deps.namespace.server() || deps.config.peers.contains_key(server);
    Ok(!named && pinned.is_none_or(|pinned| pinned.unasked))
}

/// Whether another ghost of which nothing is on record, and which somebody of this server invited, is made to leave. It has to be
/// registered for that, so there is an end to it.
pub async fn may_leave(
    deps: &Deps,
    server: &ServerName,
    now: UnixMillis,
) -> Result<bool, PortalError> {
    let day = now / DAY;
    let (all, by_peer) = (
        key(day, "strays", &[]),
        key(day, "stray", server.as_bytes()),
    );
    let strange = is_strange(deps, server).await?;
    if used(deps, &by_peer).await? >= deps.config.invites.per_peer_day
        || strange && used(deps, &all).await? >= STRAYS
    {
        return Ok(false);
    }
    add(deps, day, &by_peer).await?;
    if strange {
        add(deps, day, &all).await?;
    }
    Ok(true)
}

async fn add(deps: &Deps, day: u64, key: &[u8]) -> Result<(), PortalError> {
    let due = Some((day + 1) * DAY);
    let more = |count: Option<Count>| Count {
        count: count.unwrap_or_default().count.saturating_add(1),
    };
    deps.store.change_note(key, due, more).await?;
    Ok(())
}

fn peer(day: u64, server: &ServerName) -> Vec<u8> {
    key(day, "peer", server.as_bytes())
}

fn invitee(day: u64, user: &UserId) -> Vec<u8> {
    key(day, "invitee", user.as_bytes())
}

fn key(day: u64, what: &str, who: &[u8]) -> Vec<u8> {
    [&day.to_be_bytes(), what.as_bytes(), b" ", who].concat()
}

async fn used(deps: &Deps, key: &[u8]) -> Result<u32, PortalError> {
    let count: Option<Count> = deps.store.note(key).await?;
    Ok(count.unwrap_or_default().count)
}
