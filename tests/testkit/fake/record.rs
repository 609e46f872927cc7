//! What happened, read back.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Fake, Inner, Receipt, Seen, lock, world::World};

impl Fake {
    /// Looks at everything.
    pub fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&lock(&self.inner.world))
    }

    /// All events of a room in order; redacted ones are empty.
    #[must_use]
    pub fn events(&self, room: impl AsRef<str>) -> Vec<Value> {
        self.look(|world| {
            let room = world.rooms.get(room.as_ref());
            room.map_or_else(Vec::new, |room| {
                room.events.iter().map(|event| (**event).clone()).collect()
            })
        })
    }

    /// Sender and body of each message of a room, in order.
    #[must_use]
    pub fn messages(&self, room: impl AsRef<str>) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.events(room)
            .iter()
            .filter(|event| event["type"] == "m.room.message")
            .map(|event| (text(&event["sender"]), text(&event["content"]["body"])))
            .collect()
    }

    /// An event by its id.
    #[must_use]
    pub fn event(&self, id: impl AsRef<str>) -> Option<Value> {
        self.look(|world| {
            let (room, index) = world.by_id.get(id.as_ref())?;
            Some((*world.rooms[room].events[*index]).clone())
        })
    }

    /// The content of a room's state event.
    #[must_use]
    pub fn state_of(&self, room: impl AsRef<str>, kind: &str, key: &str) -> Option<Value> {
        self.look(|world| {
            let room = world.rooms.get(room.as_ref())?;
            room.state(kind, key).cloned()
        })
    }

    /// A user's membership in a room.
    #[must_use]
    pub fn membership(&self, room: impl AsRef<str>, user: impl AsRef<str>) -> Option<String> {
        self.look(|world| {
            let room = world.rooms.get(room.as_ref())?;
            room.members.get(user.as_ref()).cloned()
        })
    }

    /// All receipts, in order.
    #[must_use]
    pub fn receipts(&self) -> Vec<Receipt> {
        self.look(|world| world.receipts.clone())
    }

    /// How many requests each endpoint had, those that met a fault included.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.inner.log).counts.clone()
    }

    /// How many requests an endpoint had.
    #[must_use]
    pub fn count(&self, endpoint: &str) -> u64 {
        lock(&self.inner.log)
            .counts
            .get(endpoint)
            .copied()
            .unwrap_or(0)
    }

    /// All requests, where [`Config::record`] is set.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.inner.log).seen.clone()
    }

    /// Pairs of users of whom one sent (or redacted) while the other was still sending.
    #[must_use]
    pub fn overlaps(&self) -> Vec<(String, String)> {
        lock(&self.inner.log).overlaps.iter().cloned().collect()
    }

    /// Counts nobody as still sending: whoever was, is dead.
    pub fn forget_senders(&self) {
        lock(&self.inner.log).sending.clear();
    }
}

/// Somebody sends; until it is dropped.
pub(super) struct Sending<'a>(&'a Inner, u64);

impl Inner {
    /// Notes that `user` begins to send.
    pub(super) fn sending(&self, user: &str) -> Sending<'_> {
        let mut log = lock(&self.log);
        log.sends += 1;
        let number = log.sends;
        let others: Vec<String> = log.sending.iter().map(|(_, other)| other.clone()).collect();
        for other in others {
            log.overlaps.insert((other, user.to_owned()));
        }
        log.sending.push((number, user.to_owned()));
        Sending(self, number)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        lock(&self.0.log)
            .sending
            .retain(|(number, _)| *number != self.1);
    }
}
