//! Which requests are looked into: by who sent them alone, before anything of them is read. Counted by the sender first, and what is
//! too much of one is not counted for the server: one account cannot make its whole server be unheard. (The bot of another
//! Vizard asks for many, and only its server is counted.)

use std::{collections::HashMap, hash::Hash, sync::Arc};

use ruma::{OwnedServerName, OwnedUserId, UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{clock::UnixMillis, portal::Deps};

/// Requests of one sender that are answered at once; more are dropped.
const OF_SENDER: usize = 6;
/// The same, of one server, so that others find room.
const OF_SERVER: usize = 8;
/// Senders, and servers, whose requests are counted.
const COUNTED: usize = 10_000;
const MINUTE: UnixMillis = 60 * 1000;
const HOUR: UnixMillis = 60 * MINUTE;

/// What keeps others out while a request is answered.
pub(super) struct Places {
    _sender: Option<OwnedSemaphorePermit>,
    _server: OwnedSemaphorePermit,
}

/// Who is let in.
pub(super) struct Gate {
    senders: Flood<OwnedUserId>,
    servers: Flood<OwnedServerName>,
    of_senders: AtOnce<OwnedUserId>,
    of_servers: AtOnce<OwnedServerName>,
    /// Who was over their own limit in this hour, and whether they are the bot of a Vizard, as it was known then.
    bots: HashMap<OwnedUserId, (bool, UnixMillis)>,
}

impl Gate {
    /// A server is answered twice as often in an hour as is looked into in a day, a sender five times as often: beyond that not even
    /// a decoy is worth the homeserver's time, and who asks so much learns nothing but that.
    pub(super) fn new(per_peer_day: u32, per_inviter_day: u32) -> Self {
        Self {
            senders: Flood::new(per_inviter_day.saturating_mul(5).max(20)),
            servers: Flood::new(per_peer_day.saturating_mul(2).max(100)),
            of_senders: AtOnce::new(OF_SENDER),
            of_servers: AtOnce::new(OF_SERVER),
            bots: HashMap::new(),
        }
    }

    /// Whether a request by `sender` is looked into; else why not.
    pub(super) async fn admit(
        &mut self,
        deps: &Deps,
        sender: &UserId,
        now: UnixMillis,
    ) -> Result<Places, &'static str> {
        let (sender, server) = (sender.to_owned(), sender.server_name().to_owned());
        if self.servers.is_full(&server, now) {
            return Err("flood");
        }
        if self.senders.begin(now) {
            self.bots.clear();
        }
        if !self.senders.takes(&sender, now) && !self.is_bot(deps, &sender, now).await {
            return Err("flood");
        }
        let own = self.of_senders.take(&sender);
        if own.is_none() && !self.is_bot(deps, &sender, now).await {
            return Err("busy");
        }
        let place = self.of_servers.take(&server).ok_or("busy")?;
        if !self.servers.takes(&server, now) {
            return Err("flood");
        }
        Ok(Places {
            _sender: own,
            _server: place,
        })
    }

    /// Whether this is the bot of a Vizard that is known. It is looked up once in an hour; of who is none, once a minute: that
    /// Vizard's keys may just be on the way.
    async fn is_bot(&mut self, deps: &Deps, sender: &OwnedUserId, now: UnixMillis) -> bool {
        if let Some((known, looked)) = self.bots.get(sender)
            && (*known || now.saturating_sub(*looked) < MINUTE)
        {
            return *known;
        }
        let is_bot = if sender.server_name() == deps.namespace.server() {
            *sender == deps.bot.user
        } else {
            let document = deps.peers.vouching(sender.server_name()).await;
            let document = document.ok().flatten();
            document.is_some_and(|document| document.bot() == sender)
        };
        if self.bots.len() >= COUNTED {
            self.bots.clear();
        }
        self.bots.insert(sender.clone(), (is_bot, now));
        is_bot
    }
}

/// How often each asked in the present hour.
struct Flood<K> {
    most: u32,
    hour: UnixMillis,
    asked: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash> Flood<K> {
    fn new(most: u32) -> Self {
        Self {
            most,
            hour: 0,
            asked: HashMap::new(),
        }
    }

    /// Forgets what was in another hour than this; whether there was anything to forget.
    fn begin(&mut self, now: UnixMillis) -> bool {
        let other = self.hour != now / HOUR;
        if other {
            self.hour = now / HOUR;
            self.asked.clear();
        }
        other
    }

    /// Whether no other request is answered.
    fn is_full(&mut self, who: &K, now: UnixMillis) -> bool {
        self.begin(now);
        self.asked.get(who).is_some_and(|asked| *asked >= self.most)
    }

    /// Counts a request; whether it is answered.
    fn takes(&mut self, who: &K, now: UnixMillis) -> bool {
        self.begin(now);
        if self.asked.len() >= COUNTED && !self.asked.contains_key(who) {
            self.asked.clear();
        }
        let asked = self.asked.entry(who.clone()).or_default();
        *asked = asked.saturating_add(1);
        *asked <= self.most
    }
}

/// How many of each are answered just now.
struct AtOnce<K> {
    most: usize,
    taken: HashMap<K, Arc<Semaphore>>,
}

impl<K: Clone + Eq + Hash> AtOnce<K> {
    fn new(most: usize) -> Self {
        Self {
            most,
            taken: HashMap::new(),
        }
    }

    fn take(&mut self, who: &K) -> Option<OwnedSemaphorePermit> {
        let most = self.most;
        self.taken
            .retain(|_, places| places.available_permits() < most);
        let places = self.taken.entry(who.clone());
        let places = places.or_insert_with(|| Arc::new(Semaphore::new(most)));
        places.clone().try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_not_answered() {
        let mut flood = Flood::new(3);
        let [a, b] =
            ["a.example", "b.example"].map(|name| OwnedServerName::try_from(name).unwrap());
        let taken = (0..10_000).filter(|_| flood.takes(&a, HOUR)).count();
        assert_eq!(taken, 3);
        assert!(flood.is_full(&a, HOUR));
        assert!(flood.takes(&b, HOUR), "another server's requests are");
        assert!(
            !flood.is_full(&a, 2 * HOUR),
            "in the next hour they are again"
        );
        assert!(flood.takes(&a, 2 * HOUR));
        for number in 0..2 * COUNTED {
            let name = OwnedServerName::try_from(format!("s{number}.example")).unwrap();
            assert!(flood.takes(&name, 2 * HOUR));
        }
        assert!(flood.asked.len() <= COUNTED);
    }

    #[test]
    fn who_is_answered_finds_no_second_place() {
        let mut places = AtOnce::new(2);
        let first = places.take(&1);
        assert!(first.is_some() && places.take(&1).is_some());
        let second = places.take(&1);
        assert!(second.is_some() && places.take(&1).is_none() && places.take(&2).is_some());
        drop((first, second));
        assert!(places.take(&3).is_some());
        assert_eq!(places.taken.len(), 1, "nothing is kept of who has none");
    }
}
