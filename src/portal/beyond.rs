//! Ghosts that others were answered with beyond a quota. Nothing of them is written down, or asking would fill the database; but
//! when each has to leave is kept in memory, for so many as there is room for, so that it leaves as all others do.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, ServerName, UserId};

use super::Offered;
use crate::clock::UnixMillis;

const HOUR: UnixMillis = 60 * 60 * 1000;
const DAY: UnixMillis = 24 * HOUR;
/// Ghosts that are remembered.
const ALL: usize = 10_000;
/// Ghosts that are remembered for one server.
const EACH: usize = 1_000;

/// A ghost of which no more is known than this.
#[derive(Clone, PartialEq, Eq)]
pub struct Unnoted {
    /// Into which room it may be invited.
    pub room: OwnedRoomId,
    /// When it leaves.
    pub leave_at: UnixMillis,
}

impl std::fmt::Debug for Unnoted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unnoted(…)")
    }
}

#[derive(Default)]
struct Kept {
    ghosts: HashMap<OwnedUserId, (OwnedServerName, Unnoted)>,
    servers: HashMap<OwnedServerName, usize>,
    /// When what is over was last forgotten.
    swept: UnixMillis,
}

/// What is remembered. Cheap to clone.
#[derive(Clone, Default)]
pub struct Beyond(Arc<Mutex<Kept>>);

impl std::fmt::Debug for Beyond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beyond(…)")
    }
}

impl Beyond {
    /// Remembers a ghost that a server was answered with, unless it is remembered already, or there are too many.
    pub fn add(&self, ghost: &UserId, server: &ServerName, offered: &Offered, now: UnixMillis) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.ghosts.contains_key(ghost) {
            return;
        }
        if kept.is_full(server) && now >= kept.swept.saturating_add(HOUR) {
            kept.sweep(now);
        }
        if kept.is_full(server) {
            return;
        }
        let unnoted = Unnoted {
            room: offered.room.clone(),
            leave_at: offered.leave_at,
        };
        *kept.servers.entry(server.to_owned()).or_default() += 1;
        let entry = (server.to_owned(), unnoted);
        kept.ghosts.insert(ghost.to_owned(), entry);
    }

    /// A ghost has left: it is as unknown as any other that has.
    pub fn forget(&self, ghost: &UserId) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((server, _)) = kept.ghosts.remove(ghost)
            && let Some(many) = kept.servers.get_mut(&server)
        {
            *many = many.saturating_sub(1);
        }
    }

    /// What is remembered of a ghost.
    #[must_use]
    pub fn of(&self, ghost: &UserId) -> Option<Unnoted> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.ghosts.get(ghost).map(|(_, unnoted)| unnoted.clone())
    }
}

impl Kept {
    fn is_full(&self, server: &ServerName) -> bool {
        self.ghosts.len() >= ALL || self.servers.get(server).is_some_and(|many| *many >= EACH)
    }

    /// Forgets what nobody asks for any more.
    fn sweep(&mut self, now: UnixMillis) {
        self.swept = now;
        self.ghosts
            .retain(|_, (_, unnoted)| unnoted.leave_at.saturating_add(DAY) > now);
        self.servers.clear();
        for (server, _) in self.ghosts.values() {
            *self.servers.entry(server.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    fn offered(leave_at: UnixMillis) -> Offered {
        Offered {
            room: ruma::owned_room_id!("!r:b.example"),
            inviter: ruma::owned_user_id!("@i:b.example"),
            by_ghost: true,
            user: ruma::owned_user_id!("@nobody:a.example"),
            seed: [0; 32].into(),
            decoy: true,
            payload: [0; 32],
            single_until: None,
            address: None,
            expires: leave_at,
            leave_at,
            declined: false,
            shown: 0,
        }
    }

    fn ghost(number: usize) -> OwnedUserId {
        UserId::parse(format!("@g{number}:a.example")).expect("a user")
    }

    #[test]
    fn it_is_bounded_for_one_server_and_for_all() {
        let beyond = Beyond::default();
        let b = server_name!("b.example");
        for number in 0..2 * EACH {
            beyond.add(&ghost(number), b, &offered(5), 0);
            // The first word holds.
            beyond.add(&ghost(number), b, &offered(7), 0);
        }
        let first = beyond.of(&ghost(0)).expect("remembered");
        assert_eq!(first.leave_at, 5);
        assert_eq!(beyond.of(&ghost(EACH)), None);
        beyond.forget(&ghost(1));
        assert_eq!(beyond.of(&ghost(1)), None);
        beyond.add(&ghost(1), b, &offered(5), 0);
        beyond.add(&ghost(EACH), b, &offered(5), 0);
        assert!(beyond.of(&ghost(1)).is_some() && beyond.of(&ghost(EACH)).is_none());
        for number in 2 * EACH..4 * ALL {
            let server = OwnedServerName::try_from(format!("s{}.example", number % 50)).unwrap();
            beyond.add(&ghost(number), &server, &offered(5), 0);
        }
        assert_eq!(beyond.0.lock().unwrap().ghosts.len(), ALL);
        // Once they have left, others find room.
        beyond.add(&ghost(EACH), b, &offered(9), 6 + DAY);
        assert!(beyond.of(&ghost(EACH)).is_some() && beyond.of(&ghost(0)).is_none());
    }
}
