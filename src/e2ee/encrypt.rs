//! Before a message is sent: sharing the room key with whom it is for, and encrypting.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use matrix_sdk_crypto::{CryptoStoreError, EncryptionSettings, store::CryptoStore as _};
use ruma::{OwnedUserId, RoomId, UserId, serde::Raw};

use super::{
    E2ee, E2eeError, KeptFrom, lock, machine::Machine, requests, rooms::Room, withheld::kept_from,
};
use crate::{
    clock::UnixMillis, homeserver::Actor, pseudonym::Role, rewrite::Scrubbed, store::Store,
};

/// Before encrypting, a device looks for new devices of others if it has not done so for this long, in milliseconds.
const STALE: u64 = 5_000;

/// A room key that was shared is looked at again after this long, in milliseconds, and after so many messages.
const LOOK_AGAIN: u64 = 30_000;
const MESSAGES: u64 = 50;

/// With whom a room's key was shared last.
pub(super) struct Shared {
    /// What was known of the room.
    room: Arc<Room>,
    users: Vec<OwnedUserId>,
    devices: u64,
    at: UnixMillis,
    messages: u64,
    /// How many messages, and until when, the key is good.
    good_for: u64,
    good_until: UnixMillis,
}

impl Shared {
    /// Whether the key is good for one more message; counts it. A clock that was set back makes none good: the key may have been
    /// made in its future, and whoever shares it has it made anew then.
    fn counts(&mut self, now: UnixMillis) -> bool {
        let good = self.messages < self.good_for.min(MESSAGES)
            && now >= self.at
            && now < self.good_until.min(self.at + LOOK_AGAIN);
        self.messages += u64::from(good);
        good
    }
}

impl E2ee {
    /// The content as it goes into an encrypted room. The room key reaches everybody for whom it is before this returns,
    /// and the step of the ratchet is on the disk.
    pub async fn encrypt(
        &self,
        actor: &Actor,
        room: &RoomId,
        content: Scrubbed,
    ) -> Result<Scrubbed, E2eeError> {
        if let Some(why) = self.unavailable() {
            return Err(E2eeError::Unavailable(why.to_owned()));
        }
        let known = self.room(actor, room).await?.ok_or(E2eeError::Encrypt)?;
        let store = &self.0.store;
        self.0.used.store(true, Ordering::SeqCst);
        let start = (actor.user.clone(), room.to_owned());
        let fresh = lock(&self.0.started).contains(&start);
        self.with(actor, async |machine| {
            let began = machine.synced.unwrap_or_default();
            let changed = self.0.changes.since(&known.members, began);
            // A change that was told of since then is not known however short a time ago that is.
            machine
                .sync_if_older(if changed { 0 } else { STALE })
                .await?;
            if !fresh {
                // The database may be an older copy than the one that used this key last.
                machine.olm.discard_room_key(room).await?;
                machine.shared.remove(room);
                lock(&self.0.started).insert(start);
            }
            if !machine.is_shared(room, &known) {
                let ghost = self.is_ghost(actor);
                let users = self.recipients(actor, &known);
                let mut kept = machine.share(store, room, users.clone(), &known).await?;
                // Giving it out takes time, in which it may have grown too old to be used.
                if machine.is_spent(store, room, &known) {
                    machine.olm.discard_room_key(room).await?;
                    machine.shared.remove(room);
                    kept = machine.share(store, room, users, &known).await?;
                    if machine.is_spent(store, room, &known) {
                        return Err(E2eeError::Spent);
                    }
                }
                if let (true, Some(kept)) = (ghost, kept) {
                    let mut all = lock(&self.0.kept);
                    if kept.is_empty() {
                        all.remove(&actor.user);
                    } else {
                        all.insert(actor.user.clone(), kept);
                    }
                }
            }
            let kind = content.event_type();
            let plain = Raw::from_json(content.content().to_owned());
            let sealed = machine
                .olm
                .encrypt_room_event_raw(room, kind, &plain)
                .await?;
            Ok(content.encrypted(sealed.content.into_json()))
        })
        .await
    }
}

impl E2ee {
    /// For whom a message is: what a ghost says, for everybody in the room; what hosts, mirrors and the bot say, for the person
    /// there, whatever other users of ours stand in the room.
    fn recipients(&self, actor: &Actor, room: &Room) -> Vec<OwnedUserId> {
        let ghost = self.is_ghost(actor);
        let mut users = room.members.clone();
        users
            .retain(|user| *user != actor.user && (ghost || self.0.namespace.role(user).is_none()));
        users
    }

    fn is_ghost(&self, actor: &Actor) -> bool {
        self.0.namespace.role(&actor.user) == Some(Role::Ghost)
    }
}

impl Machine {
    /// Whether nobody came, went or got another device since the room's key was shared; counts the message. That the room is
    /// remembered as it was is told by its address.
    fn is_shared(&mut self, id: &RoomId, room: &Arc<Room>) -> bool {
        let (now, devices) = (self.clock.now(), self.devices);
        self.shared.get_mut(id).is_some_and(|shared| {
            let same = Arc::ptr_eq(&shared.room, room) && shared.devices == devices;
            same && shared.counts(now)
        })
    }

    /// Shares the room's key with every device that is to have it and does not. Returns from whom it is kept back, if that
    /// was looked at.
    async fn share(
        &mut self,
        store: &Store,
        room: &RoomId,
        users: Vec<OwnedUserId>,
        known: &Arc<Room>,
    ) -> Result<Option<Vec<KeptFrom>>, E2eeError> {
        let now = self.clock.now();
        if let Some(shared) = self.shared.get_mut(room)
            && shared.users == users
            && shared.devices == self.devices
            && shared.counts(now)
        {
            shared.room = known.clone();
            return Ok(None);
        }
        let settings = &known.settings;
        let names = || users.iter().map(AsRef::<UserId>::as_ref);
        self.olm.update_tracked_users(names()).await?;
        self.outgoing().await?;
        // The second time for those whose one-time key did not serve.
        for _ in 0..2 {
            let Some((id, request)) = self.olm.get_missing_sessions(names()).await? else {
                break;
            };
            let answer = self.homeserver.claim_keys(self.actor(), &request).await?;
            self.olm.mark_request_as_sent(&id, &answer).await?;
        }
        let share = self
            .olm
            .share_room_key(room, names(), settings.clone())
            .await?;
        for request in share {
            requests::to_device(&self.homeserver, self.actor(), &self.olm, &request).await?;
        }
        let (good_for, good_until, kept) = self.good(store, room, settings, now).await?;
        self.shared.insert(
            room.to_owned(),
            Shared {
                room: known.clone(),
                users,
                devices: self.devices,
                at: now,
                messages: 1,
                good_for,
                good_until,
            },
        );
        Ok(Some(kept))
    }

    /// How many more messages, and until when, the room's key may be used: encrypting with one that is not good any more
    /// is not possible. And from whom it is kept back.
    async fn good(
        &self,
        store: &Store,
        room: &RoomId,
        settings: &EncryptionSettings,
        now: UnixMillis,
    ) -> Result<(u64, UnixMillis, Vec<KeptFrom>), E2eeError> {
        let Some(device) = &self.actor().device else {
            return Ok((0, 0, Vec::new()));
        };
        let keys = store.crypto(&self.actor().user, device);
        if keys.outbound_use(room).is_none() {
            keys.get_outbound_group_session(room)
                .await
                .map_err(CryptoStoreError::from)?;
        }
        let Some((used, born, own)) = keys.outbound_use(room) else {
            return Ok((0, 0, Vec::new()));
        };
        let kept = kept_from(keys.outbound_withheld(room));
        let term = Term::of([settings, &own]);
        let until = if born > now {
            0
        } else {
            born.saturating_add(term.life)
        };
        Ok((term.messages.saturating_sub(used), until, kept))
    }

    /// Whether the room's key may not be used now, as far as it is known.
    fn is_spent(&self, store: &Store, room: &RoomId, known: &Room) -> bool {
        let Some(device) = &self.actor().device else {
            return false;
        };
        let keys = store.crypto(&self.actor().user, device);
        let Some((used, born, own)) = keys.outbound_use(room) else {
            return false;
        };
        Term::of([&known.settings, &own]).is_over(used, born, self.clock.now())
    }
}

/// How long a room's key is used. What the room says now counts, and what it said when the key was made: by that the crate
/// judges, and a key that is over for it encrypts nothing.
struct Term {
    messages: u64,
    /// In milliseconds: a minute less than the room says, so that it does not end on the way.
    life: u64,
}

impl Term {
    fn of(settings: [&EncryptionSettings; 2]) -> Self {
        let messages = settings.map(|one| one.rotation_period_msgs);
        let life = settings.map(|one| {
            let life = one.rotation_period.saturating_sub(Duration::from_mins(1));
            u64::try_from(life.as_millis()).unwrap_or(u64::MAX)
        });
        Self {
            messages: messages[0].min(messages[1]),
            life: life[0].min(life[1]),
        }
    }

    /// Whether a key that was made at `born` and encrypted so many messages may encrypt no other.
    fn is_over(&self, used: u64, born: UnixMillis, now: UnixMillis) -> bool {
        used >= self.messages || born <= now && now >= born.saturating_add(self.life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{e2ee::rooms::tests::e2ee, pseudonym::SenderKey, rng::Rng};

    #[tokio::test]
    async fn what_is_said_in_a_portal_is_for_the_person_there() {
        let (_dir, e2ee) = e2ee(false).await;
        let ghost = |seed| {
            let key = SenderKey::generate(&Rng::seeded(seed)).id();
            e2ee.0.namespace.ghost(&key).to_string()
        };
        let (one, other) = (ghost(2), ghost(3));
        let (host, mirror, bot) = ("@_vizard_p_abc:x", "@_vizard_m_abc:x", "@vizard:x");
        let all = ["@alice:x", "@bob:y", &one, &other, host, mirror, bot];
        let room = Room {
            settings: EncryptionSettings::default(),
            members: all.map(|user| user.try_into().unwrap()).into(),
        };
        let recipients = |user: &str| {
            let actor = Actor {
                user: user.try_into().unwrap(),
                device: None,
            };
            e2ee.recipients(&actor, &room)
        };
        for ours in [host, mirror, bot] {
            assert_eq!(recipients(ours), ["@alice:x", "@bob:y"], "{ours}");
        }
        let others = ["@alice:x", "@bob:y", &other, host, mirror, bot];
        assert_eq!(recipients(&one), others);
    }

    fn settings(hours: u64, messages: u64) -> EncryptionSettings {
        EncryptionSettings {
            rotation_period: Duration::from_hours(hours),
            rotation_period_msgs: messages,
            ..EncryptionSettings::default()
        }
    }

    #[test]
    fn a_key_that_grew_old_on_the_way_is_not_used() {
        let (born, minute) = (1_000_000, 60_000);
        // Whichever is the room's and whichever the key's own.
        for [one, other] in [
            [(1, 100), (1, 100)],
            [(1, 100), (168, 10_000)],
            [(168, 100), (1, 10_000)],
            [(1, 10_000), (168, 100)],
            [(168, 10_000), (1, 100)],
        ] {
            let (one, other) = (settings(one.0, one.1), settings(other.0, other.1));
            let term = Term::of([&one, &other]);
            for (used, age, is_over) in [
                (0, 0, false),
                (99, 0, false),
                (100, 0, true),
                (0, 59 * minute - 1, false),
                (0, 59 * minute, true),
                (0, 61 * minute, true),
            ] {
                assert_eq!(
                    term.is_over(used, born, born + age),
                    is_over,
                    "{used} {age}"
                );
            }
            // Of a clock that runs behind the one by which the key was made nothing can be said. It was just shared, and so made.
            assert!(!term.is_over(0, born, born - 1));
        }
    }

    #[test]
    fn a_key_is_looked_at_again_when_the_clock_is_set_back() {
        let at = 1_000_000;
        let shared = |good_until| Shared {
            room: Arc::new(Room {
                settings: EncryptionSettings::default(),
                members: Vec::new(),
            }),
            users: Vec::new(),
            devices: 0,
            at,
            messages: 1,
            good_for: 100,
            good_until,
        };
        for (now, good) in [
            (at, true),
            (at + LOOK_AGAIN - 1, true),
            (at + LOOK_AGAIN, false),
            (at - 1, false),
            (0, false),
        ] {
            let mut shared = shared(at + 2 * LOOK_AGAIN);
            assert_eq!(shared.counts(now), good, "{now}");
        }
        // It ends before it would be looked at again.
        for (now, good) in [(at + 4_999, true), (at + 5_000, false)] {
            assert_eq!(shared(at + 5_000).counts(now), good, "{now}");
        }
    }
}
